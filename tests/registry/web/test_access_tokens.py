"""Access tokens as clients use them: in place of a password, bounded, and ended at once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import jwt
import pytest
from sqlalchemy import update

from auth.identity import Identity, Permission
from auth.policy import Role
from registry.access_tokens import AccessTokens, NewToken
from registry.organizations import Organizations
from storage.digest import Digest
from storage.metadata import accounts, schema
from storage.metadata.sqlite import SqliteMetadata
from tests.registry.web.content import push_image
from tests.registry.web.live import Answer, Client, Live, basic, password_of

FORM: Final = "application/x-www-form-urlencoded"
ROBOT: Final = "team+ci"

# The repositories, and a layer that is in that one alone.
REPOSITORIES: Final = ("ann/app", "ann/lib", "bob/secret", "bob/shown", "team/app")


@dataclass(frozen=True, slots=True)
class Hub:
    """A server with Ann, Bob, the organization `team` of Ann's with a robot, and repositories of each."""

    live: Live
    tokens: AccessTokens
    ann: Identity

    async def make(
        self, permission: Permission, repositories: Sequence[str] | None = None, robot: str | None = None
    ) -> NewToken:
        """Make a token of Ann's, or of her robot."""
        return await self.tokens.create(self.ann, "ci", permission, repositories=repositories, robot=robot)

    async def get_token(self, name: str, password: str, *scopes: str, **query: str) -> Answer:
        """Log in as clients without OAuth 2 do."""
        words = [("service", "longshore"), *(("scope", each) for each in scopes), *query.items()]
        return await self.live.client.get(f"/token?{urlencode(words)}", Authorization=basic(name, password))

    async def post_token(self, name: str, password: str, *scopes: str, **fields: str) -> Answer:
        """Log in as clients with OAuth 2 do."""
        form = {"grant_type": "password", "username": name, "password": password, **fields}
        return await self.post({**form, "scope": " ".join(scopes)})

    async def refresh(self, secret: str, *scopes: str) -> Answer:
        """Come back with a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": secret, "scope": " ".join(scopes)}
        return await self.post(form)

    async def post(self, form: Mapping[str, str]) -> Answer:
        """Send a form to the token endpoint."""
        return await self.live.client.post("/token", urlencode(form).encode(), Content_Type=FORM)

    async def client(self, made: NewToken, *scopes: str, name: str = "ann") -> Client:
        """Return a client that logged in with an access token."""
        answer = await self.get_token(name, made.secret, *scopes)
        return self.live.client.with_token(answer.expect(200).json()["token"])


@pytest.fixture
async def hub(live: Live) -> AsyncIterator[Hub]:
    for each in ("ann", "bob"):
        live.add_account(each)
    live.add_account("root", is_admin=True)
    metadata = SqliteMetadata(live.data / "longshore.db")
    try:
        account = await metadata.lookup(accounts.find, "ann")
        assert account is not None
        ann = Identity(account.id, "ann")
        organizations = Organizations(metadata)
        await organizations.create(ann, "team")
        await organizations.create_robot(ann, "team", "ci")
        root = await live.login("root", *(scope(each) for each in REPOSITORIES))
        for each in REPOSITORIES:
            await push_image(root, each, "v1", layers=[each.encode()])
        live.publish("bob/shown")
        yield Hub(live, AccessTokens(metadata), ann)
    finally:
        await metadata.close()


def scope(repository: str, actions: str = "*") -> str:
    return f"repository:{repository}:{actions}"


def granted(answer: Answer) -> list[str]:
    claims: dict[str, Any] = jwt.decode(
        answer.expect(200).json()["token"], options={"verify_signature": False}
    )
    return [f"{each['type']}:{each['name']}:{','.join(each['actions'])}" for each in claims["access"]]


async def outcomes(client: Client, repository: str) -> str:
    """What a client may do in a repository: a letter each for pull, push and delete."""
    pull = await client.get(f"/v2/{repository}/manifests/v1")
    push = await client.post(f"/v2/{repository}/blobs/uploads/")
    delete = await client.delete(f"/v2/{repository}/manifests/v1")
    assert {pull.status, push.status, delete.status} <= {200, 202, 401, 403, 404}
    return ("l" if pull.status == 200 else "") + "".join(
        letter for letter, answer in (("p", push), ("d", delete)) if answer.status == 202
    )


# What it is good for


@pytest.mark.parametrize(
    ("permission", "left"),
    [
        (Permission.READ, "l"),
        (Permission.WRITE, "lp"),
        (Permission.DELETE, "lpd"),
        (Permission.ADMIN, "lpd"),
    ],
)
@pytest.mark.parametrize("way", ["get", "post"])
async def test_token_in_place_of_a_password(hub: Hub, permission: Permission, left: str, way: str) -> None:
    made = await hub.make(permission)
    log_in = hub.get_token if way == "get" else hub.post_token
    answer = await log_in("ann", made.secret, scope("ann/app"), scope("bob/secret"), scope("bob/shown"))
    client = hub.live.client.with_token(answer.expect(200).json()["token"])
    (await client.get("/v2/")).expect(200)
    found = [await outcomes(client, each) for each in ("ann/app", "bob/secret", "bob/shown")]
    assert found == [left, "", "l"]


async def test_rights_of_the_account_bound_the_token(hub: Hub) -> None:
    hub.live.grant(Role.READ, "bob/secret", "ann")
    client = await hub.client(await hub.make(Permission.ADMIN), scope("bob/secret"))
    assert await outcomes(client, "bob/secret") == "l"
    hub.live.grant(None, "bob/secret", "ann")
    assert await outcomes(client, "bob/secret") == ""


async def test_chosen_repositories(hub: Hub) -> None:
    made = await hub.make(Permission.DELETE, ["ann/lib", "bob/shown"])
    names = ("ann/app", "ann/lib", "ann/new", "bob/shown", "team/app")
    client = await hub.client(made, *(scope(each) for each in names))
    found = {each: await outcomes(client, each) for each in names}
    assert found == {"ann/app": "", "ann/lib": "lpd", "ann/new": "", "bob/shown": "l", "team/app": ""}


async def test_for_what_is_not_chosen_a_token_is_worth_no_less_than_none(hub: Hub) -> None:
    client = await hub.client(await hub.make(Permission.WRITE, ["ann/lib"]), scope("bob/shown"))
    assert await outcomes(client, "bob/shown") == "l"


async def test_token_for_all_repositories_makes_new_ones(hub: Hub) -> None:
    for permission, made in ((Permission.READ, ""), (Permission.WRITE, "p")):
        client = await hub.client(await hub.make(permission), scope("ann/new"))
        assert await outcomes(client, "ann/new") == made


@pytest.mark.parametrize(
    ("only", "seen"),
    [
        (None, ["ann/app", "ann/lib", "bob/shown", "team/app"]),
        (["ann/lib"], ["ann/lib", "bob/shown"]),
        (["bob/shown"], ["bob/shown"]),
    ],
)
async def test_catalog(hub: Hub, only: Sequence[str] | None, seen: Sequence[str]) -> None:
    client = await hub.client(await hub.make(Permission.READ, only), "registry:catalog:*")
    assert (await client.get("/v2/_catalog")).expect(200).json() == {"repositories": seen}


@pytest.mark.parametrize(
    ("only", "source", "mounted"),
    [
        (None, "ann/lib", True),
        (["ann/app"], "ann/lib", False),
        (["ann/app", "ann/lib"], "ann/lib", True),
        (["ann/app"], "bob/shown", True),
        (None, "bob/secret", False),
    ],
)
@pytest.mark.parametrize("said", [True, False])
async def test_mount(hub: Hub, only: Sequence[str] | None, source: str, mounted: bool, said: bool) -> None:
    scopes = (scope("ann/app"), scope(source, "pull"))
    client = await hub.client(await hub.make(Permission.WRITE, only), *scopes)
    query = f"mount={Digest.of(source.encode())}" + (f"&from={source}" if said else "")
    answer = await client.post(f"/v2/ann/app/blobs/uploads/?{query}")
    assert answer.status == (201 if mounted else 202)


@pytest.mark.parametrize(
    ("permission", "interface"),
    [
        (Permission.READ, "registry:api:read"),
        (Permission.WRITE, "registry:api:read,write"),
        (Permission.DELETE, "registry:api:delete,read,write"),
        (Permission.ADMIN, "registry:api:*"),
    ],
)
async def test_scope_of_the_interface(hub: Hub, permission: Permission, interface: str) -> None:
    made = await hub.make(permission)
    assert granted(await hub.get_token("ann", made.secret, "registry:api:*")) == [interface]
    own = await hub.get_token("ann", password_of("ann"), "registry:api:*")
    assert granted(own) == ["registry:api:*"]
    assert granted(await hub.live.client.get("/token?scope=registry:api:*")) == []


async def test_administrator_with_a_lesser_token(hub: Hub) -> None:
    account = hub.live.change(lambda db: accounts.find(db, "root"))
    assert account is not None
    made = await hub.tokens.create(Identity(account.id, "root", is_admin=True), "ci", Permission.READ)
    client = await hub.client(made, scope("bob/secret"), name="root")
    assert await outcomes(client, "bob/secret") == "l"


# Who may come with it


@pytest.mark.parametrize("way", ["get", "post"])
@pytest.mark.parametrize("name", ["bob", "Ann", "", "ann ", "root", ROBOT])
async def test_it_goes_with_the_name_of_its_account(hub: Hub, way: str, name: str) -> None:
    made = await hub.make(Permission.ADMIN)
    log_in = hub.get_token if way == "get" else hub.post_token
    assert (await log_in(name, made.secret)).outcome == (401, "UNAUTHORIZED")
    assert (await log_in("ann", made.secret)).status == 200


@pytest.mark.parametrize("secret", ["lsp_", "lsp_unknown", "lsp_" + "x" * 43, "lsp_\0"])
async def test_unknown_tokens_are_counted(hub: Hub, secret: str) -> None:
    made = await hub.make(Permission.READ)
    assert (await hub.post_token("ann", made.secret + "x")).outcome == (401, "UNAUTHORIZED")
    for _ in range(5):
        assert (await hub.post_token("ann", secret)).outcome == (401, "UNAUTHORIZED")
    assert (await hub.post_token("ann", made.secret)).outcome == (429, "TOOMANYREQUESTS")


async def test_access_token_is_no_bearer_token_of_the_protocol(hub: Hub) -> None:
    """The protocol takes tokens of the token endpoint: any proxy can verify those."""
    made = await hub.make(Permission.ADMIN)
    answer = await hub.live.client.with_token(made.secret).get("/v2/ann/app/manifests/v1")
    assert answer.outcome == (401, "UNAUTHORIZED")


# Robots


@pytest.mark.parametrize(
    ("permission", "left"),
    [(Permission.READ, "l"), (Permission.WRITE, "lp"), (Permission.DELETE, "lpd")],
)
async def test_robot(hub: Hub, permission: Permission, left: str) -> None:
    made = await hub.make(permission, robot=ROBOT)
    client = await hub.client(made, scope("team/app"), scope("ann/app"), scope("bob/shown"), name=ROBOT)
    found = [await outcomes(client, each) for each in ("team/app", "ann/app", "bob/shown")]
    assert found == [left, "", "l"]


async def test_robot_by_form(hub: Hub) -> None:
    """Its name has a plus in it."""
    made = await hub.make(Permission.WRITE, robot=ROBOT)
    answer = await hub.post_token(ROBOT, made.secret, scope("team/new"))
    assert answer.json()["scope"] == "repository:team/new:pull,push"
    client = hub.live.client.with_token(answer.json()["token"])
    await push_image(client, "team/new", "v1")
    pushed = hub.live.change(lambda db: db.execute(schema.tags.select()).all())
    assert {row.tagged_by for row in pushed} == {"root", ROBOT}


@pytest.mark.parametrize("password", ["", "x", password_of(ROBOT)])
async def test_robot_has_no_password(hub: Hub, password: str) -> None:
    assert (await hub.get_token(ROBOT, password)).outcome == (401, "UNAUTHORIZED")


# The end


async def revoke(hub: Hub, made: NewToken) -> None:
    await hub.tokens.revoke(hub.ann, made.token.id)


async def expire(hub: Hub, made: NewToken) -> None:
    table, then = schema.access_tokens, datetime.now(UTC) - timedelta(seconds=1)
    statement = update(table).where(table.c.id == made.token.id).values(expires_at=then)
    hub.live.change(lambda db: db.execute(statement))


async def disable(hub: Hub, _: NewToken) -> None:
    hub.live.disable("ann")


@pytest.mark.parametrize("end", [revoke, expire, disable])
async def test_all_that_it_was_exchanged_for_ends_at_once(hub: Hub, end: Any) -> None:
    made = await hub.make(Permission.WRITE)
    offline = await hub.get_token("ann", made.secret, scope("ann/app"), offline_token="true")
    refresh = offline.expect(200).json()["refresh_token"]
    client = hub.live.client.with_token(offline.json()["token"])
    again = await hub.refresh(refresh, scope("ann/app"))
    refreshed = hub.live.client.with_token(again.expect(200).json()["token"])
    own = await hub.live.login("ann", scope("ann/app"))
    for each in (client, refreshed, own):
        (await each.get("/v2/ann/app/manifests/v1")).expect(200)
    await end(hub, made)
    for each in (client, refreshed):
        for answer in (
            await each.get("/v2/"),
            await each.get("/v2/ann/app/manifests/v1"),
            await each.get("/v2/bob/shown/manifests/v1"),
            await each.post("/v2/ann/app/blobs/uploads/"),
        ):
            assert answer.outcome == (401, "UNAUTHORIZED")
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert (await hub.refresh(refresh, scope("ann/app"))).outcome == (401, "UNAUTHORIZED")
    assert (await hub.get_token("ann", made.secret)).outcome == (401, "UNAUTHORIZED")
    # What came of the password is another matter, unless the account is closed.
    status = (await own.get("/v2/ann/app/manifests/v1")).status
    assert status == (401 if end is disable else 200)


async def test_other_tokens_go_on(hub: Hub) -> None:
    first, second = await hub.make(Permission.READ), await hub.make(Permission.READ)
    client = await hub.client(second, scope("ann/app"))
    await revoke(hub, first)
    (await client.get("/v2/ann/app/manifests/v1")).expect(200)


async def test_refresh_token_is_bounded(hub: Hub) -> None:
    made = await hub.make(Permission.WRITE, ["ann/lib"])
    answer = await hub.post_token("ann", made.secret, scope("ann/lib"), access_type="offline")
    secret = answer.expect(200).json()["refresh_token"]
    again = await hub.refresh(secret, scope("ann/lib"), scope("ann/app"), "registry:api:*")
    assert again.json()["scope"] == "registry:api:read,write repository:ann/lib:pull,push"


async def test_changed_password_leaves_access_tokens(hub: Hub) -> None:
    """They are kept for machines; who wants them gone revokes them."""
    made = await hub.make(Permission.READ)
    hub.live.change_password("ann", "another mellon")
    (await hub.get_token("ann", made.secret, scope("ann/app"))).expect(200)
