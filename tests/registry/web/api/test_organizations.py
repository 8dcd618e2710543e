import asyncio

from tests.registry.web.api.conftest import As

ACME = "/organizations/acme"


async def found(api: As) -> None:
    """ann makes an organization, where bob is a member and carl is not."""
    await api("ann").post("/organizations", {"name": "acme", "full_name": "Acme Ltd"})
    await api("ann").put(f"{ACME}/members/bob", {"owner": False})


async def test_organization(api: As) -> None:
    ann = api("ann")
    made = await ann.send("POST", "/organizations", {"name": "acme", "full_name": "Acme Ltd"})
    assert (made.expect(201).headers["Location"], made.headers["ETag"]) == (
        "/api/v1/organizations/acme",
        '"1"',
    )
    assert made.json()["role"] == "owner"
    assert (await ann.patch(ACME, {"about": "Anvils"}))["version"] == 2
    assert (await api("carl").get(ACME))["role"] is None
    assert await api().outcome("GET", ACME) == (404, "not-here")
    assert [each["name"] for each in await ann.list("/organizations?mine=true")] == ["acme"]
    assert await api("carl").list("/organizations?mine=true") == []
    assert [each["name"] for each in await api("carl").list("/organizations?q=ac")] == ["acme"]
    assert await ann.outcome("POST", "/organizations", {"name": "acme"}) == (409, "name-taken")
    await ann.delete(ACME)
    assert await ann.outcome("GET", ACME) == (404, "not-here")


async def test_members(api: As) -> None:
    await found(api)
    ann = api("ann")
    members = {each["name"]: each["owner"] for each in await ann.list(f"{ACME}/members?limit=1")}
    assert members == {"ann": True, "bob": False}
    assert await api("carl").outcome("GET", f"{ACME}/members") == (403, "denied")
    assert await api("bob").outcome("PUT", f"{ACME}/members/carl", {}) == (403, "denied")
    assert await ann.outcome("PUT", f"{ACME}/members/nobody", {}) == (404, "not-here")
    assert await ann.outcome("DELETE", f"{ACME}/members/ann") == (409, "conflict")
    await api("bob").delete(f"{ACME}/members/bob")
    assert [each["name"] for each in await ann.list(f"{ACME}/members")] == ["ann"]


async def test_teams(api: As) -> None:
    await found(api)
    ann, teams = api("ann"), f"{ACME}/teams"
    made = await ann.send("POST", teams, {"name": "readers", "role": "read"})
    assert made.expect(201).headers["Location"] == f"/api/v1{teams}/readers"
    assert (made.json()["role"], made.headers["ETag"]) == ("read", '"1"')
    assert (await ann.patch(f"{teams}/readers", {"role": None}))["role"] is None
    edited = await ann.patch(f"{teams}/readers", {"name": "writers", "about": "They write"})
    assert (edited["name"], edited["role"]) == ("writers", None)
    await ann.put(f"{teams}/writers/members/bob")
    assert await ann.outcome("PUT", f"{teams}/writers/members/carl") == (409, "conflict")
    (member,) = await api("bob").list(f"{teams}/writers/members")
    assert (member["name"], member["teams"]) == ("bob", ["writers"])
    (team,) = await api("bob").list(teams)
    assert team["member_count"] == 1
    assert await api("carl").outcome("GET", f"{teams}/writers") == (403, "denied")
    await ann.delete(f"{teams}/writers/members/bob")
    await ann.delete(f"{teams}/writers")
    assert await ann.outcome("GET", f"{teams}/writers") == (404, "not-here")


async def test_team_repositories(api: As) -> None:
    await found(api)
    ann, team = api("ann"), f"{ACME}/teams/readers"
    await ann.post(f"{ACME}/teams", {"name": "readers"})
    assert await ann.list(f"{team}/repositories") == []
    assert await ann.outcome("PUT", f"{team}/repositories/acme/none", {"role": "read"}) == (404, "not-here")


async def test_robots(api: As) -> None:
    await found(api)
    ann, robots = api("ann"), f"{ACME}/robots"
    made = await ann.send("POST", robots, {"name": "deploy", "about": "Pulls in production"})
    assert made.expect(201).headers["Location"] == f"/api/v1{robots}/deploy"
    assert made.json()["name"] == "acme+deploy"
    token = await ann.post(f"{robots}/deploy/tokens", {"name": "one", "permission": "read"})
    robot = api(token=token["secret"])
    assert await robot.outcome("GET", ACME) == (200, "")
    assert [each["name"] for each in await ann.list(f"{robots}/acme+deploy/tokens")] == ["one"]
    await ann.send("PATCH", f"{robots}/deploy", {"disabled": True})
    assert await robot.outcome("GET", ACME) == (401, "unauthorized")
    await ann.send("PATCH", f"{robots}/deploy", {"disabled": False})
    assert await robot.outcome("GET", ACME) == (200, "")
    await ann.delete(f"{robots}/deploy/tokens/{token['id']}")
    assert await robot.outcome("GET", ACME) == (401, "unauthorized")
    assert await api("bob").outcome("GET", robots) == (403, "denied")
    await ann.delete(f"{robots}/deploy")
    assert await ann.list(robots) == []


async def test_a_robot_keeps_nothing(api: As) -> None:
    await found(api)
    await api("ann").post(f"{ACME}/robots", {"name": "deploy"})
    answer = await api("ann").send(
        "POST", f"{ACME}/robots/deploy/tokens", {"name": "one", "permission": "admin"}
    )
    assert (answer.status, list(answer.json()["fields"])) == (422, ["permission"])


async def test_invitation(api: As) -> None:
    await found(api)
    ann = api("ann")
    await ann.post(f"{ACME}/teams", {"name": "readers"})
    made = await ann.post(f"{ACME}/invitations", {"team": "readers", "note": "welcome"})
    seen = await api().get(f"/invitations/{made['secret']}")
    assert (seen["organization"], seen["team"], seen["owner"]) == ("acme", "readers", False)
    assert "id" not in seen
    await api("carl").post(f"/invitations/{made['secret']}/accept", None, 200)
    assert await api("bob").outcome("POST", f"/invitations/{made['secret']}/accept") == (404, "not-here")
    (kept,) = await ann.list(f"{ACME}/invitations")
    assert (kept["accepted_by"], kept["id"]) == ("carl", made["id"])
    assert [each["name"] for each in await ann.list(f"{ACME}/teams/readers/members")] == ["carl"]


async def test_one_of_two_edits_at_once_wins(api: As) -> None:
    await found(api)
    ann = api("ann")
    texts = [f"text {number}" for number in range(5)]
    answers = await asyncio.gather(
        *(ann.send("PATCH", ACME, {"about": text}, If_Match='"1"') for text in texts)
    )
    assert sorted(each.status for each in answers) == [200, 412, 412, 412, 412]
    (won,) = [text for text, each in zip(texts, answers, strict=True) if each.status == 200]
    assert (await ann.get(ACME))["about"] == won
