"""Organizations: who may do what with members, teams and robots, and what comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from auth.policy import Role, allowed_actions
from registry.accounts import StoredAccounts
from registry.errors import Problem, RegistryError
from registry.organizations import Organizations, ProfileEdit, TeamEdit
from tests.registry.accounts import add_account
from tests.registry.content import name, push_blob, refused
from tests.registry.registries import Stores

APP: Final = name("team/app")


@dataclass(frozen=True, slots=True)
class World:
    """The organization `team` with a private repository, and people around it."""

    stores: Stores
    organizations: Organizations
    people: dict[str, Identity]

    async def actions(self, who: str) -> frozenset[str]:
        """What somebody may do with the private repository."""
        identity = self.people[who]
        return allowed_actions(
            identity, await StoredAccounts(self.stores.metadata, 60).standing(identity, APP)
        )


@pytest.fixture
async def world(stores: Stores) -> World:
    people = {each: await add_account(stores, each) for each in ("owner", "member", "stranger", "second")}
    root = await add_account(stores, "keeper", is_admin=True)
    owner = people["owner"]
    for permission in Permission:
        limit = Limit(1, permission)
        people[f"owner with {permission.name}"] = Identity(owner.account_id, "owner", limit=limit)
    people |= {"administrator": root, "anonymous": ANONYMOUS}
    organizations = Organizations(stores.metadata)
    await organizations.create(owner, "team", full_name="The team")
    await organizations.set_member(owner, "team", "member", is_owner=False)
    await organizations.create_team(owner, "team", "readers", about="who read")
    await organizations.create_robot(owner, "team", "ci")
    await push_blob(stores.registry(), APP, b"")
    return World(stores, organizations, people)


OWNERS: Final = {"owner", "owner with ADMIN", "administrator"}
MEMBERS: Final = OWNERS | {"member"}

Act = Callable[[Organizations, Identity], Awaitable[Any]]

# What can be done, and by whom.
OPERATIONS: Final[dict[str, tuple[Act, set[str]]]] = {
    "edit": (lambda o, who: o.edit(who, "team", ProfileEdit(about="new")), OWNERS),
    "list members": (lambda o, who: o.members(who, "team"), MEMBERS),
    "add a member": (lambda o, who: o.set_member(who, "team", "stranger", is_owner=False), OWNERS),
    "make an owner": (lambda o, who: o.set_member(who, "team", "member", is_owner=True), OWNERS),
    "remove a member": (lambda o, who: o.remove_member(who, "team", "member"), MEMBERS),
    "list teams": (lambda o, who: o.teams(who, "team"), MEMBERS),
    "see a team": (lambda o, who: o.team(who, "team", "readers"), MEMBERS),
    "add a team": (lambda o, who: o.create_team(who, "team", "new"), OWNERS),
    "edit a team": (lambda o, who: o.edit_team(who, "team", "readers", TeamEdit(about="new")), OWNERS),
    "delete a team": (lambda o, who: o.delete_team(who, "team", "readers"), OWNERS),
    "list a team": (lambda o, who: o.team_members(who, "team", "readers"), MEMBERS),
    "join a team": (lambda o, who: o.add_team_member(who, "team", "readers", "member"), OWNERS),
    "list roles": (lambda o, who: o.team_repositories(who, "team", "readers"), MEMBERS),
    "give a role": (lambda o, who: o.set_team_role(who, "team", "readers", APP, Role.READ), OWNERS),
    "list robots": (lambda o, who: o.robots(who, "team"), OWNERS),
    "add a robot": (lambda o, who: o.create_robot(who, "team", "new"), OWNERS),
    "close a robot": (lambda o, who: o.set_robot_disabled(who, "team", "ci", disabled=True), OWNERS),
    "delete a robot": (lambda o, who: o.delete_robot(who, "team", "ci"), OWNERS),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_who_may(world: World, operation: str, subtests: pytest.Subtests) -> None:
    act, allowed = OPERATIONS[operation]
    for who in [each for each in world.people if each not in allowed]:
        with subtests.test(who):
            hidden = who == "anonymous"  # the organization has nothing that is public
            with refused(Problem.NOT_HERE if hidden else Problem.DENIED):
                await act(world.organizations, world.people[who])
    for who in allowed - {"member"} if "remove" in operation else allowed:
        with subtests.test(who):
            # Some can be done once only; then the refusal says that, and not that the caller may not.
            try:
                await act(world.organizations, world.people[who])
            except RegistryError as error:
                assert error.problem in (Problem.NAME_TAKEN, Problem.NOT_HERE), error


async def test_absent_organization_looks_like_a_hidden_one(world: World) -> None:
    with refused(Problem.NOT_HERE) as hidden:
        await world.organizations.organization(ANONYMOUS, "team")
    with refused(Problem.NOT_HERE) as absent:
        await world.organizations.organization(ANONYMOUS, "nowhere")
    assert hidden.value.message == absent.value.message


async def test_team_opens_a_private_repository(world: World) -> None:
    owner = world.people["owner"]
    assert await world.actions("member") == frozenset()
    await world.organizations.add_team_member(owner, "team", "readers", "member")
    await world.organizations.set_team_role(owner, "team", "readers", APP, Role.READ)
    assert await world.actions("member") == {"pull"}
    await world.organizations.edit_team(owner, "team", "readers", TeamEdit(role=Role.WRITE))
    assert await world.actions("member") == {"pull", "push"}
    await world.organizations.remove_member(owner, "team", "member")
    assert await world.actions("member") == frozenset()


async def test_only_members_join_teams(world: World) -> None:
    with refused(Problem.CONFLICT):
        await world.organizations.add_team_member(world.people["owner"], "team", "readers", "stranger")


async def test_organization_keeps_an_owner(world: World) -> None:
    owner, o = world.people["owner"], world.organizations
    with refused(Problem.CONFLICT):
        await o.remove_member(owner, "team", "owner")
    with refused(Problem.CONFLICT):
        await o.set_member(owner, "team", "owner", is_owner=False)
    await o.set_member(owner, "team", "second", is_owner=True)
    await o.remove_member(owner, "team", "owner")
    assert (await o.organization(world.people["second"], "team")).role == "owner"
    assert (await o.organization(owner, "team")).role is None


async def test_deletion_waits_for_the_last_repository(world: World) -> None:
    owner, o = world.people["owner"], world.organizations
    with refused(Problem.CONFLICT):
        await o.delete(owner, "team")
    await o.create(owner, "empty")
    await o.create_robot(owner, "empty", "ci")
    await o.delete(owner, "empty")
    with refused(Problem.NOT_HERE):
        await o.organization(owner, "empty")
    # Its robot's name is free again, and so is its own.
    await o.create(owner, "empty")
    await o.create_robot(owner, "empty", "ci")


@pytest.mark.parametrize(
    ("taken", "problem"),
    [
        ("team", Problem.NAME_TAKEN),
        ("stranger", Problem.NAME_TAKEN),
        ("library", Problem.INVALID),
        ("admin", Problem.INVALID),
        ("x", Problem.INVALID),
        ("Team", Problem.INVALID),
        ("a/b", Problem.INVALID),
        ("a+b", Problem.INVALID),
    ],
)
async def test_name_of_an_organization(world: World, taken: str, problem: Problem) -> None:
    with refused(problem):
        await world.organizations.create(world.people["stranger"], taken)


async def test_founders_may_be_administrators_alone(world: World) -> None:
    closed = Organizations(world.stores.metadata, founders="administrators")
    with refused(Problem.DENIED):
        await closed.create(world.people["stranger"], "new")
    await closed.create(world.people["administrator"], "new")
    await closed.create(SYSTEM, "by-system")


async def test_edit_of_what_was_edited(world: World) -> None:
    owner, o = world.people["owner"], world.organizations
    seen = await o.organization(owner, "team")
    edited = await o.edit(owner, "team", ProfileEdit(about="first"), version=seen.version)
    assert (edited.about, edited.full_name) == ("first", "The team")
    with refused(Problem.EDITED):
        await o.edit(owner, "team", ProfileEdit(about="second"), version=seen.version)
    assert (await o.organization(owner, "team")).about == "first"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (ProfileEdit(full_name="x" * 101), "full_name"),
        (ProfileEdit(full_name="two\nlines"), "full_name"),
        (ProfileEdit(full_name="\u202eevil"), "full_name"),
        (ProfileEdit(about="x" * 1001), "about"),
        (ProfileEdit(about="a\x00b"), "about"),
        (ProfileEdit(website="javascript:alert(1)"), "website"),
        (ProfileEdit(website="https://"), "website"),
        (ProfileEdit(website="https://a b"), "website"),
    ],
)
async def test_profile_that_cannot_be(world: World, edit: ProfileEdit, field: str) -> None:
    with refused(Problem.INVALID) as caught:
        await world.organizations.edit(world.people["owner"], "team", edit)
    assert list(caught.value.detail["fields"]) == [field]


async def test_listing(world: World) -> None:
    o, owner, stranger = world.organizations, world.people["owner"], world.people["stranger"]
    for each in ("alpha", "beta", "gamma"):
        await o.create(stranger, each)
    first = await o.organizations(owner, limit=2)
    assert [each.name for each in first.items] == ["alpha", "beta"]
    rest = await o.organizations(owner, limit=2, cursor=first.next)
    assert ([each.name for each in rest.items], rest.next) == (["gamma", "team"], None)
    assert [each.name for each in (await o.organizations(owner, mine=True)).items] == ["team"]
    assert [each.name for each in (await o.organizations(owner, q="be")).items] == ["beta"]
    assert (await o.organizations(ANONYMOUS)).items == []
    counted = await o.organization(owner, "team")
    assert (counted.member_count, counted.team_count, counted.repository_count) == (2, 1, 1)
    assert (await o.organization(stranger, "team")).repository_count == 0


async def test_robot_is_no_person(world: World) -> None:
    with refused(Problem.NOT_HERE):
        await world.organizations.set_member(world.people["owner"], "team", "team+ci", is_owner=True)
