"""What repositories say of themselves, and lists of them for people to browse."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from storage.metadata import cards, documents, order
from storage.metadata.cards import Card
from storage.metadata.engine import insert
from storage.metadata.order import Key, Order
from storage.metadata.repositories import Viewer, visible_to
from storage.metadata.schema import (
    accounts,
    blob_links,
    blobs,
    manifests,
    namespaces,
    repositories,
    repository_aliases,
    repository_categories,
    stars,
    tags,
)

_C = repositories.c


@dataclass(frozen=True, slots=True)
class Description:
    """A repository in full; `overview` is Markdown, `aliases` are its former names."""

    card: Card
    overview: str
    version: int
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """What is in a repository; `size` in bytes of blobs, those shared with other repositories included."""

    tags: int
    manifests: int
    size: int


@dataclass(frozen=True, slots=True)
class Filters:
    """Which repositories a list is of; `starred_by` is the name of an account."""

    namespace: str | None = None
    starred_by: str | None = None
    kind: str | None = None
    category: str | None = None
    official: bool = False


def find(db: Connection, repository_id: int) -> Description | None:
    """Return the repository."""
    statement = select(*cards.COLUMNS, _C.overview, _C.version).where(_C.id == repository_id)
    row = db.execute(statement).first()
    if row is None:
        return None
    former = select(repository_aliases.c.name).where(repository_aliases.c.repository_id == repository_id)
    aliases = db.execute(former.order_by(repository_aliases.c.name)).scalars()
    return Description(cards.read(db, [row])[0], row.overview, row.version, tuple(aliases))


def sums(db: Connection, repository_id: int) -> Sums:
    """Count what is in the repository."""
    size = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .join(blob_links, blob_links.c.digest == blobs.c.digest)
        .where(blob_links.c.repository_id == repository_id)
    )
    return Sums(
        tags=_count(db, tags.c.repository_id == repository_id),
        manifests=_count(db, manifests.c.repository_id == repository_id),
        size=db.execute(size).scalar_one(),
    )


def _count(db: Connection, condition: ColumnElement[bool]) -> int:
    return db.execute(select(func.count()).where(condition)).scalar_one()


def version_of(db: Connection, repository_id: int) -> int | None:
    """Return how often the repository was edited."""
    return db.execute(select(_C.version).where(_C.id == repository_id)).scalar()


def edit(
    db: Connection, repository_id: int, values: Mapping[str, object], categories: Iterable[str] | None = None
) -> None:
    """Change what is said of the repository, as `describe` does; the version counts up."""
    describe(db, repository_id, {**values, "version": _C.version + 1}, categories)


def describe(
    db: Connection, repository_id: int, values: Mapping[str, object], categories: Iterable[str] | None = None
) -> None:
    """Set columns, at least one, and the categories unless they are None."""
    db.execute(update(repositories).where(_C.id == repository_id).values(**values))
    if categories is not None:
        of_this = repository_categories.c.repository_id == repository_id
        db.execute(delete(repository_categories).where(of_this))
        rows = [{"repository_id": repository_id, "category": each} for each in categories]
        if rows:
            db.execute(insert(db, repository_categories), rows)
    documents.refresh(db, repository_id)


_NOTE_PUSH: Final = update(repositories).where(_C.id == bindparam("this"))


def note_push(db: Connection, repository_id: int, kind: str | None, *, now: datetime) -> None:
    """Say that something was tagged, and what kind of thing; None leaves the kind as it was."""
    values: dict[str, object] = {"last_pushed_at": now}
    if kind is not None:
        values["kind"] = kind
    db.execute(_NOTE_PUSH, {"this": repository_id, **values})


def browse(
    db: Connection, viewer: Viewer, filters: Filters, sort: Order, *, after: Key | None, limit: int
) -> Sequence[Card]:
    """Return the cards behind the key `after` that the viewer may see, at most `limit`."""
    return order.read(db, [visible_to(viewer), *_conditions(filters)], sort, after, limit)


def _conditions(filters: Filters) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.namespace is not None:
        of_name = select(namespaces.c.id).where(namespaces.c.name == filters.namespace)
        conditions.append(_C.namespace_id == of_name.scalar_subquery())
    if filters.starred_by is not None:
        starred = select(stars.c.repository_id).join(accounts).where(accounts.c.name == filters.starred_by)
        conditions.append(_C.id.in_(starred))
    if filters.kind is not None:
        conditions.append(_C.kind == filters.kind)
    if filters.category is not None:
        about = repository_categories.c
        conditions.append(_C.id.in_(select(about.repository_id).where(about.category == filters.category)))
    if filters.official:
        conditions += [_C.name >= "library/", _C.name < "library0"]
    return conditions
