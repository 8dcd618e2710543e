"""Uploads on their way to being blobs: started, held, received, verified.

Two things are true of an upload at all times. Its row says of its bytes only what is durable. And whoever
changes either of them holds the upload, and has read the row since.
"""

import contextlib
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from registry.errors import Problem, RegistryError, UploadError
from registry.intake import Intake
from registry.interface import Chunk
from registry.names import RepositoryName
from storage.blobs import BlobStore, BlobStoreError, StagedBlob, StagedBusy, StagedMissing, StoreFull
from storage.digest import Digest, RunningDigest, digest_of
from storage.metadata import uploads
from storage.metadata.blobs import StoredBlob
from storage.metadata.engine import Connection, Metadata, MetadataFull
from storage.metadata.uploads import StoredUpload

# Uploads whose running hash is kept in memory between two requests; the others are read again at the end.
_RUNNING_DIGESTS: Final = 1024

# An upload that lies idle for this long makes room where somebody has begun too many.
_FORGOTTEN: Final = timedelta(hours=1)

# Seconds in which some of them may well have ended.
_RETRY_AFTER: Final = 30

_ID_BYTES: Final = 16
_ID: Final = re.compile(f"[0-9a-f]{{{2 * _ID_BYTES}}}")


class Uploads:
    """The uploads of all repositories. `actor` is who began one: to others it is unknown.

    Nobody has begun more than `most` at a time, give or take those that begin in the same moment: to count
    in the transaction would set all beginnings against each other. Where there are no accounts, that is for
    all callers together.
    """

    def __init__(self, metadata: Metadata, store: BlobStore, most: int) -> None:
        self._metadata = metadata
        self._store = store
        self._most = most
        self._running = RunningDigests()

    async def start(self, repository: RepositoryName, actor: str | None, algorithm: str) -> StoredUpload:
        """Begin an upload: first its place for bytes, then its row.

        Raises:
            RegistryError: TOO_MANY_REQUESTS, STORE_FULL.
        """
        if await self._metadata.lookup(uploads.count_of, actor, most=self._most) >= self._most:
            await self._make_room(actor)
        upload = StoredUpload(
            id=secrets.token_hex(_ID_BYTES),
            repository=repository,
            actor=actor,
            algorithm=algorithm,
            offset=0,
            digest=None,
        )
        try:
            await self._store.stage(upload.id)
        except StoreFull as error:
            raise RegistryError(Problem.STORE_FULL) from error
        try:
            await self._metadata.write(uploads.add, upload, now=datetime.now(UTC))
        except MetadataFull:
            # Nothing names it: it would take of what is missing until it is swept.
            await self._store.remove_stray(upload.id)
            raise
        return upload

    async def _make_room(self, actor: str | None) -> None:
        """Give up an upload that was forgotten: clients that crashed shut no account out for days."""
        before = datetime.now(UTC) - _FORGOTTEN
        upload_id = await self._metadata.lookup(uploads.longest_idle, actor, before)
        if upload_id is None or not await give_up(self._metadata, self._store, upload_id, before):
            message = f"{self._most} uploads are begun and not finished: finish some first, or cancel them"
            raise RegistryError(Problem.TOO_MANY_REQUESTS, message, retry_after=_RETRY_AFTER)

    async def find(self, repository: RepositoryName, actor: str | None, upload_id: str) -> StoredUpload:
        """Return the upload as its row tells of it.

        Raises:
            RegistryError: UPLOAD_UNKNOWN.
        """
        # What cannot be an id is not asked for: PostgreSQL takes no NUL, for one.
        is_id = _ID.fullmatch(upload_id) is not None
        upload = await self._metadata.lookup(uploads.find, upload_id) if is_id else None
        if upload is None or (upload.repository, upload.actor) != (repository, actor):
            raise RegistryError(Problem.UPLOAD_UNKNOWN)
        return upload

    @contextlib.asynccontextmanager
    async def hold(
        self, repository: RepositoryName, actor: str | None, upload_id: str
    ) -> AsyncIterator["HeldUpload"]:
        """Hold the upload against every other request.

        Raises:
            RegistryError: UPLOAD_UNKNOWN, UPLOAD_BUSY; STORE_FULL also from within.
        """
        before = await self.find(repository, actor, upload_id)
        try:
            async with self._store.hold(upload_id) as staged:
                # Read again: another request may have gone on with it until now.
                upload = await self.find(repository, actor, upload_id)
                held = HeldUpload(self._metadata, self._running, staged, upload)
                async with held.given_up_on_damage():
                    yield held
        except StagedMissing as error:
            raise RegistryError(Problem.UPLOAD_UNKNOWN) from error
        except StagedBusy as error:
            raise UploadError(Problem.UPLOAD_BUSY, upload_id, before.offset) from error
        except StoreFull as error:
            raise RegistryError(Problem.STORE_FULL) from error


async def give_up(metadata: Metadata, store: BlobStore, upload_id: str, before: datetime) -> bool:
    """Remove an upload that nothing was added to since `before`; tell whether that is what was done."""
    try:
        async with store.hold(upload_id) as staged:
            # Held now: look again whether somebody went on with it before that.
            if await metadata.lookup(uploads.is_touched_since, upload_id, before):
                return False
            upload = await metadata.lookup(uploads.find, upload_id)
            # Only who removes the row may remove bytes.
            if upload is None or not await metadata.write(uploads.remove, upload_id):
                return False
            await staged.discard(upload.state, thorough=True)
    except StagedBusy:
        return False
    except StagedMissing:
        # It became a blob, perhaps, that a crash kept from being named.
        if not await metadata.write(uploads.remove, upload_id):
            return False
        await store.remove_unnamed(upload_id)
    return True


class HeldUpload:
    """An upload that one request holds. `upload` is how far it has come, durable or not yet."""

    def __init__(
        self, metadata: Metadata, kept: "RunningDigests", staged: StagedBlob, upload: StoredUpload
    ) -> None:
        self.upload = upload
        self._metadata = metadata
        self._kept = kept
        self._running: RunningDigest | None = None
        self._staged = staged
        self._saved = upload.offset

    async def receive(self, chunk: Chunk, algorithm: str | None = None) -> None:
        """Take the chunk in, not yet synced. What arrived of one that breaks off is kept.

        An upload without a byte so far is hashed with `algorithm`, if that is known by now.

        Raises:
            UploadError: UPLOAD_RANGE_INVALID or SIZE_INVALID; the upload is where it was.
        """
        before = self.upload
        if chunk.start is not None and chunk.start != before.offset:
            raise UploadError(Problem.UPLOAD_RANGE_INVALID, before.id, before.offset)
        running = self._kept.take(before.id, before.offset)
        wanted = algorithm or before.algorithm
        if before.offset == 0 and (running is None or running.algorithm != wanted):
            running = RunningDigest(wanted)
        await self._staged.resume(before.offset, before.state)
        intake = Intake(self._staged, before.offset, running, self._save)
        try:
            await _pour(chunk, intake)
        except _LengthDiffers as error:
            await self._save(before.offset, before.digest, before.state)
            raise UploadError(Problem.SIZE_INVALID, before.id, before.offset, str(error)) from error
        except BaseException as error:
            if not _is_of_store(error):
                self._advance_to(intake)
                await self.keep()
            raise
        self._advance_to(intake)

    async def keep(self) -> None:
        """Make what was received durable, for the next request to go on from."""
        state = await self._staged.sync()
        await self._save(self.upload.offset, self.upload.digest, state)
        if self._running is not None:
            self._kept.put(self.upload.id, self.upload.offset, self._running)

    async def commit(self, digest: Digest) -> StoredBlob:
        """Make the bytes a blob, durably. Its row is still to be written, and the upload's to be removed.

        Raises:
            RegistryError: DIGEST_INVALID; the upload is gone.
        """
        if await self._digest(digest.algorithm) != digest:
            await self.drop()
            raise RegistryError(Problem.DIGEST_INVALID, "the uploaded bytes are not what the digest says")
        return StoredBlob(digest, self.upload.offset, await self._staged.commit(digest))

    def finish(self, db: Connection) -> None:
        """Remove the row of an upload that became a blob, in the transaction that names the blob.

        Raises:
            RegistryError: UPLOAD_UNKNOWN; somebody else has gone on with it or given it up, though it was
                held, and may have dropped the bytes.
        """
        if not uploads.finish(db, self.upload.id, since=self._saved):
            raise RegistryError(Problem.UPLOAD_UNKNOWN)

    async def drop(self) -> None:
        """Give the upload up, its row first: only who removes that may remove bytes."""
        if await self._metadata.write(uploads.remove, self.upload.id):
            await self._staged.discard(self.upload.state)

    @contextlib.asynccontextmanager
    async def given_up_on_damage(self) -> AsyncIterator[None]:
        """Drop the upload where its bytes may be damaged.

        A kernel reports a page that it could not write once, and then forgets it: a second sync that
        succeeds says nothing about bytes whose first sync failed.
        """
        try:
            yield
        except OSError as error:
            if _is_of_store(error):
                await self.drop()
            raise

    def _advance_to(self, intake: Intake) -> None:
        self._running = intake.running
        if intake.offset != self.upload.offset or self.upload.digest is None:
            self.upload = replace(self.upload, offset=intake.offset, digest=intake.digest)

    async def _save(self, offset: int, digest: Digest | None, state: str | None) -> None:
        """Write the row; only who knows what it said before may."""
        now = datetime.now(UTC)
        if not await self._metadata.write(
            uploads.advance, self.upload.id, offset, digest, state, since=self._saved, now=now
        ):
            raise UploadError(Problem.UPLOAD_BUSY, self.upload.id, self._saved)
        self._saved = offset

    async def _digest(self, algorithm: str) -> Digest:
        """Return the digest of all bytes; they are read again only if nobody hashed them on their way in."""
        known = self.upload.digest
        if known is not None and known.algorithm == algorithm:
            return known
        return await digest_of(self._staged.read(), algorithm)


class RunningDigests:
    """Hashes of uploads that go on in a later request, as many as fit."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, RunningDigest]] = OrderedDict()

    def put(self, upload_id: str, offset: int, running: RunningDigest) -> None:
        """Keep the hash of the first `offset` bytes."""
        self._kept[upload_id] = (offset, running)
        if len(self._kept) > _RUNNING_DIGESTS:
            self._kept.popitem(last=False)

    def take(self, upload_id: str, offset: int) -> RunningDigest | None:
        """Hand over the hash of the first `offset` bytes; another process may have gone on without it."""
        kept_offset, running = self._kept.pop(upload_id, (None, None))
        return running if kept_offset == offset else None


class _LengthDiffers(Exception):
    """The chunk is longer or shorter than its Content-Range."""


async def _pour(chunk: Chunk, intake: Intake) -> None:
    received = 0
    try:
        async for data in chunk.data:
            received += len(data)
            if chunk.length is not None and received > chunk.length:
                break
            await intake.add(data)
    finally:
        # Whatever broke off, nothing may be writing when the upload is let go.
        await intake.finish()
    if chunk.length is not None and received != chunk.length:
        more = "more" if received > chunk.length else "fewer"
        raise _LengthDiffers(f"{more} bytes than the {chunk.length} of the Content-Range")


def _is_of_store(error: BaseException) -> bool:
    """Tell whether the store failed, rather than the client or the request."""
    if isinstance(error, ConnectionError | TimeoutError):
        return False  # errors of sockets, which Python counts among those of the system
    return isinstance(error, OSError | BlobStoreError)
