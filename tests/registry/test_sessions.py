"""Sessions: who is signed in where, and until when."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import update

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from registry.errors import Problem
from registry.sessions import Sessions, SignedIn
from storage.metadata import accounts, schema
from storage.metadata.engine import MetadataFull, MetadataUnavailable
from tests.registry.accounts import NOW, add_account
from tests.registry.content import refused
from tests.registry.registries import Stores

LIFETIME: Final = 3600


@pytest.fixture
def sessions(stores: Stores) -> Sessions:
    return Sessions(stores.metadata, LIFETIME)


@pytest.fixture
async def ann(stores: Stores) -> Identity:
    return await add_account(stores, "ann")


async def start(sessions: Sessions, who: Identity, agent: str = "Firefox") -> str:
    return await sessions.start(who, address="192.0.2.1", agent=agent)


async def find(sessions: Sessions, secret: str) -> SignedIn:
    found = await sessions.find(secret)
    assert found is not None
    return found


async def set_seen(stores: Stores, seconds_ago: int) -> datetime:
    """Let every session have been used last so long ago."""
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    values = {"seen_at": then, "expires_at": then + timedelta(seconds=LIFETIME)}
    await stores.metadata.write(lambda db: db.execute(update(schema.sessions).values(values)))
    return then


@pytest.mark.parametrize("is_admin", [False, True])
async def test_session_says_who_is_signed_in(stores: Stores, sessions: Sessions, is_admin: bool) -> None:
    who = await add_account(stores, "who", is_admin=is_admin)
    secret = await start(sessions, who)
    assert secret.startswith("lss_")
    assert (await find(sessions, secret)).identity == who
    assert await start(sessions, who) != secret
    for other in ("", "lss_", secret[:-1], secret + "x", "\ud800"):
        assert await sessions.find(other) is None


async def test_rights_are_those_of_now(stores: Stores, sessions: Sessions, ann: Identity) -> None:
    secret = await start(sessions, ann)
    assert ann.account_id is not None
    await stores.metadata.write(accounts.set_admin, ann.account_id, is_admin=True)
    assert (await find(sessions, secret)).identity.is_admin


@pytest.mark.parametrize(("seconds", "stands"), [(0, True), (LIFETIME - 9, True), (LIFETIME + 1, False)])
async def test_session_ends_without_a_visit(
    stores: Stores, sessions: Sessions, ann: Identity, seconds: int, stands: bool
) -> None:
    secret = await start(sessions, ann)
    await set_seen(stores, seconds)
    assert (await sessions.find(secret) is not None) == stands
    assert len(await sessions.sessions(ann)) == stands


@pytest.mark.parametrize(("seconds", "noted"), [(0, False), (50, False), (61, True), (LIFETIME - 9, True)])
async def test_visit_prolongs_it_once_a_minute(
    stores: Stores, sessions: Sessions, ann: Identity, seconds: int, noted: bool
) -> None:
    secret = await start(sessions, ann)
    then = await set_seen(stores, seconds)
    await sessions.find(secret)
    [listed] = await sessions.sessions(ann)
    assert (listed.seen_at > then) == noted
    assert listed.expires_at == listed.seen_at + timedelta(seconds=LIFETIME)


@pytest.mark.parametrize("error", [MetadataFull, MetadataUnavailable])
async def test_database_that_cannot_write_shows_the_page(
    stores: Stores,
    sessions: Sessions,
    ann: Identity,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    secret = await start(sessions, ann)
    await set_seen(stores, 120)

    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(stores.metadata, "write", fail)
    assert (await find(sessions, secret)).identity == ann


@pytest.mark.parametrize("disabled_first", [False, True])
async def test_closed_account_is_signed_in_nowhere(
    stores: Stores, sessions: Sessions, ann: Identity, disabled_first: bool
) -> None:
    secret = "" if disabled_first else await start(sessions, ann)
    await stores.metadata.write(accounts.disable, "ann", disabled=True, now=NOW)
    secret = secret or await start(sessions, ann)  # by a sign-in that raced the disabling
    assert await sessions.find(secret) is None


async def test_listed_sessions(sessions: Sessions, ann: Identity, stores: Stores) -> None:
    bob = await add_account(stores, "bob")
    first = await find(sessions, await start(sessions, ann, agent="curl\n\0/8 " + "x" * 500))
    second = await find(sessions, await start(sessions, ann))
    await start(sessions, bob)
    listed = await sessions.sessions(ann, first.session_id)
    assert {each.id: each.current for each in listed} == {first.session_id: True, second.session_id: False}
    agents = {each.id: each.agent for each in listed}
    assert agents[second.session_id] == "Firefox"
    assert agents[first.session_id] == ("curl/8 " + "x" * 500)[:300]
    assert {each.address for each in listed} == {"192.0.2.1"}


async def test_what_ends_a_session(sessions: Sessions, ann: Identity, stores: Stores) -> None:
    bob = await add_account(stores, "bob")
    secrets = [await start(sessions, ann) for _ in range(5)]
    others = await start(sessions, bob)
    ids = [(await find(sessions, each)).session_id for each in secrets]
    await sessions.end(secrets[0])
    await sessions.end(secrets[0])
    await sessions.revoke(ann, ids[1])
    for caller, session_id in ((ann, ids[1]), (bob, ids[2])):
        with refused(Problem.NOT_HERE):
            await sessions.revoke(caller, session_id)
    assert [await sessions.find(each) is None for each in secrets] == [True, True, False, False, False]
    assert await sessions.revoke_others(ann, ids[3]) == 2
    assert [each.id for each in await sessions.sessions(ann)] == [ids[3]]
    assert await sessions.revoke_others(ann) == 1
    assert await sessions.find(others) is not None


@pytest.mark.parametrize(
    ("caller", "problem"),
    [
        (ANONYMOUS, Problem.UNAUTHORIZED),
        (SYSTEM, Problem.DENIED),
        (Identity(1, "ann", limit=Limit(1, Permission.DELETE)), Problem.DENIED),
    ],
)
async def test_who_has_no_sessions(sessions: Sessions, caller: Identity, problem: Problem) -> None:
    with refused(problem):
        await sessions.sessions(caller)
    with refused(problem):
        await sessions.revoke(caller, 1)
    with refused(problem):
        await sessions.revoke_others(caller)
