"""Counts by tag and day."""

from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select

from storage.metadata import repositories, statistics, tags
from storage.metadata.manifests import References
from storage.metadata.schema import repositories as table
from storage.metadata.schema import tags as tag_table
from storage.metadata.statistics import Count, Day, TagCount
from tests.storage.metadata.content import NOW, SECOND, add_manifest, add_repository, digest

TODAY: Final = NOW.date()
DAY: Final = timedelta(days=1)


@pytest.fixture
def app(db: Connection) -> int:
    app = add_repository(db, "team/app")
    child = add_manifest(db, app, "child")
    add_manifest(db, app, "index", references=References(manifests=(child,)))
    tags.remove(db, "team/app", "child", now=NOW)
    add_manifest(db, app, "loose")
    tags.remove(db, "team/app", "loose", now=NOW)
    tags.put(db, app, "newer", digest("index"), by=None, now=NOW + SECOND)
    return app


def counted(db: Connection, app: int) -> list[TagCount]:
    return list(statistics.by_tag(db, app, last=TODAY, days=30, limit=9))


def pull(reference: str, **more: Any) -> Count:
    return Count("team/app", reference, TODAY, **{"pulls": 1, "pulled_at": NOW, **more})


@pytest.mark.parametrize(
    ("reference", "tag"),
    [
        ("index", "index"),
        ("gone", "gone"),
        (digest("index"), "newer"),
        (digest("loose"), ""),
        (digest("nothing"), ""),
        (digest("child"), None),
    ],
)
def test_what_a_reference_counts_for(db: Connection, app: int, reference: str, tag: str | None) -> None:
    statistics.add(db, [pull(reference)])
    assert counted(db, app) == ([] if tag is None else [TagCount(tag, 1, 0, 0)])


def test_tagged_child_still_comes_with_its_index(db: Connection, app: int) -> None:
    tags.put(db, app, "child", digest("child"), by=None, now=NOW)
    statistics.add(db, [pull(digest("child")), pull("child")])
    assert counted(db, app) == [TagCount("child", 1, 0, 0)]


def test_pulls_add_up(db: Connection, app: int) -> None:
    later = NOW + SECOND
    statistics.add(db, [pull("index", pulls=2), pull("newer", pulls=3, checks=1, pulled_at=later)])
    statistics.add(db, [pull("index", pulls=1, pushes=4), pull("index", pulls=0, checks=5, pulled_at=None)])
    assert counted(db, app) == [TagCount("index", 3, 5, 4), TagCount("newer", 3, 1, 0)]
    row = db.execute(select(table.c.pull_count, table.c.last_pulled_at).where(table.c.id == app)).one()
    assert row.pull_count == 6
    moments = select(tag_table.c.name, tag_table.c.last_pulled_at).order_by(tag_table.c.name)
    assert [tuple(each) for each in db.execute(moments)] == [("index", NOW), ("newer", later)]


def test_checks_alone_are_no_pull(db: Connection, app: int) -> None:
    statistics.add(db, [Count("team/app", "index", TODAY, checks=7)])
    row = db.execute(select(table.c.pull_count, table.c.last_pulled_at).where(table.c.id == app)).one()
    assert tuple(row) == (0, None)


def test_what_is_gone_is_left_out(db: Connection, app: int) -> None:
    statistics.add(db, [Count("team/gone", "v1", TODAY, pulls=1, pulled_at=NOW), pull("index")])
    assert counted(db, app) == [TagCount("index", 1, 0, 0)]
    repositories.remove(db, "team/app")
    assert counted(db, app) == []


def test_days_without_anything_are_told(db: Connection, app: int) -> None:
    for days, reference in ((0, "index"), (2, "index"), (2, "newer"), (3, "index")):
        statistics.add(db, [Count("team/app", reference, TODAY - days * DAY, 1, 2, 3, NOW)])
    assert statistics.daily(db, app, last=TODAY, days=3) == [
        Day(TODAY - 2 * DAY, 2, 4, 6),
        Day(TODAY - DAY, 0, 0, 0),
        Day(TODAY, 1, 2, 3),
    ]
    of_tag = statistics.daily(db, app, last=TODAY, days=3, tag="newer")
    assert [day.pulls for day in of_tag] == [1, 0, 0]
    assert statistics.by_tag(db, app, last=TODAY, days=3, limit=1) == [TagCount("index", 2, 4, 6)]
