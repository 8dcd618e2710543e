"""Images as people look at them: what is in them, how they were built, what refers to them."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from auth.identity import Identity
from registry.guards import not_here
from registry.image import (
    Child,
    Configuration,
    Layer,
    Outline,
    Some,
    Step,
    configuration,
    name_of,
    outline,
    steps,
)
from registry.names import Reference, RepositoryName
from registry.recent import Recent
from registry.rights import Seen, see
from storage.blobs import BlobMissing, BlobStore
from storage.digest import Digest
from storage.metadata import blobs, damage, indexes, manifests, tags
from storage.metadata.engine import Connection, Metadata
from storage.metadata.manifests import PushedManifest

__all__ = [
    "Child",
    "Configuration",
    "Facts",
    "Image",
    "Images",
    "Layer",
    "Outline",
    "Referrer",
    "Some",
    "Step",
]

# A configuration that is larger is not read: builders make some kilobytes.
_MAX_CONFIG: Final = 1024 * 1024

_MAX_RAW: Final = 64 * 1024
_MAX_TAGS: Final = 50
_MAX_REFERRERS: Final = 100
_MAX_ANNOTATIONS: Final = 256 * 1024

# What one page of a list looks at: manifests, their bytes, and platforms of an index.
_MAX_FACTS: Final = 100
_MAX_BYTES: Final = 16 * 1024 * 1024
_MAX_PLATFORMS: Final = 20

# Indexes in which attestations of a manifest are looked for.
_MAX_INDEXES: Final = 10
_MAX_DAMAGED: Final = 100

# Content under a digest never changes: facts that are remembered, and bytes of configurations.
_FACTS_ROOM: Final = 4096
_CONFIGURATIONS_ROOM: Final = 16 * 1024 * 1024

# Configurations that are read at once.
_AT_ONCE: Final = 4

# What most people run, for who asks for no platform in particular.
_USUAL: Final = "linux/amd64"

# Suffixes of the tags under which cosign keeps what belongs to a digest.
_COSIGN: Final = {".sig": "signature", ".att": "attestation", ".sbom": "SBOM"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a list tells of a manifest; `size` is of what a client of one platform fetches at most."""

    size: int
    platforms: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Image:
    """Everything about one manifest, and about the one of it that was selected where it is an index."""

    name: str
    reference: str
    digest: str
    outline: Outline
    raw: str
    """The manifest as text, at most 64 KiB of it."""
    raw_is_cut: bool
    size: int
    pushed_at: datetime
    pushed_by: str | None
    tags: tuple[str, ...]
    selected: Child | None
    """Of an index: the manifest that the rest is about."""
    total_size: int
    layers: Some[Layer]
    steps: Some[Step]
    configuration: Configuration | None
    damaged: tuple[str, ...] = ()
    """Digests of blobs that cannot be pulled, as their bytes are damaged."""


@dataclass(frozen=True, slots=True)
class Referrer:
    """Something that refers to a manifest; `words` is what people call it."""

    digest: str
    artifact_type: str
    media_type: str
    words: str
    size: int
    annotations: Mapping[str, str]


class Images:
    """Reads manifests and configurations; one for the process."""

    def __init__(self, metadata: Metadata, store: BlobStore) -> None:
        self._metadata = metadata
        self._store = store
        self._facts: Recent[tuple[int, str], Facts] = Recent(_FACTS_ROOM)
        self._configurations: Recent[str, bytes] = Recent(_CONFIGURATIONS_ROOM)
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def facts(
        self, caller: Identity, name: RepositoryName, digests: Iterable[str]
    ) -> Mapping[str, Facts]:
        """Return what a list tells of each of the first 100 manifests; one that is not there has none.

        Raises:
            RegistryError: NOT_HERE.
        """
        wanted = list(dict.fromkeys(digests))[:_MAX_FACTS]
        repository_id = (await self._metadata.lookup(see, caller, name)).id
        known = {each: self._facts.get((repository_id, each)) for each in wanted}
        missing = [each for each in wanted if known[each] is None]
        if missing:
            found = await self._metadata.read(_with_children, repository_id, missing)
            there = [each for each in missing if each in found]
            new = await asyncio.gather(*(self._facts_of(repository_id, each, found) for each in there))
            known.update(zip(there, new, strict=True))
        return {digest: facts for digest, facts in known.items() if facts is not None}

    async def image(
        self, caller: Identity, name: RepositoryName, reference: Reference, platform: str | None = None
    ) -> Image:
        """Return an image by tag or digest; of an index that of `platform`, or of the most usual one.

        Raises:
            RegistryError: NOT_HERE.
        """
        seen = await self._metadata.lookup(see, caller, name)
        found, whole, named = await self._metadata.read(_manifest, seen, reference)
        selected = _select(whole, platform)
        chosen = await self._metadata.read(_outlines, seen.id, [selected.digest]) if selected else {}
        part = whole if selected is None else chosen.get(selected.digest, whole)
        shown = str(found.digest) if selected is None else selected.digest
        damaged = await self._metadata.lookup(damage.named_by, seen.id, shown, limit=_MAX_DAMAGED)
        raw = await self._configuration(seen.id, part)
        configured, built = await asyncio.to_thread(_read_configuration, raw, part)
        return Image(
            name=seen.name,
            reference=str(reference),
            digest=str(found.digest),
            outline=whole,
            raw=found.content[:_MAX_RAW].decode(errors="replace"),
            raw_is_cut=len(found.content) > _MAX_RAW,
            size=len(found.content),
            pushed_at=found.pushed_at,
            pushed_by=found.pushed_by,
            tags=tuple(named),
            selected=selected,
            total_size=part.total_size,
            layers=part.layers,
            steps=built,
            configuration=configured,
            damaged=tuple(damaged),
        )

    async def referrers(
        self, caller: Identity, name: RepositoryName, digest: Digest, *, attestations: bool = False
    ) -> Sequence[Referrer]:
        """Return what refers to a manifest, at most 100: by its subject, and by cosign's tags.

        With `attestations` also those that BuildKit lists beside it in an index: an index lists those of all.

        Raises:
            RegistryError: NOT_HERE.
        """
        seen = await self._metadata.lookup(see, caller, name)
        found = [
            *await self._metadata.read(_referring, seen.name, digest),
            *await self._metadata.read(_signed_by_tag, seen.name, digest),
        ]
        if attestations:
            found += await self._metadata.read(_attesting, seen.id, digest)
        known: dict[str, Referrer] = {}
        for each in found:
            known.setdefault(each.digest, each)
        return list(known.values())

    async def _facts_of(self, repository_id: int, digest: str, found: Mapping[str, Outline]) -> Facts:
        whole = found[digest]
        if whole.is_index:
            children = _looked_at(whole)
            there = [found[each.digest] for each in children if each.digest in found]
            platforms = dict.fromkeys(each.platform for each in children if each.platform)
            size = max((each.total_size for each in there), default=0)
            facts = Facts(size, tuple(platforms), whole.kind)
            complete = len(there) == len(children)
        else:
            raw = await self._configuration(repository_id, whole)
            configured, _ = await asyncio.to_thread(_read_configuration, raw, whole)
            platform = configured.platform if configured else ""
            facts = Facts(whole.total_size, (platform,) if platform else (), whole.kind)
            complete = True
        if complete:
            self._facts.keep((repository_id, digest), facts)
        return facts

    async def _configuration(self, repository_id: int, part: Outline) -> bytes | None:
        """Return the bytes of an image's configuration; None where there is none to read."""
        if part.kind != "image" or part.config is None:
            return None
        digest, _, _ = part.config
        known = self._configurations.get(digest)
        if known is not None:
            return known
        stored = await self._metadata.lookup(blobs.find_in, repository_id, digest)
        if stored is None or stored.size > _MAX_CONFIG:
            return None
        async with self._reading:
            content = await self._read(stored.location, stored.size)
        if content is not None and len(content) <= _MAX_RAW:
            self._configurations.keep(digest, content, len(content))
        return content

    async def _read(self, location: str, size: int) -> bytes | None:
        try:
            reader = await self._store.open(location)
        except BlobMissing:
            return None
        try:
            return b"".join([part async for part in reader.read(0, size)])
        finally:
            await reader.close()


def _manifest(
    db: Connection, seen: Seen, reference: Reference
) -> tuple[PushedManifest, Outline, Sequence[str]]:
    digest = reference if isinstance(reference, Digest) else tags.digest_of(db, seen.name, reference)
    found = None if digest is None else manifests.read_some(db, seen.id, [digest]).get(digest)
    if found is None:
        raise not_here()
    named = tags.of_manifest(db, seen.id, found.digest, limit=_MAX_TAGS)
    return found, outline(found.content, found.media_type), named


def _outlines(db: Connection, repository_id: int, digests: Iterable[str]) -> dict[str, Outline]:
    """Return what manifests say, as far as they are not too large altogether."""
    wanted = indexes.affordable(db, repository_id, digests, max_bytes=_MAX_BYTES)
    found = manifests.read_some(db, repository_id, wanted)
    return {digest: outline(each.content, each.media_type) for digest, each in found.items()}


def _with_children(db: Connection, repository_id: int, digests: Sequence[str]) -> Mapping[str, Outline]:
    """Return what the manifests say, and what those say that the indexes among them list."""
    found = _outlines(db, repository_id, digests)
    children = {child.digest: None for each in found.values() for child in _looked_at(each)}
    return found | _outlines(db, repository_id, [each for each in children if each not in found])


def _looked_at(whole: Outline) -> Sequence[Child]:
    """Return those children of an index that a list tells of."""
    return [each for each in whole.children.items if not each.attests][:_MAX_PLATFORMS]


def _read_configuration(raw: bytes | None, part: Outline) -> tuple[Configuration | None, Some[Step]]:
    if raw is None:
        return None, Some()
    return configuration(raw), Some() if part.layers.more else steps(raw, part.layers.items)


def _select(whole: Outline, platform: str | None) -> Child | None:
    """Return the manifest of an index that is of the platform, or else one that most people would run."""
    children = [each for each in whole.children.items if not each.attests]
    for wanted in (platform, _USUAL):
        for each in children:
            if wanted and wanted in (each.platform, each.digest):
                return each
    return children[0] if children else None


def _referring(db: Connection, name: RepositoryName, digest: Digest) -> Sequence[Referrer]:
    rows, _ = manifests.referrers(
        db,
        name,
        digest,
        artifact_type=None,
        last="",
        limit=_MAX_REFERRERS,
        max_bytes=_MAX_ANNOTATIONS,
    )
    return [
        Referrer(
            str(each.digest),
            each.artifact_type or "",
            each.media_type,
            name_of(each.artifact_type or "") or "artifact",
            each.size,
            each.annotations or {},
        )
        for each in rows
    ]


def _signed_by_tag(db: Connection, name: RepositoryName, digest: Digest) -> Sequence[Referrer]:
    """Return what cosign keeps under tags that are made of the digest."""
    found: list[Referrer] = []
    for suffix, words in _COSIGN.items():
        tagged = manifests.find(db, name, f"{digest.algorithm}-{digest.hex}{suffix}")
        if tagged is not None:
            found.append(Referrer(str(tagged.digest), "", tagged.media_type, words, tagged.size, {}))
    return found


def _attesting(db: Connection, repository_id: int, digest: Digest) -> Sequence[Referrer]:
    """Return the attestations that an index lists beside the manifest, or all that it lists itself."""
    places = [digest, *indexes.listing(db, repository_id, digest, limit=_MAX_INDEXES)]
    children = (
        child
        for place, each in _outlines(db, repository_id, places).items()
        for child in each.children.items
        if child.attests and digest in (place, child.attests)
    )
    return [
        Referrer(each.digest, "", each.media_type, "attestation", each.size, {})
        for each in itertools.islice(children, _MAX_REFERRERS)
    ]
