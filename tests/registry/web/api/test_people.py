import pytest

from tests.registry.web.api.conftest import Api, As
from tests.registry.web.conftest import Serving
from tests.registry.web.live import basic, password_of


async def test_me(api: As) -> None:
    ann = api("ann")
    answer = (await ann.send("GET", "/me")).expect(200)
    assert answer.headers["ETag"] == '"1"'
    me = answer.json()
    assert (me["name"], me["myself"], me["organization"], me["admin"]) == ("ann", True, False, False)
    edited = await ann.patch("/me", {"full_name": "Ann Example", "website": "https://example.com"})
    assert (edited["full_name"], edited["version"]) == ("Ann Example", 2)
    assert await api("bob").get("/users/ann") == {**edited, "myself": False}


async def test_nobody_has_no_me(api: As) -> None:
    answer = await api().send("GET", "/me")
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    realm = f'Bearer realm="{answer_base(api())}/token",service="longshore",scope="registry:api:*"'
    assert answer.headers["WWW-Authenticate"] == realm
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "authentication required",
        "code": "unauthorized",
    }


def answer_base(api: Api) -> str:
    return f"http://{api.live.host}"


async def test_password(api: As) -> None:
    ann, new = api("ann"), "another one, long enough"
    wrong = await ann.send("PUT", "/me/password", {"current": "no", "new": new})
    assert (wrong.status, wrong.json()["fields"]) == (422, {"current": "this is not your password"})
    await ann.put("/me/password", {"current": password_of("ann"), "new": new})
    assert await ann.outcome("GET", "/me") == (401, "unauthorized")
    assert (await Api(ann.live, {"Authorization": basic("ann", new)}).get("/me"))["name"] == "ann"


async def test_administration_of_people(api: As) -> None:
    root = api("root")
    created = await root.send("POST", "/users", {"name": "dora", "password": password_of("dora")})
    assert (created.status, created.headers["Location"]) == (201, "/api/v1/users/dora")
    assert (await root.list("/users?limit=2"))[-1]["name"] == "root"
    assert [each["name"] for each in await root.list("/users?q=d")] == ["dora"]
    assert (await root.patch("/users/dora", {"disabled": True}))["disabled"] is True
    assert await api("dora").outcome("GET", "/me") == (401, "unauthorized")
    assert (await root.patch("/users/dora", {"disabled": False, "admin": True}))["admin"] is True
    assert (await api("dora").get("/users"))["items"]
    again = {"name": "dora", "password": password_of("dora")}
    assert await root.outcome("POST", "/users", again) == (409, "name-taken")
    assert await api("ann").outcome("POST", "/users", again) == (403, "denied")
    assert await api("ann").outcome("GET", "/users") == (403, "denied")


async def test_the_last_administrator_stays(api: As) -> None:
    for body in ({"admin": False}, {"disabled": True}):
        assert await api("root").outcome("PATCH", "/users/root", body) == (409, "conflict")


@pytest.mark.parametrize(("signup", "outcome"), [(True, (201, "")), (False, (403, "denied"))])
async def test_sign_up(serving: Serving, signup: bool, outcome: tuple[int, str]) -> None:
    async with serving(signup=signup) as live:
        body = {"name": "eve-1", "password": "a password long enough"}
        assert await Api(live).outcome("POST", "/sign-up", body) == outcome


async def test_invitation_to_make_an_account(api: As) -> None:
    root = api("root")
    made = await root.post("/admin/invitations", {"note": "come in", "days": 2})
    assert made["url"] == f"http://{root.live.host}/invitations/{made['secret']}"
    (listed,) = await root.list("/admin/invitations")
    assert "secret" not in listed
    assert (await api().get(f"/invitations/{made['secret']}"))["note"] == "come in"
    body = {"name": "dora", "password": password_of("dora"), "invitation": made["secret"]}
    assert (await api().post("/sign-up", body))["name"] == "dora"
    assert await api().outcome("GET", f"/invitations/{made['secret']}") == (404, "not-here")
    again = {**body, "name": "dirk"}
    assert await api().outcome("POST", "/sign-up", again) == (404, "not-here")


async def test_invitation_to_make_an_account_is_withdrawn(api: As) -> None:
    made = await api("root").post("/admin/invitations", {})
    path = f"/admin/invitations/{made['id']}"
    assert await api("ann").outcome("DELETE", path) == (404, "not-here")
    await api("root").delete(path)
    assert await api().outcome("GET", f"/invitations/{made['secret']}") == (404, "not-here")


async def test_sessions_of_who_never_signed_in(api: As) -> None:
    assert await api("ann").list("/me/sessions") == []
    assert await api("ann").outcome("DELETE", "/me/sessions/1") == (404, "not-here")
    await api("ann").delete("/me/sessions")
