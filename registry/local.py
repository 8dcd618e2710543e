"""LocalRegistry: a Registry over Metadata and a BlobStore.

Bytes are durable before the row that names them, and the row is committed before the client hears of it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TypeVar

from auth.identity import SYSTEM, Identity
from registry.doubts import Doubts, WatchedReader
from registry.errors import Problem, RegistryError, blob_unknown
from registry.grace import DEFAULT_GRACE, Grace, Renewal
from registry.interface import (
    Blob,
    BlobLink,
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
from registry.statistics import Statistics
from registry.uploads import HeldUpload, Uploads
from storage.blobs import BlobMissing, BlobReader, BlobStore
from storage.digest import Digest
from storage.metadata import blobs, catalog, manifests, repositories, tags, uploads
from storage.metadata.damage import BlobRow
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import References, StoredManifest
from storage.metadata.repositories import Viewer

T = TypeVar("T")

# Bytes of annotations in one page of referrers.
_MAX_ANNOTATIONS: Final = 4 * 1024 * 1024

# Bytes of an index under a referrers tag: some thousand entries.
_MAX_REFERRERS_TAG: Final = 1024 * 1024

# So that the tag of a sha512 digest is not too long for a tag ("Referrers Tag Schema").
_REFERRERS_TAG_HEX: Final = 64

# Tags of what belongs to something else: signatures and the like, and lists of them.
_ATTACHED: Final = re.compile("sha(256|512)-[0-9a-f]{64}.*")

Sparse = Literal["none", "index", "all"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decides about content."""

    sparse: Sparse = "index"
    """Which manifests may name content that is not here."""
    public: bool = False
    """Whether a repository that a push makes is public."""
    grace: Grace = DEFAULT_GRACE
    """How long what nothing needs is kept."""
    uploads: int = 1000
    """How many uploads one account may have begun and not finished."""


DEFAULT_RULES: Final = Rules()


class LocalRegistry:
    """A Registry over two stores, acting for `caller`. Checks no rights: `Authorized` does."""

    def __init__(
        self, metadata: Metadata, store: BlobStore, rules: Rules = DEFAULT_RULES, caller: Identity = SYSTEM
    ) -> None:
        self.metadata = metadata
        self.store = store
        self.rules = rules
        self.caller = caller
        self.uploads = Uploads(metadata, store, rules.uploads)
        self.statistics = Statistics(metadata)
        self._renewal = Renewal(metadata, rules.grace)
        self.doubts = Doubts(metadata, store)

    def acting_for(self, caller: Identity) -> "LocalRegistry":
        """Return this registry as `caller` sees it and is recorded in it."""
        acting = copy(self)
        acting.caller = caller
        return acting

    @property
    def _actor(self) -> str | None:
        """Who is recorded. No account's name holds a colon, so nobody outside passes for one."""
        return f"outside:{self.caller.name}" if self.caller.external else self.caller.name or None

    @property
    def _viewer(self) -> Viewer:
        return viewer_of(self.caller)

    # -- manifests -------------------------------------------------------------------------------------

    async def find_manifest(self, repository: RepositoryName, reference: Reference) -> Descriptor:
        found = await self.metadata.lookup(manifests.find, repository, reference)
        if found is None or not await self._keeps(repository, reference, found):
            raise await self._manifest_unknown(repository, reference)
        self.statistics.note_check(repository, reference)
        return _describe(found)

    async def get_manifest(self, repository: RepositoryName, reference: Reference) -> Manifest:
        found = await self.metadata.lookup(manifests.read, repository, reference)
        if found is None or not await self._keeps(repository, reference, found[0]):
            raise await self._manifest_unknown(repository, reference)
        self.statistics.note_pull(repository, reference)
        return Manifest(_describe(found[0]), found[1])

    async def _keeps(
        self, repository: RepositoryName, reference: Reference, manifest: StoredManifest
    ) -> bool:
        """Count whoever is told that a manifest is here. What a tag means the tag keeps."""
        by_digest = reference == manifest.digest
        return not by_digest or await self._renewal.keep_manifest(repository, manifest)

    async def put_manifest(
        self,
        repository: RepositoryName,
        body: AsyncIterator[bytes],
        media_type: str | None,
        *,
        digest: Digest | None,
        tags: Sequence[Tag],
        condition: Condition,
    ) -> PushedManifest:
        content = b"".join([part async for part in body])
        # In a thread: a manifest of megabytes takes long enough for others to notice.
        verified, parsed = await asyncio.to_thread(_verify_manifest, content, media_type, digest)
        manifest = StoredManifest(
            verified,
            parsed.media_type,
            len(content),
            parsed.subject,
            parsed.artifact_type,
            parsed.annotations,
        )
        put = partial(self._put_manifest, repository, manifest, content, parsed, tags, condition)
        await self.metadata.write(put)
        for tag in tags:
            self.statistics.note_push(repository, tag)
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
        if new_tags:
            own = any(not _ATTACHED.fullmatch(tag) for tag in new_tags)
            catalog.note_push(db, repository_id, parsed.kind if own else None, now=now)

    def _check_references(self, db: Connection, repository_id: int, parsed: ParsedManifest) -> None:
        if self.rules.sparse == "all" or (self.rules.sparse == "index" and parsed.is_index):
            return
        missing = blobs.missing(db, repository_id, parsed.blobs)
        missing += manifests.missing(db, repository_id, [child.digest for child in parsed.children])
        if missing:
            raise RegistryError(Problem.MANIFEST_BLOB_UNKNOWN, detail=[{"digest": each} for each in missing])

    async def delete_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        if not await self.metadata.write(manifests.remove, repository, digest, now=_now()):
            raise await self._manifest_unknown(repository, digest)

    async def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        if not await self.metadata.write(tags.remove, repository, tag, now=_now()):
            raise await self._manifest_unknown(repository, tag)

    async def _manifest_unknown(self, repository: RepositoryName, reference: Reference) -> RegistryError:
        if not await self.metadata.lookup(repositories.exists, repository):
            return _name_unknown(repository)
        return RegistryError(Problem.MANIFEST_UNKNOWN, detail={"reference": reference})

    # -- blobs -----------------------------------------------------------------------------------------

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Descriptor:
        stored = await self._find_blob(repository, digest)
        if stored is not None:
            return Descriptor(OCTET_STREAM, digest, stored.size)
        # containerd asks for manifests here when it only knows their digest.
        manifest = await self.metadata.lookup(manifests.find, repository, digest)
        if manifest is None or not await self._keeps(repository, digest, manifest):
            raise blob_unknown(digest)
        return _describe(manifest)

    async def open_blob(self, repository: RepositoryName, digest: Digest) -> Blob:
        stored = await self._find_blob(repository, digest)
        if stored is None:
            manifest = await self.metadata.lookup(manifests.read, repository, digest)
            if manifest is None or not await self._keeps(repository, digest, manifest[0]):
                raise blob_unknown(digest)
            return Blob(_describe(manifest[0]), _BytesReader(manifest[1]))
        reader = await self._open_stored(repository, stored)
        return Blob(Descriptor(OCTET_STREAM, digest, stored.size), reader)

    async def _find_blob(self, repository: RepositoryName, digest: Digest) -> blobs.StoredBlob | None:
        stored = await self.metadata.lookup(blobs.find, repository, digest)
        if stored is None or not await self._renewal.keep_blob(repository, stored):
            return None
        return stored

    async def _open_stored(self, repository: RepositoryName, stored: blobs.StoredBlob) -> BlobReader:
        row = BlobRow(stored.digest, stored.size, stored.location)
        try:
            reader = await self.store.open(stored.location)
        except BlobMissing as error:
            # Pushed again since it was looked up, its bytes are elsewhere now.
            again = await self.metadata.lookup(blobs.find, repository, stored.digest)
            if again is None or again.location == stored.location:
                await self.doubts.settle(row)
                raise blob_unknown(stored.digest) from error
            return await self._open_stored(repository, again)
        return WatchedReader(reader, row, self.doubts)

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> BlobLink | None:
        stored = await self._find_blob(repository, digest)
        url = None if stored is None else await self.store.url(stored.location)
        if stored is None or url is None:
            return None
        return BlobLink(Descriptor(OCTET_STREAM, digest, stored.size), url)

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
        # Before the bytes come: who may push can still lack a namespace to push to.
        if not self.caller.administers and not await self.metadata.lookup(
            repositories.can_be_made, repository
        ):
            raise _namespace_missing()
        return self._describe_upload(await self.uploads.start(repository, self._actor, algorithm))

    async def get_upload(self, repository: RepositoryName, upload_id: str) -> Upload:
        return self._describe_upload(await self.uploads.find(repository, self._actor, upload_id))

    async def append_upload(self, repository: RepositoryName, upload_id: str, chunk: Chunk) -> Upload:
        async with self.uploads.hold(repository, self._actor, upload_id) as held:
            await held.receive(chunk)
            await held.keep()
            return self._describe_upload(held.upload)

    async def finish_upload(
        self, repository: RepositoryName, upload_id: str, digest: Digest, chunk: Chunk
    ) -> Descriptor:
        async with self.uploads.hold(repository, self._actor, upload_id) as held:
            await held.receive(chunk, digest.algorithm)
            stored = await held.commit(digest)
            await self.metadata.write(partial(self._add_blob, repository, held, stored))
        return Descriptor(OCTET_STREAM, digest, stored.size)

    def _add_blob(
        self, repository: RepositoryName, held: HeldUpload, stored: blobs.StoredBlob, db: Connection
    ) -> None:
        now = _now()
        held.finish(db)
        blobs.add(db, stored, now=now)
        blobs.link(db, self._ensure(db, repository, now), stored.digest, now=now)

    async def cancel_upload(self, repository: RepositoryName, upload_id: str) -> None:
        async with self.uploads.hold(repository, self._actor, upload_id) as held:
            await held.drop()

    def _describe_upload(self, upload: uploads.StoredUpload) -> Upload:
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
        rows, more = await self.metadata.read(
            manifests.referrers,
            repository,
            subject,
            artifact_type=artifact_type,
            last=last,
            limit=limit,
            max_bytes=_MAX_ANNOTATIONS,
        )
        found = {each.digest: _describe(each) for each in rows}
        # What lies behind the end of a page that is full comes with the next one.
        end = rows[-1].digest if rows and more else None
        for each in await self._tagged_referrers(repository, subject):
            fits = each.digest > last and (end is None or each.digest < end)
            if fits and artifact_type in (None, each.artifact_type):
                found.setdefault(each.digest, each)
        page = _page([found[digest] for digest in sorted(found)], limit)
        return Page(page.items, more=page.more or more)

    async def _tagged_referrers(self, repository: RepositoryName, subject: Digest) -> list[Descriptor]:
        """Return what a client that does not know the API lists by a tag ("Referrers Tag Schema").

        A list longer than such clients make would cost whoever asks more than it tells them: it is left out.
        """
        tag = f"{subject.algorithm}-{subject.hex[:_REFERRERS_TAG_HEX]}"
        listing = await self.metadata.lookup(manifests.find, repository, tag)
        if listing is None or listing.size > _MAX_REFERRERS_TAG:
            return []
        found = await self.metadata.lookup(manifests.read, repository, listing.digest)
        if found is None:
            return []
        listed = (await asyncio.to_thread(parse_manifest, found[1], found[0].media_type)).children
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
                db, repository, public=public, make_namespace=self.caller.administers, now=now
            )
        except repositories.NamespaceMissing as error:
            raise _namespace_missing() from error


def viewer_of(caller: Identity) -> Viewer:
    """Return whose eyes the lists for this caller are made for."""
    only = None if caller.limit is None else caller.limit.repositories
    return Viewer(caller.account_id, sees_all=caller.is_admin, only=only)


class _BytesReader:
    """Bytes in memory, read like a stored blob."""

    file = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        yield self._content[start:stop]

    async def close(self) -> None:
        pass


def _verify_manifest(
    content: bytes, media_type: str | None, digest: Digest | None
) -> tuple[Digest, ParsedManifest]:
    if digest is None:
        digest = Digest.of(content)
    elif not digest.matches(content):
        raise RegistryError(Problem.DIGEST_INVALID, "the manifest is not what the digest says")
    return digest, parse_manifest(content, media_type)


def _unlink_unused(db: Connection, repository: RepositoryName, digest: Digest) -> bool:
    user = blobs.user_of(db, repository, digest)
    if user is not None and blobs.is_linked(db, repository, digest):
        raise RegistryError(Problem.BLOB_IN_USE, detail={"digest": digest, "manifest": user})
    return blobs.unlink(db, repository, digest)


def _present(db: Connection, repository: RepositoryName, digests: Sequence[Digest]) -> set[Digest]:
    found = repositories.find(db, repository)
    return set() if found is None else set(digests) - set(manifests.missing(db, found.id, digests))


def _describe(manifest: StoredManifest) -> Descriptor:
    return Descriptor(
        manifest.media_type,
        manifest.digest,
        manifest.size,
        manifest.artifact_type,
        manifest.annotations,
        manifest.warning,
    )


def _page(rows: Sequence[T], limit: int) -> Page[T]:
    return Page(rows[:limit], more=len(rows) > limit)


def _namespace_missing() -> RegistryError:
    return RegistryError(Problem.DENIED, "there is no such namespace")


def _name_unknown(repository: RepositoryName) -> RegistryError:
    return RegistryError(Problem.NAME_UNKNOWN, detail={"name": repository})


def _now() -> datetime:
    return datetime.now(UTC)
