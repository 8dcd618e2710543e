"""Which manifests are kept, and by what: those that a tag leads to, or one that is young.

A way leads from a root to a manifest over those that name it and over its subject: an index keeps its
children, and what is kept keeps its referrers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, exists, or_, select

from storage.metadata.repositories import portions
from storage.metadata.schema import manifest_references, manifests, tags

# Manifests looked at for one answer. Who hangs more than that on one manifest keeps it.
_FAR: Final = 20_000


@dataclass(slots=True)
class Ways:
    """What leads to the manifests that were asked for.

    Attributes:
        kept: the manifests that stay.
        roots: those by which they stay.
        above: for each that was looked at, one through which it is kept; a root has none.
    """

    kept: set[str] = field(default_factory=set)
    roots: set[str] = field(default_factory=set)
    above: dict[str, str] = field(default_factory=dict)

    def to(self, digest: str) -> list[str]:
        """Return the way from a root to the manifest, both included; empty where none keeps it."""
        way = [digest] if digest in self.kept else []
        while way and (above := self.above.get(way[0])) is not None:
            way.insert(0, above)
        return way


def ways(db: Connection, repository_id: int, digests: Iterable[str], *, young: datetime) -> Ways:
    """Return what keeps manifests of the repository: a tag, or one that was renewed at or after `young`."""
    found = Ways()
    below: dict[str, list[str]] = {}
    frontier = set(digests)
    seen = set(frontier)
    while frontier:
        roots = _roots(db, repository_id, frontier, young)
        found.roots |= roots
        _keep(found, roots, below)
        further = set()
        pairs = _above(db, repository_id, frontier - found.kept)
        for above, each in pairs:
            below.setdefault(above, []).append(each)
            if above in found.kept:
                _keep_below(found, above, below)
            elif above not in seen:
                further.add(above)
        seen |= further
        if max(len(seen), len(pairs)) > _FAR:
            _keep(found, seen - found.kept, {})
            return found
        frontier = further
    return found


def _keep(found: Ways, roots: Iterable[str], below: Mapping[str, list[str]]) -> None:
    for root in roots:
        found.kept.add(root)
        found.above.pop(root, None)
        _keep_below(found, root, below)


def _keep_below(found: Ways, kept: str, below: Mapping[str, list[str]]) -> None:
    waiting = [kept]
    while waiting:
        above = waiting.pop()
        for each in below.get(above, ()):
            if each not in found.kept:
                found.kept.add(each)
                found.above[each] = above
                waiting.append(each)


def _roots(db: Connection, repository_id: int, digests: Iterable[str], young: datetime) -> set[str]:
    c = manifests.c
    tagged = exists().where(tags.c.repository_id == repository_id, tags.c.digest == c.digest)
    is_root = or_(c.pushed_at >= young, c.renewed_at >= young, tagged)
    found: set[str] = set()
    for some in portions(digests):
        statement = select(c.digest).where(c.repository_id == repository_id, c.digest.in_(some), is_root)
        found.update(db.execute(statement).scalars())
    return found


def _above(db: Connection, repository_id: int, digests: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a manifest and one of `digests` that it keeps if it is kept itself.

    Some of them, yet more than `_FAR`, where there are that many.
    """
    references, c = manifest_references.c, manifests.c
    found: list[tuple[str, str]] = []
    for some in portions(digests):
        named = select(references.digest, references.target).where(
            references.repository_id == repository_id, references.target.in_(some)
        )
        found += [(above, each) for above, each in db.execute(named.limit(_FAR + 1))]
        subjects = select(c.subject, c.digest).where(
            c.repository_id == repository_id, c.digest.in_(some), c.subject.is_not(None)
        )
        found += [(above, each) for above, each in db.execute(subjects)]
    return found
