"""Tags as people read them."""

import sqlite3
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import pytest
from sqlalchemy import Connection

from storage.metadata import statistics, tag_listing, tags
from storage.metadata.statistics import Count
from storage.metadata.tag_listing import Sort
from tests.storage.metadata.content import MANIFEST, NOW, SECOND, add_manifest, add_repository, digest

TODAY: Final = NOW.date()

# In the order in which they were set; two at the same moment.
TIMES: Final = {"v2": 3, "v1": 0, "latest": 3, "V1-rc": 1, "a_b": 2}

ORDERS: Final[Mapping[Sort, list[str]]] = {
    "newest": ["v2", "latest", "a_b", "V1-rc", "v1"],
    "oldest": ["v1", "V1-rc", "a_b", "latest", "v2"],
    "name": ["V1-rc", "a_b", "latest", "v1", "v2"],
    "-name": ["v2", "v1", "latest", "a_b", "V1-rc"],
}


@pytest.fixture
def app(db: Connection) -> int:
    app = add_repository(db, "team/app")
    for name, seconds in TIMES.items():
        add_manifest(db, app, name, artifact_type="type/of")
        tags.put(db, app, name, digest(name), by="ben", now=NOW + seconds * SECOND)
    add_manifest(db, add_repository(db, "team/other"), "other")
    return app


def listed(db: Connection, app: int, sort: Sort = "newest", limit: int = 9, q: str = "") -> list[str]:
    """Read a list to its end, page by page."""
    names: list[str] = []
    after = None
    while True:
        page = tag_listing.rows(db, app, q=q, sort=sort, after=after, limit=limit, today=TODAY)
        names += [row.name for row in page]
        if len(page) < limit:
            return names
        after = tag_listing.key_of(page[-1], sort)


@pytest.mark.parametrize("limit", [1, 2, 9])
@pytest.mark.parametrize("sort", ORDERS)
def test_pages_put_together_are_the_list(db: Connection, app: int, sort: Sort, limit: int) -> None:
    assert listed(db, app, sort, limit) == ORDERS[sort]


@pytest.mark.parametrize(
    ("q", "names"),
    [("v1", ["V1-rc", "v1"]), ("_", ["a_b"]), ("%", []), ("LATE", ["latest"]), ("nothing", [])],
)
def test_filter_is_a_part_of_the_name(db: Connection, app: int, q: str, names: list[str]) -> None:
    assert listed(db, app, "name", 1, q) == names


def test_row_tells_what_the_tag_means(db: Connection, app: int) -> None:
    assert tag_listing.deprecate(db, app, "v1", "use v2")
    for days, pulls in ((0, 2), (29, 3), (30, 10)):
        day = TODAY - timedelta(days=days)
        statistics.add(db, [Count("team/app", "v1", day, pulls=pulls, pulled_at=NOW)])
    row = tag_listing.find(db, app, "v1", today=TODAY)
    assert row == tag_listing.TagRow(
        name="v1",
        digest=digest("v1"),
        media_type=MANIFEST,
        artifact_type="type/of",
        tagged_at=NOW,
        tagged_by="ben",
        deprecation="use v2",
        last_pulled_at=NOW,
        pulls=5,
    )
    assert tag_listing.rows(db, app, q="v1", sort="-name", limit=1, today=TODAY) == [row]


def test_absent_tag(db: Connection, app: int) -> None:
    assert tag_listing.find(db, app, "other", today=TODAY) is None
    assert not tag_listing.deprecate(db, app, "other", "text")


@pytest.mark.sqlite
@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("q", ["", "v"])
def test_listing_sorts_nothing(db: Connection, app: int, sort: Sort, q: str) -> None:
    """However many tags there are, a page is read off an index."""
    statements: list[str] = []
    driver = db.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(statements.append)
    first = tag_listing.rows(db, app, sort=sort, limit=2, today=TODAY)
    tag_listing.rows(db, app, q=q, sort=sort, after=tag_listing.key_of(first[-1], sort), limit=2, today=TODAY)
    driver.set_trace_callback(None)
    lists = [text for text in statements if "ORDER BY" in text]
    assert len(lists) == 2
    for text in lists:
        plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
        assert len(plan) == 1
        assert plan[0].startswith("SEARCH tags USING COVERING INDEX"), plan
