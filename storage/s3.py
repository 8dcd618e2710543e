"""Blobs in an S3 bucket.

    PREFIX/
    ├── blobs/<first two characters>/<upload>.<random>   blobs, and what may become one
    └── uploads/<upload>.<random>                        ends of uploads that do not fill a part

A blob keeps the key that its upload was written to. No key is the beginning of another up to a slash: there
are stores that keep objects as files.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Final

from storage.blobs import BlobReader, Holds, KeptBytes, StagedBlob
from storage.s3_client import MAX_DELETED, S3Client, S3Place
from storage.s3_memory import Budget
from storage.s3_parts import MIB, PartPlan
from storage.s3_reader import S3Reader
from storage.s3_upload import (
    BLOBS,
    TAILS,
    S3Upload,
    key_prefix,
    multiparts_of,
    objects_of,
    tail_prefix,
    upload_of,
)

# Memory of a process for all uploads, not counting the pieces that just arrive; and how much of it is for
# what is on its way to the store, however many uploads there are.
_MEMORY: Final = 48 * MIB
_LEAST_SENT: Final = 16 * MIB


class S3Store:
    """A BlobStore in a bucket.

    `url_lifetime` is how many seconds a client has to follow a redirect; without it there are none.
    """

    def __init__(
        self, place: S3Place, holds: Holds, plan: PartPlan, *, url_lifetime: int | None = None
    ) -> None:
        self.chunk_min_length: int | None = plan.first
        self.redirects = url_lifetime is not None
        self._client = S3Client(place)
        self._holds = holds
        self._plan = plan
        self._budget = Budget(max(_MEMORY, 2 * plan.largest), _LEAST_SENT)
        self._url_lifetime = url_lifetime

    async def prepare(self) -> None:
        """Find out whether the bucket can be used."""
        await self._client.check()

    async def stage(self, key: str) -> None:
        """Do nothing: an upload has no bytes yet, and its row is its place."""

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[StagedBlob]:
        """Hold the upload's row."""
        async with self._holds.hold(key):
            upload = S3Upload(self._client, self._plan, self._budget, key)
            is_done = False
            try:
                yield upload
                is_done = True
            finally:
                await upload.let_go(is_done=is_done)

    async def staged_before(self, moment: datetime) -> Iterable[str]:
        """List multipart uploads and tails."""
        multiparts = await self._client.multiparts(f"{BLOBS}/")
        tails = await self._client.objects(f"{TAILS}/")
        found = {upload_of(each.key) for each in multiparts if each.begun_at < moment}
        found |= {upload_of(each.key) for each in tails if each.written_at < moment}
        young = {upload_of(each.key) for each in multiparts if each.begun_at >= moment}
        young |= {upload_of(each.key) for each in tails if each.written_at >= moment}
        return found - young

    async def remove_stray(self, key: str) -> None:
        """Abort the upload's multipart uploads and delete its tails; its other objects may be blobs."""
        for each in await multiparts_of(self._client, key):
            await self._client.abort(each.key, each.id)
        for tail in await objects_of(self._client, key, tail_prefix(key)):
            await self._client.delete(tail)

    async def remove_unnamed(self, key: str) -> None:
        """Drop every object of the upload."""
        await self.remove_stray(key)
        await self.delete(list(await objects_of(self._client, key, key_prefix(key))))

    async def delete(self, locations: Sequence[str]) -> None:
        """Delete objects, a thousand with each request."""
        for start in range(0, len(locations), MAX_DELETED):
            await self._client.delete_all(locations[start : start + MAX_DELETED])

    async def walk(self) -> AsyncIterator[Sequence[KeptBytes]]:
        """List the bucket, a page at a time."""
        async for page in self._client.pages_of_objects(f"{BLOBS}/"):
            yield [KeptBytes(each.key, each.size, each.written_at, upload_of(each.key)) for each in page]

    async def space(self) -> None:
        """Return None: nothing says how much room there is."""

    async def size(self, location: str) -> int:
        """Return the object's length."""
        return await self._client.size(location)

    async def open(self, location: str) -> BlobReader:
        """Find out whether the object is there."""
        await self._client.size(location)
        return S3Reader(self._client, location)

    async def url(self, location: str) -> str | None:
        """Return a presigned URL, whether or not the object is there."""
        if self._url_lifetime is None:
            return None
        return await self._client.presign(location, self._url_lifetime)
