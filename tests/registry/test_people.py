"""People: profiles, passwords, and what administrators do about accounts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission, TooManyAttempts
from auth.passwords import Passwords
from auth.throttle import Key, keys
from registry.accounts import StoredAccounts, StoredThrottle
from registry.errors import Problem, RegistryError
from registry.organizations import Organizations, ProfileEdit
from registry.people import PasswordHashing, People
from registry.sessions import Sessions
from storage.metadata import accounts, repositories
from tests.registry.accounts import NOW
from tests.registry.content import refused
from tests.registry.registries import Stores

PASSWORD: Final = "wonderland rabbit hole"
OTHER: Final = "another rabbit hole"
HERE: Final = "192.0.2.1"
CHEAP: Final = Passwords(time_cost=1, memory_cost=8, parallelism=1)


@dataclass(frozen=True, slots=True)
class World:
    """Ann, who has a private repository, and people around her."""

    stores: Stores
    people: People
    callers: dict[str, Identity]

    async def logged_in(self, name: str) -> tuple[str, str]:
        """Log somebody in: by a client, and on the pages."""
        caller = self.callers[name]
        token = await StoredAccounts(self.stores.metadata, 60).add_refresh_token(caller, "docker")
        assert token is not None
        return token, await Sessions(self.stores.metadata, 60).start(caller, address="", agent="")

    async def still_in(self, secrets: tuple[str, str]) -> list[bool]:
        """Tell which of the logins still count."""
        by_token = await StoredAccounts(self.stores.metadata, 60).find_by_refresh_token(secrets[0])
        return [
            each is not None for each in (by_token, await Sessions(self.stores.metadata, 60).find(secrets[1]))
        ]

    async def knows(self, name: str, password: str) -> bool:
        found = await self.stores.metadata.lookup(accounts.find, name)
        assert found is not None
        return CHEAP.verify(password, found.password_hash).ok


@pytest.fixture
async def world(stores: Stores) -> World:
    people = People(
        stores.metadata, PasswordHashing(CHEAP, ThreadPoolExecutor(1)), StoredThrottle(stores.metadata)
    )
    callers: dict[str, Identity] = {}
    for name in ("ann", "bob", "keeper"):
        await people.add_person(SYSTEM, name, PASSWORD, is_admin=name == "keeper")
        found = await stores.metadata.lookup(accounts.find, name)
        assert found is not None
        callers[name] = Identity(found.id, name, is_admin=found.is_admin)
    for permission in Permission:
        for name in ("ann", "keeper"):
            limit = Limit(1, permission)
            callers[f"{name} with {permission.name}"] = Identity(
                callers[name].account_id, name, callers[name].is_admin, limit=limit
            )
    callers["nobody"] = ANONYMOUS
    await stores.metadata.write(repositories.ensure, "ann/app", public=False, make_namespace=False, now=NOW)
    await Organizations(stores.metadata).create(callers["ann"], "team", full_name="The team")
    await Organizations(stores.metadata).create_robot(callers["ann"], "team", "ci")
    return World(stores, people, callers)


# -- who may -----------------------------------------------------------------------------------------------

ADMINISTRATORS: Final = {"keeper", "keeper with ADMIN"}
EVERYBODY: Final = {
    "ann",
    "bob",
    "keeper",
    *(f"{name} with {each.name}" for name in ("ann", "keeper") for each in Permission),
}
OWN_KEEPERS: Final = {"ann", "bob", "keeper", "ann with ADMIN", "keeper with ADMIN"}

Act = Callable[[People, Identity], Awaitable[Any]]

OPERATIONS: Final[dict[str, tuple[Act, set[str]]]] = {
    "see a profile": (lambda p, who: p.profile(who, "ann"), EVERYBODY),
    "suggest people": (lambda p, who: p.suggest_people(who, "a"), EVERYBODY),
    "edit one's profile": (lambda p, who: p.edit_profile(who, ProfileEdit(about="new")), OWN_KEEPERS),
    "change one's password": (
        lambda p, who: p.change_password(who, PASSWORD, OTHER, address=HERE),
        {"ann", "bob", "keeper"},
    ),
    "list people": (lambda p, who: p.people(who), ADMINISTRATORS),
    "add a person": (lambda p, who: p.add_person(who, f"new-{len(who.name)}", PASSWORD), ADMINISTRATORS),
    "close an account": (lambda p, who: p.set_disabled(who, "bob", disabled=True), ADMINISTRATORS),
    "make an administrator": (lambda p, who: p.set_admin(who, "bob", is_admin=True), ADMINISTRATORS),
    "set a password": (lambda p, who: p.set_password(who, "bob", OTHER), ADMINISTRATORS),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_who_may(world: World, operation: str, subtests: pytest.Subtests) -> None:
    act, allowed = OPERATIONS[operation]
    for who, caller in world.callers.items():
        with subtests.test(who):
            problem = await outcome(act(world.people, caller))
            if who in allowed:
                assert problem in (None, Problem.NAME_TAKEN)
            elif who == "nobody":
                assert problem is (Problem.NOT_HERE if operation == "see a profile" else Problem.UNAUTHORIZED)
            else:
                assert problem is Problem.DENIED


async def outcome(work: Awaitable[Any]) -> Problem | None:
    try:
        await work
    except RegistryError as error:
        return error.problem
    return None


# -- profiles ----------------------------------------------------------------------------------------------


async def test_profile(world: World) -> None:
    edit = ProfileEdit(full_name=" Ann Example ", about="two\r\nlines", website="https://example.com/ann?x=1")
    mine = await world.people.edit_profile(world.callers["ann"], edit, version=1)
    assert (mine.full_name, mine.about, mine.website) == (
        "Ann Example",
        "two\nlines",
        "https://example.com/ann?x=1",
    )
    assert (mine.version, mine.is_self, mine.organizations, mine.repository_count) == (2, True, ("team",), 1)
    seen = await world.people.profile(world.callers["bob"], "ann")
    # Whom somebody works with, and what they keep to themselves, is nobody else's business.
    assert (seen.full_name, seen.is_self, seen.organizations, seen.repository_count) == (
        "Ann Example",
        False,
        (),
        0,
    )


async def test_profile_of_an_organization(world: World) -> None:
    seen = await world.people.profile(world.callers["bob"], "team")
    assert (seen.name, seen.full_name, seen.is_organization, seen.is_self) == (
        "team",
        "The team",
        True,
        False,
    )


@pytest.mark.parametrize(("name", "problem"), [("ann", None), ("bob", Problem.NOT_HERE)])
async def test_nobody_sees_who_has_something_public(world: World, name: str, problem: Problem | None) -> None:
    await world.stores.metadata.write(repositories.set_public, "ann/app", public=True)
    assert await outcome(world.people.profile(ANONYMOUS, name)) is problem


@pytest.mark.parametrize("name", ["nothing", "team+ci", "", "ann/app", "Ann"])
@pytest.mark.parametrize("who", ["nobody", "bob", "keeper"])
async def test_what_is_no_profile(world: World, who: str, name: str) -> None:
    with refused(Problem.NOT_HERE):
        await world.people.profile(world.callers[who], name)


async def test_edit_of_what_was_edited(world: World) -> None:
    ann = world.callers["ann"]
    await world.people.edit_profile(ann, ProfileEdit(about="first"), version=1)
    with refused(Problem.EDITED):
        await world.people.edit_profile(ann, ProfileEdit(about="second"), version=1)
    assert (await world.people.edit_profile(ann, ProfileEdit(full_name="Ann"))).about == "first"


@pytest.mark.parametrize("caller", [SYSTEM, Identity(None, "somebody", external=True)])
async def test_profile_takes_an_account(world: World, caller: Identity) -> None:
    with refused(Problem.DENIED):
        await world.people.edit_profile(caller, ProfileEdit(about="new"))
    with refused(Problem.DENIED):
        await world.people.change_password(caller, PASSWORD, OTHER, address=HERE)


# -- passwords ---------------------------------------------------------------------------------------------


async def test_change_of_the_password_ends_logins(world: World) -> None:
    ann, bob = await world.logged_in("ann"), await world.logged_in("bob")
    await world.people.change_password(world.callers["ann"], PASSWORD, OTHER, address=HERE)
    assert (await world.knows("ann", OTHER), await world.knows("ann", PASSWORD)) == (True, False)
    assert (await world.still_in(ann), await world.still_in(bob)) == ([False, False], [True, True])


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [
        ("wrong", OTHER, "current"),
        ("", OTHER, "current"),
        (PASSWORD, "short", "password"),
        (PASSWORD, "", "password"),
    ],
)
async def test_refused_change_of_the_password(world: World, current: str, new: str, field: str) -> None:
    secrets = await world.logged_in("ann")
    with refused(Problem.INVALID) as caught:
        await world.people.change_password(world.callers["ann"], current, new, address=HERE)
    assert list(caught.value.detail["fields"]) == [field]
    assert await world.knows("ann", PASSWORD)
    assert await world.still_in(secrets) == [True, True]


class Waiting:
    """A throttle that lets nobody in for some seconds, if there are any, and remembers what it is told."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.failures: list[str] = []
        self.forgiven: list[str] = []

    async def retry_after(self, _: Sequence[Key]) -> int:
        return self.seconds

    async def record_failure(self, keys: Sequence[Key]) -> None:
        self.failures += [each.text for each in keys]

    async def record_success(self, keys: Sequence[Key]) -> None:
        self.forgiven += [each.text for each in keys]


async def test_change_of_the_password_waits_its_turn(world: World) -> None:
    ann, people = world.callers["ann"], replace(world.people, throttle=Waiting(7))
    with pytest.raises(TooManyAttempts) as caught:
        await people.change_password(ann, PASSWORD, OTHER, address=HERE)
    assert caught.value.retry_after == 7
    assert await world.knows("ann", PASSWORD)


async def test_guesses_count_as_failed_logins(world: World) -> None:
    waiting = Waiting(0)
    people = replace(world.people, throttle=waiting)
    with refused(Problem.INVALID):
        await people.change_password(world.callers["ann"], "wrong", OTHER, address=HERE)
    assert waiting.failures == [each.text for each in keys("ann", HERE)]
    await people.change_password(world.callers["ann"], PASSWORD, OTHER, address=HERE)
    assert waiting.forgiven == [f"pair:ann {HERE}"]


async def test_password_that_an_administrator_sets(world: World) -> None:
    secrets = await world.logged_in("bob")
    await world.people.set_password(world.callers["keeper"], "bob", OTHER)
    assert await world.knows("bob", OTHER)
    assert await world.still_in(secrets) == [False, False]


async def test_robot_is_no_person(world: World) -> None:
    keeper = world.callers["keeper"]
    with refused(Problem.NOT_HERE):
        await world.people.set_password(keeper, "team+ci", OTHER)
    with refused(Problem.NOT_HERE):
        await world.people.set_admin(keeper, "team+ci", is_admin=True)
    with refused(Problem.NOT_HERE):
        await world.people.set_disabled(keeper, "team+ci", disabled=True)
    found = await world.stores.metadata.lookup(accounts.find, "team+ci")
    assert found is not None
    assert found.password_hash is None


async def test_hashes_under_way_are_bounded() -> None:
    with ThreadPoolExecutor(1) as threads:
        hashing = PasswordHashing(CHEAP, threads, waiting=2)
        done = await asyncio.gather(
            *(hashing.hash(PASSWORD, "ann") for _ in range(3)), return_exceptions=True
        )
        problems = [each.problem for each in done if isinstance(each, RegistryError)]
        assert problems == [Problem.TOO_MANY_REQUESTS]
        # What is done makes room.
        assert await hashing.matches(PASSWORD, await hashing.hash(PASSWORD, "ann"))


# -- administration ----------------------------------------------------------------------------------------


async def test_last_administrator_stays(world: World) -> None:
    keeper, people = world.callers["keeper"], world.people
    for _ in range(2):
        with refused(Problem.CONFLICT):
            await people.set_disabled(keeper, "keeper", disabled=True)
        with refused(Problem.CONFLICT):
            await people.set_admin(keeper, "keeper", is_admin=False)
        # A closed account keeps nothing.
        await people.set_admin(keeper, "bob", is_admin=True)
        await people.set_disabled(keeper, "bob", disabled=True)
    await people.set_disabled(keeper, "bob", disabled=False)
    await people.set_admin(keeper, "keeper", is_admin=False)
    with refused(Problem.CONFLICT):
        await people.set_disabled(SYSTEM, "bob", disabled=True)


async def test_closed_account_is_logged_out(world: World) -> None:
    secrets = await world.logged_in("bob")
    await world.people.set_disabled(world.callers["keeper"], "bob", disabled=True)
    assert await world.still_in(secrets) == [False, False]
    assert (await world.people.profile(world.callers["ann"], "bob")).disabled
    assert await world.people.suggest_people(world.callers["ann"], "b") == []
    await world.people.set_disabled(world.callers["keeper"], "bob", disabled=False)
    assert await world.still_in(secrets) == [False, False]
    assert await world.people.suggest_people(world.callers["ann"], "b") == ["bob"]


async def test_list_of_people(world: World) -> None:
    keeper = world.callers["keeper"]
    before = datetime.now(UTC) - timedelta(seconds=1)
    await world.logged_in("bob")
    first = await world.people.people(keeper, limit=2)
    assert [(each.name, each.is_admin) for each in first.items] == [("ann", False), ("bob", False)]
    seen = [each.last_seen_at for each in first.items]
    assert seen[0] is None
    assert seen[1] is not None
    assert before < seen[1] <= datetime.now(UTC)
    rest = await world.people.people(keeper, limit=2, cursor=first.next)
    assert ([(each.name, each.is_admin) for each in rest.items], rest.next) == ([("keeper", True)], None)
    for pattern in ("b", "Bob"):
        assert [each.name for each in (await world.people.people(keeper, q=pattern)).items] == ["bob"]
    for pattern in ("%", "_", "x", "team+"):
        assert (await world.people.people(keeper, q=pattern)).items == []


@pytest.mark.parametrize(
    ("q", "found"), [("", []), ("a", ["ann"]), ("ann", ["ann"]), ("anna", []), ("%", []), ("team+", [])]
)
async def test_suggestions(world: World, q: str, found: list[str]) -> None:
    assert await world.people.suggest_people(world.callers["bob"], q) == found


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("ann", PASSWORD, Problem.NAME_TAKEN),
        ("team", PASSWORD, Problem.NAME_TAKEN),
        ("library", PASSWORD, Problem.INVALID),
        ("api", PASSWORD, Problem.INVALID),
        ("Dora", PASSWORD, Problem.INVALID),
        ("team+x", PASSWORD, Problem.INVALID),
        ("dora", "short", Problem.INVALID),
        ("doradora", "doradora", Problem.INVALID),
    ],
)
async def test_person_that_cannot_be_added(world: World, name: str, password: str, problem: Problem) -> None:
    with refused(problem):
        await world.people.add_person(world.callers["keeper"], name, password)
    assert len((await world.people.people(SYSTEM)).items) == 3


@pytest.mark.parametrize("name", ["nothing", "team", ""])
async def test_unknown_person(world: World, name: str) -> None:
    for work in (
        world.people.set_disabled(SYSTEM, name, disabled=True),
        world.people.set_admin(SYSTEM, name, is_admin=True),
        world.people.set_password(SYSTEM, name, OTHER),
    ):
        with refused(Problem.NOT_HERE):
            await work
