import pytest
from sqlalchemy import Connection

from storage.metadata import login_failures
from tests.storage.metadata.content import NOW, SECOND

WINDOW = 10 * SECOND


def record(db: Connection, at: int, *keys: str) -> None:
    """Record a failure `at` seconds from now, where failures count for ten seconds."""
    now = NOW + at * SECOND
    login_failures.record(db, keys, forget_before=now - WINDOW, now=now)


@pytest.mark.parametrize(
    ("moments", "failures"),
    [
        ([0], 1),
        ([0, 0, 0], 3),
        ([0, 5, 9], 3),
        ([0, 10], 2),  # the last one came at the very edge
        ([0, 11], 1),
        ([0, 9, 18, 27], 4),  # the last one counts, not the first
        ([0, 1, 2, 30, 31], 2),
    ],
)
def test_failures_are_counted_until_they_are_forgotten(
    db: Connection, moments: list[int], failures: int
) -> None:
    for at in moments:
        record(db, at, "key")
    assert login_failures.find(db, ["key"]) == {"key": (failures, NOW + moments[-1] * SECOND)}


def test_keys_are_counted_apart(db: Connection) -> None:
    record(db, 0, "ann", "ann@10.0.0.1")
    record(db, 1, "ann", "ann@10.0.0.2")
    later = NOW + SECOND
    assert login_failures.find(db, ["ann", "ann@10.0.0.1", "ann@10.0.0.2", "bob"]) == {
        "ann": (2, later),
        "ann@10.0.0.1": (1, NOW),
        "ann@10.0.0.2": (1, later),
    }
    assert login_failures.find(db, ["bob"]) == {}
    assert login_failures.find(db, []) == {}


def test_clear_forgets_these_keys_only(db: Connection) -> None:
    record(db, 0, "ann", "bob", "cid")
    login_failures.clear(db, ["ann", "cid", "unknown"])
    login_failures.clear(db, [])
    assert login_failures.find(db, ["ann", "bob", "cid"]) == {"bob": (1, NOW)}
    record(db, 1, "ann")
    assert login_failures.find(db, ["ann"]) == {"ann": (1, NOW + SECOND)}


def test_old_failures_are_removed(db: Connection) -> None:
    for at, key in enumerate(("old", "older than none", "young")):
        record(db, at, key)
    assert login_failures.remove_before(db, NOW) == 0
    assert login_failures.remove_before(db, NOW + SECOND) == 1
    assert login_failures.remove_before(db, NOW + SECOND) == 0
    assert login_failures.find(db, ["old", "older than none", "young"]).keys() == {"older than none", "young"}
