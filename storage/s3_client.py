"""S3 as far as a blob store needs it: each call in a thread, retried, its errors in the store's words.

boto3 retries throttling, failures of the server and broken connections by itself, with growing pauses. What
still fails then is told as `StoreUnavailable`.
"""

import asyncio
import contextlib
import functools
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, SSLError

from storage.blobs import (
    BlobMissing,
    BlobStoreError,
    StagedMissing,
    StoreFull,
    StoreUnavailable,
    StoreUntrusted,
)
from storage.threads import run_in

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 30

# boto3 does not retry what breaks off while a body is read.
_BODY_ATTEMPTS: Final = 3

# A store of one's own has no regions, and most take this one.
_ANY_REGION: Final = "us-east-1"

MAX_DELETED: Final = 1000
"""Objects that one request can delete (DeleteObjects)."""

_NOT_THERE: Final = frozenset({"NoSuchKey", "404", "InvalidRange", "416"})
_UPLOAD_GONE: Final = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})
_FULL: Final = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"}
)


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, the prefix of the keys in it, and how to get there. Credentials are found by boto3."""

    bucket: str
    prefix: str = ""
    """Without slashes at its ends."""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    """None: where an endpoint is set."""
    ca: Path | None = None
    encryption: str = "none"
    """none, s3 or kms."""
    kms_key: str | None = None
    threads: int = 16
    attempts: int = 5
    """Of each call. There are pauses of half a second, one, two and four on average."""
    profile: str | None = None
    """Whose credentials and region they are, in the configuration of AWS; None for the usual ones."""
    public_endpoint: str | None = None
    """Where clients reach the store; None where they reach it at `endpoint`."""


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart upload under way."""

    key: str
    id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object in a list; its size is in bytes."""

    key: str
    size: int
    written_at: datetime


class Body:
    """Memory that is sent as it is, as a file is."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._is_read = False

    def __len__(self) -> int:
        return len(self._content)

    def read(self, _: int = -1) -> memoryview | bytes:
        """Return all, then nothing, whatever is asked for: it is in memory anyway, and sent at once."""
        if self._is_read:
            return b""
        self._is_read = True
        return self._content

    def tell(self) -> int:
        """Return how many bytes were read."""
        return len(self._content) if self._is_read else 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the beginning, or to the end: nobody asks for anything else."""
        if offset:
            raise io.UnsupportedOperation("only whole bodies are sent")
        self._is_read = whence == io.SEEK_END
        return self.tell()

    def drop(self) -> None:
        """Let go of the memory: botocore keeps what it was handed for a while."""
        self._content = memoryview(b"")


class S3Client:
    """The calls. Keys are without the prefix."""

    def __init__(self, place: S3Place) -> None:
        self._place = place
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        session = boto3.session.Session(region_name=place.region, profile_name=place.profile)
        self._s3 = connect(session, place, place.endpoint)
        public = place.public_endpoint
        self._public = self._s3 if public is None else connect(session, place, public)
        self._threads = ThreadPoolExecutor(place.threads, thread_name_prefix="s3")
        self._encryption = encryption_of(place)

    async def check(self) -> None:
        """Do as `check_now` does, in a thread."""
        await self._run(self.check_now)

    def check_now(self) -> None:
        """Return if the bucket can be used.

        Raises:
            StoreUnavailable: in words for the operator.
        """
        place = self._place
        where = f"the bucket {place.bucket!r} at {place.endpoint or 'AWS'}"
        try:
            self._s3.head_bucket(Bucket=place.bucket)
        except ClientError as error:
            # The answer to a HEAD has no body, and so no word of why.
            reason = {"404": "does not exist", "403": "is closed to these credentials"}.get(_code(error))
            raise StoreUnavailable(f"{where} {reason or f'cannot be used: {error}'}") from error
        except BotoCoreError as error:
            raise _of_silence(error)(f"{where} cannot be reached: {error}") from error

    async def put(self, key: str, body: Body) -> None:
        """Store an object."""
        await self._run(self._s3.put_object, **self._at(key), Body=body, **self._encryption)

    async def get(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`, of which there is one at least.

        Raises:
            BlobMissing: there is no such object, or not all of these bytes.
        """
        return await self._run(self._get, key, start, stop)

    async def size(self, key: str) -> int:
        """Return the length of an object in bytes.

        Raises:
            BlobMissing: there is none.
        """
        found = await self._run(self._s3.head_object, **self._at(key))
        return int(found["ContentLength"])

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        await self._run(self._delete, key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Remove objects, at most `MAX_DELETED`, if they are there.

        Raises:
            StoreUnavailable: the store kept some of them.
        """
        await self._run(self._delete_all, keys)

    async def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        begun = await self._run(self._s3.create_multipart_upload, **self._at(key), **self._encryption)
        return str(begun["UploadId"])

    async def put_part(self, key: str, multipart: str, number: int, body: Body) -> str:
        """Upload a part and return its ETag.

        Raises:
            StagedMissing: there is no such multipart upload.
        """
        at = {**self._at(key), "UploadId": multipart, "PartNumber": number}
        return str((await self._run(self._s3.upload_part, **at, Body=body))["ETag"])

    async def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        """Make an object of the parts, which must be these.

        Raises:
            StagedMissing: there is no such multipart upload, or a part of it is another.
        """
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        at = {**self._at(key), "UploadId": multipart}
        await self._run(self._s3.complete_multipart_upload, **at, MultipartUpload={"Parts": parts})

    async def abort(self, key: str, multipart: str) -> None:
        """Drop a multipart upload, if it is there."""
        await self._run(self._abort, key, multipart)

    async def objects(self, prefix: str) -> list[S3Object]:
        """List the objects whose keys begin with `prefix`: never for a request."""
        return [each async for page in self.pages_of_objects(prefix) for each in page]

    async def pages_of_objects(self, prefix: str) -> AsyncIterator[list[S3Object]]:
        """List them as `objects` does, a page at a time."""
        pages = self._pages("list_objects_v2", self._prefix + prefix)
        while (page := await self._run(next, pages, None)) is not None:
            yield [
                S3Object(self._own(each["Key"]), each["Size"], each["LastModified"])
                for each in page.get("Contents", ())
            ]

    async def multiparts(self, prefix: str) -> list[Multipart]:
        """List the multipart uploads of keys that begin with `prefix`: never for a request."""
        return await self._run(self._multiparts, prefix)

    async def presign(self, key: str, seconds: int) -> str:
        """Return a URL under which anybody can get the object for some seconds."""
        # Not among the threads of the store: what it takes is some arithmetic, and now and then credentials.
        sign = functools.partial(self._public.generate_presigned_url, "get_object", ExpiresIn=seconds)
        return str(await asyncio.to_thread(translated, sign, Params=self._at(key)))

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in(self._threads, functools.partial(translated, call, *args, **kwargs))

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._place.bucket, "Key": self._prefix + key}

    def _get(self, key: str, start: int, stop: int) -> bytes:
        for attempt in range(1, _BODY_ATTEMPTS + 1):
            try:
                found = self._s3.get_object(**self._at(key), Range=f"bytes={start}-{stop - 1}")
                with contextlib.closing(found["Body"]) as body:
                    data: bytes = body.read()
            except BotoCoreError:
                if attempt == _BODY_ATTEMPTS:
                    raise
                continue
            if len(data) != stop - start:
                raise BlobMissing(f"the object ends at byte {start + len(data)}")
            return data
        raise AssertionError("not reached")

    def _delete(self, key: str) -> None:
        try:
            self._s3.delete_object(**self._at(key))
        except ClientError as error:
            if _code(error) not in _NOT_THERE:
                raise

    def _delete_all(self, keys: Sequence[str]) -> None:
        wanted = {"Objects": [{"Key": self._prefix + key} for key in keys], "Quiet": True}
        kept = self._s3.delete_objects(Bucket=self._place.bucket, Delete=wanted).get("Errors", [])
        kept = [each for each in kept if each.get("Code") not in _NOT_THERE]
        if kept:
            first = kept[0]
            reason = f"{first.get('Code')} for {first.get('Key')}"
            raise StoreUnavailable(f"the store kept {len(kept)} of {len(keys)} objects: {reason}")

    def _abort(self, key: str, multipart: str) -> None:
        try:
            self._s3.abort_multipart_upload(**self._at(key), UploadId=multipart)
        except ClientError as error:
            if _code(error) not in _UPLOAD_GONE:
                raise

    def _multiparts(self, prefix: str) -> list[Multipart]:
        whole = self._prefix + prefix
        # MinIO knows no prefix here but a whole key, or none.
        for asked in dict.fromkeys((whole, "")):
            pages = self._pages("list_multipart_uploads", asked)
            found = [each for page in pages for each in page.get("Uploads", ())]
            wanted = [each for each in found if each["Key"].startswith(whole)]
            if wanted:
                return [
                    Multipart(self._own(each["Key"]), each["UploadId"], each["Initiated"]) for each in wanted
                ]
        return []

    def _pages(self, operation: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages: Iterable[dict[str, Any]] = self._s3.get_paginator(operation).paginate(
            Bucket=self._place.bucket, Prefix=prefix
        )
        return iter(pages)

    def _own(self, key: str) -> str:
        return key.removeprefix(self._prefix)


def connect(session: boto3.session.Session, place: S3Place, endpoint: str | None) -> Any:
    """Return boto3's client for a place, by way of an endpoint."""
    usual = "auto" if place.endpoint is None else "path"
    style = usual if place.path_style is None else "path" if place.path_style else "virtual"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        retries={"mode": "standard", "total_max_attempts": place.attempts},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=place.threads,
        # What the signature covers needs no second checksum, and not every store knows the newer ones.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="longshore",
    )
    region = session.region_name or (_ANY_REGION if place.endpoint is not None else None)
    verify = None if place.ca is None else str(place.ca)
    return session.client("s3", region_name=region, endpoint_url=endpoint, verify=verify, config=config)


def encryption_of(place: S3Place) -> dict[str, str]:
    """Return what an object's writer asks for."""
    if place.encryption == "s3":
        return {"ServerSideEncryption": "AES256"}
    if place.encryption == "kms":
        key = {} if place.kms_key is None else {"SSEKMSKeyId": place.kms_key}
        return {"ServerSideEncryption": "aws:kms", **key}
    return {}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def translated(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and tell failures in the store's words.

    Raises:
        BlobStoreError: what the store answered, or that it did not.
    """
    try:
        return call(*args, **kwargs)
    except ClientError as error:
        raise _of_client_error(error) from error
    except ParamValidationError:
        raise  # a mistake of ours
    except BotoCoreError as error:
        raise _of_silence(error)(str(error)) from error


def _of_silence(error: BotoCoreError) -> type[StoreUnavailable]:
    """Return what it is called that there is no answer."""
    untrusted = isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    return StoreUntrusted if untrusted else StoreUnavailable


def _of_client_error(error: ClientError) -> BlobStoreError:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NOT_THERE:
        return BlobMissing(str(error))
    if code in _UPLOAD_GONE:
        return StagedMissing(str(error))
    if code in _FULL or status == 507:
        return StoreFull(str(error))
    if status >= 500 or status in (401, 403, 408, 429) or code == "NoSuchBucket":
        # Credentials and buckets as well: whoever runs the store can mend them while this goes on.
        return StoreUnavailable(str(error))
    return BlobStoreError(str(error))
