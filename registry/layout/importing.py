"""From a layout to a repository, through the Registry protocol, which verifies what comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.errors import RegistryError
from registry.interface import Chunk, Condition, Registry
from registry.layout.exporting import REF_NAME
from registry.layout.reading import Layout, LayoutError, name_of, read_whole
from registry.manifest import OCI_INDEX, OCTET_STREAM, Child, parse_manifest
from registry.move import Progress
from registry.names import RepositoryName, Tag, parse_tag
from storage.digest import Digest

_MAX_INDEX: Final = 4 * 1024 * 1024

# Indexes within indexes.
_MAX_DEPTH: Final = 8


@dataclass(slots=True)
class Imported:
    """What has come."""

    manifests: int = 0
    blobs: int = 0
    """Blobs that the repository did not have."""
    size: int = 0
    """Bytes of those."""
    tags: list[Tag] = field(default_factory=list)
    untagged: list[Digest] = field(default_factory=list)
    """What the layout has no name for."""


@dataclass(slots=True)
class Import:
    """One import into a repository; no manifest has more than `limit` bytes."""

    registry: Registry
    repository: RepositoryName
    layout: Layout
    limit: int
    progress: Progress
    done: Imported = field(default_factory=Imported)
    _pushed: set[Digest] = field(default_factory=set)

    async def run(self, tag: Tag | None) -> Imported:
        """Push what the layout names: under its own names, or the one thing that it names under `tag`.

        Raises:
            LayoutError: it is no layout, or lacks something, or `tag` could mean several things.
            RegistryError: the registry refuses something.
        """
        entries = await self._entries()
        for entry, name in _named(entries, tag):
            tags = [] if name is None else [name]
            await self._push(entry, tags, 0)
            self.done.tags += tags
            self.done.untagged += [] if tags else [entry.digest]
        return self.done

    async def _entries(self) -> Sequence[Child]:
        try:
            version = json.loads(await read_whole(self.layout, "oci-layout", _MAX_INDEX))[
                "imageLayoutVersion"
            ]
            is_known = isinstance(version, str) and version.startswith("1.")
        except (ValueError, KeyError, TypeError):
            is_known = False
        if not is_known:
            raise LayoutError("it is no OCI image layout of version 1")
        try:
            entries = parse_manifest(
                await read_whole(self.layout, "index.json", _MAX_INDEX), OCI_INDEX
            ).children
        except RegistryError as error:
            raise LayoutError(f"index.json: {error}") from error
        if not entries:
            raise LayoutError("the layout has no manifest")
        return entries

    async def _push(self, child: Child, tags: Sequence[Tag], depth: int) -> None:
        """Push a manifest behind all that it names."""
        if child.digest in self._pushed and not tags:
            return
        if depth > _MAX_DEPTH:
            raise LayoutError(f"the layout has more than {_MAX_DEPTH} indexes within each other")
        content = await read_whole(self.layout, name_of(child.digest), self.limit)
        if not await asyncio.to_thread(child.digest.matches, content):
            raise LayoutError(f"the bytes of {child.digest} are damaged")
        parsed = await asyncio.to_thread(parse_manifest, content, child.media_type)
        for each in parsed.children:
            # An index may name images that were left out: the registry decides about that.
            if self.layout.size(name_of(each.digest)) is not None:
                await self._push(each, (), depth + 1)
        for digest in (*parsed.blobs, *parsed.optional_blobs):
            await self._push_blob(digest)
        await self.registry.put_manifest(
            self.repository,
            _once(content),
            child.media_type,
            digest=child.digest,
            tags=tags,
            condition=Condition(),
        )
        self.done.manifests += child.digest not in self._pushed
        self._pushed.add(child.digest)

    async def _push_blob(self, digest: Digest) -> None:
        """Push a blob that is in the layout and not in the repository."""
        size = self.layout.size(name_of(digest))
        if size is None or digest in self._pushed or await self._is_there(digest):
            return
        upload = await self.registry.start_upload(self.repository, digest.algorithm)
        chunk = Chunk(self._watched(digest), length=size)
        await self.registry.finish_upload(self.repository, upload.id, digest, chunk)
        self._pushed.add(digest)
        self.done.blobs += 1
        self.done.size += size

    async def _is_there(self, digest: Digest) -> bool:
        try:
            found = await self.registry.find_blob(self.repository, digest)
        except RegistryError:
            return False
        return found.media_type == OCTET_STREAM  # and no manifest of the same bytes

    async def _watched(self, digest: Digest) -> AsyncIterator[bytes]:
        async for piece in self.layout.read(name_of(digest)):
            yield piece
            self.progress.advance(len(piece))


def _named(entries: Sequence[Child], tag: Tag | None) -> Sequence[tuple[Child, Tag | None]]:
    """Return what is to be pushed under which tag."""
    names = [(entry, _tag_of(entry)) for entry in entries]
    if tag is None:
        return names
    # Without a name are, beside one with a name, what refers to it.
    wanted = [each for each in names if each[1] is not None] or names
    meant = wanted if len({entry.digest for entry, _ in wanted}) == 1 else [e for e in wanted if e[1] == tag]
    if not meant:
        known = ", ".join(str(name) for _, name in wanted if name is not None)
        raise LayoutError(
            f"the layout has several manifests, none of them is {tag}: {known or 'without names'}"
        )
    rest = [] if len(meant) < len(wanted) else [each for each in names if each not in wanted]
    return [(meant[0][0], tag), *rest]


def _tag_of(entry: Child) -> Tag | None:
    """Return the tag in the name that a layout gives, which may be a whole reference."""
    name = (entry.annotations or {}).get(REF_NAME, "")
    last = name.rpartition("/")[2]
    try:
        return parse_tag(last.rpartition(":")[2])
    except RegistryError:
        return None


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
