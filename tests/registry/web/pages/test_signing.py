"""Signing in and out over the wire: what a browser holds, and what another site cannot do with it."""

from collections.abc import Mapping

import pytest

from tests.registry.web.live import Live, password_of
from tests.registry.web.pages.browsing import SESSION, Browser


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
