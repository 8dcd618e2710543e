"""Invitations: who makes them, what they are good for, and how people come to accounts."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select, update

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission, TooManyAttempts
from auth.passwords import Passwords
from registry.accounts import StoredThrottle
from registry.errors import Problem, RegistryError
from registry.invitations import Invitations, NewInvitation
from registry.organizations import Organizations
from registry.people import PasswordHashing
from storage.metadata import schema
from tests.registry.accounts import add_account
from tests.registry.content import refused
from tests.registry.registries import Stores

PASSWORD: Final = "wonderland rabbit hole"
ADDRESS: Final = "192.0.2.1"


@dataclass(frozen=True, slots=True)
class World:
    """The organization `team`, which ann owns, with the team `readers`; bob does not belong to it."""

    stores: Stores
    invitations: Invitations
    organizations: Organizations
    callers: dict[str, Identity]

    async def invite(
        self, *, team: str | None = None, as_owner: bool = False, note: str = "", days: int = 7
    ) -> NewInvitation:
        """Make an invitation to the organization."""
        return await self.invitations.invite(
            self.callers["ann"], organization="team", team=team, as_owner=as_owner, note=note, days=days
        )

    async def sign_up(self, name: str, secret: str | None = None, address: str = ADDRESS) -> Identity:
        return await self.invitations.sign_up(name, PASSWORD, address=address, invitation=secret)

    async def members(self) -> list[tuple[str, bool, tuple[str, ...]]]:
        found = await self.organizations.members(SYSTEM, "team")
        return [(each.name, each.is_owner, each.teams) for each in found.items]


@pytest.fixture
async def world(stores: Stores) -> World:
    callers = {each: await add_account(stores, each) for each in ("ann", "bob", "member")}
    callers["keeper"] = await add_account(stores, "keeper", is_admin=True)
    callers["nobody"] = ANONYMOUS
    for name in ("ann", "keeper", "bob"):
        limit = Limit(1, Permission.DELETE)
        callers[f"{name} with DELETE"] = replace(callers[name], limit=limit)
    organizations = Organizations(stores.metadata)
    await organizations.create(callers["ann"], "team")
    await organizations.set_member(callers["ann"], "team", "member", is_owner=False)
    await organizations.create_team(callers["ann"], "team", "readers")
    hashing = PasswordHashing(Passwords(time_cost=1, memory_cost=8, parallelism=1), ThreadPoolExecutor(1))
    return World(
        stores, Invitations(stores.metadata, hashing, StoredThrottle(stores.metadata)), organizations, callers
    )


@pytest.mark.parametrize(
    ("who", "organization", "problem"),
    [
        ("ann", "team", None),
        ("keeper", "team", None),
        ("ann with DELETE", "team", Problem.DENIED),
        ("keeper with DELETE", "team", Problem.DENIED),
        ("member", "team", Problem.DENIED),
        ("bob", "team", Problem.DENIED),
        ("nobody", "team", Problem.NOT_HERE),
        ("ann", "nothing", Problem.NOT_HERE),
        ("keeper", "ann", Problem.NOT_HERE),
        ("keeper", None, None),
        ("keeper with DELETE", None, Problem.DENIED),
        ("ann", None, Problem.DENIED),
        ("nobody", None, Problem.UNAUTHORIZED),
    ],
)
async def test_who_invites(world: World, who: str, organization: str | None, problem: Problem | None) -> None:
    caller, invitations = world.callers[who], world.invitations
    if problem is None:
        made = await invitations.invite(caller, organization=organization)
        assert await invitations.invitations(caller, organization) == [made.invitation]
        await invitations.withdraw_invitation(caller, made.invitation.id)
        with refused(Problem.NOT_HERE):
            await invitations.invitation(made.secret)
        return
    with refused(problem):
        await invitations.invite(caller, organization=organization)
    with refused(problem):
        await invitations.invitations(caller, organization)


@pytest.mark.parametrize("organization", ["team", None])
@pytest.mark.parametrize("who", ["bob", "member", "ann with DELETE", "nobody"])
async def test_number_of_an_invitation_tells_nothing(
    world: World, who: str, organization: str | None
) -> None:
    made = await world.invitations.invite(SYSTEM, organization=organization)
    answers = []
    for number in (made.invitation.id, made.invitation.id + 1000):
        with pytest.raises(RegistryError) as caught:
            await world.invitations.withdraw_invitation(world.callers[who], number)
        answers.append(caught.value.problem)
    assert answers[0] is answers[1]
    assert (await world.invitations.invitation(made.secret)).id == made.invitation.id


async def test_secret_is_not_kept(world: World) -> None:
    made = await world.invite(note="come in")
    assert made.secret.startswith("lsi_")
    rows = await world.stores.metadata.read(
        lambda db: db.execute(select(schema.invitations)).mappings().all()
    )
    assert made.secret not in str(rows)
    shown = await world.invitations.invitation(made.secret)
    assert (shown.organization, shown.team, shown.note, shown.invited_by) == ("team", None, "come in", "ann")


@pytest.mark.parametrize("secret", ["", "lsi_", "lsi_" + "A" * 43, "\ud800"])
async def test_unknown_secret(world: World, secret: str) -> None:
    await world.invite()
    for work in (
        world.invitations.invitation(secret),
        world.invitations.accept_invitation(world.callers["bob"], secret),
        world.sign_up("dora", secret),
    ):
        with refused(Problem.NOT_HERE):
            await work


@pytest.mark.parametrize(
    ("owner", "team"), [(False, None), (True, None), (False, "readers"), (True, "readers")]
)
@pytest.mark.parametrize("who", ["bob", "new"])
async def test_what_an_invitation_is_good_for(world: World, who: str, owner: bool, team: str | None) -> None:
    made = await world.invite(as_owner=owner, team=team)
    if who == "new":
        new = await world.sign_up("new", made.secret)
        assert (new.name, new.is_admin, new.limit) == ("new", False, None)
    else:
        accepted = await world.invitations.accept_invitation(world.callers["bob"], made.secret)
        assert accepted.organization == "team"
    joined = (who, owner, () if team is None else (team,))
    assert joined in await world.members()
    (listed,) = await world.invitations.invitations(world.callers["ann"], "team")
    assert (listed.accepted_by, listed.accepted_at is None) == (who, False)
    # It is good once.
    with refused(Problem.NOT_HERE):
        await world.invitations.accept_invitation(world.callers["keeper"], made.secret)
    with refused(Problem.NOT_HERE):
        await world.sign_up("another", made.secret)


async def test_an_owner_is_not_made_less(world: World) -> None:
    made = await world.invite()
    await world.invitations.accept_invitation(world.callers["ann"], made.secret)
    assert ("ann", True, ()) in await world.members()


async def test_a_member_joins_a_team_or_becomes_an_owner(world: World) -> None:
    made = await world.invite(team="readers")
    await world.invitations.accept_invitation(world.callers["member"], made.secret)
    assert ("member", False, ("readers",)) in await world.members()
    made = await world.invite(as_owner=True)
    await world.invitations.accept_invitation(world.callers["member"], made.secret)
    assert ("member", True, ("readers",)) in await world.members()


@pytest.mark.parametrize(
    ("who", "problem"), [("nobody", Problem.UNAUTHORIZED), ("bob with DELETE", Problem.DENIED)]
)
async def test_who_does_not_accept(world: World, who: str, problem: Problem) -> None:
    made = await world.invite()
    with refused(problem):
        await world.invitations.accept_invitation(world.callers[who], made.secret)
    assert (await world.invitations.invitation(made.secret)).accepted_at is None


async def test_invitation_for_an_account_is_not_for_who_has_one(world: World) -> None:
    made = await world.invitations.invite(world.callers["keeper"], note="for you")
    with refused(Problem.CONFLICT):
        await world.invitations.accept_invitation(world.callers["bob"], made.secret)
    await world.sign_up("dora", made.secret)


async def test_many_accept_at_once(world: World) -> None:
    made = await world.invite()
    done = await asyncio.gather(
        *(world.sign_up(f"new-{number}", made.secret) for number in range(4)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["Identity", *["RegistryError"] * 3]
    assert len(await world.members()) == 3


async def test_invitation_ends(world: World) -> None:
    made = await world.invite()
    assert timedelta(days=6.9) < made.invitation.expires_at - datetime.now(UTC) < timedelta(days=7)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await world.stores.metadata.write(
        lambda db: db.execute(update(schema.invitations).values(expires_at=past))
    )
    with refused(Problem.NOT_HERE):
        await world.sign_up("dora", made.secret)
    with refused(Problem.NOT_HERE):
        await world.invitations.accept_invitation(world.callers["bob"], made.secret)


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ({"days": 0}, Problem.INVALID),
        ({"days": 91}, Problem.INVALID),
        ({"note": "x" * 201}, Problem.INVALID),
        ({"note": "two\nlines"}, Problem.INVALID),
        ({"team": "nothing"}, Problem.NOT_HERE),
    ],
)
async def test_invitation_that_cannot_be(world: World, what: dict[str, Any], problem: Problem) -> None:
    with refused(problem):
        await world.invite(**what)


async def test_invitation_goes_with_what_it_is_to(world: World) -> None:
    to_team, to_organization = await world.invite(team="readers"), await world.invite()
    await world.organizations.delete_team(world.callers["ann"], "team", "readers")
    with refused(Problem.NOT_HERE):
        await world.invitations.invitation(to_team.secret)
    await world.organizations.delete(world.callers["ann"], "team")
    with refused(Problem.NOT_HERE):
        await world.invitations.invitation(to_organization.secret)


# -- making an account -----------------------------------------------------------------------------------


async def test_sign_up_is_closed(world: World) -> None:
    with refused(Problem.DENIED):
        await world.sign_up("dora")


@pytest.fixture
def open_world(world: World) -> World:
    """A registry where people make accounts by themselves."""
    return replace(world, invitations=replace(world.invitations, signup=True))


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("ann", PASSWORD, Problem.NAME_TAKEN),
        ("team", PASSWORD, Problem.NAME_TAKEN),
        ("admin", PASSWORD, Problem.INVALID),
        ("a+b", PASSWORD, Problem.INVALID),
        ("dora", "short", Problem.INVALID),
    ],
)
async def test_account_that_cannot_be(open_world: World, name: str, password: str, problem: Problem) -> None:
    with refused(problem):
        await open_world.invitations.sign_up(name, password, address=ADDRESS)


async def test_refused_account_leaves_the_invitation_good(world: World) -> None:
    made = await world.invite()
    with refused(Problem.NAME_TAKEN):
        await world.sign_up("bob", made.secret)
    await world.sign_up("dora", made.secret)


async def test_accounts_of_one_address_are_bounded(open_world: World) -> None:
    for number in range(11):
        await open_world.sign_up(f"new-{number}")
    with pytest.raises(TooManyAttempts):
        await open_world.sign_up("one-more")
    await open_world.sign_up("from-elsewhere", address="192.0.2.2")
    made = await open_world.invite()
    await open_world.sign_up("invited", made.secret)
