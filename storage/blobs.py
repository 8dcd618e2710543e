"""The BlobStore protocol: verified bytes. It knows no repositories and no users.

Errors:
    BlobStoreError
    ├── BlobMissing      no bytes at this location
    ├── StagedMissing    the bytes of an upload are gone, in whole or in part
    ├── StagedBusy       another request is writing to the upload
    ├── BlobTooLarge     more bytes than the store can keep as one blob
    ├── StoreFull        no room; nothing half-written is visible
    ├── StoreReadOnly    no writes are taken; nothing half-written is visible
    └── StoreUnavailable the store does not answer, or lets nobody in
        └── StoreUntrusted   its certificate is of nobody who is trusted
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from storage.digest import Digest, RunningDigest


class BlobStoreError(Exception):
    """Something that a store has to say."""


class BlobMissing(BlobStoreError):
    """There are no bytes at this location."""


class StagedMissing(BlobStoreError):
    """The bytes of an upload are gone, in whole or in part: it has to start anew."""


class StagedBusy(BlobStoreError):
    """Another request holds the upload."""


class BlobTooLarge(BlobStoreError):
    """The store cannot keep this many bytes as one blob."""


class StoreFull(BlobStoreError):
    """The store has no room for more bytes."""


class StoreUnavailable(BlobStoreError):
    """The store does not answer, or lets nobody in; nothing half-written is visible."""


class StoreUntrusted(StoreUnavailable):
    """The store shows a certificate that nobody signed who is trusted: nothing was asked of it."""


class StoreReadOnly(BlobStoreError):
    """The store takes no writes, as a file system does after errors. Reads go on."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room for blobs, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class KeptBytes:
    """Bytes that a store keeps under a location, whether or not a row names them."""

    location: str
    size: int
    """In bytes."""
    written_at: datetime
    upload: str
    """The key of the upload that wrote them; empty where the location tells of none."""


class BlobReader(Protocol):
    """A stored blob that is open for reading.

    One that has a `file` stays readable when the blob is deleted meanwhile.
    """

    @property
    def file(self) -> BinaryIO | None:
        """A local file with exactly the blob's bytes, where there is one: the kernel can send it."""

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from offset `start` up to, not including, `stop`.

        Raises:
            BlobMissing, StoreUnavailable: not all of them can be read.
        """

    async def close(self) -> None:
        """Give back what the reader holds."""


class StagedBlob(Protocol):
    """The bytes of one upload, held by one request at a time. All but `discard` comes after `resume`."""

    checkpoint_length: int | None
    """Bytes after which a sync amid a request is worth what it costs; None where it never is.

    Where there is one, `write` may go on while a `sync` runs that is of what was written before it.
    """

    writes_ahead: int
    """How many writes are worth to be under way at a time; each holds its data in memory."""

    async def resume(self, offset: int, state: str | None) -> None:
        """Go on after the first `offset` bytes, as they were when `sync` returned `state`.

        What was written behind them is dropped. A new upload is resumed at 0 with no state.

        Raises:
            StagedMissing: those bytes are not there.
        """

    async def write(self, data: bytes, running: RunningDigest | None = None) -> None:
        """Append `data`, and hash it with `running`, which is good for nothing more where this fails.

        It may be called again before it returns, up to `writes_ahead` times: what is written comes in the
        order of the calls, and nothing comes after one that failed.

        Raises:
            StoreFull, BlobTooLarge, StoreUnavailable: only a part of it, or nothing, was written; or
                something that came before it was not.
        """

    async def sync(self) -> str | None:
        """Return when all bytes written so far survive a loss of power: what `resume` needs to go on."""

    def read(self) -> AsyncIterator[bytes]:
        """Yield the bytes from the first one to the last that was written; nothing is written after that."""

    async def commit(self, digest: Digest) -> str:
        """Make the bytes a blob, durably, and return its location. They were verified by the caller."""

    async def discard(self, state: str | None, *, thorough: bool = False) -> None:
        """Drop the bytes of which `state` tells, and those written since. Dropping what is gone is no error.

        Thorough, it also drops what no state tells of any more, for which the store may have to look around:
        that is for work in the background. The upload must not have become a blob.
        """


class Holds(Protocol):
    """Holds uploads for a store that has no locks of its own."""

    def hold(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold the upload against every other request, of this process or another.

        Who stands still for too long can lose it without noticing: the store never lets one holder overwrite
        what another wrote.

        Raises:
            StagedMissing: there is no such upload.
            StagedBusy: somebody else holds it.
        """


class BlobStore(Protocol):
    """Where blobs live. A location is opaque to everyone else and is kept in the blob's row."""

    chunk_min_length: int | None
    """The smallest chunk, in bytes, that costs nothing extra (`OCI-Chunk-Min-Length`); none if any does."""

    redirects: bool
    """Whether clients are sent to the store itself for a blob's bytes."""

    async def prepare(self) -> None:
        """Make ready for use; called once, before anything else.

        Raises:
            StoreUnavailable: in words for the operator.
        """

    async def stage(self, key: str) -> None:
        """Begin an upload under `key`, a name that the caller has made unique."""

    def hold(self, key: str) -> AbstractAsyncContextManager[StagedBlob]:
        """Hold the upload against every other request, of this process or another.

        State that is read while the upload is held cannot change before it is let go.

        Raises:
            StagedMissing: there is no such upload.
            StagedBusy: somebody else holds it.
        """

    async def staged_before(self, moment: datetime) -> Iterable[str]:
        """Return the keys of uploads of which there are bytes, none younger than `moment`.

        That is for finding bytes that nobody else knows of, in the background.
        """

    async def remove_stray(self, key: str) -> None:
        """Drop what is left of an upload that nobody knows of; a blob that was made of it stays.

        Raises:
            StagedBusy: somebody holds it.
        """

    async def remove_unnamed(self, key: str) -> None:
        """Drop the blob that an upload became, if it became one, and all else that is left of it.

        The caller has removed the upload's row, so that no row will ever name the blob. The store may have to
        look around: that is for work in the background.

        Raises:
            StagedBusy: somebody holds it.
        """

    async def delete(self, locations: Sequence[str]) -> None:
        """Drop the blobs at these locations, durably; those that are gone are no error.

        No location is ever used again: what is written later has one of its own.

        Raises:
            StoreUnavailable: some of them may be there still.
        """

    def walk(self) -> AsyncIterator[Sequence[KeptBytes]]:
        """Yield all bytes that are blobs, or may become one, in no order: never for a request."""

    async def space(self) -> Space | None:
        """Return how much room there is; None where nothing bounds it."""

    async def size(self, location: str) -> int:
        """Return how many bytes there are at `location`.

        Raises:
            BlobMissing: there are none.
        """

    async def open(self, location: str) -> BlobReader:
        """Open the blob at `location`.

        Raises:
            BlobMissing: there is none.
        """

    async def url(self, location: str) -> str | None:
        """Return where anybody can get the blob for a while; None where it is to be read here."""
