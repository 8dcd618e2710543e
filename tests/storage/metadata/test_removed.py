"""What was removed goes for good when it is due."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from storage.digest import Digest
from storage.metadata import removed, schema
from storage.metadata.removed import Reason, Sizes
from tests.storage.metadata.content import NOW, SECOND, count, digest

LATER = NOW + timedelta(days=1)


def add(db: Connection, word: str, due_at: datetime = NOW) -> Digest:
    removed.add_bytes(db, digest(word), 3, f"at/{word}", Reason.UNUSED, now=NOW, due_at=due_at)
    return digest(word)


def add_manifest(db: Connection, due_at: datetime = NOW) -> None:
    values = {"digest": digest("image"), "size": 1, "reason": "untagged", "removed_at": NOW, "due_at": due_at}
    db.execute(insert(schema.removed_content).values(**values))


def test_what_is_due_is_taken_the_oldest_first(db: Connection) -> None:
    add(db, "later", LATER)
    words = [f"blob {number}" for number in range(4)]
    for number, word in enumerate(words):
        add(db, word, NOW - number * SECOND)
    assert [each.location for each in removed.take_due(db, now=NOW, limit=3)] == [
        f"at/{word}" for word in reversed(words[1:])
    ]
    c = schema.removed_content.c
    going = db.execute(select(c.location).where(c.is_going)).scalars()
    assert set(going) == {f"at/{word}" for word in words[1:]}


def test_what_was_begun_is_taken_again_until_it_is_forgotten(db: Connection) -> None:
    add(db, "blob")
    [first] = removed.take_due(db, now=NOW, limit=9)
    assert [first] == removed.take_due(db, now=NOW, limit=9)
    removed.forget(db, [first.id])
    assert removed.take_due(db, now=NOW, limit=9) == []
    assert not removed.is_any_due(db, now=LATER)


def test_what_cannot_be_deleted_now_is_due_later(db: Connection) -> None:
    add(db, "blob")
    [taken] = removed.take_due(db, now=NOW, limit=9)
    removed.postpone(db, [taken.id], due_at=LATER)
    assert removed.take_due(db, now=LATER - SECOND, limit=9) == []
    assert removed.take_due(db, now=LATER, limit=9) == [taken]


def test_what_somebody_is_about_to_bring_back_is_kept(db: Connection) -> None:
    for word, due_at in (("due", NOW), ("kept", LATER)):
        add(db, word, due_at)
    add_manifest(db)
    c = schema.removed_content.c
    ids = db.execute(select(c.id).order_by(c.id)).scalars().all()
    removed.keep_until(db, ids, NOW + SECOND)
    moments = db.execute(select(c.due_at).order_by(c.id)).scalars().all()
    assert moments == [NOW + SECOND, LATER, NOW + SECOND]
    removed.take_due(db, now=NOW + SECOND, limit=9)
    removed.keep_until(db, ids, LATER + SECOND)
    moments = db.execute(select(c.due_at).order_by(c.id)).scalars().all()
    assert moments == [NOW + SECOND, LATER + SECOND, LATER + SECOND]


def test_what_clients_were_sent_to_waits_for_them(db: Connection) -> None:
    add(db, "blob")
    minute, early, late = 60 * SECOND, NOW + 59 * SECOND, NOW + 60 * SECOND
    assert not removed.is_any_due(db, now=early, redirected=minute)
    assert removed.due(db, now=early, redirected=minute) == Sizes(0, 0)
    assert removed.take_due(db, now=early, redirected=minute, limit=9) == []
    assert removed.is_any_due(db, now=late, redirected=minute)
    assert removed.due(db, now=late, redirected=minute) == Sizes(1, 3)
    [taken] = removed.take_due(db, now=late, redirected=minute, limit=9)
    # What was begun is seen through.
    assert removed.is_any_due(db, now=early, redirected=minute)
    assert removed.take_due(db, now=early, redirected=minute, limit=9) == [taken]


def test_manifests_wait_for_no_client(db: Connection) -> None:
    add_manifest(db)
    assert removed.is_any_due(db, now=NOW, redirected=60 * SECOND)


def test_manifests_are_forgotten_when_they_are_due(db: Connection) -> None:
    for _ in range(3):
        add_manifest(db)
    add_manifest(db, LATER)
    add(db, "blob")
    assert removed.forget_due_manifests(db, now=NOW, limit=2) == 2
    assert removed.forget_due_manifests(db, now=NOW, limit=2) == 1
    assert removed.forget_due_manifests(db, now=NOW, limit=2) == 0
    assert count(db, schema.removed_content) == [2]


def test_whether_anything_is_due(db: Connection) -> None:
    assert not removed.is_any_due(db, now=LATER)
    add_manifest(db, LATER)
    assert not removed.is_any_due(db, now=NOW)
    assert removed.is_any_due(db, now=LATER)


def test_bytes_that_wait(db: Connection) -> None:
    assert removed.waiting(db) == Sizes(0, 0)
    for word in ("a", "b", "b"):
        add(db, word, LATER)
    add_manifest(db)
    assert removed.waiting(db) == Sizes(2, 6)
