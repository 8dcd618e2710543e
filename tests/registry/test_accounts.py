"""What `auth` needs of accounts and of failed logins, over the database."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import select, update

from auth.identity import ANONYMOUS, Accounts, Identity, Throttle
from auth.policy import Role, Standing
from auth.throttle import FORGET_SECONDS, Key, keys
from auth.tokens import secret_hash
from registry.accounts import StoredAccounts, StoredThrottle
from registry.local import Rules
from storage.metadata import accounts, repositories, schema
from storage.metadata.engine import Connection
from tests.registry.accounts import NOW, add_account
from tests.registry.content import name, push_blob
from tests.registry.registries import Stores

DAY: Final = 86_400
APP: Final = name("team/app")


@pytest.fixture
def stored(stores: Stores) -> StoredAccounts:
    return StoredAccounts(stores.metadata, refresh_token_lifetime=DAY)


@pytest.fixture
def throttle(stores: Stores) -> StoredThrottle:
    return StoredThrottle(stores.metadata)


def test_protocols_of_auth_are_satisfied(stored: StoredAccounts, throttle: StoredThrottle) -> None:
    needed: tuple[Accounts, Throttle] = stored, throttle
    assert needed


# Accounts


async def test_credentials(stores: Stores, stored: StoredAccounts) -> None:
    ann = await add_account(stores, "ann")
    found = await stored.find_credentials("ann")
    assert found is not None
    assert (found.id, found.name, found.password_hash, found.disabled) == (
        ann.account_id,
        "ann",
        "hash",
        False,
    )
    for other in ("", "Ann", "an", "ann ", "bob"):
        assert await stored.find_credentials(other) is None


@pytest.mark.parametrize("is_admin", [False, True])
async def test_identity(stores: Stores, stored: StoredAccounts, is_admin: bool) -> None:
    ann = await add_account(stores, "ann", is_admin=is_admin)
    assert await stored.find_identity("ann") == ann == Identity(ann.account_id, "ann", is_admin=is_admin)
    assert await stored.find_identity("bob") is None


async def test_disabled_account_is_nobody(stores: Stores, stored: StoredAccounts) -> None:
    ann = await add_account(stores, "ann")
    secret = await stored.add_refresh_token(ann, "client")
    assert secret is not None
    await stores.metadata.write(accounts.disable, "ann", disabled=True, now=NOW)
    assert await stored.find_identity("ann") is None
    assert await stored.find_by_refresh_token(secret) is None
    found = await stored.find_credentials("ann")
    assert found is not None
    assert found.disabled
    await stores.metadata.write(accounts.disable, "ann", disabled=False, now=NOW)
    assert await stored.find_identity("ann") == ann


@pytest.mark.parametrize(("old", "kept"), [("hash", "new"), ("of another password", "hash")])
async def test_hash_is_renewed_unless_the_password_changed(
    stores: Stores, stored: StoredAccounts, old: str, kept: str
) -> None:
    ann, bob = await add_account(stores, "ann"), await add_account(stores, "bob")
    assert ann.account_id is not None
    await stored.replace_password_hash(ann.account_id, old, "new")
    hashes = {each.name: each.password_hash for each in await stores.metadata.read(accounts.everyone)}
    assert hashes == {"ann": kept, bob.name: "hash"}


# Standing


@pytest.mark.parametrize(
    ("granted", "role"),
    [
        ({}, None),
        ({"team": 1}, Role.READ),
        ({"team/app": 2}, Role.WRITE),
        ({"team": 1, "team/app": 3}, Role.ADMIN),
        ({"team": 3, "team/app": 1}, Role.ADMIN),
        ({"team/other": 3}, None),
        ({"other": 3}, None),
    ],
)
@pytest.mark.parametrize("public", [False, True])
async def test_standing(
    stores: Stores, stored: StoredAccounts, granted: dict[str, int], role: Role | None, public: bool
) -> None:
    ann = await add_account(stores, "ann")
    registry = stores.registry(Rules(public=public))
    for repository in ("team/app", "team/other", "other/app"):
        await push_blob(registry, repository, b"")
    for target, number in granted.items():
        assert await stores.metadata.write(repositories.grant, target, "ann", number) is None
    standing = await stored.standing(ann, APP)
    assert standing.repository_id is not None
    assert replace(standing, repository_id=None) == Standing(
        exists=True, public=public, namespace_exists=True, role=role, name=APP
    )
    assert (await stored.standing(ANONYMOUS, APP)).role is None
    assert (await stored.standing(Identity(None, "ann", external=True), APP)).role is None


async def test_standing_to_what_is_not_there(stores: Stores, stored: StoredAccounts) -> None:
    ann, bob = await add_account(stores, "ann"), await add_account(stores, "bob")
    nothing = Standing(exists=False, public=False, namespace_exists=False, name=APP)
    assert await stored.standing(ann, APP) == nothing
    own = Standing(exists=False, public=False, namespace_exists=True, role=Role.ADMIN, name="ann/app")
    assert await stored.standing(ann, name("ann/app")) == own
    others = Standing(exists=False, public=False, namespace_exists=True, name="ann/app")
    assert await stored.standing(bob, name("ann/app")) == others
    assert await stored.standing(ANONYMOUS, name("ann/app")) == others


async def test_right_that_is_taken_away_ends_at_once(stores: Stores, stored: StoredAccounts) -> None:
    ann = await add_account(stores, "ann")
    await push_blob(stores.registry(), APP, b"")
    for number, role in ((2, Role.WRITE), (1, Role.READ), (None, None)):
        await stores.metadata.write(repositories.grant, APP, "ann", number)
        assert (await stored.standing(ann, APP)).role is role


# Refresh tokens


async def test_refresh_token_stands_for_its_account(stores: Stores, stored: StoredAccounts) -> None:
    ann, bob = await add_account(stores, "ann"), await add_account(stores, "bob", is_admin=True)
    secrets = [await stored.add_refresh_token(each, "client") for each in (ann, ann, bob)]
    assert len(set(secrets)) == 3
    found = [await stored.find_by_refresh_token(secret or "") for secret in secrets]
    assert found == [ann, ann, bob]


@pytest.mark.parametrize("secret", ["", "lsr_", "lsr_" + "0" * 43, "ann"])
async def test_unknown_refresh_token(stores: Stores, stored: StoredAccounts, secret: str) -> None:
    await stored.add_refresh_token(await add_account(stores, "ann"), "client")
    assert await stored.find_by_refresh_token(secret) is None


async def test_refresh_token_is_stored_hashed(stores: Stores, stored: StoredAccounts) -> None:
    secret = await stored.add_refresh_token(await add_account(stores, "ann"), "the client")
    assert secret is not None
    table = schema.refresh_tokens.c

    def row(db: Connection) -> tuple[str, str, timedelta]:
        found = db.execute(
            select(table.secret_hash, table.client_id, table.created_at, table.expires_at)
        ).one()
        return found[0], found[1], found[3] - found[2]

    assert await stores.metadata.read(row) == (secret_hash(secret), "the client", timedelta(seconds=DAY))
    assert await stored.find_by_refresh_token(secret_hash(secret)) is None


@pytest.mark.parametrize("lifetime", [0, -1])
async def test_refresh_token_expires(stores: Stores, lifetime: int) -> None:
    stored = StoredAccounts(stores.metadata, lifetime)
    secret = await stored.add_refresh_token(await add_account(stores, "ann"), "client")
    assert await stored.find_by_refresh_token(secret or "") is None


@pytest.mark.parametrize("identity", [ANONYMOUS, Identity(None, "robot", external=True)])
async def test_who_has_no_account_gets_no_refresh_token(stored: StoredAccounts, identity: Identity) -> None:
    assert await stored.add_refresh_token(identity, "client") is None


async def test_new_password_ends_refresh_tokens(stores: Stores, stored: StoredAccounts) -> None:
    ann, bob = await add_account(stores, "ann"), await add_account(stores, "bob")
    secrets = [await stored.add_refresh_token(each, "client") for each in (ann, bob)]
    await stores.metadata.write(accounts.change_password, "ann", "other hash")
    assert [await stored.find_by_refresh_token(secret or "") for secret in secrets] == [None, bob]


# Failed logins

PAIR, ACCOUNT, ADDRESS = keys("ann", "10.0.0.1")


async def fail(throttle: StoredThrottle, counters: Sequence[Key], times: int) -> None:
    for _ in range(times):
        await throttle.record_failure(counters)


async def set_back(stores: Stores, seconds: int) -> None:
    """Let all failures have come `seconds` ago."""
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    await stores.metadata.write(lambda db: db.execute(update(schema.login_failures).values(failed_at=then)))


async def test_free_failures_cost_nothing(throttle: StoredThrottle) -> None:
    assert await throttle.retry_after([PAIR]) == 0
    await fail(throttle, [PAIR], PAIR.free)
    assert await throttle.retry_after([PAIR]) == 0


@pytest.mark.parametrize(("paid", "least"), [(1, 1), (2, 2), (4, 7), (12, 890)])
async def test_later_ones_cost_more_each(throttle: StoredThrottle, paid: int, least: int) -> None:
    await fail(throttle, [PAIR], PAIR.free + paid)
    assert least <= await throttle.retry_after([PAIR]) <= 2 * least


async def test_longest_wait_counts(throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR], PAIR.free + 12)
    waits = [await throttle.retry_after(each) for each in ([PAIR], [ACCOUNT], [ACCOUNT, PAIR, ADDRESS])]
    assert waits[1] == 0
    assert waits[2] >= waits[0] - 1 > 800


async def test_each_key_is_counted(throttle: StoredThrottle) -> None:
    for key in (PAIR, ACCOUNT, ADDRESS):
        await fail(throttle, [key], key.free + 1)
        assert await throttle.retry_after([key]) > 0
    assert await throttle.retry_after(keys("bob", "10.0.0.2")) == 0


async def test_pair_that_keeps_failing_does_not_shut_out_its_address(throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR, ACCOUNT, ADDRESS], 100)
    assert await throttle.retry_after([PAIR]) > 0
    assert await throttle.retry_after([ACCOUNT, ADDRESS]) == 0
    for number in range(ADDRESS.free):
        await fail(throttle, [*keys(f"guess-{number}", "10.0.0.1")], 1)
    assert await throttle.retry_after([ADDRESS]) > 0


async def test_pair_that_is_out_of_attempts_counts_for_itself_only(throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR, ACCOUNT, ADDRESS], 1000)
    assert await throttle.retry_after([PAIR]) > 0
    assert await throttle.retry_after([ACCOUNT, ADDRESS]) == 0


async def test_success_sets_its_keys_back(throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR], 40)
    await fail(throttle, [ADDRESS], 40)
    await throttle.record_success([PAIR])
    assert await throttle.retry_after([PAIR]) == 0
    assert await throttle.retry_after([ADDRESS]) > 0
    await throttle.record_success([ACCOUNT])


async def test_failures_are_forgotten(stores: Stores, throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR], 40)
    await set_back(stores, FORGET_SECONDS + 1)
    assert await throttle.retry_after([PAIR]) == 0
    await fail(throttle, [PAIR], PAIR.free)
    assert await throttle.retry_after([PAIR]) == 0
    await fail(throttle, [PAIR], 1)
    assert await throttle.retry_after([PAIR]) > 0


async def test_wait_grows_shorter(stores: Stores, throttle: StoredThrottle) -> None:
    await fail(throttle, [PAIR], 40)
    await set_back(stores, 800)
    assert 90 <= await throttle.retry_after([PAIR]) <= 100
    await set_back(stores, 901)
    assert await throttle.retry_after([PAIR]) == 0


async def test_counters_are_shared_by_processes(stores: Stores, other_stores: Stores) -> None:
    here, there = StoredThrottle(stores.metadata), StoredThrottle(other_stores.metadata)
    for each in (here, there):
        await fail(each, [PAIR], PAIR.free)
    assert await here.retry_after([PAIR]) > 0
    assert await there.retry_after([PAIR]) > 0
