"""Signing in and out over the wire: what a browser holds, and what another site cannot do with it."""

import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import urlencode

import pytest

from tests.registry.web.live import Answer, Live, password_of

FORM: Final = "application/x-www-form-urlencoded"
SESSION: Final = "longshore_session"


class Browser:
    """Keeps cookies, and sends forms as they stand in pages."""

    def __init__(self, live: Live) -> None:
        self.client = live.client
        self.cookies: dict[str, str] = {}

    async def open(self, path: str) -> str:
        """Open a page and return its text."""
        answer = await self.client.get(path, Accept_Encoding="identity", **self._headers())
        return self._keep(answer).expect(200).body.decode()

    async def send(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form."""
        more = {"Content_Type": FORM, **headers, **self._headers()}
        return self._keep(await self.client.post(path, urlencode(fields).encode(), **more))

    async def csrf(self, path: str) -> str:
        """Open a page and return what its forms prove."""
        found = re.search(r'name="csrf" value="([^"]*)"', await self.open(path))
        assert found is not None
        return found[1]

    async def sign_in(self, name: str, password: str) -> Answer:
        """Fill in the form of the sign-in page."""
        fields = {"csrf": await self.csrf("/sign-in"), "name": name, "password": password, "next": "/account"}
        return await self.send("/sign-in", fields)

    def _headers(self) -> dict[str, str]:
        text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": text} if text else {}

    def _keep(self, answer: Answer) -> Answer:
        for line in answer.headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer


@pytest.fixture
def browser(live: Live) -> Browser:
    live.add_account("ann")
    return Browser(live)


async def test_in_and_out(browser: Browser) -> None:
    answer = await browser.sign_in("ann", password_of("ann"))
    assert (answer.status, answer.headers["Location"]) == (303, "/account")
    assert list(browser.cookies) == [SESSION]
    secret = browser.cookies[SESSION]
    answer = await browser.send("/sign-out", {"csrf": await browser.csrf("/")})
    assert answer.status == 303
    assert browser.cookies == {}
    browser.cookies[SESSION] = secret
    assert "Sign out" not in await browser.open("/")


@pytest.mark.parametrize("password", ["wrong", "", "lsp_unknown"])
async def test_wrong_password(browser: Browser, password: str) -> None:
    answer = await browser.sign_in("ann", password)
    assert answer.status == 401
    assert SESSION not in browser.cookies
    # The page that says so has a form that works.
    assert (await browser.sign_in("ann", password_of("ann"))).status == 303


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
@pytest.mark.parametrize(
    ("cookie", "csrf", "headers"),
    [
        (None, "", {}),
        (None, "page's", {}),
        ("kept", "", {}),
        ("kept", "guessed", {}),
        ("guessed", "page's", {}),
        ("kept", "page's", {"Origin": "https://attacker.example"}),
        ("kept", "page's", {"Sec_Fetch_Site": "cross-site"}),
    ],
)
async def test_another_site_sends_no_form(
    browser: Browser, path: str, cookie: str | None, csrf: str, headers: Mapping[str, str]
) -> None:
    proof = await browser.csrf("/sign-in")
    [name] = browser.cookies
    if cookie is None:
        browser.cookies.clear()
    elif cookie == "guessed":
        browser.cookies[name] = "guessed"
    fields = {"csrf": proof if csrf == "page's" else csrf, "name": "ann", "password": password_of("ann")}
    assert (await browser.send(path, fields, **headers)).status == 403
    assert SESSION not in browser.cookies


async def test_signing_out_takes_the_proof_of_a_page(browser: Browser) -> None:
    await browser.sign_in("ann", password_of("ann"))
    for csrf in ("", "guessed"):
        assert (await browser.send("/sign-out", {"csrf": csrf})).status == 403
    assert "Sign out" in await browser.open("/")
