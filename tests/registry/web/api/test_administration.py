import pytest

from tests.registry.web.api.conftest import Api, As
from tests.registry.web.conftest import Serving
from tests.registry.web.content import push_image

PATHS = ["namespaces", "jobs", "settings", "health", "invitations"]


@pytest.mark.parametrize("path", PATHS)
async def test_for_administrators_alone(api: As, path: str) -> None:
    assert await api().outcome("GET", f"/admin/{path}") == (401, "unauthorized")
    assert await api("ann").outcome("GET", f"/admin/{path}") == (403, "denied")
    assert await api("root").outcome("GET", f"/admin/{path}") == (200, "")


async def test_namespaces(api: As) -> None:
    live = api().live
    await push_image(await live.login("ann", "repository:ann/app:pull,push"), "ann/app", "v1")
    found = {each["name"]: each for each in await api("root").list("/admin/namespaces?limit=2")}
    assert found["ann"] == {"name": "ann", "repositories": 1, "exclusive": len(b"{}layer"), "shared": 0}
    assert set(found) >= {"ann", "bob", "carl", "root"}


async def test_settings_are_masked(serving: Serving) -> None:
    async with serving(auth="off", metrics_token="a-secret-that-is-kept") as live:
        found = {each["name"]: each["value"] for each in await Api(live).list("/admin/settings")}
    assert found["metrics_token"] == "********"
    assert found["auth"] == "off"


async def test_health(api: As) -> None:
    found = await api("root").get("/admin/health")
    assert found["database"] is True
    assert found["totals"]["accounts"] == 4
    assert 0 < found["space"]["free"] <= found["space"]["total"]


async def test_index(api: As) -> None:
    found = await api().get("")
    assert found["resources"]["repositories"] == "/api/v1/repositories"
