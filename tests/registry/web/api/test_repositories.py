import asyncio
from datetime import UTC, datetime

import pytest

from auth.policy import Role
from tests.registry.web.api.conftest import As
from tests.registry.web.content import push_image

APP = "/repositories/ann/app"


async def test_journey(api: As) -> None:
    ann = api("ann")
    body = {"name": "ann/app", "summary": "Says hello", "categories": ["web-servers"]}
    answer = (await ann.send("POST", "/repositories", body)).expect(201)
    assert (answer.headers["Location"], answer.headers["ETag"]) == ("/api/v1/repositories/ann/app", '"1"')
    made = answer.json()
    assert (made["public"], made["categories"], made["may"]) == (
        False,
        ["web-servers"],
        ["admin", "delete", "push"],
    )
    assert await api("bob").outcome("GET", APP) == (404, "not-here")
    edited = await ann.patch(APP, {"public": True, "overview": "# Hello\n"})
    assert (edited["public"], edited["overview"], edited["version"]) == (True, "# Hello\n", 2)
    seen = await api().get(APP)
    assert (seen["summary"], seen["may"], seen["starred"]) == ("Says hello", [], False)
    assert await api("bob").outcome("PATCH", APP, {"summary": "x"}) == (403, "denied")
    assert await api().outcome("PATCH", APP, {"summary": "x"}) == (401, "unauthorized")
    await ann.delete(APP)
    assert await ann.outcome("GET", APP) == (404, "not-here")


async def test_a_name_is_written_with_slashes_or_encoded(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/deep/app"})
    for name in ("ann/deep/app", "ann%2Fdeep%2Fapp", "ann/deep%2fapp", "%61nn/deep/app"):
        assert (await ann.get(f"/repositories/{name}"))["name"] == "ann/deep/app"
        assert await ann.list(f"/repositories/{name}/-/tags") == []
    for name in ("ann/Deep", "ann//app", "ann/", "-/ann", "%00", "a" * 300):
        assert (await ann.send("GET", f"/repositories/{name}")).status == 404
    for rest in ("none", "tags/", "tags/a/b", "-", "roles/bob/x"):
        assert await ann.outcome("GET", f"/repositories/ann/deep/app/-/{rest}") == (404, "not-found")


async def test_archived_and_deprecated(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    assert (await ann.patch(APP, {"deprecation": "Use ann/new"}))["deprecation"] == "Use ann/new"
    assert (await ann.patch(APP, {"deprecation": None}))["deprecation"] is None
    assert (await ann.patch(APP, {"archived": True}))["archived"] is True
    assert await ann.outcome("PATCH", APP, {"summary": "x"}) == (403, "denied")
    assert (await ann.patch(APP, {"archived": False}))["archived"] is False


async def test_rename(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    await ann.post("/repositories", {"name": "ann/other"})
    assert await ann.outcome("POST", f"{APP}/-/rename", {"name": "ann/other"}) == (409, "name-taken")
    assert await ann.outcome("POST", f"{APP}/-/rename", {"name": "bob/app"}) == (403, "denied")
    renamed = await ann.post(f"{APP}/-/rename", {"name": "ann/new"}, 200)
    assert (renamed["name"], renamed["aliases"]) == ("ann/new", ["ann/app"])
    assert (await ann.get(APP))["name"] == "ann/new"


async def test_stars(api: As) -> None:
    ann, bob = api("ann"), api("bob")
    await ann.post("/repositories", {"name": "ann/app", "public": True})
    await bob.put(f"{APP}/-/star")
    await bob.put(f"{APP}/-/star")
    found = await bob.get(APP)
    assert (found["stars"], found["starred"]) == (1, True)
    assert [each["name"] for each in await bob.list("/me/stars")] == ["ann/app"]
    assert [each["name"] for each in await ann.list("/repositories?starred_by=bob")] == ["ann/app"]
    assert await api().outcome("PUT", f"{APP}/-/star") == (401, "unauthorized")
    await bob.delete(f"{APP}/-/star")
    assert await bob.list("/me/stars") == []


async def test_roles(api: As) -> None:
    ann, bob = api("ann"), api("bob")
    await ann.post("/repositories", {"name": "ann/app"})
    await ann.put(f"{APP}/-/roles/bob", {"role": "write"})
    assert await ann.list(f"{APP}/-/roles") == [{"name": "bob", "role": "write"}]
    assert (await bob.get(APP))["may"] == ["push"]
    assert await bob.outcome("GET", f"{APP}/-/roles") == (403, "denied")
    assert await ann.outcome("PUT", f"{APP}/-/roles/nobody", {"role": "read"}) == (404, "not-here")
    await ann.delete(f"{APP}/-/roles/bob")
    assert await bob.outcome("GET", APP) == (404, "not-here")
    assert await ann.outcome("DELETE", f"{APP}/-/roles/bob") == (404, "not-here")


async def test_team_repositories(api: As) -> None:
    ann, team = api("ann"), "/organizations/acme/teams/readers"
    await ann.post("/organizations", {"name": "acme"})
    await ann.post("/organizations/acme/teams", {"name": "readers"})
    await ann.post("/repositories", {"name": "acme/app"})
    await ann.put("/organizations/acme/members/bob", {})
    await ann.put(f"{team}/members/bob")
    assert await api("bob").outcome("GET", "/repositories/acme/app") == (404, "not-here")
    await ann.put(f"{team}/repositories/acme/app", {"role": "read"})
    assert await ann.list(f"{team}/repositories") == [{"name": "acme/app", "role": "read"}]
    assert await api("bob").outcome("GET", "/repositories/acme/app") == (200, "")
    await ann.delete(f"{team}/repositories/acme/app")
    assert await api("bob").outcome("GET", "/repositories/acme/app") == (404, "not-here")
    assert await ann.outcome("PUT", f"{team}/repositories/acme/none", {"role": "read"}) == (404, "not-here")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["ann/app", "ann/web", "library/base"]),
        ("?namespace=ann", ["ann/app", "ann/web"]),
        ("?official=true", ["library/base"]),
        ("?category=web-servers", ["ann/web"]),
        ("?kind=chart", []),
        ("?sort=stars", ["ann/web", "library/base", "ann/app"]),
        ("?namespace=nobody", []),
    ],
)
async def test_lists(api: As, query: str, names: list[str]) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    await ann.post("/repositories", {"name": "ann/web", "categories": ["web-servers"]})
    await api("root").post("/repositories", {"name": "library/base"})
    await ann.put("/repositories/ann/web/-/star")
    mark = "&" if query else "?"
    found = await ann.list(f"/repositories{query}{mark}limit=1")
    assert [each["name"] for each in found] == names


async def test_a_list_is_whole_while_it_grows(api: As) -> None:
    """What was there is found once each, whatever comes in before and behind the page that is read."""
    ann = api("ann")
    there = [f"ann/m{number:02}" for number in range(20)]
    for name in there:
        await ann.post("/repositories", {"name": name})
    found: list[str] = []
    path, number = "/repositories?namespace=ann&limit=3", 0
    while path:
        answer = await ann.send("GET", path)
        found += [each["name"] for each in answer.expect(200).json()["items"]]
        for letter in ("a", "z"):
            await ann.post("/repositories", {"name": f"ann/{letter}{number:02}"})
        number += 1
        link = answer.headers.get("Link", "")
        assert bool(link) is (answer.json()["next"] is not None)
        path = link.partition(">")[0].removeprefix("</api/v1")
        if number > 30:
            break
    assert [name for name in found if name.startswith("ann/m")] == there
    assert found == sorted(set(found))


async def test_one_of_two_edits_at_once_wins(api: As) -> None:
    ann = api("ann")
    await ann.post("/repositories", {"name": "ann/app"})
    answers = await asyncio.gather(
        *(ann.send("PATCH", APP, {"summary": f"text {n}"}, If_Match='"1"') for n in range(2))
    )
    assert sorted(each.status for each in answers) == [200, 412]
    (won,) = [each.json()["summary"] for each in answers if each.status == 200]
    found = (await ann.send("GET", APP)).expect(200)
    assert (found.json()["summary"], found.headers["ETag"]) == (won, '"2"')
    assert await ann.outcome("PATCH", APP, {"summary": "x"}, If_Match="*") == (200, "")


async def test_consequences(api: As) -> None:
    live = api().live
    await push_image(await live.login("ann", "repository:ann/app:pull,push"), "ann/app", "v1", "v2")
    whole = await api("ann").get(f"{APP}/-/consequences")
    assert (whole["tags"], whole["manifests"]) == (2, 1)
    one = await api("ann").get(f"{APP}/-/consequences?tag=v1")
    assert (one["tags"], one["other_tags"]) == (1, ["v2"])
    assert await api("ann").outcome("GET", f"{APP}/-/consequences?tag=v3") == (404, "not-here")


async def test_statistics(api: As) -> None:
    live = api().live
    live.grant(Role.READ, "ann", "bob")
    await push_image(await live.login("ann", "repository:ann/app:pull,push"), "ann/app", "v1")
    days = await api("bob").list(f"{APP}/-/statistics?days=7")
    assert len(days) == 7
    assert days[-1]["day"] == datetime.now(UTC).date().isoformat()
    assert await api("bob").list(f"{APP}/-/statistics/tags") == []
    assert await api("carl").outcome("GET", f"{APP}/-/statistics") == (404, "not-here")


async def test_categories(api: As) -> None:
    assert {"name": "databases", "title": "Databases and storage"} in await api().list("/categories")
