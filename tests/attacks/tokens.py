"""Tokens that are forged, or were good once."""

from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import urlencode

import jwt

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, BOB, FORM, MALLORY, OWN, PRIVATE, Town, basic
from tests.e2e.api import Api
from tests.e2e.clients import Account
from tests.e2e.server import ADMIN
from tests.e2e.wire import Answer
from tests.registry.web.forgeries import FORGERIES, Forgery

PULL: Final = f"repository:{PRIVATE}:pull"

_NOT_BELIEVED: Final = Refusal(401, 'error="invalid_token"')
_WRONG: Final = Refusal(401, "UNAUTHORIZED")


def _forged(forgery: Forgery, town: Town) -> Answer:
    return town.pull(forgery(town.forger))


def _after_account_closed(town: Town) -> Answer:
    victim = town.person("closed")
    token = town.token(victim, PULL)
    town.pull(token).expect(200)
    with Api(town.served.host, ADMIN) as admin:
        admin.patch("/users/closed", {"disabled": True})
    return town.pull(token)


def _after_revocation(town: Town) -> Answer:
    login, made = town.access_token(BOB)
    token = town.token(login, PULL)
    town.pull(token).expect(200)
    town.api(BOB, "DELETE", f"/me/tokens/{made['id']}").expect(204)
    return town.pull(token)


def _revoked_access_token(town: Town) -> Answer:
    login, made = town.access_token(BOB)
    town.api(BOB, "DELETE", f"/me/tokens/{made['id']}").expect(204)
    return town.ask_token(login, PULL)


def _after_right_withdrawn(town: Town) -> Answer:
    victim = town.person("withdrawn")
    token = town.token(victim, PULL)
    town.pull(token).expect(200)
    town.api(ALICE, "DELETE", f"/repositories/{PRIVATE}/-/roles/withdrawn").expect(204)
    return town.pull(token)


def _refresh_token(town: Town, who: Account) -> str:
    answer = town.ask_token(who, PULL, offline_token="true", client_id="laptop").expect(200)
    return str(answer.json()["refresh_token"])


def _refresh(town: Town, secret: str) -> Answer:
    fields = {"grant_type": "refresh_token", "refresh_token": secret, "service": "longshore", "scope": PULL}
    return town.form("/token", fields)


def _refresh_after_new_password(town: Town) -> Answer:
    victim = town.person("changed")
    secret = _refresh_token(town, victim)
    _refresh(town, secret).expect(200)
    town.api(victim, "PUT", "/me/password", {"current": victim.password, "new": "another one"}).expect(204)
    return _refresh(town, secret)


def _session_after_sign_out(town: Town) -> Answer:
    browser = town.sign_in(BOB)
    stolen = dict(browser.cookies)
    browser.post("/sign-out").expect(303)
    browser.cookies = stolen
    return browser.get("/account")


def _session_after_new_password(town: Town) -> Answer:
    victim = town.person("robbed")
    browser = town.sign_in(victim)
    town.api(victim, "PUT", "/me/password", {"current": victim.password, "new": "another one"}).expect(204)
    return browser.get("/account")


def _session_ended_elsewhere(town: Town) -> Answer:
    victim = town.person("followed")
    browser = town.sign_in(victim)
    town.api(victim, "DELETE", "/me/sessions").expect(204)
    return browser.get("/account")


def _admin_claim(town: Town) -> Answer:
    own = jwt.decode(town.token(MALLORY), options={"verify_signature": False})
    return town.pull(town.forger.of(sub=MALLORY.name, account=own["account"], admin=True))


def _in_query(town: Town) -> Answer:
    return town.ask("GET", f"{town.blob(PRIVATE)}?{urlencode({'access_token': town.token(BOB, PULL)})}")


def _in_form(town: Town) -> Answer:
    token = town.token(MALLORY, f"repository:{OWN}:pull,push")
    body = urlencode({"access_token": token}).encode()
    return town.ask("POST", f"/v2/{OWN}/blobs/uploads/", body, {"Content-Type": FORM})


def _other_persons_access_token(town: Town) -> Answer:
    login, _ = town.access_token(BOB)
    return town.ask_token(Account(ALICE.name, login.password), PULL)


def _basic(town: Town) -> Answer:
    return town.ask("GET", town.blob(PRIVATE), headers={"Authorization": basic(BOB)})


def _bearer_as_password(town: Town) -> Answer:
    return town.ask_token(Account(BOB.name, town.token(BOB, PULL)), PULL)


ATTACKS: Final[Sequence[Attack]] = [
    *(Attack(f"forged: {name}", partial(_forged, each), _NOT_BELIEVED) for name, each in FORGERIES.items()),
    Attack("forged: an administrator by claim", _admin_claim, Refusal(403, "DENIED")),
    Attack("replayed: a token of an account that was closed", _after_account_closed, _NOT_BELIEVED),
    Attack("replayed: a token of an access token that was revoked", _after_revocation, _NOT_BELIEVED),
    Attack("replayed: an access token that was revoked", _revoked_access_token, _WRONG),
    Attack(
        "replayed: a token behind a right that was withdrawn", _after_right_withdrawn, Refusal(403, "DENIED")
    ),
    Attack("replayed: a refresh token behind a new password", _refresh_after_new_password, _WRONG),
    Attack("replayed: a session behind its sign-out", _session_after_sign_out, Refusal(303, "/sign-in?")),
    Attack(
        "replayed: a session behind a new password", _session_after_new_password, Refusal(303, "/sign-in?")
    ),
    Attack(
        "replayed: a session that was ended elsewhere", _session_ended_elsewhere, Refusal(303, "/sign-in?")
    ),
    Attack(
        "confused: a refresh token as a bearer token",
        lambda town: town.pull(_refresh_token(town, BOB)),
        _NOT_BELIEVED,
    ),
    Attack(
        "confused: a bearer token as a refresh token",
        lambda town: _refresh(town, town.token(BOB, PULL)),
        _WRONG,
    ),
    Attack("confused: a bearer token as a password", _bearer_as_password, _WRONG),
    Attack(
        "confused: a refresh token of another registry",
        lambda town: _refresh(town, "lsr_" + "A" * 43),
        _WRONG,
    ),
    Attack("confused: somebody else's access token with one's own name", _other_persons_access_token, _WRONG),
    Attack("confused: a password where tokens are taken", _basic, _WRONG),
    Attack("confused: a token in the query", _in_query, _WRONG),
    Attack("confused: a token in a form", _in_form, _WRONG),
]
