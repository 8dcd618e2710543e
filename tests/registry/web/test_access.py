"""Who may do what, over the wire: statuses and challenges, and what hidden and absent things look like."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from auth.policy import Role
from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.content import ABSENT, OCI_INDEX, image, index, push_image
from tests.registry.web.live import Answer, Client, Live, basic

LAYER: Final = Digest.of(b"layer")
SECRET: Final = Digest.of(b"in team/private and nowhere else")

REPOSITORIES: Final = ("team/public", "team/private", "team/missing", "nowhere/app")

# Everybody who may ask, by account; None is nobody in particular.
ACCOUNTS: Final[Mapping[str, str | None]] = {
    "anonymous": None,
    "anonymous token": None,
    "token without scope": "owner",
    "stranger": "stranger",
    "reader": "reader",
    "writer": "writer",
    "admin role": "admin-role",
    "owner": "team",
    "administrator": "root",
    "disabled": "disabled",
}

LOW: Final = "401 insufficient_scope"
BAD: Final = "401 invalid_token"

# (pull, push, delete) → for each of REPOSITORIES what comes of it.
MATRIX: Final[Mapping[str, Mapping[str, tuple[str, str, str, str]]]] = {
    "anonymous": {
        "pull": ("200", "401", "401", "401"),
        "push": ("401", "401", "401", "401"),
        "delete": ("401", "401", "401", "401"),
    },
    "anonymous token": {
        "pull": ("200", LOW, LOW, LOW),
        "push": (LOW, LOW, LOW, LOW),
        "delete": (LOW, LOW, LOW, LOW),
    },
    "token without scope": {
        "pull": (LOW, LOW, LOW, LOW),
        "push": (LOW, LOW, LOW, LOW),
        "delete": (LOW, LOW, LOW, LOW),
    },
    "stranger": {
        "pull": ("200", LOW, LOW, LOW),
        "push": (LOW, LOW, LOW, LOW),
        "delete": (LOW, LOW, LOW, LOW),
    },
    "reader": {
        "pull": ("200", "200", LOW, LOW),
        "push": (LOW, LOW, LOW, LOW),
        "delete": (LOW, LOW, LOW, LOW),
    },
    "writer": {
        "pull": ("200", "200", "404 NAME_UNKNOWN", LOW),
        "push": ("202", "202", "202", LOW),
        "delete": (LOW, LOW, LOW, LOW),
    },
    "admin role": {
        "pull": ("200", "200", "404 NAME_UNKNOWN", LOW),
        "push": ("202", "202", "202", LOW),
        # What is not there cannot be deleted, so nobody but an administrator is granted that.
        "delete": ("202", "202", LOW, LOW),
    },
    "owner": {
        "pull": ("200", "200", "404 NAME_UNKNOWN", LOW),
        "push": ("202", "202", "202", LOW),
        "delete": ("202", "202", LOW, LOW),
    },
    "administrator": {
        "pull": ("200", "200", "404 NAME_UNKNOWN", "404 NAME_UNKNOWN"),
        "push": ("202", "202", "202", "202"),
        "delete": ("202", "202", "404 NAME_UNKNOWN", "404 NAME_UNKNOWN"),
    },
    "disabled": {
        "pull": (BAD, BAD, BAD, BAD),
        "push": (BAD, BAD, BAD, BAD),
        "delete": (BAD, BAD, BAD, BAD),
    },
}

ACTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    # The method, the path in the repository, and the actions that a challenge asks for.
    "pull": ("GET", "manifests/v1", "pull"),
    "push": ("POST", "blobs/uploads/", "pull,push"),
    "delete": ("DELETE", "manifests/v1", "delete,pull"),
}


@dataclass(frozen=True, slots=True)
class Team:
    """A server with the repositories team/public and team/private, and somebody of each kind."""

    live: Live

    async def client(self, who: str, *repositories: str) -> Client:
        """Return somebody with a token for everything in the repositories, as far as it is granted."""
        if who == "anonymous":
            return self.live.client
        scopes = [] if who == "token without scope" else [f"repository:{name}:*" for name in repositories]
        if who != "disabled":
            return await self.live.login(_account(who), *scopes)
        self.live.disable("disabled", disabled=False)
        client = await self.live.login("disabled", *scopes)
        self.live.disable("disabled")
        return client


def _account(who: str) -> str | None:
    return "team" if who == "token without scope" else ACCOUNTS[who]


@pytest.fixture
async def team(live: Live) -> Team:
    for name in ("team", "stranger", "reader", "writer", "admin-role", "disabled"):
        live.add_account(name)
    live.add_account("root", is_admin=True)
    owner = await live.login("team", "repository:team/public:*", "repository:team/private:*")
    for name in ("team/public", "team/private"):
        await push_image(owner, name, "v1")
    await owner.push_blob("team/private", b"in team/private and nowhere else")
    live.publish("team/public")
    for name, role in {
        "reader": Role.READ,
        "writer": Role.WRITE,
        "admin-role": Role.ADMIN,
        "disabled": Role.ADMIN,
    }.items():
        live.grant(role, "team", name)
    return Team(live)


def _outcome(answer: Answer) -> str:
    challenge = answer.headers.get("WWW-Authenticate", "")
    found = re.search('error="([a-z_]+)"', challenge)
    code = "" if answer.status < 400 or answer.status == 401 else answer.code
    return " ".join(filter(None, (str(answer.status), code, found[1] if found else "")))


def _challenge(live: Live, *scopes: str, error: str = "") -> str:
    text = f'Bearer realm="http://{live.host}/token",service="longshore"'
    if scopes:
        text += f',scope="{" ".join(scopes)}"'
    return text + (f',error="{error}"' if error else "")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("who", MATRIX)
async def test_matrix(team: Team, who: str, action: str, subtests: pytest.Subtests) -> None:
    client = await team.client(who, *REPOSITORIES)
    method, path, needed = ACTIONS[action]
    for repository, expected in zip(REPOSITORIES, MATRIX[who][action], strict=True):
        with subtests.test(repository):
            answer = await client.send(method, f"/v2/{repository}/{path}")
            assert _outcome(answer) == expected
            if answer.status != 401:
                assert "WWW-Authenticate" not in answer.headers
                continue
            assert answer.code == "UNAUTHORIZED"
            # A token that counts no more is answered with that alone: it says nothing of any scope.
            scopes = () if expected == BAD else (f"repository:{repository}:{needed}",)
            error = expected.removeprefix("401").strip()
            assert answer.headers["WWW-Authenticate"] == _challenge(team.live, *scopes, error=error)


# Every endpoint needs one of the three: (method, path, action).
ENDPOINTS: Final = [
    ("GET", "manifests/v1", "pull"),
    ("HEAD", "manifests/v1", "pull"),
    ("GET", f"manifests/{ABSENT}", "pull"),
    ("PUT", "manifests/v2", "push"),
    ("PUT", f"manifests/{ABSENT}?tag=a", "push"),
    ("DELETE", "manifests/v1", "delete"),
    ("DELETE", f"manifests/{ABSENT}", "delete"),
    ("GET", f"blobs/{LAYER}", "pull"),
    ("HEAD", f"blobs/{LAYER}", "pull"),
    ("DELETE", f"blobs/{LAYER}", "delete"),
    ("POST", "blobs/uploads/", "push"),
    ("POST", "blobs/uploads", "push"),
    ("POST", f"blobs/uploads/?digest={Digest.of(b'')}", "push"),
    ("POST", f"blobs/uploads/?mount={LAYER}", "push"),
    ("GET", "blobs/uploads/0123", "push"),
    ("PATCH", "blobs/uploads/0123", "push"),
    ("PUT", f"blobs/uploads/0123?digest={LAYER}", "push"),
    ("DELETE", "blobs/uploads/0123", "push"),
    ("GET", "tags/list", "pull"),
    ("GET", f"referrers/{LAYER}", "pull"),
]


async def test_every_endpoint_asks_for_its_action(team: Team, subtests: pytest.Subtests) -> None:
    lacking = {
        action: team.live.client.with_token(
            await team.live.token("root", f"repository:team/private:{others}")
        )
        for action, others in {"pull": "push,delete", "push": "pull,delete", "delete": "pull,push"}.items()
    }
    for method, path, action in ENDPOINTS:
        with subtests.test(f"{method} {path[:30]}"):
            target = f"/v2/team/private/{path}"
            scope = f"repository:team/private:{ACTIONS[action][2]}"
            answer = (await team.live.client.send(method, target)).expect(401)
            assert answer.headers["WWW-Authenticate"] == _challenge(team.live, scope)
            answer = (await lacking[action].send(method, target)).expect(401)
            assert answer.headers["WWW-Authenticate"] == _challenge(
                team.live, scope, error="insufficient_scope"
            )
    # Nothing of all that was done.
    owner = await team.client("owner", "team/private")
    assert (await owner.get("/v2/team/private/tags/list")).json()["tags"] == ["v1"]
    (await owner.get(f"/v2/team/private/blobs/{LAYER}")).expect(200)


@pytest.mark.parametrize("who", ["anonymous", "anonymous token", "stranger"])
async def test_hidden_looks_like_absent(team: Team, who: str, subtests: pytest.Subtests) -> None:
    client = await team.client(who, *REPOSITORIES)
    for method, path, _ in ENDPOINTS:
        with subtests.test(f"{method} {path[:30]}"):
            seen = {
                _without_names(await client.send(method, f"/v2/{name}/{path}"), name)
                for name in ("team/private", "team/missing", "nowhere/app")
            }
            assert len(seen) == 1


@pytest.mark.parametrize("action", ACTIONS)
async def test_withdrawn_right_looks_like_a_deleted_repository(team: Team, action: str) -> None:
    """Both with a token that was granted when there was a right."""
    live, (method, path, _) = team.live, ACTIONS[action]
    await push_image(await team.client("owner", "team/gone"), "team/gone", "v1")
    live.grant(Role.ADMIN, "team", "stranger")
    client = await live.login("stranger", "repository:team/private:*", "repository:team/gone:*")
    live.grant(None, "team", "stranger")
    live.change(lambda db: db.exec_driver_sql("DELETE FROM repositories WHERE name = 'team/gone'"))
    withdrawn, gone = [await client.send(method, f"/v2/team/{name}/{path}") for name in ("private", "gone")]
    assert withdrawn.outcome == (403, "DENIED")
    assert "WWW-Authenticate" not in withdrawn.headers
    assert _without_names(withdrawn, "team/private") == _without_names(gone, "team/gone")


def _without_names(answer: Answer, name: str) -> str:
    """An answer as text, without the name of its repository and what differs between any two answers."""
    headers = {key: value for key, value in answer.headers.items() if key not in ("Date", "X-Request-ID")}
    lengths = [int(headers.pop("Content-Length", "0")) - answer.body.count(name.encode()) * len(name)]
    text = f"{answer.status} {sorted(headers.items())} {answer.body.decode()}".replace(name, "NAME")
    return f"{text} {lengths if answer.body else ''}"


# -- /v2/ ------------------------------------------------------------------------------------------------


async def test_ping(team: Team) -> None:
    """dockerd takes 200 for "no login needed", so anonymous callers never get it."""
    live = team.live
    for target in ("/v2/", "/v2"):
        answer = await live.client.get(target)
        assert answer.outcome == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == _challenge(live)
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert (await live.client.head(target)).status == 401
        for who in ("anonymous token", "stranger", "administrator"):
            answer = (await (await team.client(who)).get(target)).expect(200)
            assert answer.body == b"{}"
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        answer = (await (await team.client("disabled")).get(target)).expect(401)
        assert answer.headers["WWW-Authenticate"] == _challenge(live, error="invalid_token")


WHAT_IS_NO_TOKEN_IS_REFUSED_EVEN_WHERE_ANYBODY_MAY_PULL: Final = [
    ("Basic {basic}", ""),
    ("Digest x", ""),
    ("", ""),
    ("Bearer", "invalid_token"),
    ("Bearer x", "invalid_token"),
    ("Bearer a.b.c", "invalid_token"),
    ("Bearer {token}x", "invalid_token"),
    ("Bearer {token} {token}", "invalid_token"),
    ("Bearer \xff", "invalid_token"),
]


async def test_what_is_no_token_is_refused_even_where_anybody_may_pull(
    team: Team, subtests: pytest.Subtests
) -> None:
    for header, error in WHAT_IS_NO_TOKEN_IS_REFUSED_EVEN_WHERE_ANYBODY_MAY_PULL:
        with subtests.test(f"{header!r:.40} {error!r:.40}"):
            await _check_what_is_no_token_is_refused_even_where_anybody_may_pull(team, header, error)


async def _check_what_is_no_token_is_refused_even_where_anybody_may_pull(
    team: Team, header: str, error: str
) -> None:
    value = header.format(basic=basic("team").removeprefix("Basic "), token=await team.live.token("team"))
    for target in ("/v2/", "/v2/team/public/manifests/v1", "/v2/_catalog"):
        answer = (await team.live.client.get(target, Authorization=value)).expect(401)
        assert answer.headers["WWW-Authenticate"] == _challenge(team.live, error=error)


SCHEME_IN_ANY_CASE: Final = ["Bearer", "bearer", "BEARER", "Bearer "]


async def test_scheme_in_any_case(team: Team, subtests: pytest.Subtests) -> None:
    for scheme in SCHEME_IN_ANY_CASE:
        with subtests.test(f"{scheme!r:.40}"):
            await _check_scheme_in_any_case(team, scheme)


async def _check_scheme_in_any_case(team: Team, scheme: str) -> None:
    token = await team.live.token("team")
    assert (await team.live.client.get("/v2/", Authorization=f"{scheme} {token}")).status == 200


async def test_challenge_names_the_configured_address(serving: Serving) -> None:
    async with serving(external_url="https://hub.example.org", service="hub") as live:
        for headers in ({}, {"Host": "evil"}, {"X_Forwarded_Host": "evil", "X_Forwarded_Proto": "http"}):
            answer = await live.client.get("/v2/a/b/tags/list", **headers)
            assert answer.headers["WWW-Authenticate"] == (
                'Bearer realm="https://hub.example.org/token",service="hub",scope="repository:a/b:pull"'
            )


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["app", "library/app"])
async def test_token_for_either_name_of_a_library_repository(team: Team, asked: str) -> None:
    root = await team.live.login("root", f"repository:{asked}:pull,push")
    for name in ("app", "library/app"):
        await push_image(root, name, "v1")
        (await root.get(f"/v2/{name}/manifests/v1")).expect(200)
    challenge = (await team.live.client.post("/v2/app/blobs/uploads/")).headers["WWW-Authenticate"]
    assert challenge == _challenge(team.live, "repository:library/app:pull,push")


async def test_library_is_public(team: Team) -> None:
    await push_image(await team.live.login("root", "repository:app:pull,push"), "app", "v1")
    (await team.live.client.get("/v2/app/manifests/v1")).expect(200)


@pytest.mark.parametrize(("visibility", "status"), [("private", 401), ("public", 200)])
async def test_visibility_of_what_a_push_makes(serving: Serving, visibility: str, status: int) -> None:
    async with serving(default_visibility=visibility) as live:
        live.add_account("ann")
        await push_image(await live.login("ann", "repository:ann/app:pull,push"), "ann/app", "v1")
        assert (await live.client.get("/v2/ann/app/manifests/v1")).status == status


async def test_token_is_for_its_repositories_only(team: Team) -> None:
    client = await team.client("administrator", "team/public")
    (await client.get("/v2/team/public/manifests/v1")).expect(200)
    for name in ("team/private", "team/publi", "team/public/x", "public"):
        assert _outcome(await client.get(f"/v2/{name}/manifests/v1")) == LOW


# -- rights that change ----------------------------------------------------------------------------------


async def test_rights_are_those_of_now(team: Team) -> None:
    """A token is an upper bound: each request asks again what of it still holds."""
    live = team.live
    writer = await team.client("writer", "team/private")
    target, uploads = "/v2/team/private/manifests/v1", "/v2/team/private/blobs/uploads/"
    (await writer.post(uploads)).expect(202)
    live.grant(Role.READ, "team", "writer")
    assert (await writer.post(uploads)).outcome == (403, "DENIED")
    (await writer.get(target)).expect(200)
    live.grant(None, "team", "writer")
    assert (await writer.get(target)).outcome == (403, "DENIED")
    live.publish("team/private")
    (await writer.get(target)).expect(200)
    live.grant(Role.WRITE, "team/private", "writer")
    (await writer.post(uploads)).expect(202)


async def test_repository_that_is_made_private(team: Team) -> None:
    anonymous = await team.client("anonymous token", "team/public")
    (await anonymous.get("/v2/team/public/manifests/v1")).expect(200)
    team.live.publish("team/public", public=False)
    assert (await anonymous.get("/v2/team/public/manifests/v1")).outcome == (403, "DENIED")
    (await team.live.client.get("/v2/team/public/manifests/v1")).expect(401)


async def test_administrator_that_is_one_no_more(team: Team) -> None:
    root = await team.client("administrator", "team/private")
    (await root.get("/v2/team/private/manifests/v1")).expect(200)
    team.live.change(lambda db: db.exec_driver_sql("UPDATE accounts SET is_admin = 0 WHERE name = 'root'"))
    assert (await root.get("/v2/team/private/manifests/v1")).outcome == (403, "DENIED")


async def test_another_account_of_the_same_name(team: Team) -> None:
    """A token speaks for the account that it was made for, not for whoever has the name by now."""
    client = await team.client("stranger", "team/public")
    team.live.change(
        lambda db: db.exec_driver_sql("UPDATE accounts SET name = 'old' WHERE name = 'stranger'")
    )
    team.live.change(
        lambda db: db.exec_driver_sql("UPDATE accounts SET name = 'stranger' WHERE name = 'writer'")
    )
    assert _outcome(await client.get("/v2/team/public/manifests/v1")) == BAD


# -- mounts ----------------------------------------------------------------------------------------------

# Who mounts a blob of team/private into a repository that everybody here may push to.
MOUNTS: Final[Mapping[str, tuple[int, int]]] = {
    # (with `from`, without)
    "stranger": (202, 202),
    "reader": (201, 201),
    "writer": (201, 201),
    "owner": (201, 201),
    "administrator": (201, 201),
}


@pytest.mark.parametrize("who", MOUNTS)
async def test_mount_from_a_private_repository(team: Team, who: str) -> None:
    live, account = team.live, _account(who)
    live.add_account("shared")
    if who != "administrator":
        assert account is not None
        live.grant(Role.WRITE, "shared", account)
    client = await team.client(who, "shared/app", "team/private", "team/missing")
    for query, status in zip(
        (f"?mount={SECRET}&from=team/private", f"?mount={SECRET}"), MOUNTS[who], strict=True
    ):
        answer = await client.post(f"/v2/shared/app/blobs/uploads/{query}")
        assert answer.status == status
        if status == 202:
            absent = await client.post(f"/v2/shared/app/blobs/uploads/?mount={SECRET}&from=team/missing")
            assert _masked(answer) == _masked(absent)
        else:
            assert answer.headers["Docker-Content-Digest"] == SECRET


def _masked(answer: Answer) -> str:
    id_ = answer.headers["Docker-Upload-UUID"]
    return _without_names(answer, "-").replace(id_, "ID")


async def test_mount_asks_for_a_better_token_only_where_there_is_a_right(team: Team) -> None:
    team.live.add_account("shared")
    for name in ("stranger", "reader"):
        team.live.grant(Role.WRITE, "shared", name)
    target = f"/v2/shared/app/blobs/uploads/?mount={SECRET}&from=team/private"
    (await (await team.client("stranger", "shared/app")).post(target)).expect(202)
    answer = (await (await team.client("reader", "shared/app")).post(target)).expect(401)
    scopes = ("repository:shared/app:pull,push", "repository:team/private:pull")
    assert answer.headers["WWW-Authenticate"] == _challenge(team.live, *scopes, error="insufficient_scope")
    (await (await team.client("reader", "shared/app", "team/private")).post(target)).expect(201)


async def test_mount_without_push(team: Team) -> None:
    for who in ("anonymous", "reader", "stranger"):
        client = await team.client(who, "team/public", "team/private")
        for query in (f"?mount={LAYER}&from=team/public", f"?mount={LAYER}"):
            (await client.post(f"/v2/team/public/blobs/uploads/{query}")).expect(401)


# -- catalog ---------------------------------------------------------------------------------------------


async def test_catalog_asks_for_a_token_of_its_own(team: Team) -> None:
    answer = (await team.live.client.get("/v2/_catalog")).expect(401)
    assert answer.headers["WWW-Authenticate"] == _challenge(team.live, "registry:catalog:*")
    answer = (await (await team.client("owner", "team/public")).get("/v2/_catalog")).expect(401)
    expected = _challenge(team.live, "registry:catalog:*", error="insufficient_scope")
    assert answer.headers["WWW-Authenticate"] == expected


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("anonymous token", ["team/public"]),
        ("stranger", ["team/public"]),
        ("reader", ["team/private", "team/public"]),
        ("owner", ["team/private", "team/public"]),
        ("administrator", ["team/private", "team/public"]),
    ],
)
async def test_catalog(team: Team, who: str, names: list[str]) -> None:
    client = await team.live.login(_account(who), "registry:catalog:*")
    assert (await client.get("/v2/_catalog")).json() == {"repositories": names}


# -- uploads of others -----------------------------------------------------------------------------------


async def test_upload_belongs_to_who_began_it(team: Team, subtests: pytest.Subtests) -> None:
    writer = await team.client("writer", "team/private")
    location = await writer.start_upload("team/private")
    for who in ("admin role", "owner", "administrator"):
        other = await team.client(who, "team/private")
        for method, target in (
            ("GET", location),
            ("PATCH", location),
            ("PUT", f"{location}?digest={Digest.of(b'')}"),
            ("DELETE", location),
        ):
            with subtests.test(f"{who} {method}"):
                absent = target.replace(location, "/v2/team/private/blobs/uploads/" + "0" * 32)
                answer = await other.send(method, target, b"")
                assert answer.outcome == (404, "BLOB_UPLOAD_UNKNOWN")
                assert answer.body == (await other.send(method, absent, b"")).body
    (await writer.patch(location, b"x")).expect(202)
    (await writer.put(f"{location}?digest={Digest.of(b'x')}")).expect(201)


async def test_upload_ends_with_the_right_to_push(team: Team) -> None:
    writer = await team.client("writer", "team/private")
    location = await writer.start_upload("team/private")
    team.live.grant(Role.READ, "team", "writer")
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={Digest.of(b'')}")):
        assert (await writer.send(method, target, b"")).outcome == (403, "DENIED")


async def test_skopeo_may_cancel_with_push_alone(team: Team) -> None:
    client = await team.live.login("writer", "repository:team/private:pull,push")
    (await client.delete(await client.start_upload("team/private"))).expect(204)


# -- without access control ------------------------------------------------------------------------------


async def test_everything_is_open_without_access_control(open_live: Live, subtests: pytest.Subtests) -> None:
    client = open_live.client
    await push_image(client, "any/where", "v1")
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": basic("nobody")}):
        with subtests.test(str(headers)):
            (await client.send("GET", "/v2/", None, headers)).expect(200)
            (await client.send("GET", "/v2/any/where/manifests/v1", None, headers)).expect(200)
            catalog = (await client.send("GET", "/v2/_catalog", None, headers)).expect(200)
            assert catalog.json() == {"repositories": ["any/where"]}
    (await client.delete("/v2/any/where/manifests/v1")).expect(202)
    for target in ("/token", "/.well-known/jwks.json"):
        assert (await client.get(target)).outcome == (404, "UNSUPPORTED")


async def test_body_of_a_push_that_is_not_allowed_is_not_looked_at(team: Team) -> None:
    """No byte of it decides what the answer is."""
    for who in ("anonymous", "reader"):
        client = await team.client(who, "team/private")
        for body in (b"{", index().content, image().content, b" " * (4 * 1024 * 1024 + 1)):
            answer = await client.put("/v2/team/private/manifests/v2", body, Content_Type=OCI_INDEX)
            assert answer.outcome == (401, "UNAUTHORIZED")
