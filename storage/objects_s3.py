"""Objects in an S3 bucket, under a prefix."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from storage.objects import NamedObject
from storage.s3_client import MAX_DELETED, Body, S3Client, S3Place
from storage.s3_parts import MAX_PARTS, MIB
from storage.s3_reader import read_object

# Parts are as small as that, and larger only where there would be too many.
_PART: Final = 16 * MIB

_LEFT: Final = timedelta(days=1)


class S3Objects:
    """A prefix of a bucket."""

    def __init__(self, place: S3Place) -> None:
        self._place = place
        self._client = S3Client(place)

    def __str__(self) -> str:
        return f"s3://{self._place.bucket}/{self._place.prefix}".rstrip("/")

    async def prepare(self) -> None:
        """Find out whether the bucket can be used."""
        await self._client.check()

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[bool]:
        """Hold nothing: not every store has locks."""
        yield False

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Store an object, in parts where it is long."""
        part = max(_PART, -(-size // (MAX_PARTS - 1)))
        parts = _in_parts(data, part)
        first = await anext(parts)
        if len(first) < part:
            await self._client.put(name, Body(memoryview(first)))
            return
        multipart = await self._client.begin(name)
        try:
            etags = [await self._client.put_part(name, multipart, 1, Body(memoryview(first)))]
            async for each in parts:
                if not each:
                    break
                body = Body(memoryview(each))
                etags.append(await self._client.put_part(name, multipart, len(etags) + 1, body))
            await self._client.complete(name, multipart, etags)
        except BaseException:
            await self._client.abort(name, multipart)
            raise

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Read the object, ahead by one piece."""
        async for piece in read_object(self._client, name, 0, await self._client.size(name)):
            yield piece

    async def pages(self, prefix: str) -> AsyncIterator[Sequence[NamedObject]]:
        """List the bucket, a page at a time."""
        async for page in self._client.pages_of_objects(prefix):
            yield [NamedObject(each.key, each.size) for each in page]

    async def delete(self, names: Sequence[str]) -> None:
        """Delete objects, a thousand with each request."""
        for start in range(0, len(names), MAX_DELETED):
            await self._client.delete_all(names[start : start + MAX_DELETED])

    async def tidy(self) -> None:
        """Abort multipart uploads that nobody goes on with."""
        for each in await self._client.multiparts(""):
            if each.begun_at < datetime.now(UTC) - _LEFT:
                await self._client.abort(each.key, each.id)


async def _in_parts(data: AsyncIterator[bytes], size: int) -> AsyncIterator[bytearray]:
    """Yield the data in parts of exactly `size` bytes and one that is shorter, and empty if need be."""
    part = bytearray()
    async for piece in data:
        view = memoryview(piece)
        while view:
            taken = view[: size - len(part)]
            part += taken
            view = view[len(taken) :]
            if len(part) == size:
                yield part
                part = bytearray()
    yield part
