from datetime import timedelta

from sqlalchemy import Connection

from storage.metadata import backups, schema
from tests.storage.metadata.content import NOW, count

SOON = NOW + timedelta(minutes=10)
LATER = NOW + timedelta(minutes=11)
HOUR = timedelta(hours=1)


def test_nothing_is_needed_while_no_backup_goes_on(db: Connection) -> None:
    assert backups.needed_since(db, now=NOW) is None


def test_the_oldest_that_goes_on_counts(db: Connection) -> None:
    assert backups.begin(db, "one", "/a", now=NOW, until=SOON)
    assert backups.begin(db, "two", "/b", now=NOW + timedelta(minutes=5), until=LATER + HOUR)
    assert backups.needed_since(db, now=NOW + timedelta(minutes=5)) == NOW - HOUR
    backups.end(db, "one")
    assert backups.needed_since(db, now=SOON) == NOW + timedelta(minutes=5) - HOUR
    backups.end(db, "two")
    assert backups.needed_since(db, now=SOON) is None


def test_a_dead_one_holds_nothing(db: Connection) -> None:
    assert backups.begin(db, "one", "/a", now=NOW, until=SOON)
    assert backups.needed_since(db, now=SOON) is None
    assert not backups.renew(db, "one", now=SOON, until=LATER)
    assert backups.start_pruning(db, "one", now=SOON, until=LATER)
    assert backups.begin(db, "two", "/a", now=LATER, until=LATER + HOUR)
    assert not backups.start_pruning(db, "one", now=LATER, until=LATER)


def test_one_that_renews_goes_on(db: Connection) -> None:
    assert backups.begin(db, "one", "/a", now=NOW, until=SOON)
    assert backups.renew(db, "one", now=NOW, until=LATER)
    assert backups.needed_since(db, now=SOON) == NOW - HOUR


def test_pruning_is_alone_at_its_destination(db: Connection) -> None:
    assert backups.begin(db, "one", "/a", now=NOW, until=SOON)
    assert backups.begin(db, "two", "/a", now=NOW, until=SOON)
    assert backups.begin(db, "three", "/b", now=NOW, until=SOON)
    assert not backups.start_pruning(db, "one", now=NOW, until=SOON)
    backups.forget_others(db, "one", "/a")
    assert backups.start_pruning(db, "one", now=NOW, until=SOON)
    assert not backups.begin(db, "four", "/a", now=NOW, until=SOON)
    assert backups.begin(db, "five", "/b", now=NOW, until=SOON)
    # What it needs is in its snapshot by now.
    backups.end(db, "three")
    backups.end(db, "five")
    assert backups.needed_since(db, now=NOW) is None
    assert backups.begin(db, "four", "/a", now=SOON, until=LATER)


def test_the_last_one_that_was_finished_is_known_and_holds_nothing(db: Connection) -> None:
    assert backups.finished_at(db) is None
    assert backups.begin(db, "one", "/a", now=NOW, until=SOON)
    assert backups.start_pruning(db, "one", now=NOW, until=SOON)
    backups.finish(db, "one", now=SOON)
    assert backups.finished_at(db) == SOON
    assert backups.needed_since(db, now=NOW) is None
    # Neither those that come after it nor those that fail take it back.
    assert backups.begin(db, "two", "/a", now=NOW, until=LATER)
    backups.forget_others(db, "two", "/a")
    backups.end(db, "two")
    assert backups.finished_at(db) == SOON
    assert backups.begin(db, "three", "/b", now=LATER, until=LATER + HOUR)
    backups.finish(db, "three", now=LATER + HOUR)
    assert backups.finished_at(db) == LATER + HOUR
    assert count(db, schema.backups) == [1]
    backups.finish(db, "dead", now=LATER + 2 * HOUR)
    assert backups.finished_at(db) == LATER + HOUR
