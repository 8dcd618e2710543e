"""Whether the rows agree with each other, and manifests with their digests."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

from registry.errors import RegistryError
from registry.manifest import ParsedManifest, parse_manifest
from storage.metadata import consistency
from storage.metadata.consistency import KeptManifest
from storage.metadata.engine import Connection, Metadata

T = TypeVar("T")

# Rows of one kind that are told of.
_MOST: Final = 1000

Sparse = Literal["none", "index", "all"]


class Progress(Protocol):
    """Hears how far a check has come."""

    def expect(self, what: str, total: int) -> None:
        """So many bytes, or objects, are to come; 0 is an unknown number."""

    def advance(self, amount: int) -> None:
        """So many more are done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the metadata contradicts itself in."""

    kind: str
    subject: str
    detail: str


class Consistency:
    """Reads all manifests, a few at a time. `manifests` is how many there were."""

    def __init__(self, metadata: Metadata, progress: Progress, *, sparse: Sparse) -> None:
        self._metadata = metadata
        self._progress = progress
        self._sparse = sparse
        self.manifests = 0

    async def faults(self) -> AsyncIterator[Fault]:
        """Yield what is wrong."""
        for words in await self._some(consistency.faults_of_file):
            yield Fault("database", "", words)
        for repository, name, digest in await self._some(consistency.tags_without_manifest):
            yield Fault("tag", f"{repository}:{name}", f"means {digest}, which is not there")
        for repository, digest in await self._some(consistency.links_without_blob):
            yield Fault("link", f"{repository}@{digest}", "leads to no blob")
        for digest, location in await self._some(consistency.blobs_about_to_go):
            yield Fault("removed", digest, f"its bytes at {location} count as removed")
        self._progress.expect("manifests", 0)
        after = (0, "")
        while page := await self._metadata.read(consistency.manifests_page, after=after):
            for each in page:
                for fault in await self._faults_of(each):
                    yield fault
            self._progress.advance(len(page))
            self.manifests += len(page)
            after = (page[-1].repository_id, page[-1].digest)

    async def _some(self, query: Callable[[Connection], Iterator[T]]) -> Sequence[T]:
        return await self._metadata.read(lambda db: list(itertools.islice(query(db), _MOST)))

    async def _faults_of(self, kept: KeptManifest) -> Sequence[Fault]:
        name = f"{kept.repository}@{kept.digest}"
        parsed, wrong = await asyncio.to_thread(_read, kept)
        if parsed is None:
            return [Fault("manifest", name, wrong)]
        named = {("blob", each) for each in (*parsed.blobs, *parsed.optional_blobs)}
        named |= {("manifest", child.digest) for child in parsed.children}
        faults = [
            Fault("reference", name, f"no row says that it names the {kind} {target}")
            for kind, target in sorted(named - kept.named)
        ]
        if self._sparse != "all":
            unlinked = await self._metadata.read(
                consistency.unlinked, kept.repository_id, kept.digest, parsed.blobs
            )
            faults += [
                Fault("unlinked", name, f"names {each}, which its repository lacks") for each in unlinked
            ]
        return faults


def _read(kept: KeptManifest) -> tuple[ParsedManifest | None, str]:
    """Return what the manifest says; None and the reason where its bytes are not what rows say of them."""
    if len(kept.content) != kept.size or not kept.digest.matches(kept.content):
        return None, "its bytes are not what the digest says"
    try:
        return parse_manifest(kept.content, kept.media_type), ""
    except RegistryError as error:
        return None, str(error)
