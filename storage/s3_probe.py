"""What a store does, asked with objects that are removed afterwards: `PREFIX/doctor/<random>/…`.

Calls block, and none takes longer than some seconds. Each raises BlobStoreError.
"""

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import boto3.session
from botocore.exceptions import BotoCoreError, ClientError

from storage.blobs import BlobStoreError, StoreUnavailable
from storage.s3_client import S3Place, connect, encryption_of, translated
from storage.s3_parts import MIN_PART

FOLDER: Final = "doctor"

_SMALL: Final = b"longshore was here\n"
_URL_SECONDS: Final = 60


class WrongBytes(BlobStoreError):
    """The store gave back something else than it was given."""


class S3Probe:
    """A place, with the objects that were put there."""

    def __init__(self, place: S3Place) -> None:
        session = boto3.session.Session(region_name=place.region)
        once = replace(place, attempts=1)
        self._place = place
        self._s3 = connect(session, once, place.endpoint)
        public = place.public_endpoint
        self._public = self._s3 if public is None else connect(session, once, public)
        self._credentials = session.get_credentials()
        prefix = f"{place.prefix}/" if place.prefix else ""
        self.folder = f"{prefix}{FOLDER}/{secrets.token_hex(8)}"
        self._written: set[str] = set()
        self._multiparts: dict[str, str] = {}

    @property
    def secret_key(self) -> str | None:
        """The secret that calls are signed with, if one was found."""
        return None if self._credentials is None else str(self._credentials.secret_key)

    def find_bucket(self) -> None:
        """Return if the bucket answers."""
        translated(self._s3.head_bucket, Bucket=self._place.bucket)

    def clock_offset(self) -> float | None:
        """Return how many seconds the store's clock is ahead, within one; None where it says no time."""
        before = time.time()
        try:
            answer = self._s3.head_bucket(Bucket=self._place.bucket)
        except ClientError as error:
            # Where clocks differ too much there is nothing but a refusal, which says the time as well.
            answer = error.response
        except BotoCoreError as error:
            raise StoreUnavailable(str(error)) from error
        middle = (before + time.time()) / 2
        return offset_of(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}), middle)

    def write_and_read(self) -> float:
        """Put an object, get it, remove it; return the seconds that took."""
        at, began = self._at("small"), time.perf_counter()
        translated(self._s3.put_object, **at, Body=_SMALL, **encryption_of(self._place))
        self._expect(at, None, _SMALL)
        translated(self._s3.delete_object, **at)
        self._written.discard(at["Key"])
        return time.perf_counter() - began

    def write_parts(self) -> None:
        """Make an object of two parts, and read a range that is in both."""
        at = self._at("parts")
        bodies = (b"a" * MIN_PART, b"b" * 1000)
        multipart = self._begin(at)
        parts = [
            {"PartNumber": number, "ETag": self._put_part(at, multipart, number, body)}
            for number, body in enumerate(bodies, 1)
        ]
        translated(
            self._s3.complete_multipart_upload, **at, UploadId=multipart, MultipartUpload={"Parts": parts}
        )
        del self._multiparts[at["Key"]]
        self._expect(at, f"bytes={MIN_PART - 10}-{MIN_PART + 9}", b"a" * 10 + b"b" * 10)

    def abort_parts(self) -> None:
        """Begin an object of parts and drop it."""
        at = self._at("aborted")
        multipart = self._begin(at)
        self._put_part(at, multipart, 1, _SMALL)
        translated(self._s3.abort_multipart_upload, **at, UploadId=multipart)
        del self._multiparts[at["Key"]]

    def knows_conditions(self) -> bool:
        """Tell whether the store refuses to replace an object where it is asked not to."""
        at = self._at("once")
        translated(self._s3.put_object, **at, Body=_SMALL, **encryption_of(self._place))
        try:
            self._s3.put_object(**at, Body=_SMALL, IfNoneMatch="*", **encryption_of(self._place))
        except ClientError:
            return True
        except BotoCoreError as error:
            raise StoreUnavailable(str(error)) from error
        return False

    def presign(self) -> tuple[str, bytes]:
        """Put an object; return the URL for clients, which is good for a minute, and what is there."""
        at = self._at("presigned")
        translated(self._s3.put_object, **at, Body=_SMALL, **encryption_of(self._place))
        url = translated(self._public.generate_presigned_url, "get_object", Params=at, ExpiresIn=_URL_SECONDS)
        return str(url), _SMALL

    def clean_up(self) -> None:
        """Remove what is still there."""
        failure: BlobStoreError | None = None
        for key, multipart in self._multiparts.items():
            # The store forgets it by itself, as with any upload that was cut off.
            with contextlib.suppress(BlobStoreError):
                translated(self._s3.abort_multipart_upload, **self._named(key), UploadId=multipart)
        for key in self._written:
            try:
                translated(self._s3.delete_object, **self._named(key))
            except BlobStoreError as error:
                failure = error
        if failure is not None:
            raise failure

    def _begin(self, at: Mapping[str, Any]) -> str:
        begun = translated(self._s3.create_multipart_upload, **at, **encryption_of(self._place))
        self._multiparts[at["Key"]] = str(begun["UploadId"])
        return str(begun["UploadId"])

    def _put_part(self, at: Mapping[str, Any], multipart: str, number: int, body: bytes) -> str:
        part = translated(self._s3.upload_part, **at, UploadId=multipart, PartNumber=number, Body=body)
        return str(part["ETag"])

    def _expect(self, at: Mapping[str, Any], wanted: str | None, expected: bytes) -> None:
        asked = {} if wanted is None else {"Range": wanted}
        found = translated(self._read, **at, **asked)
        if found != expected:
            raise WrongBytes(
                f"of {wanted or 'an object'} {len(expected)} bytes were asked, {len(found)} came"
            )

    def _read(self, **asked: Any) -> bytes:
        with contextlib.closing(self._s3.get_object(**asked)["Body"]) as body:
            return bytes(body.read())

    def _at(self, name: str) -> dict[str, Any]:
        key = f"{self.folder}/{name}"
        self._written.add(key)
        return self._named(key)

    def _named(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._place.bucket, "Key": key}


def offset_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds the Date of an answer is ahead of `now`; None without one."""
    try:
        said = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    # The header has whole seconds: what is meant is half a second later, on average.
    return said.replace(tzinfo=said.tzinfo or UTC).timestamp() + 0.5 - now
