"""The registry that is attacked: a real server with people, things of theirs, and somebody who wants them."""

import base64
import contextlib
import http.client
import io
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from auth.keys import KeyDirectory
from tests.e2e.api import Api
from tests.e2e.clients import Account
from tests.e2e.images import small_image
from tests.e2e.server import ADMIN
from tests.e2e.wire import Answer, Wire
from tests.registry.served import PATIENCE, Served, serving
from tests.registry.web.forgeries import Forger

ALICE: Final = Account("alice", "wonderland rabbit hole")
BOB: Final = Account("bob", "the builder of houses")
MALLORY: Final = Account("mallory", "let me in, let me in")

IMAGE: Final = small_image("what only alice and bob may pull")
"""Of Alice's private repository, in which Bob may read."""
LAYER: Final = IMAGE.blobs[1]

PRIVATE: Final = "alice/secret"
PUBLIC: Final = "alice/open"
OWN: Final = "mallory/own"

FORM: Final = "application/x-www-form-urlencoded"

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Town:
    """The server and all that an attacker may know: names, digests, addresses; and an account of one's own.

    Each request comes from an address of 127.0.0.0/8 that no other attack has, unless it says which: a door
    that closes on one attacker is then closed for nobody else.
    """

    served: Served
    _addresses: Iterator[int] = field(default_factory=lambda: count(2))

    # -- requests ---------------------------------------------------------------------------------------

    def address(self) -> str:
        """An address that nobody has asked from."""
        number = next(self._addresses)
        return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    @contextlib.contextmanager
    def connect(self, source: str | None = None) -> Iterator[socket.socket]:
        """A connection."""
        host, _, port = self.served.host.partition(":")
        where = (source or self.address(), 0)
        with socket.create_connection((host, int(port)), PATIENCE, source_address=where) as connection:
            yield connection

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Headers | None = None,
        source: str | None = None,
    ) -> Answer:
        """Send a request exactly as it is written, and read the whole answer."""
        said = {"Host": self.served.host, "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        with self.connect(source) as connection:
            connection.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return Answer(response.status, response.headers, response.read())

    def send(self, request: bytes) -> list[Answer]:
        """Send bytes that need not be HTTP, and read every answer until the server closes the connection.

        That it does so is part of what is expected: what follows a broken request is nobody's.
        """
        with self.connect() as connection:
            connection.sendall(request)
            with connection.makefile("rb") as file:
                return list(_answers(file.read()))

    def api(
        self, who: Account | None, method: str, path: str, document: object = None, **headers: str
    ) -> Answer:
        """Ask the catalog's interface."""
        said = {"Content-Type": "application/json", **_named(headers)}
        if who is not None:
            said.setdefault("Authorization", basic(who))
        body = b"" if document is None else json.dumps(document).encode()
        return self.ask(method, f"/api/v1{path}", body, said)

    def form(self, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form."""
        return self.ask("POST", target, urlencode(fields).encode(), {"Content-Type": FORM, **_named(headers)})

    # -- tokens -----------------------------------------------------------------------------------------

    def token(self, who: Account | None, *scopes: str, **query: str) -> str:
        """A bearer token, for whatever of the scopes is granted."""
        answer = self.ask_token(who, *scopes, **query).expect(200)
        return str(json.loads(answer.body)["token"])

    def ask_token(self, who: Account | None, *scopes: str, **query: str) -> Answer:
        """Ask for a token."""
        fields = [("service", "longshore"), *query.items(), *(("scope", scope) for scope in scopes)]
        headers = {} if who is None else {"Authorization": basic(who)}
        return self.ask("GET", f"/token?{urlencode(fields)}", headers=headers)

    def bearing(self, token: str, method: str, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        """Ask with a bearer token."""
        return self.ask(method, target, body, {"Authorization": f"Bearer {token}", **_named(headers)})

    def pull(self, token: str) -> Answer:
        """Ask for the secret, as somebody's token allows."""
        return self.bearing(token, "GET", self.blob(PRIVATE))

    def blob(self, repository: str, digest: str = LAYER.digest) -> str:
        """The path of a blob, which is the secret one."""
        return f"/v2/{repository}/blobs/{digest}"

    @property
    def forger(self) -> Forger:
        """Somebody with the server's key, who claims to be the administrator."""
        key = KeyDirectory(self.served.data / "keys").load().signing
        with Api(self.served.host, ADMIN) as api:
            assert api.get("/me")["name"] == ADMIN.name
        return Forger(key, ADMIN.name, 1, PRIVATE)

    # -- people -----------------------------------------------------------------------------------------

    def person(self, name: str) -> Account:
        """Somebody new, who may read Alice's private repository."""
        account = Account(name, f"the password of {name}")
        with Api(self.served.host, ADMIN) as api:
            api.post("/users", {"name": name, "password": account.password})
        self.allow(account)
        return account

    def allow(self, account: Account) -> None:
        """Let somebody read Alice's private repository."""
        with Api(self.served.host, ALICE) as api:
            api.put(f"/repositories/{PRIVATE}/-/roles/{account.name}", {"role": "read"})

    def access_token(self, who: Account, permission: str = "read", **more: Any) -> tuple[Account, Any]:
        """An access token of somebody: what to log in with, and what the server says of it."""
        with Api(self.served.host, who) as api:
            made = api.post("/me/tokens", {"name": "stolen", "permission": permission, **more})
        return Account(who.name, made["secret"]), made

    def sign_in(self, who: Account, **cookies: str) -> "Browser":
        """A browser in which somebody has signed in; it had these cookies before."""
        browser = Browser(self, dict(cookies))
        browser.get("/sign-in").expect(200)
        browser.post("/sign-in", name=who.name, password=who.password).expect(303)
        browser.get("/account").expect(200)
        return browser

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.served.log


@dataclass(slots=True)
class Browser:
    """What a browser sends by itself: cookies, and where a request comes from."""

    town: Town
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""
    source: str | None = None

    def get(self, target: str, **headers: str) -> Answer:
        """Open a page, and remember its cookies and what its forms carry."""
        answer = self._kept(self.town.ask("GET", target, headers=self._said(headers), source=self.source))
        found = re.search(rb'name="csrf" value="(\w+)"', answer.body)
        self.csrf = found[1].decode() if found else self.csrf
        return answer

    def post(self, target: str, **fields: str) -> Answer:
        """Send a form of the page that was opened last."""
        fields = {"csrf": self.csrf, **fields}
        headers = self._said({"Sec_Fetch_Site": "same-origin", "Content_Type": FORM})
        return self._kept(self.town.ask("POST", target, urlencode(fields).encode(), headers, self.source))

    def submit(self, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form that another site made; the cookies go along, as if the browser did not know better."""
        body = urlencode(fields).encode()
        return self.town.ask("POST", target, body, {"Content-Type": FORM, **self._said(headers)})

    def _said(self, headers: Headers) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**_named(headers), **({"Cookie": cookie} if cookie else {})}

    def _kept(self, answer: Answer) -> Answer:
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer


@contextlib.contextmanager
def founding(folder: Path, **settings: str) -> Iterator[Town]:
    """The town while it stands."""
    with serving(folder, log_format="json", signup="true", **settings) as served:
        with Api(served.host, ADMIN) as admin:
            for person in (ALICE, BOB, MALLORY):
                admin.post("/users", {"name": person.name, "password": person.password})
        for owner, repository in ((ALICE, PRIVATE), (ALICE, PUBLIC), (MALLORY, OWN)):
            with Wire(served.host, repository, owner) as wire:
                wire.push("v1", IMAGE if repository == PRIVATE else small_image(repository))
        with Api(served.host, ALICE) as alice:
            alice.patch(f"/repositories/{PUBLIC}", {"public": True})
        town = Town(served)
        town.allow(BOB)
        yield town


def basic(who: Account) -> str:
    """The header of a name and a password."""
    return "Basic " + base64.b64encode(f"{who.name}:{who.password}".encode()).decode()


def _named(headers: Headers) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _answers(stream: bytes) -> Iterator[Answer]:
    """The answers in what a server sent, each of which says how long it is."""
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        length = int(headers["Content-Length"] or 0)
        yield Answer(int(line.split()[1]), headers, rest[:length])
        stream = rest[length:]
