"""What is said of repositories, and lists of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import pytest
from sqlalchemy import Connection, update

from storage.metadata import catalog, order, repositories, stars
from storage.metadata.catalog import Filters
from storage.metadata.order import Order
from storage.metadata.repositories import Viewer
from storage.metadata.schema import repositories as table
from tests.storage.metadata.content import NOW, SECOND, add_account, add_blob, add_manifest, add_repository

ALL: Final = Viewer(sees_all=True)

# name → (public, kind, stars, pulls, last pushed)
ROWS: Final[Mapping[str, tuple[bool, str, int, int, datetime | None]]] = {
    "library/nginx": (True, "image", 3, 9, NOW),
    "team/app": (True, "image", 3, 10, NOW + SECOND),
    "team/chart": (True, "chart", 0, 0, None),
    "team/secret": (False, "image", 5, 0, NOW + 2 * SECOND),
    "team/zero": (True, "artifact", 0, 0, None),
}


@pytest.fixture
def shelf(db: Connection) -> Connection:
    for name, (public, kind, star_count, pull_count, pushed) in ROWS.items():
        repository_id = add_repository(db, name, public=public)
        values = {"kind": kind, "star_count": star_count, "pull_count": pull_count, "last_pushed_at": pushed}
        db.execute(update(table).where(table.c.id == repository_id).values(**values))
        if name.startswith("team/"):
            catalog.edit(db, repository_id, {}, ["databases"] if name == "team/app" else ["web-servers"])
    ann = add_account(db, "ann")
    stars.put(db, ann, id_of(db, "team/chart"), now=NOW)
    stars.put(db, ann, id_of(db, "team/secret"), now=NOW)
    return db


def id_of(db: Connection, name: str) -> int:
    found = repositories.find(db, name)
    assert found is not None
    return found.id


def browsed(
    db: Connection, viewer: Viewer = ALL, sort: Order = "name", limit: int = 9, **filters: Any
) -> list[str]:
    """Read a list to its end, page by page."""
    names: list[str] = []
    after = None
    while True:
        page = catalog.browse(db, viewer, Filters(**filters), sort, after=after, limit=limit)
        names += [card.name for card in page]
        if len(page) < limit:
            return names
        after = order.key_of(page[-1], sort)


ORDERS: Final[Mapping[Order, list[str]]] = {
    "name": sorted(ROWS),
    "stars": ["team/app", "library/nginx", "team/secret", "team/chart", "team/zero"],
    "pulls": ["team/app", "library/nginx", "team/secret", "team/chart", "team/zero"],
    "pushed": ["team/secret", "team/app", "library/nginx", "team/zero", "team/chart"],
}


@pytest.mark.parametrize("limit", [1, 2, 9])
@pytest.mark.parametrize("sort", ORDERS)
def test_pages_put_together_are_the_list(shelf: Connection, sort: Order, limit: int) -> None:
    assert browsed(shelf, sort=sort, limit=limit) == ORDERS[sort]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"namespace": "team"}, ["team/app", "team/chart", "team/zero"]),
        ({"namespace": "nowhere"}, []),
        ({"kind": "chart"}, ["team/chart"]),
        ({"category": "web-servers"}, ["team/chart", "team/zero"]),
        ({"official": True}, ["library/nginx"]),
        ({"starred_by": "ann"}, ["team/chart"]),
        ({"starred_by": "nobody"}, []),
        ({"namespace": "team", "kind": "image", "category": "databases"}, ["team/app"]),
    ],
)
def test_filters_and_what_the_public_sees(
    shelf: Connection, filters: dict[str, Any], names: list[str]
) -> None:
    assert browsed(shelf, Viewer(), **filters) == names


def test_private_ones_are_listed_to_who_may_see_them(shelf: Connection) -> None:
    assert browsed(shelf, ALL, starred_by="ann") == ["team/chart", "team/secret"]


def test_edit_counts_versions_and_replaces_categories(db: Connection) -> None:
    app = add_repository(db, "team/app")
    catalog.edit(db, app, {"summary": "one", "overview": "# one"}, ["web-servers", "databases"])
    catalog.edit(db, app, {"summary": "two"})
    found = catalog.find(db, app)
    assert found is not None
    assert (found.card.summary, found.overview, found.version) == ("two", "# one", 3)
    assert found.card.categories == ("databases", "web-servers")
    catalog.edit(db, app, {"deprecation": "use another"}, [])
    found = catalog.find(db, app)
    assert found is not None
    assert (found.card.deprecation, found.card.categories) == ("use another", ())
    assert catalog.version_of(db, app) == 4
    assert catalog.find(db, 999) is None


def test_sums_are_of_one_repository(db: Connection) -> None:
    app, other = add_repository(db, "team/app"), add_repository(db, "team/other")
    for repository_id, size in ((app, 5), (other, 7)):
        add_blob(db, repository_id, f"b{size}", size)
    add_blob(db, app, "b7", 7)
    add_manifest(db, app, "v1")
    add_manifest(db, other, "v1")
    assert catalog.sums(db, app) == catalog.Sums(tags=1, manifests=1, size=12)


def test_push_is_noted(db: Connection) -> None:
    app = add_repository(db, "team/app")
    catalog.note_push(db, app, "chart", now=NOW)
    catalog.note_push(db, app, None, now=NOW + SECOND)
    found = catalog.find(db, app)
    assert found is not None
    assert (found.card.kind, found.card.last_pushed_at, found.version) == ("chart", NOW + SECOND, 1)


def test_stars_are_counted_once_each(db: Connection) -> None:
    app, ann, ben = add_repository(db, "team/app"), add_account(db, "ann"), add_account(db, "ben")

    def count() -> int:
        found = catalog.find(db, app)
        assert found is not None
        return found.card.stars

    for account_id in (ann, ben, ann):
        stars.put(db, account_id, app, now=NOW)
    assert (count(), stars.has(db, ann, app)) == (2, True)
    for _ in range(2):
        stars.remove(db, ann, app)
    assert (count(), stars.has(db, ann, app), stars.has(db, ben, app)) == (1, False, True)


@pytest.mark.parametrize("sort", ["stars", "pulls", "pushed"])
def test_cursor_of_numbers_that_no_repository_has(db: Connection, sort: Order) -> None:
    add_repository(db, "library/app")
    huge = 2**63 - 1
    key = (huge, "zz") if sort == "pushed" else (huge, huge, "zz")
    assert [card.name for card in order.read(db, [], sort, key, 10)] == ["library/app"]
