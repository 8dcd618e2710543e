"""Images as people look at them: what is in them, how they were built, what refers to them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from auth.identity import Identity
from auth.policy import allowed_actions
from registry.accounts import standing_of
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
from storage.blobs import BlobMissing, BlobStore
from storage.digest import Digest
from storage.metadata import blobs, manifests, tags
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

T = TypeVar("T")

# A configuration that is larger is not read: builders make some kilobytes.
_MAX_CONFIG: Final = 4 * 1024 * 1024

_MAX_RAW: Final = 64 * 1024
_MAX_TAGS: Final = 50
_MAX_REFERRERS: Final = 100
_MAX_ANNOTATIONS: Final = 256 * 1024

# Manifests that one page of a list looks at behind its indexes: of one index, and of all.
_MAX_PLATFORMS: Final = 20
_MAX_CHILDREN: Final = 1000

# Facts and configurations that are remembered: content under a digest never changes.
_REMEMBERED: Final = 4096

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
        self._facts: OrderedDict[str, Facts] = OrderedDict()
        self._configurations: OrderedDict[str, bytes] = OrderedDict()

    async def facts(
        self, caller: Identity, name: RepositoryName, digests: Iterable[str]
    ) -> Mapping[str, Facts]:
        """Return what a list tells of each of the manifests; one that is not there has none."""
        wanted = list(dict.fromkeys(digests))
        repository_id, _ = await self._metadata.lookup(_visible, caller, name)
        known = {each: self._facts[each] for each in wanted if each in self._facts}
        missing = [each for each in wanted if each not in known]
        if missing:
            found = await self._metadata.read(_with_children, repository_id, missing)
            new = await asyncio.gather(
                *(self._facts_of(repository_id, each, found) for each in missing if each in found)
            )
            for digest, facts in new:
                known[digest] = facts
                _remember(self._facts, digest, facts)
        return known

    async def image(
        self, caller: Identity, name: RepositoryName, reference: Reference, platform: str | None = None
    ) -> Image:
        """Return an image by tag or digest; of an index that of `platform`, or of the most usual one.

        Raises:
            RegistryError: NOT_HERE.
        """
        repository_id, now = await self._metadata.lookup(_visible, caller, name)
        found, named = await self._metadata.read(_manifest, repository_id, reference)
        whole = outline(found.content, found.media_type)
        selected = _select(whole, platform)
        chosen = await self._chosen(repository_id, selected)
        part = whole if chosen is None else outline(chosen.content, chosen.media_type)
        raw = await self._configuration(repository_id, part)
        return Image(
            name=now,
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
            steps=Some() if raw is None else steps(raw, part.layers.items),
            configuration=None if raw is None else configuration(raw),
        )

    async def referrers(self, caller: Identity, name: RepositoryName, digest: Digest) -> Sequence[Referrer]:
        """Return what refers to a manifest, at most 100: by its subject, by cosign's tags, in its index."""
        _, now = await self._metadata.lookup(_visible, caller, name)
        rows, _ = await self._metadata.read(
            manifests.referrers,
            now,
            digest,
            artifact_type=None,
            last="",
            limit=_MAX_REFERRERS,
            max_bytes=_MAX_ANNOTATIONS,
        )
        found = [
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
        return [*found, *await self._metadata.read(_signed_by_tag, now, digest)]

    async def _facts_of(
        self, repository_id: int, digest: str, found: Mapping[str, PushedManifest]
    ) -> tuple[str, Facts]:
        manifest = found[digest]
        whole = outline(manifest.content, manifest.media_type)
        if whole.is_index:
            children = [each for each in whole.children.items if not each.attests]
            sizes = [
                outline(found[each.digest].content, found[each.digest].media_type).total_size
                for each in children
                if each.digest in found
            ]
            platforms = dict.fromkeys(each.platform for each in children if each.platform)
            return digest, Facts(max(sizes, default=0), tuple(platforms), whole.kind)
        raw = await self._configuration(repository_id, whole) if whole.kind == "image" else None
        platform = "" if raw is None else configuration(raw).platform
        return digest, Facts(whole.total_size, (platform,) if platform else (), whole.kind)

    async def _chosen(self, repository_id: int, child: Child | None) -> PushedManifest | None:
        if child is None:
            return None
        return (await self._metadata.read(manifests.read_some, repository_id, [child.digest])).get(
            child.digest
        )

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
        content = await self._read(stored.location, stored.size)
        if content is not None and len(content) <= _MAX_RAW:
            _remember(self._configurations, digest, content)
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


def _visible(db: Connection, caller: Identity, name: RepositoryName) -> tuple[int, RepositoryName]:
    """Return the id and the name of now of a repository that the caller may pull from. Raises NOT_HERE."""
    standing = standing_of(db, caller, name)
    if standing.repository_id is None or "pull" not in allowed_actions(caller, standing):
        raise not_here()
    return standing.repository_id, RepositoryName(standing.name)


def _manifest(
    db: Connection, repository_id: int, reference: Reference
) -> tuple[PushedManifest, Sequence[str]]:
    digest = reference if isinstance(reference, Digest) else tags.digest_in(db, repository_id, reference)
    found = None if digest is None else manifests.read_some(db, repository_id, [digest]).get(digest)
    if found is None:
        raise not_here()
    return found, tags.of_manifest(db, repository_id, found.digest, limit=_MAX_TAGS)


def _with_children(
    db: Connection, repository_id: int, digests: Sequence[str]
) -> Mapping[str, PushedManifest]:
    """Return the manifests, and those that the indexes among them list."""
    found = manifests.read_some(db, repository_id, digests)
    children = {
        child.digest
        for each in found.values()
        for child in outline(each.content, each.media_type).children.items[:_MAX_PLATFORMS]
        if not child.attests
    }
    others = manifests.read_some(db, repository_id, sorted(children - set(found))[:_MAX_CHILDREN])
    return {**found, **others}


def _select(whole: Outline, platform: str | None) -> Child | None:
    """Return the manifest of an index that is of the platform, or else one that most people would run."""
    children = [each for each in whole.children.items if not each.attests]
    for wanted in (platform, _USUAL):
        for each in children:
            if wanted and wanted in (each.platform, each.digest):
                return each
    return children[0] if children else None


def _signed_by_tag(db: Connection, name: RepositoryName, digest: Digest) -> Sequence[Referrer]:
    """Return what cosign keeps under tags that are made of the digest."""
    found: list[Referrer] = []
    for suffix, words in _COSIGN.items():
        tagged = manifests.find(db, name, f"{digest.algorithm}-{digest.hex}{suffix}")
        if tagged is not None:
            found.append(Referrer(str(tagged.digest), "", tagged.media_type, words, tagged.size, {}))
    return found


def _remember(cache: OrderedDict[str, T], key: str, value: T) -> None:
    cache[key] = value
    if len(cache) > _REMEMBERED:
        cache.popitem(last=False)
