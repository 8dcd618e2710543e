"""Access tokens: who keeps whose, what they may be made for, and what they stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, update

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from auth.policy import Role
from auth.scope import Scope
from auth.tokens import VerifiedToken
from registry.access_tokens import AccessTokens, NewToken
from registry.accounts import StoredAccounts
from registry.errors import Problem
from registry.organizations import Organizations
from storage.metadata import accounts, repositories, schema
from storage.metadata.engine import MetadataFull, MetadataUnavailable
from tests.registry.accounts import NOW, add_account
from tests.registry.content import name, push_blob, refused
from tests.registry.registries import Stores

ROBOT: Final = "team+ci"
SOON: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class World:
    """Ann and Bob, the organization `team` of Ann's with a robot, and repositories of each."""

    stores: Stores
    tokens: AccessTokens
    accounts: StoredAccounts
    people: Mapping[str, Identity]

    @property
    def ann(self) -> Identity:
        """Who makes most of the tokens."""
        return self.people["ann"]

    async def make(self, permission: Permission = Permission.READ, **more: Any) -> NewToken:
        """Make a token of Ann's."""
        return await self.tokens.create(self.ann, "ci", permission, **more)

    async def come_with(self, token: NewToken) -> Identity:
        """Return who comes with a token."""
        found = await self.accounts.find_access_token(token.secret)
        assert found is not None
        return found

    async def set_used(self, moment: datetime) -> None:
        """Let every token have been used last at a moment."""
        await self.stores.metadata.write(
            lambda db: db.execute(update(schema.access_tokens).values(last_used_at=moment))
        )


@pytest.fixture
async def world(stores: Stores) -> World:
    people = {each: await add_account(stores, each) for each in ("ann", "bob", "member")}
    people |= {"root": await add_account(stores, "root", is_admin=True), "anonymous": ANONYMOUS}
    ann = people["ann"]
    organizations = Organizations(stores.metadata)
    await organizations.create(ann, "team")
    await organizations.set_member(ann, "team", "member", is_owner=False)
    await organizations.create_robot(ann, "team", "ci")
    for each in ("ann/app", "ann/lib", "bob/secret", "bob/shown", "team/app"):
        await push_blob(stores.registry(), name(each), b"")
    await stores.metadata.write(repositories.set_public, "bob/shown", public=True)
    return World(stores, AccessTokens(stores.metadata), StoredAccounts(stores.metadata, 60), people)


# Making


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("only", [None, ("ann/app",), ("ann/lib", "ann/app"), ("bob/shown",)])
async def test_token_stands_for_who_made_it(
    world: World, permission: Permission, only: Sequence[str] | None
) -> None:
    before = datetime.now(UTC)
    made = await world.make(permission, repositories=only, expires_at=before + SOON)
    assert made.secret.startswith("lsp_")
    assert len(made.secret) == 47
    token = made.token
    assert (token.name, token.permission, token.expires_at) == ("ci", permission, before + SOON)
    assert token.repositories == (None if only is None else tuple(sorted(only)))
    assert before <= token.created_at <= datetime.now(UTC)
    assert token.last_used_at is None
    caller = await world.come_with(made)
    ids = None if only is None else {await repository_id(world, each) for each in only}
    limit = Limit(token.id, permission, None if ids is None else frozenset(ids))
    assert caller == replace(world.ann, limit=limit)


async def repository_id(world: World, text: str) -> int:
    standing = await world.accounts.standing(SYSTEM, name(text))
    assert standing.repository_id is not None
    return standing.repository_id


async def test_secret_is_kept_nowhere(world: World, data: Any) -> None:
    made = await world.make()
    assert made.secret not in str(await world.tokens.tokens(world.ann))
    for path in data.glob("longshore.db*"):
        assert made.secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0"}, "name"),
        ({"expires_at": NOW}, "expires_at"),
        ({"repositories": []}, "repositories"),
        ({"repositories": ["ann/app"] * 101}, "repositories"),
        ({"repositories": ["ann/none"]}, "repositories"),
        ({"repositories": ["ann/app", "bob/secret"]}, "repositories"),
        ({"repositories": ["Ann/App"]}, "repositories"),
        ({"repositories": [""]}, "repositories"),
        ({"robot": ROBOT, "permission": Permission.ADMIN}, "permission"),
        # The organization's, and what the owner may see, are two things.
        ({"robot": ROBOT, "repositories": ["ann/app"]}, "repositories"),
        ({"robot": ROBOT, "repositories": ["bob/shown"]}, "repositories"),
    ],
)
async def test_what_no_token_is_made_for(world: World, values: Mapping[str, Any], field: str) -> None:
    words = {"name": "ci", "permission": Permission.READ, **values}
    with refused(Problem.INVALID) as caught:
        await world.tokens.create(world.ann, **words)
    assert list(caught.value.detail["fields"]) == [field]
    assert await world.tokens.tokens(world.ann) == await world.tokens.tokens(world.ann, ROBOT) == []


async def test_names_that_a_token_may_have(world: World) -> None:
    for text in ("x", "x" * 100, "laptop: küche", "+"):
        made = await world.tokens.create(world.ann, f" {text} ", Permission.READ)
        assert made.token.name == text


async def test_repository_by_a_former_name_is_the_same_one(world: World) -> None:
    app = await repository_id(world, "ann/app")

    def rename(db: Connection) -> None:
        values = {"name": "ann/old", "repository_id": app, "created_at": NOW}
        db.execute(schema.repository_aliases.insert().values(values))

    await world.stores.metadata.write(rename)
    made = await world.make(repositories=["ann/old", "ann/app", "ann/app"])
    assert made.token.repositories == ("ann/app",)


async def test_account_has_a_hundred_tokens_at_most(world: World) -> None:
    for _ in range(100):
        await world.make()
    with refused(Problem.CONFLICT):
        await world.make()
    await world.tokens.revoke(world.ann, (await world.tokens.tokens(world.ann))[0].id)
    await world.make()
    await world.tokens.create(world.people["bob"], "ci", Permission.READ)


# Whose


async def test_everybody_keeps_their_own(world: World) -> None:
    bob = world.people["bob"]
    made = await world.make()
    assert [each.id for each in await world.tokens.tokens(world.ann)] == [made.token.id]
    assert await world.tokens.tokens(bob) == []
    with refused(Problem.NOT_HERE):
        await world.tokens.revoke(bob, made.token.id)
    with refused(Problem.NOT_HERE):
        await world.tokens.revoke(world.ann, made.token.id, ROBOT)
    await world.tokens.revoke(world.ann, made.token.id)
    with refused(Problem.NOT_HERE):
        await world.tokens.revoke(world.ann, made.token.id)


@pytest.mark.parametrize(
    ("who", "problem"),
    [
        ("ann", None),
        ("root", None),
        ("member", Problem.DENIED),
        ("bob", Problem.DENIED),
        ("anonymous", Problem.UNAUTHORIZED),
    ],
)
async def test_who_keeps_the_tokens_of_a_robot(world: World, who: str, problem: Problem | None) -> None:
    made = await world.tokens.create(world.ann, "ci", Permission.WRITE, robot=ROBOT)
    caller = world.people[who]
    if problem is None:
        assert await world.tokens.tokens(caller, ROBOT) == [made.token]
        await world.tokens.create(caller, "more", Permission.READ, robot=ROBOT)
        await world.tokens.revoke(caller, made.token.id, ROBOT)
        assert await world.accounts.find_access_token(made.secret) is None
        return
    with refused(problem):
        await world.tokens.tokens(caller, ROBOT)
    with refused(problem):
        await world.tokens.create(caller, "more", Permission.READ, robot=ROBOT)
    with refused(problem):
        await world.tokens.revoke(caller, made.token.id, ROBOT)


@pytest.mark.parametrize("robot", ["team+none", "none+ci", "team", "ann", "ann+ci", "", "+", "team+"])
async def test_robot_that_is_none(world: World, robot: str) -> None:
    with refused(Problem.NOT_HERE):
        await world.tokens.create(world.ann, "ci", Permission.READ, robot=robot)


async def test_token_of_a_robot_stands_for_it(world: World) -> None:
    made = await world.tokens.create(
        world.ann, "ci", Permission.WRITE, robot=ROBOT, repositories=["team/app"]
    )
    robot = await world.come_with(made)
    app = await repository_id(world, "team/app")
    assert robot == Identity(
        robot.account_id, ROBOT, limit=Limit(made.token.id, Permission.WRITE, frozenset({app}))
    )
    with refused(Problem.DENIED):
        await world.tokens.create(robot, "more", Permission.READ)
    assert (await world.accounts.standing(robot, name("team/app"))).role is Role.ADMIN
    assert (await world.accounts.standing(robot, name("ann/app"))).role is None


@pytest.mark.parametrize("who", ["anonymous", "system"])
async def test_who_has_no_account_has_no_tokens(world: World, who: str) -> None:
    caller = world.people.get(who, SYSTEM)
    problem = Problem.UNAUTHORIZED if who == "anonymous" else Problem.DENIED
    with refused(problem):
        await world.tokens.tokens(caller)
    with refused(problem):
        await world.tokens.create(caller, "ci", Permission.READ)


# A token that makes tokens


@pytest.mark.parametrize("permission", [Permission.READ, Permission.WRITE, Permission.DELETE])
async def test_lesser_token_keeps_none(world: World, permission: Permission) -> None:
    caller = await world.come_with(await world.make(permission))
    with refused(Problem.DENIED):
        await world.tokens.create(caller, "more", Permission.READ)
    with refused(Problem.DENIED):
        await world.tokens.tokens(caller)
    with refused(Problem.DENIED):
        await world.tokens.revoke(caller, 1)


@pytest.mark.parametrize(
    ("asked", "made"),
    [(None, ("ann/app", "ann/lib")), (["ann/lib"], ("ann/lib",)), (["bob/shown"], None)],
)
async def test_token_makes_none_for_more_repositories(
    world: World, asked: Sequence[str] | None, made: tuple[str, ...] | None
) -> None:
    first = await world.make(Permission.ADMIN, repositories=["ann/app", "ann/lib"])
    caller = await world.come_with(first)
    if made is None:
        with refused(Problem.INVALID):
            await world.tokens.create(caller, "more", Permission.READ, repositories=asked)
    else:
        more = await world.tokens.create(caller, "more", Permission.READ, repositories=asked)
        assert more.token.repositories == made


@pytest.mark.parametrize(
    ("asked", "got"),
    [(None, SOON), (SOON / 2, SOON / 2), (SOON, SOON), (SOON * 2, None)],
)
async def test_token_makes_none_that_outlives_it(
    world: World, asked: timedelta | None, got: timedelta | None
) -> None:
    now = datetime.now(UTC)
    caller = await world.come_with(await world.make(Permission.ADMIN, expires_at=now + SOON))
    end = None if asked is None else now + asked
    if got is None:
        with refused(Problem.INVALID) as caught:
            await world.tokens.create(caller, "more", Permission.READ, expires_at=end)
        assert list(caught.value.detail["fields"]) == ["expires_at"]
    else:
        more = await world.tokens.create(caller, "more", Permission.READ, expires_at=end)
        assert more.token.expires_at == now + got


# What it stands for


async def test_token_ends(world: World) -> None:
    made = await world.make()
    secret, token_id = made.secret, made.token.id
    assert await world.accounts.find_bounded(token_id) == await world.come_with(made)
    then = datetime.now(UTC) - timedelta(seconds=1)
    await world.stores.metadata.write(
        lambda db: db.execute(update(schema.access_tokens).values(expires_at=then))
    )
    assert await world.accounts.find_access_token(secret) is None
    assert await world.accounts.find_bounded(token_id) is None
    [listed] = await world.tokens.tokens(world.ann)
    assert listed.expires_at == then


@pytest.mark.parametrize("ending", ["revoke", "disable"])
async def test_what_ends_all_that_a_token_was_exchanged_for(world: World, ending: str) -> None:
    made = await world.make(Permission.WRITE, repositories=["ann/app"])
    caller = await world.come_with(made)
    refresh = await world.accounts.add_refresh_token(caller, "docker")
    own = await world.accounts.add_refresh_token(world.ann, "docker")
    jwt = VerifiedToken("ann", Scope(), 0, 0, "", False, caller.account_id, access_token_id=made.token.id)
    assert refresh is not None
    assert own is not None
    assert await world.accounts.find_by_refresh_token(refresh) == caller
    assert await world.accounts.find_by_token(jwt) == caller
    if ending == "revoke":
        await world.tokens.revoke(world.ann, made.token.id)
        assert await world.accounts.find_by_refresh_token(own) == world.ann
        assert await world.accounts.find_by_token(replace(jwt, access_token_id=None)) == world.ann
    else:
        await world.stores.metadata.write(accounts.disable, "ann", disabled=True, now=NOW)
    assert await world.accounts.find_by_refresh_token(refresh) is None
    assert await world.accounts.find_by_token(jwt) is None


async def test_jwt_names_the_account_as_well(world: World) -> None:
    made = await world.make()
    bob = world.people["bob"]
    jwt = VerifiedToken("bob", Scope(), 0, 0, "", False, bob.account_id, access_token_id=made.token.id)
    assert await world.accounts.find_by_token(jwt) is None


# Last use


@pytest.mark.parametrize(("seconds", "noted"), [(0, False), (50, False), (61, True), (86_400, True)])
async def test_use_is_noted_once_a_minute(world: World, seconds: int, noted: bool) -> None:
    made = await world.make()
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    await world.set_used(then)
    await world.accounts.find_access_token(made.secret)
    [listed] = await world.tokens.tokens(world.ann)
    assert listed.last_used_at is not None
    assert (listed.last_used_at > then) == noted


async def test_refresh_token_is_a_use_and_a_jwt_is_none(world: World) -> None:
    made = await world.make()
    caller = await world.come_with(made)
    refresh = await world.accounts.add_refresh_token(caller, "docker")
    assert refresh is not None
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    await world.set_used(long_ago)
    await world.accounts.find_bounded(made.token.id)
    assert [each.last_used_at for each in await world.tokens.tokens(world.ann)] == [long_ago]
    await world.accounts.find_by_refresh_token(refresh)
    [listed] = await world.tokens.tokens(world.ann)
    assert listed.last_used_at is not None
    assert listed.last_used_at > long_ago


@pytest.mark.parametrize("error", [MetadataFull, MetadataUnavailable])
async def test_database_that_cannot_write_ends_no_login(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    made = await world.make()

    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(world.stores.metadata, "write", fail)
    assert (await world.come_with(made)).name == "ann"
