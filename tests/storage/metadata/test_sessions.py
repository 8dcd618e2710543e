import pytest
from sqlalchemy import Connection

from storage.metadata import accounts, schema, sessions
from storage.metadata.sessions import Session
from tests.storage.metadata.content import NOW, SECOND, add_account, count

LIFETIME = 10


def add(db: Connection, account_id: int, secret: str, at: int = 0) -> int:
    """Begin a session at a second and return its id."""
    now = NOW + at * SECOND
    end = now + LIFETIME * SECOND
    sessions.add(db, account_id, secret, address="192.0.2.1", agent="curl", now=now, expires_at=end)
    return session(db, secret, at).id


def session(db: Connection, secret: str, at: int = 0) -> Session:
    found = sessions.find(db, secret, now=NOW + at * SECOND)
    assert found is not None
    return found[1]


def is_open(db: Connection, secret: str, at: int = 0) -> bool:
    return sessions.find(db, secret, now=NOW + at * SECOND) is not None


def test_session_says_who_is_signed_in(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    first, second = add(db, ann, "secret"), add(db, bob, "other")
    end = NOW + LIFETIME * SECOND
    expected = Session(first, NOW, NOW, end, "192.0.2.1", "curl")
    assert sessions.find(db, "secret", now=NOW) == (accounts.find(db, "ann"), expected)
    assert sessions.find(db, "other", now=NOW) == (accounts.find(db, "bob"), session(db, "other"))
    assert session(db, "other").id == second
    assert not is_open(db, "unknown")


@pytest.mark.parametrize(("at", "stands"), [(-1, True), (9, True), (10, False), (99, False)])
def test_session_ends_by_itself(db: Connection, at: int, stands: bool) -> None:
    ann = add_account(db, "ann")
    add(db, ann, "secret")
    assert is_open(db, "secret", at) == stands
    assert len(sessions.of_account(db, ann, now=NOW + at * SECOND)) == stands


def test_visit_prolongs_a_session(db: Connection) -> None:
    session_id = add(db, add_account(db, "ann"), "secret")
    sessions.touch(db, session_id, now=NOW + 9 * SECOND, expires_at=NOW + 19 * SECOND)
    touched = session(db, "secret", at=18)
    assert (touched.seen_at, touched.expires_at) == (NOW + 9 * SECOND, NOW + 19 * SECOND)
    assert not is_open(db, "secret", at=19)


@pytest.mark.parametrize("ending", ["disable", "change_password"])
def test_what_ends_all_sessions_of_an_account(db: Connection, ending: str) -> None:
    for name in ("ann", "bob"):
        add(db, add_account(db, name), f"secret of {name}")
    if ending == "disable":
        accounts.disable(db, "ann", disabled=True, now=NOW)
        assert not is_open(db, "secret of ann")
        accounts.disable(db, "ann", disabled=False, now=NOW)
    else:
        accounts.change_password(db, "ann", "new hash")
    assert not is_open(db, "secret of ann")
    assert is_open(db, "secret of bob")


def test_session_that_began_in_a_closed_account_counts_for_nothing(db: Connection) -> None:
    ann = add_account(db, "ann")
    accounts.disable(db, "ann", disabled=True, now=NOW)
    end = NOW + LIFETIME * SECOND
    sessions.add(db, ann, "secret", address="", agent="", now=NOW, expires_at=end)
    assert not is_open(db, "secret")


def test_account_lists_its_sessions_the_one_used_last_first(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    first, second, third = (add(db, ann, f"secret {n}", at=n) for n in range(3))
    add(db, bob, "other")
    sessions.touch(db, first, now=NOW + 5 * SECOND, expires_at=NOW + 15 * SECOND)
    assert [each.id for each in sessions.of_account(db, ann, now=NOW)] == [first, third, second]


def test_account_ends_its_own_sessions_alone(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    ids = [add(db, ann, f"secret {n}") for n in range(4)]
    other = add(db, bob, "other")
    assert not sessions.remove(db, ann, other)
    assert sessions.remove(db, ann, ids[0])
    assert not sessions.remove(db, ann, ids[0])
    assert [is_open(db, f"secret {n}") for n in range(4)] == [False, True, True, True]
    assert sessions.remove_others(db, ann, ids[1]) == 2
    assert is_open(db, "secret 1")
    assert sessions.remove_others(db, ann, None) == 1
    sessions.remove_by_secret(db, "unknown")
    assert is_open(db, "other")
    sessions.remove_by_secret(db, "other")
    assert count(db, schema.sessions) == [0]


def test_sessions_that_ended_are_forgotten(db: Connection) -> None:
    ann = add_account(db, "ann")
    for at in range(3):
        add(db, ann, f"secret {at}", at=at)
    assert sessions.remove_expired(db, now=NOW + (LIFETIME + 1) * SECOND) == 2
    assert count(db, schema.sessions) == [1]
