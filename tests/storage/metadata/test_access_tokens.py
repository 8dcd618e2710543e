from collections.abc import Sequence
from datetime import datetime

import pytest
from sqlalchemy import Connection

from storage.metadata import access_tokens, accounts, repositories, schema
from storage.metadata.access_tokens import AccessToken, Bearer
from tests.storage.metadata.content import NOW, SECOND, add_account, add_repository, count

READ, WRITE, ADMIN = 1, 2, 4


def add(
    db: Connection,
    account_id: int,
    secret: str,
    *,
    permission: int = READ,
    only: Sequence[int] | None = None,
    expires_at: datetime | None = None,
) -> int:
    return access_tokens.add(
        db,
        account_id,
        f"name of {secret}",
        secret,
        permission,
        repository_ids=only,
        now=NOW,
        expires_at=expires_at,
    )


def found(db: Connection, secret: str, at: int = 0) -> Bearer | None:
    return access_tokens.find_by_secret(db, secret, now=NOW + at * SECOND)


@pytest.mark.parametrize("permission", [READ, WRITE, ADMIN])
@pytest.mark.parametrize("limited", [False, True])
def test_token_stands_for_its_account(db: Connection, permission: int, limited: bool) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    ids = [add_repository(db, name) for name in ("ann/app", "ann/lib", "bob/app")]
    token_id = add(db, ann, "secret", permission=permission, only=ids[:2] if limited else None)
    add(db, bob, "other", only=ids[2:])
    account = accounts.find(db, "ann")
    assert account is not None
    bearer = Bearer(account, token_id, permission, frozenset(ids[:2]) if limited else None, None)
    assert found(db, "secret") == access_tokens.find(db, token_id, now=NOW) == bearer
    assert found(db, "unknown") is None
    assert access_tokens.find(db, token_id + 99, now=NOW) is None


def test_account_lists_its_tokens_newest_first(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    ids = [add_repository(db, name) for name in ("ann/lib", "ann/app")]
    end = NOW + 9 * SECOND
    first = add(db, ann, "first", permission=WRITE)
    second = add(db, ann, "second", only=ids, expires_at=end)
    add(db, bob, "other")
    access_tokens.touch(db, first, now=NOW + SECOND)
    assert access_tokens.of_account(db, ann) == [
        AccessToken(second, "name of second", READ, ("ann/app", "ann/lib"), NOW, end, None),
        AccessToken(first, "name of first", WRITE, None, NOW, None, NOW + SECOND),
    ]
    assert [access_tokens.count(db, each) for each in (ann, bob, 99)] == [2, 1, 0]
    assert [access_tokens.expiry(db, each) for each in (first, second, 99)] == [None, end, None]


@pytest.mark.parametrize(("at", "stands"), [(-1, True), (9, True), (10, False), (11, False)])
def test_token_counts_until_it_expires(db: Connection, at: int, stands: bool) -> None:
    token_id = add(db, add_account(db, "ann"), "secret", expires_at=NOW + 10 * SECOND)
    assert (found(db, "secret", at) is not None) == stands
    assert (access_tokens.find(db, token_id, now=NOW + at * SECOND) is not None) == stands


def test_token_of_a_closed_account_stands_for_nobody(db: Connection) -> None:
    add(db, add_account(db, "ann"), "secret")
    accounts.disable(db, "ann", disabled=True, now=NOW)
    assert found(db, "secret") is None
    accounts.disable(db, "ann", disabled=False, now=NOW)
    assert found(db, "secret") is not None


def test_token_is_removed_by_its_account_with_what_it_was_exchanged_for(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    repository_id = add_repository(db, "ann/app")
    token_id, other = add(db, ann, "secret", only=[repository_id]), add(db, ann, "other")
    for access_token_id in (token_id, other, None):
        accounts.add_refresh_token(
            db,
            ann,
            f"of {access_token_id}",
            "docker",
            now=NOW,
            expires_at=NOW + SECOND,
            access_token_id=access_token_id,
        )
    assert not access_tokens.remove(db, bob, token_id)
    assert access_tokens.remove(db, ann, token_id)
    assert not access_tokens.remove(db, ann, token_id)
    assert found(db, "secret") is None
    assert found(db, "other") is not None
    assert count(db, schema.access_tokens, schema.access_token_repositories, schema.refresh_tokens) == [
        1,
        0,
        2,
    ]
    kept = accounts.find_by_refresh_token(db, f"of {other}", now=NOW)
    assert kept is not None
    assert (kept[0].name, kept[1]) == ("ann", other)


def test_id_of_a_token_that_is_gone_never_comes_again(db: Connection) -> None:
    """What was exchanged for it names it."""
    ann = add_account(db, "ann")
    gone = add(db, ann, "gone")
    access_tokens.remove(db, ann, gone)
    assert add(db, ann, "new") > gone


def test_repository_that_is_gone_leaves_a_limited_token_limited(db: Connection) -> None:
    ann = add_account(db, "ann")
    add(db, ann, "secret", only=[add_repository(db, "ann/app")])
    assert repositories.remove(db, "ann/app")
    bearer = found(db, "secret")
    assert bearer is not None
    assert bearer.repositories == frozenset()
    assert access_tokens.of_account(db, ann)[0].repositories == ()


def test_tokens_that_ran_out_long_ago_are_forgotten(db: Connection) -> None:
    ann = add_account(db, "ann")
    for seconds in (1, 2, 3, None):
        end = None if seconds is None else NOW + seconds * SECOND
        add(db, ann, f"for {seconds}", expires_at=end)
    assert access_tokens.remove_expired_before(db, NOW + 3 * SECOND) == 2
    left = [each.name for each in access_tokens.of_account(db, ann)]
    assert left == ["name of for None", "name of for 3"]
