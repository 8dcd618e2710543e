"""How often manifests are pulled, looked up and pushed: by tag and day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, func, select, type_coerce, update

from storage.metadata import documents
from storage.metadata.engine import insert
from storage.metadata.schema import manifest_references, repositories, statistics, tags

_FIRST_DAY: Final = date(1970, 1, 1)

UNTAGGED: Final = ""
"""What stands for the tag of what was pulled by a digest that no tag means."""


@dataclass(frozen=True, slots=True)
class Count:
    """What happened to one reference, a tag or a digest, of one repository on one day.

    `pulled_at` is when it was pulled last, None where it was not.
    """

    repository: str
    reference: str
    day: date
    pulls: int = 0
    checks: int = 0
    pushes: int = 0
    pulled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day, in UTC."""

    day: date
    pulls: int
    checks: int
    pushes: int


@dataclass(frozen=True, slots=True)
class TagCount:
    """What happened to one tag; "" is what was pulled by a digest that no tag means."""

    tag: str
    pulls: int
    checks: int
    pushes: int


def number_of(day: date) -> int:
    """Return how a day is stored."""
    return (day - _FIRST_DAY).days


def days_until(last: date, count: int) -> Sequence[int]:
    """Return how the `count` days that end with `last` are stored."""
    end = number_of(last) + 1
    return range(end - count, end)


# -- counting ----------------------------------------------------------------------------------------------


def add(db: Connection, counts: Iterable[Count]) -> None:
    """Add to what was counted. What is gone meanwhile is left out.

    A manifest that an index names comes with the index: to pull it by its digest is not one more pull. A
    digest that tags mean counts for the one that was set last.
    """
    found: dict[str, int | None] = {}
    rows: list[dict[str, Any]] = []
    for count in counts:
        if count.repository not in found:
            found[count.repository] = db.execute(_REPOSITORY, {"name": count.repository}).scalar()
        repository_id = found[count.repository]
        tag = None if repository_id is None else _tag_of(db, repository_id, count.reference)
        if tag is not None:
            rows.append(_row(repository_id, tag, count))
    if rows:
        _add(db, rows)


_REPOSITORY: Final = select(repositories.c.id).where(repositories.c.name == bindparam("name"))

_IS_CHILD: Final = (
    select(manifest_references.c.digest)
    .where(
        manifest_references.c.repository_id == bindparam("repository_id"),
        manifest_references.c.target == bindparam("digest"),
        manifest_references.c.kind == "manifest",
    )
    .limit(1)
)

_LAST_TAG: Final = (
    select(tags.c.name)
    .where(tags.c.repository_id == bindparam("repository_id"), tags.c.digest == bindparam("digest"))
    # A sum, so that no index of the moments is read to its end in search of the digest.
    .order_by((type_coerce(tags.c.tagged_at, BigInteger) + 0).desc(), tags.c.name)
    .limit(1)
)


def _tag_of(db: Connection, repository_id: int, reference: str) -> str | None:
    """Return the tag that a reference counts for; None where it does not count."""
    if ":" not in reference:
        return reference
    key = {"repository_id": repository_id, "digest": reference}
    if db.execute(_IS_CHILD, key).first() is not None:
        return None
    return db.execute(_LAST_TAG, key).scalar() or UNTAGGED


def _row(repository_id: int | None, tag: str, count: Count) -> dict[str, Any]:
    return {
        "repository_id": repository_id,
        "day": number_of(count.day),
        "tag": tag,
        "pulls": count.pulls,
        "checks": count.checks,
        "pushes": count.pushes,
        "pulled_at": count.pulled_at,
    }


def _add(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    numbers = ("pulls", "checks", "pushes")
    new = insert(db, statistics)
    sums = {name: statistics.c[name] + new.excluded[name] for name in numbers}
    kept = [{name: row[name] for name in row if name != "pulled_at"} for row in rows]
    db.execute(new.on_conflict_do_update(index_elements=["repository_id", "day", "tag"], set_=sums), kept)
    pulled = [row for row in rows if row["pulled_at"] is not None]
    if not pulled:
        return
    db.execute(_PULLED_TAG, [{f"of_{name}": value for name, value in row.items()} for row in pulled])
    by_repository: dict[int, tuple[int, datetime]] = {}
    for row in pulled:
        pulls, last = by_repository.get(row["repository_id"], (0, row["pulled_at"]))
        by_repository[row["repository_id"]] = (pulls + row["pulls"], max(last, row["pulled_at"]))
    db.execute(
        _PULLED_REPOSITORY,
        [{"of_id": key, "pulls": pulls, "at": last} for key, (pulls, last) in by_repository.items()],
    )
    documents.move(db, sorted(by_repository))


_PULLED_TAG: Final = (
    update(tags)
    .where(tags.c.repository_id == bindparam("of_repository_id"), tags.c.name == bindparam("of_tag"))
    .values(last_pulled_at=bindparam("of_pulled_at"))
)

# Once for all tags: the row is in every index that sorts repositories.
_PULLED_REPOSITORY: Final = (
    update(repositories)
    .where(repositories.c.id == bindparam("of_id"))
    .values(pull_count=repositories.c.pull_count + bindparam("pulls"), last_pulled_at=bindparam("at"))
)


# -- reading -----------------------------------------------------------------------------------------------


def daily(
    db: Connection, repository_id: int, *, last: date, days: int, tag: str | None = None
) -> Sequence[Day]:
    """Return the `days` days that end with `last`, the oldest first; those without anything as well."""
    c = statistics.c
    wanted = days_until(last, days)
    statement = select(c.day, func.sum(c.pulls), func.sum(c.checks), func.sum(c.pushes)).where(
        c.repository_id == repository_id, c.day.between(wanted[0], wanted[-1])
    )
    if tag is not None:
        # Each day by itself: a lookup each, however many other tags there are.
        statement = statement.where(c.tag == tag, c.day.in_(wanted))
    found = {row[0]: row[1:] for row in db.execute(statement.group_by(c.day))}
    return [
        Day(_FIRST_DAY + timedelta(days=day), *(int(each) for each in found.get(day, (0, 0, 0))))
        for day in wanted
    ]


def by_tag(db: Connection, repository_id: int, *, last: date, days: int, limit: int) -> Sequence[TagCount]:
    """Return the tags that were pulled most in the `days` days that end with `last`."""
    c = statistics.c
    wanted = days_until(last, days)
    pulls, checks, pushes = (func.sum(each) for each in (c.pulls, c.checks, c.pushes))
    statement = (
        select(c.tag, pulls, checks, pushes)
        .where(c.repository_id == repository_id, c.day.between(wanted[0], wanted[-1]))
        .group_by(c.tag)
        .order_by(pulls.desc(), checks.desc(), c.tag)
        .limit(limit)
    )
    return [TagCount(row[0], *(int(each) for each in row[1:])) for row in db.execute(statement)]
