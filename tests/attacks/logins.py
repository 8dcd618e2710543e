"""Guessing: passwords, names of accounts, invitations."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import FORM, Browser, Town, basic
from tests.e2e.clients import Account
from tests.e2e.server import ADMIN
from tests.e2e.wire import Answer

# More than anything is free for.
GUESSES: Final = 60

_SLOWED: Final = Refusal(429, "Retry-After")
_WRONG: Final = Refusal(401, "UNAUTHORIZED", alike=True)

Login = Callable[[Town, Account, str], Answer]


def _ask_token(town: Town, who: Account, source: str) -> Answer:
    return town.ask("GET", "/token?service=longshore", headers={"Authorization": basic(who)}, source=source)


def _post_token(town: Town, who: Account, source: str) -> Answer:
    body = f"grant_type=password&username={who.name}&password={who.password.replace(' ', '+')}".encode()
    return town.ask("POST", "/token", body, {"Content-Type": FORM}, source)


def _interface(town: Town, who: Account, source: str) -> Answer:
    return town.ask("GET", "/api/v1/me", headers={"Authorization": basic(who)}, source=source)


def _until_slowed(guess: Callable[[int], Answer]) -> Answer:
    """Guess on until nobody looks at the guess any more."""
    for number in range(GUESSES):
        answer = guess(number)
        if answer.status == 429 or b"oo many attempts" in answer.body:
            break
    return answer


def _guess(name: str, login: Login, town: Town) -> Answer:
    town.person(name)
    source = town.address()
    return _until_slowed(lambda number: login(town, Account(name, f"guess {number}"), source))


def _guess_on_page(town: Town) -> Answer:
    victim, browser = town.person("paged"), Browser(town, source=town.address())
    browser.get("/sign-in").expect(200)
    return _until_slowed(
        lambda number: browser.post("/sign-in", name=victim.name, password=f"guess {number}")
    )


def _guess_current(town: Town) -> Answer:
    """Whoever found a session open guesses the password behind it."""
    browser = town.sign_in(town.person("absent-minded"))
    browser.source = town.address()
    new = {"password": "12345678", "again": "12345678"}
    return _until_slowed(lambda number: browser.post("/account/password", current=f"guess {number}", **new))


def _spray(town: Town) -> Answer:
    """Try one password on many accounts."""
    source = town.address()
    return _until_slowed(lambda number: _ask_token(town, Account(f"somebody{number}", "12345678"), source))


def _known_or_not(login: Login, town: Town) -> list[Answer]:
    return [login(town, Account(name, "wrong"), town.address()) for name in ("bob", "nobody-is-called-so")]


def _known_or_not_on_page(town: Town) -> list[Answer]:
    answers = []
    for name in ("bob", "nobody-is-called-so"):
        browser = Browser(town)
        browser.get("/sign-in").expect(200)
        answer = browser.post("/sign-in", name=name, password="wrong")
        body = answer.body.replace(browser.csrf.encode(), b"").replace(name.encode(), b"")
        answers.append(Answer(answer.status, answer.headers, body))
    return answers


def _closed_or_wrong(town: Town) -> list[Answer]:
    """A closed account's right password is as wrong as any."""
    victim = town.person("shut")
    town.api(ADMIN, "PATCH", "/users/shut", {"disabled": True}).expect(200)
    return [_ask_token(town, each, town.address()) for each in (victim, Account("shut", "wrong"))]


def _sign_up(name: str, town: Town) -> Answer:
    return town.api(None, "POST", "/sign-up", {"name": name, "password": "12345678"})


def _flood_of_accounts(town: Town) -> Answer:
    """Make accounts from one address until that takes its time."""
    source = town.address()

    def sign_up(number: int) -> Answer:
        body = b'{"name": "flood%d", "password": "12345678"}' % number
        return town.ask("POST", "/api/v1/sign-up", body, {"Content-Type": "application/json"}, source)

    return _until_slowed(sign_up)


def _invitation(town: Town) -> Answer:
    return town.ask("GET", "/api/v1/invitations/lsi_" + "A" * 43)


ATTACKS: Final[Sequence[Attack]] = [
    Attack("guess: a password at the token endpoint", partial(_guess, "guessed", _ask_token), _SLOWED),
    Attack("guess: a password in a form of OAuth", partial(_guess, "posted", _post_token), _SLOWED),
    Attack("guess: a password at the interface", partial(_guess, "asked", _interface), _SLOWED),
    Attack("guess: a password on the sign-in page", _guess_on_page, Refusal(401, "Too many attempts")),
    Attack(
        "guess: the password of now, in an open session", _guess_current, Refusal(422, "Too many attempts")
    ),
    Attack("guess: one password on many accounts", _spray, _SLOWED),
    Attack("guess: an invitation", _invitation, Refusal(404)),
    Attack("guess: accounts without end", _flood_of_accounts, _SLOWED),
    Attack("enumerate: accounts at the token endpoint", partial(_known_or_not, _ask_token), _WRONG),
    Attack("enumerate: accounts in a form of OAuth", partial(_known_or_not, _post_token), _WRONG),
    Attack(
        "enumerate: accounts at the interface",
        partial(_known_or_not, _interface),
        Refusal(401, "unauthorized", alike=True),
    ),
    Attack(
        "enumerate: accounts on the sign-in page",
        _known_or_not_on_page,
        Refusal(401, "Wrong name", alike=True),
    ),
    Attack("enumerate: accounts that are closed", _closed_or_wrong, _WRONG),
    Attack("name: that of the registry's own namespace", partial(_sign_up, "library"), Refusal(422, "name")),
    Attack("name: one that passes for a keeper", partial(_sign_up, "administrator"), Refusal(422, "name")),
    Attack("name: one that looks like another", partial(_sign_up, "\u0430lice"), Refusal(422, "name")),
    Attack("name: one in another case", partial(_sign_up, "Alice"), Refusal(422, "name")),
]
