"""Search as Docker's engine and podman ask for it."""

from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import update

from auth.policy import Role
from storage.metadata import documents, repositories
from storage.metadata.engine import Connection
from storage.metadata.schema import repositories as rows
from tests.registry.accounts import NOW
from tests.registry.web.conftest import Serving
from tests.registry.web.live import Answer, Client, Live, basic

CATALOG: Final = "registry:catalog:search"


def add(db: Connection, name: str, *, public: bool = True, stars: int = 0) -> None:
    repository_id = repositories.ensure(db, name, public=public, make_namespace=True, now=NOW)
    values = {"summary": f"It is {name}", "star_count": stars}
    db.execute(update(rows).where(rows.c.id == repository_id).values(**values))
    documents.refresh(db, repository_id)


@pytest.fixture
async def hub(live: Live) -> Live:
    """A server with repositories called `app`, of which ann's is private; bob may pull it, eve may not."""
    for name in ("ann", "bob", "eve"):
        live.add_account(name)
    live.add_account("root", is_admin=True)
    live.change(partial(add, name="library/app", stars=7))
    live.change(partial(add, name="library/deep/app"))
    live.change(partial(add, name="eve/app", stars=3))
    live.change(partial(add, name="ann/app", public=False))
    live.grant(Role.READ, "ann/app", "bob")
    return live


def names(answer: Answer) -> list[str]:
    return [each["name"] for each in answer.expect(200).json()["results"]]


async def search(client: Client, **headers: str) -> list[str]:
    return names(await client.get("/v1/search?q=app&n=25", **headers))


PUBLIC: Final = ["app", "eve/app", "library/deep/app"]
EVERYTHING: Final = ["app", "ann/app", "eve/app", "library/deep/app"]


async def test_ping_is_for_everybody(live: Live) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = await live.client.get("/v1/_ping", **headers)
        assert answer.expect(200).json() is True
        assert answer.headers["X-Docker-Registry-Standalone"] == "false"


async def test_answer_is_in_the_words_of_docker(hub: Live) -> None:
    answer = await hub.client.get("/v1/search?q=app&n=25")
    assert answer.headers["Content-Type"].startswith("application/json")
    found = answer.expect(200).json()
    first, *others = found.pop("results")
    assert found == {"query": "app", "num_results": 3, "num_pages": 1, "page": 1, "page_size": 25}
    assert first == {
        "name": "app",
        "description": "It is library/app",
        "star_count": 7,
        "is_official": True,
        "is_automated": False,
    }
    assert [each["is_official"] for each in others] == [False, True]


@pytest.mark.parametrize("account", ["ann", "bob", "root"])
async def test_who_may_pull_a_private_repository_finds_it(hub: Live, account: str) -> None:
    client = await hub.login(account, CATALOG)
    assert sorted(await search(client)) == sorted(EVERYTHING)
    assert sorted(await search(hub.client, Authorization=basic(account))) == sorted(EVERYTHING)


async def test_nobody_else_finds_it(hub: Live) -> None:
    assert sorted(await search(hub.client)) == sorted(PUBLIC)
    assert sorted(await search(hub.client, Authorization=basic("eve"))) == sorted(PUBLIC)
    for account in (None, "eve"):
        client = await hub.login(account, CATALOG)
        assert sorted(await search(client)) == sorted(PUBLIC)


async def test_right_that_is_withdrawn_ends_at_once(hub: Live) -> None:
    client = await hub.login("bob", CATALOG)
    assert "ann/app" in await search(client)
    hub.grant(None, "ann/app", "bob")
    assert "ann/app" not in await search(client)
    hub.disable("bob")
    assert (await client.get("/v1/search?q=app")).outcome == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("scope", ["registry:catalog:*", CATALOG])
async def test_tokens_of_the_catalog_are_good(hub: Live, scope: str) -> None:
    assert "ann/app" in await search(await hub.login("ann", scope))


@pytest.mark.parametrize("scope", ["", "repository:ann/app:pull", "registry:catalog:pull"])
async def test_other_tokens_are_sent_for_a_better_one(hub: Live, scope: str) -> None:
    answer = await (await hub.login("ann", scope)).get("/v1/search?q=app")
    assert answer.outcome == (401, "UNAUTHORIZED")
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'scope="{CATALOG}"' in challenge
    assert 'error="insufficient_scope"' in challenge


@pytest.mark.parametrize(
    "credentials",
    [
        basic("ann", "wrong"),
        basic("nobody"),
        basic("", ""),
        "Basic",
        "Basic !",
        "Bearer",
        "Bearer nonsense",
        "Bearer lsp_nonsense",
        "Token x",
    ],
)
async def test_wrong_credentials_are_no_anonymous_caller(hub: Live, credentials: str) -> None:
    answer = await hub.client.get("/v1/search?q=app", Authorization=credentials)
    assert answer.outcome == (401, "UNAUTHORIZED")
    assert "WWW-Authenticate" in answer.headers


async def test_guesses_are_slowed_down(hub: Live) -> None:
    outcomes = [
        (await hub.client.get("/v1/search?q=app", Authorization=basic("ann", f"guess {number}"))).status
        for number in range(12)
    ]
    assert outcomes[0] == 401
    assert outcomes[-1] == 429


@pytest.mark.parametrize(
    ("query", "count", "page"),
    [
        ("q=app", 3, {"num_pages": 1, "page_size": 25}),
        ("q=app&n=2", 2, {"num_pages": 2, "page_size": 2, "page": 1}),
        ("q=app&n=2&page=2", 1, {"num_pages": 2, "page_size": 2, "page": 2}),
        ("q=app&n=2&page=3", 0, {"num_pages": 2, "num_results": 3}),
        ("q=app&n=999999999&page=999999999", 0, {"page_size": 100}),
        ("q=app&n=101", 3, {"page_size": 100}),
        ("q=absent", 0, {"num_results": 0, "num_pages": 0}),
        ("", 3, {"query": ""}),
        ("q=", 3, {"query": ""}),
        ("q=%22", 0, {"query": '"'}),
        ("q=app%00", 3, {"query": "app\0"}),
        ("q=app&q=absent", 3, {"query": "app"}),
        ("q=library/app", 2, {}),
    ],
)
async def test_pages(hub: Live, query: str, count: int, page: dict[str, Any]) -> None:
    found = (await hub.client.get(f"/v1/search?{query}")).expect(200).json()
    assert len(found["results"]) == count
    assert found | page == found


@pytest.mark.parametrize(
    "query", ["n=0", "n=-1", "n=x", "n=", "n=1e3", "n=9999999999", "page=0", "page=", "n=%C2%B2"]
)
async def test_numbers_that_are_none_are_refused(hub: Live, query: str) -> None:
    assert (await hub.client.get(f"/v1/search?q=app&{query}")).outcome == (400, "UNSUPPORTED")


async def test_names_can_be_pulled_as_they_are_written(hub: Live) -> None:
    """The registry knows every name under which it lists a repository."""
    for name in await search(hub.client):
        answer = await hub.client.get(f"/v2/{name}/tags/list")
        assert answer.expect(200).json() == {"name": name, "tags": []}


async def test_everybody_sees_everything_without_access_control(serving: Serving) -> None:
    async with serving(auth="off") as live:
        live.change(partial(add, name="ann/app", public=False))
        assert await search(live.client) == ["ann/app"]
