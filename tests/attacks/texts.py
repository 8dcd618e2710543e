"""Text that is to become a header, a line of a log, or a page."""

from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import quote

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import ALICE, MALLORY, OWN, PUBLIC, Town
from tests.e2e.wire import Answer

SPLIT: Final = "x\r\nSet-Cookie: longshore_session=chosen\r\n\r\n<script>"
FORGED: Final = '\n{"event": "forged", "level": "info"}\n\x1b[2J\u2028'

_COOKIE: Final = "Set-Cookie: longshore_session"


def _ask(method: str, target: str, town: Town) -> Answer:
    """Ask with every right to one's own repository."""
    token = town.token(MALLORY, f"repository:{OWN}:pull,push,delete")
    return town.bearing(token, method, target.format(quote(SPLIT, safe="")))


def _unsplit(status: int, says: str = "") -> Refusal:
    return Refusal(status, says, never=_COOKIE)


def _told(town: Town) -> Answer:
    """What is told to whoever pulls goes into a header (Warning)."""
    return town.api(ALICE, "PATCH", f"/repositories/{PUBLIC}/-/tags/v1", {"deprecation": SPLIT})


def _id(town: Town) -> Answer:
    return town.ask("GET", "/healthz", headers={"X-Request-ID": "{'event': 'forged'}"})


def _logged(town: Town, **headers: str) -> Answer:
    """Ask for a path, by a browser, that would be a line of the log of its own."""
    path = "/v2/" + quote(FORGED, safe="")
    answer = town.ask("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert [line for line in town.served.log_lines if line["event"] == "forged"] == []
    assert "\x1b" not in town.log
    return answer


def _secret_in_path(town: Town) -> Answer:
    """The secret of an invitation stands in its path, and in no log."""
    secret = "lsi_" + "B" * 43
    answer = town.ask("GET", f"/invitations/{secret}")
    assert secret not in town.log
    return answer


def _login_logged(town: Town) -> Answer:
    """A name that would be a line of the log."""
    return town.form("/token", {"grant_type": "password", "username": FORGED, "password": "x"})


ATTACKS: Final[Sequence[Attack]] = [
    Attack(
        "header: split by a tag",
        partial(_ask, "GET", f"/v2/{OWN}/manifests/{{}}"),
        _unsplit(400, "DIGEST_INVALID"),
    ),
    Attack(
        "header: split by a tag that is pushed",
        partial(_ask, "PUT", f"/v2/{OWN}/manifests/{{}}"),
        _unsplit(400, "DIGEST_INVALID"),
    ),
    Attack(
        "header: split by a repository",
        partial(_ask, "POST", "/v2/mallory/{}/blobs/uploads/"),
        _unsplit(404, "UNSUPPORTED"),
    ),
    Attack(
        "header: split by an upload",
        partial(_ask, "PATCH", f"/v2/{OWN}/blobs/uploads/{{}}"),
        _unsplit(404, "BLOB_UPLOAD_UNKNOWN"),
    ),
    Attack(
        "header: split by a page of tags",
        partial(_ask, "GET", f"/v2/{OWN}/tags/list?n=1&last=&x={{}}"),
        _unsplit(200),
    ),
    Attack(
        "header: split by a filter",
        partial(_ask, "GET", f"/v2/{OWN}/referrers/sha256:{'0' * 64}?artifactType={{}}"),
        _unsplit(200),
    ),
    Attack("header: split by where to go", partial(_ask, "GET", "/sign-in?next={}"), _unsplit(200)),
    Attack("header: split by the path of a page", partial(_ask, "GET", "/account/{}"), _unsplit(404)),
    Attack("header: split by what is told to pullers", _told, _unsplit(422, "deprecation")),
    Attack(
        "header: a host that is no address",
        lambda town: town.ask("GET", "/sign-in", headers={"Host": "[:1]", "Origin": "http://[:1]"}),
        Refusal(200, never="[:1]"),
    ),
    Attack("header: an id of the attacker's", _id, Refusal(200, never="forged")),
    Attack("log: a line in a path", _logged, Refusal(404)),
    Attack(
        "log: a line in the name of a browser",
        partial(_logged, User_Agent='x\x1b[2J{"event": "forged"}'),
        Refusal(400),
    ),
    Attack("log: a line in the name of somebody", _login_logged, Refusal(401, "UNAUTHORIZED")),
    Attack("log: a secret in a path", _secret_in_path, Refusal(404)),
    Attack(
        "page: a script in a search",
        lambda town: town.ask("GET", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        Refusal(200, never="<script>alert"),
    ),
    Attack(
        "page: a script in a path",
        lambda town: town.ask("GET", "/r/%3Cscript%3Ealert(1)%3C/script%3E"),
        Refusal(404, never="<script>alert"),
    ),
    Attack(
        "page: a template in a search",
        lambda town: town.ask("GET", "/search?q=%7B%7B7*7%7D%7D"),
        Refusal(200, "{{7*7}}"),
    ),
    Attack(
        "query: SQL in a search",
        lambda town: town.ask("GET", "/api/v1/search?q=" + quote("' OR 1=1; DROP TABLE accounts;--")),
        Refusal(200, '"items":[]'),
    ),
    Attack(
        "query: SQL behind a tag",
        partial(
            _ask, "GET", f"/v2/{OWN}/tags/list?last=" + quote("' UNION SELECT password_hash FROM accounts--")
        ),
        Refusal(200, '"tags"', never="argon2"),
    ),
]
