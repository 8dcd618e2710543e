from typing import Any

import pytest

from tests.registry.web.api.conftest import As


async def _fill(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/web", "summary": "Serves pages", "public": True})
    await ann.post("/repositories", {"name": "ann/website", "public": True, "categories": ["web-servers"]})
    await ann.post("/repositories", {"name": "ann/web-secret"})
    await api("root").post("/repositories", {"name": "library/web"})
    await api("bob").put("/repositories/ann/website/-/star")


def _names(found: Any) -> list[str]:
    return [each["name"] for each in found]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=web&sort=name", ["ann/web", "ann/website", "library/web"]),
        ("q=pages", ["ann/web"]),
        ("q=web&official=true", ["library/web"]),
        ("q=web&stars=1", ["ann/website"]),
        ("q=web&category=web-servers", ["ann/website"]),
        ("q=web&kind=chart", []),
        ("q=nothing", []),
    ],
)
async def test_search(api: As, query: str, names: list[str]) -> None:
    await _fill(api)
    found = await api("bob").list(f"/search?{query}&limit=1")
    assert _names(found) == names
    page = await api("bob").get(f"/search?{query}")
    assert (page["total"], page["capped"], page["next"]) == (len(names), False, None)


async def test_only_the_owner_finds_what_is_private(api: As) -> None:
    await _fill(api)
    assert "ann/web-secret" in _names(await api("ann").list("/search?q=secret"))
    assert await api("bob").list("/search?q=secret") == []
    assert await api().list("/suggestions?q=ann/web-s") == []


async def test_suggestions(api: As) -> None:
    await _fill(api)
    found = await api().list("/suggestions?q=web&limit=2")
    assert len(found) == 2
    assert set(found[0]) == {"name", "summary", "kind", "official"}


async def test_suggestions_of_people(api: As) -> None:
    assert await api("ann").list("/suggestions/people?q=b") == [{"name": "bob"}]
    assert await api().outcome("GET", "/suggestions/people?q=b") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("query", "field"),
    [("sort=best", "sort"), ("stars=-1", "stars"), ("kind=x", "kind"), ("limit=0", "limit")],
)
async def test_what_cannot_be_asked(api: As, query: str, field: str) -> None:
    answer = await api().send("GET", f"/search?q=web&{query}")
    assert (answer.status, list(answer.json()["fields"])) == (422, [field])


async def test_a_cursor_of_another_list(api: As) -> None:
    await _fill(api)
    following = (await api().get("/search?q=web&limit=1"))["next"]
    assert await api().outcome("GET", f"/search?q=web&sort=name&cursor={following}") == (400, "page-invalid")
