"""One upload on its way into S3: parts sent while bytes arrive, and what does not fill one.

An upload of less than a part becomes one object. Of a longer one the parts go into a multipart upload, whose
key is the blob's location: a commit copies nothing. Bytes at the end of a request that do not fill a part
become an object of their own, the tail, which the next request reads back, on whatever node.

Every key has a random end. A holder that stood still for too long may wake up beside another: it never
overwrites what that one wrote, and the row tells which of them is right. Nothing that a row names is dropped
before the row names something else.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import Final

from storage.blobs import BlobMissing, BlobStoreError, BlobTooLarge, StagedMissing, StoreUnavailable
from storage.digest import Digest, RunningDigest, digest_of
from storage.s3_client import Body, Multipart, S3Client
from storage.s3_memory import Budget
from storage.s3_parts import MAX_PARTS, PartPlan, UploadState
from storage.s3_reader import read_object

BLOBS: Final = "blobs"
TAILS: Final = "uploads"


def key_prefix(upload: str) -> str:
    """Return how the keys begin of what may become the upload's blob."""
    return f"{BLOBS}/{upload[:2]}/{upload}."


def tail_prefix(upload: str) -> str:
    """Return how the keys begin of the tails that lie behind parts, which never become a blob."""
    return f"{TAILS}/{upload}."


def upload_of(key: str) -> str:
    """Return the upload that an object or a multipart upload belongs to."""
    return key.rpartition("/")[2].rpartition(".")[0]


async def multiparts_of(client: S3Client, upload: str) -> Iterable[Multipart]:
    """List the multipart uploads that were begun for an upload: never for a request."""
    found = await client.multiparts(key_prefix(upload))
    return [each for each in found if upload_of(each.key) == upload]


async def objects_of(client: S3Client, upload: str, prefix: str) -> Iterable[str]:
    """List an upload's objects that begin with one of its prefixes: never for a request."""
    return [each.key for each in await client.objects(prefix) if upload_of(each.key) == upload]


class S3Upload:
    """A StagedBlob in S3."""

    checkpoint_length: int | None = None
    writes_ahead = 1

    def __init__(self, client: S3Client, plan: PartPlan, budget: Budget, upload: str) -> None:
        self._client = client
        self._budget = budget
        self._upload = upload
        self._new_plan = plan
        self._kept = UploadState()
        """What the row says, as far as is known here."""
        self._begun: set[tuple[str, str]] = set()
        """Multipart uploads that no state names yet."""
        self._written: set[str] = set()
        """Objects that no state names yet."""
        self._unneeded: set[str] = set()
        """Objects that no state names any more."""
        self._committed: str | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._collecting = 0
        self._memory = memoryview(b"")
        """For a part; filled with the bytes behind the parts, unless they are only in the tail."""
        self._start(UploadState())

    def _start(self, state: UploadState) -> None:
        self._state = state
        # The one that it was begun with, whatever the settings are by now.
        self._plan = PartPlan(state.first_part, state.largest_part) if state.size else self._new_plan
        self._key, self._multipart = state.key, state.multipart
        self._etags: list[str] = list(state.etags)
        self._tail = state.tail
        """The object with exactly the bytes behind the parts, if there is one."""
        self._tail_size = state.size - self._plan.length(len(state.etags))
        self._give_memory_back()
        self._is_behind_here = not state.tail
        self._replaced: list[str] = []
        self._failure: Exception | None = None
        self._whole = ""
        self._is_verified = True

    @property
    def _size(self) -> int:
        return self._plan.length(len(self._etags)) + self._tail_size

    async def resume(self, offset: int, state: str | None) -> None:
        await self._settle()
        kept = UploadState.parse(state)
        if kept.size != offset:
            raise StagedMissing(f"the upload has {kept.size} of {offset} bytes")
        self._kept = kept
        self._unneeded.update(kept.superseded)
        self._unneeded.discard(kept.tail)
        self._start(kept)

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        self._check()
        try:
            if running is None:
                await self._write(data)
            else:
                await asyncio.gather(self._write(data), asyncio.to_thread(running.update, data))
        except BaseException as error:
            self._fail(error)
            raise

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        if view and not self._collecting:
            self._collecting = self._plan.largest
            self._budget.collect(self._collecting)
        while view:
            room = await self._make_room()
            piece, view = view[:room], view[room:]
            self._memory[self._tail_size : self._tail_size + len(piece)] = piece
            self._tail_size += len(piece)
            if len(piece) == room:
                await self._send_part()

    async def sync(self) -> str | None:
        await self._settle()
        self._check()
        if self._tail_size and not self._tail:
            self._tail = await self._put_tail()
        if self._size == self._state.size and not self._replaced:
            return self._state.to_text() if self._size else None
        self._state = UploadState(
            size=self._size,
            first_part=self._plan.first,
            largest_part=self._plan.largest,
            key=self._key,
            multipart=self._multipart,
            etags=tuple(self._etags),
            tail=self._tail,
            superseded=tuple(self._replaced),
        )
        self._begun.discard((self._key, self._multipart))
        self._written.discard(self._tail)
        self._unneeded.update(self._replaced)
        return self._state.to_text()

    async def read(self) -> AsyncIterator[bytes]:
        if not self._size:
            return
        key = await self._finish()
        async for data in read_object(self._client, key, 0, self._size):
            yield data

    async def commit(self, digest: Digest) -> str:
        location = await self._finish()
        if not self._is_verified:
            await self._verify(location, digest)
        self._committed = location
        self._written.discard(location)
        self._unneeded.update({self._tail, *self._replaced} - {"", location})
        return location

    async def discard(self, state: str | None, *, thorough: bool = False) -> None:
        await self._settle()
        if self._committed is not None:
            return
        states = (UploadState.parse(state), self._kept, self._state)
        multiparts = self._begun | {(each.key, each.multipart) for each in states if each.multipart}
        objects = self._written | self._unneeded | {each.tail for each in states if each.tail}
        objects.update(key for each in states for key in each.superseded)
        # It may have been made of the parts by a request that never came to say so.
        objects.update(each.key for each in states if each.key)
        if thorough:
            multiparts |= {(each.key, each.id) for each in await multiparts_of(self._client, self._upload)}
            for prefix in (key_prefix(self._upload), tail_prefix(self._upload)):
                objects.update(await objects_of(self._client, self._upload, prefix))
        for key, multipart in multiparts:
            await self._client.abort(key, multipart)
        await self._delete(objects)
        self._begun.clear()
        self._written.clear()
        self._unneeded.clear()

    async def let_go(self, *, is_done: bool) -> None:
        """Clear up: to be called at the end of the hold.

        Where the request was done as it should, its row says what the last state or the blob is, and what
        they replaced is dropped. Else it may say either.
        """
        self._give_memory_back()
        self._budget.collect(-self._collecting)
        await self._settle()
        unneeded = self._unneeded if is_done else set(self._kept.superseded)
        with contextlib.suppress(BlobStoreError):  # the sweep, or the next request, finds it
            for key, multipart in self._begun:
                await self._client.abort(key, multipart)
            await self._delete(unneeded)

    # -- the parts -------------------------------------------------------------------------------------

    async def _make_room(self) -> int:
        """Return how many more bytes make a part of those behind the parts: the tail is one no more."""
        number = len(self._etags) + 1
        if number > MAX_PARTS:
            raise self._too_large()
        size = self._plan.size(number)
        if len(self._memory) != size:
            behind = await self._get_behind()
            self._memory = self._budget.take(size)
            self._memory[: len(behind)] = behind
            self._is_behind_here = True
        if self._tail:
            self._replaced.append(self._tail)
            self._tail = ""
        return size - self._tail_size

    async def _send_part(self) -> None:
        if not self._multipart:
            key = key_prefix(self._upload) + _random()
            self._multipart = await self._client.begin(key)
            self._key = key
            self._begun.add((key, self._multipart))
        await self._budget.send(self._tail_size)
        self._etags.append("")
        sending = asyncio.create_task(self._put_part(len(self._etags), self._memory))
        self._memory, self._tail_size = memoryview(b""), 0
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _put_part(self, number: int, memory: memoryview) -> None:
        etags, body = self._etags, Body(memory)
        try:
            etags[number - 1] = await self._client.put_part(self._key, self._multipart, number, body)
        except BaseException as error:  # noqa: BLE001 - told to whoever writes or syncs next
            self._fail(error)
        finally:
            body.drop()
            self._budget.give_back(memory)
            await self._budget.settle(len(memory))

    async def _settle(self) -> None:
        """Return when no part is on its way, whether they arrived or not."""
        sending = list(self._sending)
        if not sending:
            return
        settled = asyncio.gather(*sending)
        try:
            await asyncio.shield(settled)
        except asyncio.CancelledError:
            await asyncio.wait(sending)
            raise

    def _fail(self, error: BaseException) -> None:
        given_up = StoreUnavailable("a part of the upload was given up")
        self._failure = error if isinstance(error, Exception) else given_up

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _too_large(self) -> BlobTooLarge:
        return BlobTooLarge(f"a blob has at most {self._plan.limit} bytes in this store")

    async def _put_tail(self) -> str:
        prefix = tail_prefix(self._upload) if self._etags else key_prefix(self._upload)
        key = prefix + _random()
        self._written.add(key)
        await self._client.put(key, Body(self._memory[: self._tail_size]))
        return key

    async def _get_behind(self) -> memoryview:
        if self._is_behind_here:
            return self._memory[: self._tail_size]
        try:
            return memoryview(await self._client.get(self._tail, 0, self._tail_size))
        except BlobMissing as error:
            raise StagedMissing("the tail of the upload is gone") from error

    def _give_memory_back(self) -> None:
        memory, self._memory = self._memory, memoryview(b"")
        self._budget.give_back(memory)

    # -- the blob --------------------------------------------------------------------------------------

    async def _finish(self) -> str:
        """Make one object of all bytes and return its key."""
        if not self._whole:
            await self._settle()
            self._check()
            self._whole = await (self._finish_parts() if self._etags else self._finish_tail())
        return self._whole

    async def _finish_tail(self) -> str:
        if not self._tail:
            return await self._put_tail()
        if await self._size_of(self._tail) != self._tail_size:
            raise StagedMissing("the bytes of the upload are gone")
        return self._tail

    async def _finish_parts(self) -> str:
        size = self._size
        try:
            await self._complete()
        except StagedMissing:
            # An earlier request may have come as far as this and no further.
            if await self._size_of(self._key) != size:
                raise
            self._is_verified = False
        else:
            if await self._size_of(self._key) != size:
                raise StagedMissing("the store made something else of the parts")
        self._written.add(self._key)
        self._begun.discard((self._key, self._multipart))
        return self._key

    async def _complete(self) -> None:
        if self._tail_size:
            last = Body(await self._get_behind())
            number = len(self._etags) + 1
            if number > MAX_PARTS:
                raise self._too_large()
            etag = await self._client.put_part(self._key, self._multipart, number, last)
            await self._client.complete(self._key, self._multipart, [*self._etags, etag])
        else:
            await self._client.complete(self._key, self._multipart, self._etags)

    async def _size_of(self, key: str) -> int | None:
        try:
            return await self._client.size(key)
        except BlobMissing:
            return None

    async def _verify(self, key: str, digest: Digest) -> None:
        data = read_object(self._client, key, 0, self._size)
        if await digest_of(data, digest.algorithm) != digest:
            raise StagedMissing("the parts of the upload became another blob")

    async def _delete(self, keys: Iterable[str]) -> None:
        await asyncio.gather(*(self._client.delete(key) for key in keys))


def _random() -> str:
    return secrets.token_hex(8)
