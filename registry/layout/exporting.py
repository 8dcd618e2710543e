"""From a repository to a layout: manifests as they are, with all that they name."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from registry.errors import Problem, RegistryError
from registry.interface import Blob, Descriptor, Manifest, Registry
from registry.layout.reading import LayoutError, name_of
from registry.layout.writing import Writer
from registry.manifest import OCI_INDEX, parse_manifest
from registry.move import Progress
from registry.names import Reference, RepositoryName, Tag
from storage.digest import Digest, RunningDigest

REF_NAME: Final = "org.opencontainers.image.ref.name"
_PAGE: Final = 100


@dataclass(slots=True)
class Exported:
    """What was written."""

    manifests: int = 0
    blobs: int = 0
    size: int = 0
    """Bytes of the blobs."""
    missing: list[Digest] = field(default_factory=list)
    """Images that an index names and the repository does not have."""


@dataclass(slots=True)
class Export:
    """One export of a repository."""

    registry: Registry
    repository: RepositoryName
    writer: Writer
    progress: Progress
    done: Exported = field(default_factory=Exported)
    _written: set[Digest] = field(default_factory=set)
    _entries: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, references: Sequence[Reference], *, referrers: bool) -> Exported:
        """Write what the references mean, with what refers to it if that is wanted.

        Raises:
            RegistryError: there is no such thing.
            LayoutError: a blob is missing or damaged.
        """
        for reference in references:
            found = await self._write(await self.registry.get_manifest(self.repository, reference))
            name = {REF_NAME: str(reference)} if isinstance(reference, Tag) else None
            self._enter(found, name)
            if referrers:
                await self._write_referrers(found.digest)
        await self._put("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self._entries}
        await self._put("index.json", json.dumps(index).encode())
        self.writer.finish()
        return self.done

    def _enter(self, found: Descriptor, annotations: dict[str, str] | None) -> None:
        entry = Descriptor(found.media_type, found.digest, found.size, found.artifact_type, annotations)
        if entry.to_json() not in self._entries:
            self._entries.append(entry.to_json())

    async def _write(self, manifest: Manifest) -> Descriptor:
        """Write a manifest behind all that it names."""
        found = manifest.descriptor
        if found.digest in self._written:
            return found
        self._written.add(found.digest)
        parsed = await asyncio.to_thread(parse_manifest, manifest.content, found.media_type)
        for child in parsed.children:
            try:
                await self._write(await self.registry.get_manifest(self.repository, child.digest))
            except RegistryError as error:
                if error.problem is not Problem.MANIFEST_UNKNOWN:
                    raise
                self.done.missing.append(child.digest)
        for digest in parsed.blobs:
            await self._write_blob(digest, is_needed=True)
        for digest in parsed.optional_blobs:
            await self._write_blob(digest, is_needed=False)
        await self._put(name_of(found.digest), manifest.content)
        self.done.manifests += 1
        return found

    async def _write_blob(self, digest: Digest, *, is_needed: bool) -> None:
        if digest in self._written:
            return
        try:
            blob = await self.registry.open_blob(self.repository, digest)
        except RegistryError as error:
            if is_needed:
                raise LayoutError(f"{digest} is missing from {self.repository}") from error
            return
        try:
            await self.writer.put(name_of(digest), self._verified(blob), blob.descriptor.size)
        finally:
            await blob.reader.close()
        self._written.add(digest)
        self.done.blobs += 1
        self.done.size += blob.descriptor.size

    async def _verified(self, blob: Blob) -> AsyncIterator[bytes]:
        running = RunningDigest(blob.descriptor.digest.algorithm)
        async for piece in blob.reader.read(0, blob.descriptor.size):
            await asyncio.to_thread(running.update, piece)
            yield piece
            self.progress.advance(len(piece))
        if running.digest() != blob.descriptor.digest:
            raise LayoutError(f"the bytes of {blob.descriptor.digest} are damaged")

    async def _write_referrers(self, subject: Digest) -> None:
        """Write what refers to the subject, and what refers to that."""
        last, more = "", True
        while more:
            page = await self.registry.list_referrers(
                self.repository, subject, artifact_type=None, last=last, limit=_PAGE
            )
            for each in page.items:
                last = each.digest
                if each.digest not in self._written:
                    found = await self.registry.get_manifest(self.repository, each.digest)
                    self._enter(await self._write(found), None)
                    await self._write_referrers(each.digest)
            more = page.more

    async def _put(self, name: str, content: bytes) -> None:
        await self.writer.put(name, _once(content), len(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
