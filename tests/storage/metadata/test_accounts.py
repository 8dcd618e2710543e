import pytest
from sqlalchemy import Connection, select

from storage.metadata import accounts, repositories, schema, sessions
from storage.metadata.accounts import Account, NameTaken
from tests.storage.metadata.content import NOW, SECOND, add_account, add_repository, count


def found(db: Connection, name: str) -> Account:
    account = accounts.find(db, name)
    assert account is not None
    return account


def log_in(db: Connection, name: str, secret: str, seconds: int = 10) -> None:
    account_id = found(db, name).id
    accounts.add_refresh_token(db, account_id, secret, "docker", now=NOW, expires_at=NOW + seconds * SECOND)


def logged_in(db: Connection, secret: str, at: int = 0) -> str | None:
    stands_for = accounts.find_by_refresh_token(db, secret, now=NOW + at * SECOND)
    return None if stands_for is None else stands_for[0].name


@pytest.mark.parametrize("is_admin", [False, True])
def test_account_comes_back(db: Connection, is_admin: bool) -> None:
    accounts.add(db, "ann", "hash", is_admin=is_admin, now=NOW)
    account = found(db, "ann")
    assert account == Account(account.id, "ann", "hash", is_admin, False, NOW)
    assert (type(account.is_admin), type(account.disabled)) == (bool, bool)


def test_account_owns_the_namespace_of_its_name(db: Connection) -> None:
    account_id = add_account(db, "ann")
    owner = select(schema.namespaces.c.owner_id).where(schema.namespaces.c.name == "ann")
    assert db.execute(owner).scalar_one() == account_id
    assert repositories.rights(db, "ann/app", account_id).role == repositories.OWNER_ROLE


def test_unknown_account_is_none(db: Connection) -> None:
    add_account(db, "ann")
    assert [accounts.find(db, name) for name in ("bob", "", "an", "Ann", "ann ")] == [None] * 5


@pytest.mark.parametrize("name", ["ann", "library", "team"])
def test_name_of_an_account_or_a_namespace_is_taken(db: Connection, name: str) -> None:
    add_account(db, "ann")
    add_repository(db, "team/app")
    before = count(db, schema.accounts, schema.namespaces)
    with pytest.raises(NameTaken, match=name):
        accounts.add(db, name, "other hash", is_admin=True, now=NOW)
    assert count(db, schema.accounts, schema.namespaces) == before


def test_everyone_is_listed_by_name(db: Connection) -> None:
    assert accounts.everyone(db) == []
    for name in ("bob", "ann", "a-b", "zoe", "a_b", "a.b", "a1"):
        add_account(db, name)
    listed = [account.name for account in accounts.everyone(db)]
    assert listed == ["a-b", "a.b", "a1", "a_b", "ann", "bob", "zoe"]
    assert accounts.everyone(db)[4] == accounts.find(db, "ann")


def test_there_is_nobody_until_the_first(db: Connection) -> None:
    assert not accounts.exist(db)
    add_account(db, "ann")
    assert accounts.exist(db)


def test_new_hash_of_the_same_password_logs_nobody_out(db: Connection) -> None:
    account_id = add_account(db, "ann")
    add_account(db, "bob")
    log_in(db, "ann", "secret")
    accounts.replace_password_hash(db, account_id, old="hash", new="better hash")
    assert [found(db, name).password_hash for name in ("ann", "bob")] == ["better hash", "hash"]
    assert logged_in(db, "secret") == "ann"


def test_new_hash_does_not_undo_a_change_of_the_password(db: Connection) -> None:
    account_id = add_account(db, "ann")
    accounts.change_password(db, "ann", "hash of another password")
    accounts.replace_password_hash(db, account_id, old="hash", new="better hash")
    assert found(db, "ann").password_hash == "hash of another password"


def test_change_of_the_password_logs_the_account_out(db: Connection) -> None:
    for name in ("ann", "bob"):
        add_account(db, name)
        log_in(db, name, f"secret of {name}")
        log_in(db, name, f"other secret of {name}")
    assert accounts.change_password(db, "ann", "new hash")
    assert [found(db, name).password_hash for name in ("ann", "bob")] == ["new hash", "hash"]
    assert [logged_in(db, f"{some} of ann") for some in ("secret", "other secret")] == [None, None]
    assert [logged_in(db, f"{some} of bob") for some in ("secret", "other secret")] == ["bob", "bob"]


def test_disabled_account_is_logged_out(db: Connection) -> None:
    for name in ("ann", "bob"):
        add_account(db, name)
        log_in(db, name, f"secret of {name}")
    assert accounts.disable(db, "ann", disabled=True, now=NOW)
    assert [found(db, name).disabled for name in ("ann", "bob")] == [True, False]
    assert logged_in(db, "secret of ann") is None
    assert logged_in(db, "secret of bob") == "bob"


def test_account_that_is_opened_again_has_to_log_in_again(db: Connection) -> None:
    add_account(db, "ann")
    log_in(db, "ann", "old secret")
    for disabled in (True, True, False, False):
        assert accounts.disable(db, "ann", disabled=disabled, now=NOW)
    assert not found(db, "ann").disabled
    assert logged_in(db, "old secret") is None
    log_in(db, "ann", "new secret")
    assert accounts.disable(db, "ann", disabled=False, now=NOW)
    assert logged_in(db, "new secret") == "ann"


def test_unknown_account_is_told(db: Connection) -> None:
    add_account(db, "ann")
    assert not accounts.change_password(db, "bob", "hash")
    assert not accounts.disable(db, "bob", disabled=True, now=NOW)
    assert not found(db, "ann").disabled


def test_refresh_token_says_whether_its_account_is_disabled(db: Connection) -> None:
    add_account(db, "ann")
    accounts.disable(db, "ann", disabled=True, now=NOW)
    log_in(db, "ann", "secret")  # by a login that raced the disabling
    stands_for = accounts.find_by_refresh_token(db, "secret", now=NOW)
    assert stands_for is not None
    assert stands_for[0].disabled


@pytest.mark.parametrize(("at", "name"), [(-1, "ann"), (0, "ann"), (9, "ann"), (10, None), (11, None)])
def test_refresh_token_counts_until_it_expires(db: Connection, at: int, name: str | None) -> None:
    add_account(db, "ann")
    log_in(db, "ann", "secret", seconds=10)
    assert logged_in(db, "secret", at) == name
    assert logged_in(db, "unknown", at) is None


def test_expired_refresh_tokens_are_removed(db: Connection) -> None:
    add_account(db, "ann")
    for seconds in (5, 10, 15):
        log_in(db, "ann", f"secret for {seconds}", seconds)
    assert accounts.remove_expired_refresh_tokens(db, now=NOW) == 0
    assert accounts.remove_expired_refresh_tokens(db, now=NOW + 10 * SECOND) == 2
    assert accounts.remove_expired_refresh_tokens(db, now=NOW + 10 * SECOND) == 0
    assert count(db, schema.refresh_tokens) == [1]
    assert logged_in(db, "secret for 15", 14) == "ann"


# -- people ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "last", "names"),
    [
        ("", "", ["a-b", "a_b", "ann", "anna"]),
        ("", "anna", ["bob"]),
        ("a", "a_b", ["ann", "anna"]),
        ("ann", "", ["ann", "anna"]),
        ("a_", "", ["a_b"]),
        ("a%", "", []),
        ("A", "", []),
    ],
)
def test_people_are_listed_by_name(db: Connection, prefix: str, last: str, names: list[str]) -> None:
    for name in ("bob", "ann", "anna", "a_b", "a-b"):
        add_account(db, name)
    assert [each.name for each in accounts.people(db, prefix=prefix, last=last, limit=4)] == names


def test_edit_raises_the_version(db: Connection) -> None:
    ann = add_account(db, "ann")
    add_account(db, "bob")
    accounts.edit(db, ann, {"full_name": "Ann", "website": "https://example.com"})
    accounts.edit(db, ann, {"about": "reads"})
    account = found(db, "ann")
    said = (account.full_name, account.about, account.website, account.version)
    assert said == ("Ann", "reads", "https://example.com", 3)
    assert found(db, "bob").version == 1


def test_administrators_are_those_that_are_not_closed(db: Connection) -> None:
    ids = [add_account(db, name) for name in ("ann", "bob", "zoe")]
    assert accounts.administrators(db) == []
    for account_id in ids[:2]:
        accounts.set_admin(db, account_id, is_admin=True)
    accounts.disable(db, "bob", disabled=True, now=NOW)
    assert accounts.administrators(db) == [ids[0]]
    accounts.set_admin(db, ids[0], is_admin=False)
    assert accounts.administrators(db) == []


def test_last_seen_is_the_newest_session(db: Connection) -> None:
    ids = [add_account(db, name) for name in ("ann", "bob", "zoe")]
    for account_id, seconds in ((ids[0], 5), (ids[0], 9), (ids[0], 7), (ids[1], 1)):
        then = NOW + seconds * SECOND
        secret = f"secret {account_id} {seconds}"
        sessions.add(db, account_id, secret, address="", agent="", now=then, expires_at=then + SECOND)
    assert accounts.last_seen(db, ids) == {ids[0]: NOW + 9 * SECOND, ids[1]: NOW + SECOND}
    assert accounts.last_seen(db, []) == {}
