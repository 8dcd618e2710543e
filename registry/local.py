"""LocalRegistry: a Registry over Metadata and a BlobStore.

Bytes are durable before the row that names them, and the row is committed before the client hears of it.
"""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TypeVar

from auth.identity import SYSTEM, Identity
from registry.errors import Problem, RegistryError, UploadError, blob_unknown
from registry.intake import Intake
from registry.interface import (
    Blob,
    Chunk,
    Condition,
    Descriptor,
    Manifest,
    Page,
    PushedManifest,
    Upload,
)
from registry.manifest import OCTET_STREAM, ParsedManifest, parse_manifest
from registry.names import LIBRARY, Reference, RepositoryName, Tag
from storage.blobs import BlobMissing, BlobStore, StagedBlob, StagedBusy, StagedMissing, StoreFull
from storage.digest import Digest, RunningDigest
from storage.metadata import blobs, manifests, repositories, tags, uploads
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import References, StoredManifest
from storage.metadata.repositories import Viewer

T = TypeVar("T")

# Uploads whose running hash is kept in memory between two requests; the others are read again at the end.
_RUNNING_DIGESTS: Final = 1024

_UPLOAD_ID_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decides about content."""

    sparse: Literal["none", "index", "all"] = "index"
    """Which manifests may name content that is not here."""
    public: bool = False
    """Whether a repository that a push makes is public."""


@dataclass(frozen=True, slots=True)
class LocalRegistry:
    """A Registry over two stores, acting for `caller`. Checks no rights: `Authorized` does."""

    metadata: Metadata
    store: BlobStore
    rules: Rules = Rules()
    caller: Identity = SYSTEM
    _running: "_RunningDigests" = field(default_factory=lambda: _RunningDigests())  # noqa: PLW0108 - defined below

    def acting_for(self, caller: Identity) -> "LocalRegistry":
        """Return this registry as `caller` sees it and is recorded in it."""
        return replace(self, caller=caller)

    @property
    def _actor(self) -> str | None:
        return self.caller.name or None

    @property
    def _viewer(self) -> Viewer:
        return Viewer(self.caller.account_id, sees_all=self.caller.is_admin)

    # -- manifests -------------------------------------------------------------------------------------

    async def find_manifest(self, repository: RepositoryName, reference: Reference) -> Descriptor:
        found = await self.metadata.lookup(manifests.find, repository, reference)
        if found is None:
            raise await self._manifest_unknown(repository, reference)
        return _describe(found)

    async def get_manifest(self, repository: RepositoryName, reference: Reference) -> Manifest:
        found = await self.metadata.lookup(manifests.read, repository, reference)
        if found is None:
            raise await self._manifest_unknown(repository, reference)
        return Manifest(_describe(found[0]), found[1])

    async def put_manifest(
        self,
        repository: RepositoryName,
        content: bytes,
        media_type: str | None,
        *,
        digest: Digest | None,
        tags: Sequence[Tag],
        condition: Condition,
    ) -> PushedManifest:
        if digest is None:
            digest = Digest.of(content)
        elif not digest.matches(content):
            raise RegistryError(Problem.DIGEST_INVALID, "the manifest is not what the digest says")
        parsed = parse_manifest(content, media_type)
        manifest = StoredManifest(
            digest, parsed.media_type, len(content), parsed.subject, parsed.artifact_type, parsed.annotations
        )
        put = partial(self._put_manifest, repository, manifest, content, parsed, tags, condition)
        await self.metadata.write(put)
        return PushedManifest(_describe(manifest), parsed.subject)

    def _put_manifest(
        self,
        repository: RepositoryName,
        manifest: StoredManifest,
        content: bytes,
        parsed: ParsedManifest,
        new_tags: Sequence[Tag],
        condition: Condition,
        db: Connection,
    ) -> None:
        now = _now()
        repository_id = self._ensure(db, repository, now)
        for tag in new_tags:
            if not condition.holds(tags.digest_of(db, repository, tag)):
                raise RegistryError(Problem.PRECONDITION_FAILED, detail={"tag": tag})
        self._check_references(db, repository_id, parsed)
        references = References(
            blobs=(*parsed.blobs, *parsed.optional_blobs),
            manifests=tuple(child.digest for child in parsed.children),
        )
        manifests.put(db, repository_id, manifest, content, references, by=self._actor, now=now)
        for tag in new_tags:
            tags.put(db, repository_id, tag, manifest.digest, by=self._actor, now=now)

    def _check_references(self, db: Connection, repository_id: int, parsed: ParsedManifest) -> None:
        if self.rules.sparse == "all" or (self.rules.sparse == "index" and parsed.is_index):
            return
        missing = blobs.missing(db, repository_id, parsed.blobs)
        missing += manifests.missing(db, repository_id, [child.digest for child in parsed.children])
        if missing:
            raise RegistryError(Problem.MANIFEST_BLOB_UNKNOWN, detail=[{"digest": each} for each in missing])

    async def delete_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        if not await self.metadata.write(manifests.remove, repository, digest):
            raise await self._manifest_unknown(repository, digest)

    async def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        if not await self.metadata.write(tags.remove, repository, tag):
            raise await self._manifest_unknown(repository, tag)

    async def _manifest_unknown(self, repository: RepositoryName, reference: Reference) -> RegistryError:
        if not await self.metadata.lookup(repositories.exists, repository):
            return _name_unknown(repository)
        return RegistryError(Problem.MANIFEST_UNKNOWN, detail={"reference": reference})

    # -- blobs -----------------------------------------------------------------------------------------

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Descriptor:
        stored = await self.metadata.lookup(blobs.find, repository, digest)
        if stored is not None:
            return Descriptor(OCTET_STREAM, digest, stored.size)
        # containerd asks for manifests here when it only knows their digest.
        manifest = await self.metadata.lookup(manifests.find, repository, digest)
        if manifest is None:
            raise blob_unknown(digest)
        return _describe(manifest)

    async def open_blob(self, repository: RepositoryName, digest: Digest) -> Blob:
        stored = await self.metadata.lookup(blobs.find, repository, digest)
        if stored is None:
            manifest = await self.metadata.lookup(manifests.read, repository, digest)
            if manifest is None:
                raise blob_unknown(digest)
            return Blob(_describe(manifest[0]), _BytesReader(manifest[1]))
        try:
            reader = await self.store.open(stored.location)
        except BlobMissing as error:
            raise blob_unknown(digest) from error
        return Blob(Descriptor(OCTET_STREAM, digest, stored.size), reader)

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        if not await self.metadata.write(_unlink_unused, repository, digest):
            raise blob_unknown(digest)

    async def mount_blob(
        self, repository: RepositoryName, digest: Digest, source: RepositoryName | None
    ) -> Descriptor | None:
        size = await self.metadata.write(partial(self._mount, repository, digest, source))
        return None if size is None else Descriptor(OCTET_STREAM, digest, size)

    def _mount(
        self, repository: RepositoryName, digest: Digest, source: RepositoryName | None, db: Connection
    ) -> int | None:
        if source is None:
            stored = blobs.find_anywhere(db, digest, self._viewer)
        else:
            stored = blobs.find(db, source, digest)
        if stored is None:
            return None
        now = _now()
        blobs.link(db, self._ensure(db, repository, now), digest, now=now)
        return stored.size

    # -- uploads ---------------------------------------------------------------------------------------

    async def start_upload(self, repository: RepositoryName, algorithm: str) -> Upload:
        upload = uploads.StoredUpload(
            id=secrets.token_hex(_UPLOAD_ID_LENGTH // 2),
            repository=repository,
            actor=self._actor,
            algorithm=algorithm,
            offset=0,
            digest=None,
        )
        await self.store.stage(upload.id)
        await self.metadata.write(uploads.add, upload, now=_now())
        return self._upload(upload)

    async def get_upload(self, repository: RepositoryName, upload_id: str) -> Upload:
        return self._upload(await self._find_upload(repository, upload_id))

    async def append_upload(self, repository: RepositoryName, upload_id: str, chunk: Chunk) -> Upload:
        async with self._hold(repository, upload_id) as (upload, staged):
            received, running = await self._receive(upload, staged, chunk)
            await self._keep(received, staged, running)
            return self._upload(received)

    async def finish_upload(
        self, repository: RepositoryName, upload_id: str, digest: Digest, chunk: Chunk
    ) -> Descriptor:
        async with self._hold(repository, upload_id) as (upload, staged):
            if upload.offset == 0:
                # All bytes are still to come: hash them the way the client does.
                upload = replace(upload, algorithm=digest.algorithm)  # noqa: PLW2901
            received, _ = await self._receive(upload, staged, chunk)
            if await _digest_of(received, staged, digest.algorithm) != digest:
                await self._drop(upload_id, staged)
                raise RegistryError(Problem.DIGEST_INVALID, "the uploaded bytes are not what the digest says")
            stored = blobs.StoredBlob(digest, received.offset, await staged.commit(digest))
            await self.metadata.write(partial(self._add_blob, repository, upload_id, stored))
        return Descriptor(OCTET_STREAM, digest, stored.size)

    def _add_blob(
        self, repository: RepositoryName, upload_id: str, stored: blobs.StoredBlob, db: Connection
    ) -> None:
        now = _now()
        blobs.add(db, stored, now=now)
        blobs.link(db, self._ensure(db, repository, now), stored.digest, now=now)
        uploads.remove(db, upload_id)

    async def cancel_upload(self, repository: RepositoryName, upload_id: str) -> None:
        async with self._hold(repository, upload_id) as (_, staged):
            await self._drop(upload_id, staged)

    async def _drop(self, upload_id: str, staged: StagedBlob) -> None:
        await self.metadata.write(uploads.remove, upload_id)
        await staged.discard()

    @contextlib.asynccontextmanager
    async def _hold(
        self, repository: RepositoryName, upload_id: str
    ) -> AsyncIterator[tuple[uploads.StoredUpload, StagedBlob]]:
        before = await self._find_upload(repository, upload_id)
        try:
            async with self.store.hold(upload_id) as staged:
                # Read again: another request may have gone on with it until now.
                yield await self._find_upload(repository, upload_id), staged
        except StagedMissing as error:
            raise RegistryError(Problem.UPLOAD_UNKNOWN) from error
        except StagedBusy as error:
            raise UploadError(Problem.UPLOAD_BUSY, upload_id, before.offset) from error
        except StoreFull as error:
            raise RegistryError(Problem.STORE_FULL) from error

    async def _find_upload(self, repository: RepositoryName, upload_id: str) -> uploads.StoredUpload:
        upload = await self.metadata.lookup(uploads.find, upload_id)
        if upload is None or (upload.repository, upload.actor) != (repository, self._actor):
            raise RegistryError(Problem.UPLOAD_UNKNOWN)
        return upload

    async def _receive(
        self, upload: uploads.StoredUpload, staged: StagedBlob, chunk: Chunk
    ) -> tuple[uploads.StoredUpload, RunningDigest | None]:
        """Store the chunk, not yet synced. What arrived of one that breaks off is kept."""
        if chunk.start is not None and chunk.start != upload.offset:
            raise UploadError(Problem.UPLOAD_RANGE_INVALID, upload.id, upload.offset)
        running = self._running.take(upload.id, upload.offset)
        if upload.offset == 0 and (running is None or running.algorithm != upload.algorithm):
            running = RunningDigest(upload.algorithm)
        await staged.resume(upload.offset)
        intake = Intake(staged, upload.offset, running, partial(self._advance, upload.id))
        try:
            await _pour(chunk, intake)
        except _LengthDiffers as error:
            await self._advance(upload.id, upload.offset, upload.digest)
            raise UploadError(Problem.SIZE_INVALID, upload.id, upload.offset, str(error)) from error
        except StoreFull:
            raise
        except BaseException:
            await self._keep(_after(upload, intake), staged, running)
            raise
        return _after(upload, intake), running

    async def _keep(
        self, received: uploads.StoredUpload, staged: StagedBlob, running: RunningDigest | None
    ) -> None:
        """Make what was received durable, for the next request to go on from."""
        await staged.sync()
        await self._advance(received.id, received.offset, received.digest)
        if running is not None:
            self._running.put(received.id, received.offset, running)

    async def _advance(self, upload_id: str, offset: int, digest: Digest | None) -> None:
        await self.metadata.write(uploads.advance, upload_id, offset, digest, now=_now())

    def _upload(self, upload: uploads.StoredUpload) -> Upload:
        return Upload(upload.id, upload.offset, self.store.chunk_min_length)

    # -- lists -----------------------------------------------------------------------------------------

    async def list_tags(self, repository: RepositoryName, *, last: str, limit: int) -> Page[str]:
        if not await self.metadata.lookup(repositories.exists, repository):
            raise _name_unknown(repository)
        return _page(await self.metadata.read(tags.names, repository, last=last, limit=limit + 1), limit)

    async def list_repositories(self, *, last: str, limit: int) -> Page[str]:
        names = await self.metadata.read(repositories.names, self._viewer, last=last, limit=limit + 1)
        return _page(names, limit)

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None,
        last: str,
        limit: int,
    ) -> Page[Descriptor]:
        rows = await self.metadata.read(
            manifests.referrers,
            repository,
            subject,
            artifact_type=artifact_type,
            last=last,
            limit=limit + 1,
        )
        found = {each.digest: _describe(each) for each in rows}
        for each in await self._tagged_referrers(repository, subject):
            if each.digest > last and artifact_type in (None, each.artifact_type):
                found.setdefault(each.digest, each)
        return _page([found[digest] for digest in sorted(found)], limit)

    async def _tagged_referrers(self, repository: RepositoryName, subject: Digest) -> list[Descriptor]:
        """Return what a client that does not know the API lists by a tag ("Referrers Tag Schema")."""
        tag = f"{subject.algorithm}-{subject.hex}"
        found = await self.metadata.lookup(manifests.read, repository, tag)
        if found is None:
            return []
        listed = parse_manifest(found[1], found[0].media_type).children
        present = await self.metadata.read(_present, repository, [each.digest for each in listed])
        return [
            Descriptor(each.media_type, each.digest, each.size, each.artifact_type, each.annotations)
            for each in listed
            if each.digest in present
        ]

    def _ensure(self, db: Connection, repository: RepositoryName, now: datetime) -> int:
        """Return the repository's id; a first push makes it."""
        public = self.rules.public or repository.startswith(f"{LIBRARY}/")
        try:
            return repositories.ensure(
                db, repository, public=public, make_namespace=self.caller.is_admin, now=now
            )
        except repositories.NamespaceMissing as error:
            raise RegistryError(Problem.DENIED, "there is no such namespace") from error


class _LengthDiffers(Exception):
    """The chunk is longer or shorter than its Content-Range."""


class _RunningDigests:
    """Hashes of uploads that go on in a later request, as many as fit."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, RunningDigest]] = OrderedDict()

    def put(self, upload_id: str, offset: int, running: RunningDigest) -> None:
        self._kept[upload_id] = (offset, running)
        if len(self._kept) > _RUNNING_DIGESTS:
            self._kept.popitem(last=False)

    def take(self, upload_id: str, offset: int) -> RunningDigest | None:
        """Hand over the hash of the first `offset` bytes; another process may have gone on without it."""
        kept_offset, running = self._kept.pop(upload_id, (None, None))
        return running if kept_offset == offset else None


class _BytesReader:
    """Bytes in memory, read like a stored blob."""

    file = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        yield self._content[start:stop]

    async def close(self) -> None:
        pass


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


def _after(upload: uploads.StoredUpload, intake: Intake) -> uploads.StoredUpload:
    if intake.offset == upload.offset and upload.digest is not None:
        return upload
    return replace(upload, offset=intake.offset, digest=intake.digest)


async def _digest_of(upload: uploads.StoredUpload, staged: StagedBlob, algorithm: str) -> Digest:
    """Return the digest of all bytes; they are read again only if nobody hashed them on their way in."""
    if upload.digest is not None and upload.digest.algorithm == algorithm:
        return upload.digest
    running = RunningDigest(algorithm)
    async for data in staged.read():
        await asyncio.to_thread(running.update, data)
    return running.digest()


def _unlink_unused(db: Connection, repository: RepositoryName, digest: Digest) -> bool:
    user = blobs.user_of(db, repository, digest)
    if user is not None and blobs.find(db, repository, digest) is not None:
        raise RegistryError(Problem.BLOB_IN_USE, detail={"digest": digest, "manifest": user})
    return blobs.unlink(db, repository, digest)


def _present(db: Connection, repository: RepositoryName, digests: Sequence[Digest]) -> set[Digest]:
    found = repositories.find(db, repository)
    return set() if found is None else set(digests) - set(manifests.missing(db, found.id, digests))


def _describe(manifest: StoredManifest) -> Descriptor:
    return Descriptor(
        manifest.media_type, manifest.digest, manifest.size, manifest.artifact_type, manifest.annotations
    )


def _page(rows: Sequence[T], limit: int) -> Page[T]:
    return Page(rows[:limit], more=len(rows) > limit)


def _name_unknown(repository: RepositoryName) -> RegistryError:
    return RegistryError(Problem.NAME_UNKNOWN, detail={"name": repository})


def _now() -> datetime:
    return datetime.now(UTC)
