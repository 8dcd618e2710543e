import pytest
from sqlalchemy import Connection

from storage.metadata import leases
from tests.storage.metadata.content import NOW, SECOND


def take(db: Connection, holder: str, at: int, name: str = "job") -> bool:
    """Take the lease for ten seconds, `at` seconds from now."""
    now = NOW + at * SECOND
    return leases.take(db, name, holder, now=now, expires_at=now + 10 * SECOND)


@pytest.mark.parametrize(
    "story",
    [
        [("one", 0, True)],
        [("one", 0, True), ("two", 0, False), ("two", 9, False)],
        [("one", 0, True), ("two", 10, True), ("one", 11, False)],  # it ends at its very moment
        [("one", 0, True), ("one", 5, True), ("two", 10, False), ("two", 14, False), ("two", 15, True)],
        [("one", 0, True), ("two", 5, False), ("two", 10, True)],  # asking in vain renews nothing
        [("one", 0, True), ("two", 20, True), ("one", 25, False), ("one", 30, True)],
        [("one", 0, True), ("one", 50, True)],
        [("one", 3600, True), ("two", 3300, False), ("two", 3299, True)],  # a clock that was an hour ahead
    ],
)
def test_lease_has_one_holder(db: Connection, story: list[tuple[str, int, bool]]) -> None:
    assert [(holder, at, take(db, holder, at)) for holder, at, _ in story] == story


def test_outcome_of_a_turn(db: Connection) -> None:
    take(db, "one", 0)
    take(db, "two", 0, "other")
    leases.note(db, "job", began_at=NOW, seconds=1.5, failed=True)
    take(db, "two", 10)  # what is known of the last turn stays during the next
    noted, other = leases.taken(db)
    assert (noted.holder, noted.began_at, noted.seconds, noted.failed) == ("two", NOW, 1.5, True)
    assert (other.began_at, other.seconds, other.failed) == (None, None, None)


def test_position_stays_with_the_lease(db: Connection) -> None:
    leases.keep_position(db, "job", "lost")
    assert leases.position_of(db, "job") is None
    take(db, "one", 0)
    leases.keep_position(db, "job", "behind b")
    take(db, "two", 10)
    assert leases.position_of(db, "job") == "behind b"
    leases.keep_position(db, "job", None)
    assert leases.position_of(db, "job") is None


def test_leases_are_apart_by_name(db: Connection) -> None:
    assert take(db, "one", 0, "collect")
    assert take(db, "two", 0, "mirror")
    assert not take(db, "two", 0, "collect")
