from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.registry.web.api.conftest import Api, As

APP: Final = "/repositories/ann/app"


async def _token(api: Api, permission: str, **more: object) -> str:
    made = await api.post("/me/tokens", {"name": permission, "permission": permission, **more})
    secret: str = made["secret"]
    return secret


async def test_token(api: As) -> None:
    ann, until = api("ann"), (datetime.now(UTC) + timedelta(days=1)).isoformat()
    answer = await ann.send(
        "POST", "/me/tokens", {"name": "laptop", "permission": "write", "expires_at": until}
    )
    made = answer.expect(201).json()
    assert answer.headers["Location"] == f"/api/v1/me/tokens/{made['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert made["secret"].startswith("lsp_")
    (listed,) = await ann.list("/me/tokens")
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (await api(token=made["secret"]).get("/me"))["name"] == "ann"
    (used,) = await ann.list("/me/tokens")
    assert used["last_used_at"] is not None
    assert await api("bob").outcome("DELETE", f"/me/tokens/{made['id']}") == (404, "not-here")
    await ann.delete(f"/me/tokens/{made['id']}")
    assert await api(token=made["secret"]).outcome("GET", "/me") == (401, "unauthorized")


async def test_a_token_is_good_for_what_it_says(api: As) -> None:
    ann = api("ann")
    for permission, status in (("read", 403), ("write", 403), ("delete", 403), ("admin", 200)):
        caller = api(token=await _token(ann, permission))
        assert await caller.outcome("GET", "/me") == (200, "")
        assert (await caller.send("PATCH", "/me", {"about": permission})).status == status
        assert (await caller.send("GET", "/me/tokens")).status == status


async def test_a_token_changes_no_password(api: As) -> None:
    caller = api(token=await _token(api("ann"), "admin"))
    body = {"current": "ann says mellon", "new": "another one, long enough"}
    assert await caller.outcome("PUT", "/me/password", body) == (403, "denied")


async def test_a_token_of_the_token_endpoint(api: As) -> None:
    live = api().live
    token = await live.token("ann", "registry:api:read")
    assert await api(token=token).outcome("GET", "/me") == (200, "")
    assert await api(token=token).outcome("PATCH", "/me", {"about": "x"}) == (403, "denied")
    token = await live.token("ann", "registry:api:*")
    assert await api(token=token).outcome("PATCH", "/me", {"about": "x"}) == (200, "")
    token = await live.token("ann", "repository:ann/app:pull")
    assert await api(token=token).outcome("GET", "/me") == (401, "unauthorized")


async def test_a_token_for_repositories_that_are_not_there(api: As) -> None:
    body = {"name": "x", "permission": "read", "repositories": ["ann/none"]}
    answer = await api("ann").send("POST", "/me/tokens", body)
    assert (answer.status, list(answer.json()["fields"])) == (422, ["repositories"])


# (what is asked for, the least permission that does it)
LEVELS: Final[list[tuple[str, str, Any, str]]] = [
    ("GET", APP, None, "read"),
    ("GET", f"{APP}/-/tags", None, "read"),
    ("PATCH", APP, {"summary": "said anew"}, "write"),
    ("POST", "/repositories", {"name": "ann/new"}, "write"),
    ("DELETE", f"{APP}/-/tags/none", None, "delete"),
    ("PATCH", APP, {"public": False}, "admin"),
    ("PUT", f"{APP}/-/roles/bob", {"role": "read"}, "admin"),
    ("POST", f"{APP}/-/rename", {"name": "ann/app"}, "admin"),
]


@pytest.mark.parametrize("permission", ["read", "write", "delete", "admin"])
async def test_a_token_in_a_repository(api: As, permission: str) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    caller = api(token=await _token(ann, permission))
    order = ["read", "write", "delete", "admin"]
    for method, path, body, least in LEVELS:
        status, _ = await caller.outcome(method, path, body)
        allowed = order.index(permission) >= order.index(least)
        assert status in ({200, 201, 204, 404} if allowed else {403}), (method, path)


async def test_a_token_for_one_repository(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    await ann.post("/repositories", {"name": "ann/other"})
    caller = api(token=await _token(ann, "admin", repositories=["ann/app"]))
    assert await caller.outcome("GET", "/repositories/ann/app") == (200, "")
    assert await caller.outcome("GET", "/repositories/ann/other") == (404, "not-here")
    assert [each["name"] for each in await caller.list("/repositories")] == ["ann/app"]
    assert await caller.outcome("POST", "/repositories", {"name": "ann/new"}) == (403, "denied")
    further = {"name": "x", "permission": "admin", "repositories": ["ann/other"]}
    assert await caller.outcome("POST", "/me/tokens", further) == (422, "invalid")
