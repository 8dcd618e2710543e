"""Other sites, and what they make a browser do: forms, sessions, redirects, frames, pages of their own."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, BOB, MALLORY, OWN, PRIVATE, PUBLIC, Browser, Town, basic
from tests.e2e.wire import Answer

EVIL: Final = "evil.example"
_DENIED: Final = Refusal(403)
_PROFILE: Final = {"full_name": "Mallory was here", "about": "", "website": ""}


# -- forms of other sites --------------------------------------------------------------------------------


def _form(town: Town, csrf: str | None = "right", **headers: str) -> Answer:
    """Send the form of Bob's profile from another place; `csrf` None is a form without proof."""
    browser = town.sign_in(BOB)
    proof = {} if csrf is None else {"csrf": browser.csrf if csrf == "right" else csrf}
    return browser.submit("/account", {**_PROFILE, **proof}, **headers)


def _form_of_another_session(town: Town) -> Answer:
    return _form(town, town.sign_in(MALLORY).csrf)


def _form_as(content_type: str, town: Town) -> Answer:
    browser = town.sign_in(BOB)
    body = f"csrf={browser.csrf}&full_name=x".encode()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return town.ask("POST", "/account", body, {"Content-Type": content_type, "Cookie": cookie})


def _script(town: Town, proof: bool, **headers: str) -> Answer:
    """Change something at the interface by Bob's session."""
    browser = town.sign_in(BOB)
    said = {"X_CSRF_Token": browser.csrf, **headers} if proof else headers
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return town.api(None, "PATCH", "/me", {"about": "x"}, Cookie=cookie, **said)


def _remembered_password(town: Town) -> Answer:
    """A form to the interface; the browser remembers a name and a password for it, and sends them along."""
    path = "/invitations/lsi_" + "A" * 43 + "/accept"
    return town.api(None, "POST", path, Authorization=basic(BOB), Sec_Fetch_Site="cross-site")


def _sign_in_from_elsewhere(town: Town) -> Answer:
    """Sign Bob's browser in as somebody else: it has no form of ours."""
    return town.form("/sign-in", {"name": MALLORY.name, "password": MALLORY.password, "csrf": ""})


def _sign_up_from_elsewhere(town: Town) -> Answer:
    fields = {"name": "planted", "password": "12345678", "again": "12345678", "csrf": ""}
    return town.form("/sign-up", fields, Origin=f"https://{EVIL}")


# -- sessions --------------------------------------------------------------------------------------------


def _fixed(town: Town) -> Answer:
    """Give Bob a session of the attacker's choice before he signs in, and use it afterwards."""
    town.sign_in(BOB, longshore_session="chosen")
    return Browser(town, {"longshore_session": "chosen"}).get("/account")


def _planted(town: Town) -> Answer:
    """Put one's own session into the browser in which Bob is about to sign in."""
    browser = Browser(town)
    browser.get("/sign-in").expect(200)
    browser.cookies["longshore_session"] = town.sign_in(MALLORY).cookies["longshore_session"]
    return browser.post("/sign-in", name=BOB.name, password=BOB.password)


def _cookies(town: Town) -> Answer:
    browser = Browser(town)
    browser.get("/sign-in").expect(200)
    answer = browser.post("/sign-in", name=BOB.name, password=BOB.password)
    for line in answer.headers.get_all("Set-Cookie", []):
        assert "HttpOnly" in line, line
        assert "SameSite=Lax" in line, line
        assert "Domain" not in line, line
    return answer


def _access_token_signs_in(town: Town) -> Answer:
    login, _ = town.access_token(BOB)
    browser = Browser(town)
    browser.get("/sign-in").expect(200)
    return browser.post("/sign-in", name=BOB.name, password=login.password)


# -- redirects and addresses -----------------------------------------------------------------------------


def _sent_on(address: str, town: Town) -> Answer:
    """Sign in by a link that says where to go then."""
    browser = Browser(town)
    browser.get("/sign-in").expect(200)
    return browser.post("/sign-in", name=BOB.name, password=BOB.password, next=address)


def _themed(address: str, town: Town) -> Answer:
    return town.form("/theme", {"theme": "dark", "next": address})


def _get(target: str, town: Town, **headers: str) -> Answer:
    return town.ask("GET", target, headers={name.replace("_", "-"): text for name, text in headers.items()})


def _host(town: Town) -> Answer:
    """A request for another host does not send the next reader of a cache there."""
    return _get("/account", town, Host=EVIL)


# -- pages of the attacker's -----------------------------------------------------------------------------


def _manifest_as_page(media_type: str, town: Town) -> Answer:
    """Push a manifest that a browser would show as a page of the registry's, and open it."""
    body = {"schemaVersion": 2, "mediaType": media_type, "note": "<script src=//evil.example></script>"}
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    target = f"/v2/{OWN}/manifests/page"
    return town.bearing(token, "PUT", target, json.dumps(body).encode(), Content_Type=media_type)


def _manifest_is_no_page(town: Town) -> Answer:
    answer = _get(f"/v2/{PUBLIC}/manifests/v1", town)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return answer


def _framed(target: str, town: Town) -> Answer:
    return town.sign_in(BOB).get(target)


def _kept(target: str, town: Town) -> Answer:
    token = town.token(ALICE, f"repository:{PRIVATE}:pull")
    return town.bearing(token, "GET", target)


_HOME: Final = Refusal(303, "Location: /\n", never=EVIL)
_NO_CORS: Final = "Access-Control"
_SIGN_IN: Final = Refusal(303, "/sign-in?", never=EVIL)
_ELSEWHERE: Final = (
    f"//{EVIL}",
    f"https://{EVIL}",
    f"/\\{EVIL}",
    f"\\\\{EVIL}",
    f"/\t/{EVIL}",
    f" //{EVIL}",
    f"javascript:alert('{EVIL}')",
    f"/\r\nLocation: https://{EVIL}",
)

ATTACKS: Final[Sequence[Attack]] = [
    Attack("csrf: a form without proof", partial(_form, csrf=None), _DENIED),
    Attack("csrf: a form with wrong proof", partial(_form, csrf="0" * 64), _DENIED),
    Attack("csrf: a form with the proof of another session", _form_of_another_session, _DENIED),
    Attack("csrf: a form of another site", partial(_form, Sec_Fetch_Site="cross-site"), _DENIED),
    Attack("csrf: a form of a neighbouring site", partial(_form, Sec_Fetch_Site="same-site"), _DENIED),
    Attack("csrf: a form of another origin", partial(_form, Origin=f"https://{EVIL}"), _DENIED),
    Attack("csrf: a form of no origin", partial(_form, Origin="null"), _DENIED),
    Attack("csrf: a form as text", partial(_form_as, "text/plain"), Refusal(415)),
    Attack("csrf: a form in parts", partial(_form_as, "multipart/form-data; boundary=x"), Refusal(415)),
    Attack("csrf: a script with a session and without proof", partial(_script, proof=False), _DENIED),
    Attack(
        "csrf: a script of another site", partial(_script, proof=True, Sec_Fetch_Site="cross-site"), _DENIED
    ),
    Attack("csrf: a form to the interface by a remembered password", _remembered_password, _DENIED),
    Attack("csrf: signing a browser in", _sign_in_from_elsewhere, _DENIED),
    Attack("csrf: making an account in a browser", _sign_up_from_elsewhere, _DENIED),
    Attack("session: fixed before signing in", _fixed, _SIGN_IN),
    Attack("session: planted between a form and its sign-in", _planted, _DENIED),
    Attack(
        "session: a cookie for scripts or other sites",
        _cookies,
        Refusal(303, "HttpOnly"),
    ),
    Attack(
        "session: begun with an access token", _access_token_signs_in, Refusal(401, "does not sign in here")
    ),
    *(
        Attack(f"redirect: after signing in to {json.dumps(each)}", partial(_sent_on, each), _HOME)
        for each in _ELSEWHERE
    ),
    Attack("redirect: after choosing colours", partial(_themed, f"//{EVIL}"), _HOME),
    Attack(
        "redirect: to the sign-in with a path that is a host",
        partial(_get, f"//{EVIL}/account"),
        Refusal(404),
    ),
    Attack("redirect: to the host of the request", _host, _SIGN_IN),
    Attack(
        "redirect: to a forwarded host",
        partial(_get, "/v2/", X_Forwarded_Host=EVIL, X_Forwarded_Proto="https", Forwarded=f"host={EVIL}"),
        Refusal(401, 'Bearer realm="http://127.', never=EVIL),
    ),
    Attack(
        "frame: a page in another site's",
        partial(_framed, "/account"),
        Refusal(200, "frame-ancestors 'none'"),
    ),
    Attack(
        "frame: the sign-in in another site's",
        partial(_get, "/sign-in"),
        Refusal(200, "frame-ancestors 'none'"),
    ),
    *(
        Attack(
            f"page: a manifest of the type {each}",
            partial(_manifest_as_page, each),
            Refusal(400, "MANIFEST_INVALID"),
        )
        for each in ("text/html", "image/svg+xml", "application/xhtml+xml")
    ),
    Attack(
        "page: a manifest that a browser guesses at",
        _manifest_is_no_page,
        Refusal(200, "vnd.oci.image.manifest"),
    ),
    Attack(
        "cors: a script of another site reads the interface",
        partial(_get, "/api/v1/search?q=a", Origin=f"https://{EVIL}"),
        Refusal(200, never=_NO_CORS),
    ),
    Attack(
        "cors: a script of another site reads content",
        partial(_get, f"/v2/{PUBLIC}/tags/list", Origin=f"https://{EVIL}"),
        Refusal(200, never=_NO_CORS),
    ),
    Attack(
        "cors: a script of another site asks whether it may",
        lambda town: town.ask(
            "OPTIONS",
            "/api/v1/me",
            headers={"Origin": f"https://{EVIL}", "Access-Control-Request-Method": "PATCH"},
        ),
        Refusal(405, never=_NO_CORS),
    ),
    Attack(
        "cache: a page of a session",
        partial(_framed, "/account"),
        Refusal(200, "Cache-Control: private, no-store"),
    ),
    Attack("cache: a token", lambda town: town.ask_token(BOB), Refusal(200, "Cache-Control: no-store")),
    Attack(
        "cache: a private manifest",
        partial(_kept, f"/v2/{PRIVATE}/manifests/v1"),
        Refusal(200, "Cache-Control: private"),
    ),
    Attack(
        "cache: an answer of the interface",
        lambda town: town.api(ALICE, "GET", "/me"),
        Refusal(200, "Cache-Control: private, no-cache"),
    ),
]
