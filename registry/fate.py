"""Why something is kept, or when it goes: the answers of the collector's own rules, in words.

Nothing is changed: the looks are those of the collector (`storage.metadata.collection`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Final, TypeVar

from registry.grace import Grace
from storage.digest import Digest
from storage.metadata import collection, kept, reachability, removed
from storage.metadata.collection import Look, Name, Place
from storage.metadata.engine import Connection, Metadata
from storage.metadata.removed import Sizes

K = TypeVar("K", Place, Name)

# Rows of one look.
_PAGE: Final = 500

# No manifest is as young as that: only tags count.
_NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a manifest, of a blob in a repository, or of what was removed.

    Attributes:
        kind: "manifest", "blob" or "removed".
        repository: where it is, or was; None for bytes that no repository links.
        state: "kept", "waits" until a moment, or "goes" with one of the next turns.
        because: in words.
        way: from what keeps it down to it: a tag, and digests.
        until: when its time is over; None where nothing is set against it.
    """

    kind: str
    repository: str | None
    state: str
    because: str
    way: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Going:
    """Something that would go now."""

    kind: str
    repository: str | None
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a collection would take now, some of it by name, and what is in quarantine."""

    manifests: Sizes
    links: Sizes
    blobs: Sizes
    due: Sizes
    waiting: Sizes
    """In quarantine altogether, with those that are due."""
    going: Sequence[Going]


class Fates:
    """Tells what becomes of things."""

    def __init__(self, metadata: Metadata, grace: Grace) -> None:
        self._metadata = metadata
        self._grace = grace

    async def explain(self, digest: Digest) -> Sequence[Fate]:
        """Return why it is kept or when it goes, for each place where it is; nothing where it is unknown."""
        return await self._metadata.read(partial(self._explain, digest=digest, now=datetime.now(UTC)))

    def _explain(self, db: Connection, digest: Digest, now: datetime) -> Sequence[Fate]:
        fates = [
            self._of_manifest(db, each, digest, now, (digest,)) for each in kept.repositories_with(db, digest)
        ]
        blob = kept.blob(db, digest)
        if blob is not None:
            fates += [self._of_link(db, link, digest, now) for link in blob.links]
            if not blob.links:
                fates.append(self._of_unlinked(blob.unused_since, now))
        return fates + [self._of_removed(each, now) for each in removed.of_digest(db, digest)]

    def _of_manifest(
        self, db: Connection, place: kept.Where, digest: str, now: datetime, end: tuple[str, ...]
    ) -> Fate:
        """Return what becomes of a manifest, and of what hangs on it: `end` is the end of the way."""
        tell = partial(Fate, "manifest" if len(end) == 1 else "blob", place.repository)
        tagged = reachability.ways(db, place.repository_id, [digest], young=_NEVER).to(digest)
        if tagged:
            tag = kept.a_tag_of(db, place.repository_id, tagged[0])
            return tell("kept", f"the tag {tag} leads to it", (tag, *tagged[:-1], *end))
        if self._grace.untagged is None:
            return tell("kept", "manifests without a tag stay for good, as gc_untagged is not set", end)
        young = now - self._grace.untagged
        way = reachability.ways(db, place.repository_id, [digest], young=young).to(digest)
        if not way:
            return tell("goes", "no tag leads to it", end)
        until = kept.renewed_at(db, place.repository_id, way[0]) + self._grace.untagged
        return tell("waits", "no tag leads to it", (*way[:-1], *end), until)

    def _of_link(self, db: Connection, link: kept.Link, digest: Digest, now: datetime) -> Fate:
        if link.manifest is not None:
            return self._of_manifest(db, link.where, link.manifest, now, (link.manifest, digest))
        until = link.linked_at + self._grace.blobs
        state = "waits" if until > now else "goes"
        return Fate("blob", link.where.repository, state, "no manifest names it", (), until)

    def _of_unlinked(self, unused_since: datetime | None, now: datetime) -> Fate:
        if unused_since is None:
            return Fate("blob", None, "waits", "no repository has it; its time begins with the next turn")
        until = unused_since + self._grace.blobs
        return Fate("blob", None, "waits" if until > now else "goes", "no repository has it", (), until)

    def _of_removed(self, each: removed.Removal, now: datetime) -> Fate:
        due_at = each.due_at
        if not each.is_manifest:
            due_at = max(due_at, each.removed_at + self._grace.redirected)
        state = "goes" if each.is_going or due_at <= now else "waits"
        word = "its bytes are being deleted" if each.is_going else "it can come back until then"
        because = f"removed at {each.removed_at:%Y-%m-%d %H:%M}Z, {each.reason}; {word}"
        return Fate("removed", each.repository, state, because, (), due_at)

    async def outlook(self, limit: int) -> Outlook:
        """Look at all rows for what would go now; name at most `limit` of it."""
        now = datetime.now(UTC)
        going: list[Going] = []
        manifests = Sizes(0, 0)
        if self._grace.untagged is not None:
            before = now - self._grace.untagged
            look = partial(collection.loose_manifests, before=before, limit=_PAGE)
            of_page = partial(_untagged, before=before)
            manifests = await self._add_up(look, of_page, going, limit)
        look = partial(collection.loose_links, before=now - self._grace.blobs, limit=_PAGE)
        links = await self._add_up(look, kept.of_links, going, limit)
        blobs, due, waiting = await self._metadata.read(
            lambda db: (
                kept.unused_since(db, now - self._grace.blobs),
                removed.due(db, now=now, redirected=self._grace.redirected),
                removed.waiting(db),
            )
        )
        return Outlook(manifests, links, blobs, due, waiting, going)

    async def _add_up(
        self,
        look: Callable[..., Look[Place]],
        of_page: Callable[[Connection, Sequence[Place]], Sequence[kept.Thing]],
        going: list[Going],
        limit: int,
    ) -> Sizes:
        count = size = 0
        after: Place | None = None
        while True:
            seen = await self._metadata.read(look, after)
            found = await self._metadata.read(of_page, seen.found) if seen.found else ()
            count += len(found)
            size += sum(each.size for each in found)
            going += [Going(*each) for each in found[: max(0, limit - len(going))]]
            after = seen.last
            if after is None:
                return Sizes(count, size)


def _untagged(db: Connection, places: Sequence[Place], before: datetime) -> Sequence[kept.Thing]:
    """Return those of the manifests that nothing keeps."""
    going: list[Place] = []
    for repository_id, group in groupby(places, lambda place: place.repository_id):
        digests = [place.digest for place in group]
        stay = reachability.ways(db, repository_id, digests, young=before).kept
        going += [Place(repository_id, digest) for digest in digests if digest not in stay]
    return kept.of_manifests(db, going)
