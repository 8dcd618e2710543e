"""One caller's connection to the server: what a request took, and what came over the wire."""

import gzip
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

_SECONDS: Final = 60
_PART: Final = re.compile(r'<(?:link|script|img)\b[^>]*?\b(?:href|src)="(/static/[^"#]+)[^"]*"')
_HIDDEN: Final = re.compile(r'<input\b(?=[^>]*type="hidden")[^>]*name="([^"]+)"[^>]*value="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Visit:
    """An answer, how long it took to come whole, and its length on the wire."""

    status: int
    headers: HTTPMessage
    body: bytes
    seconds: float
    wire: int

    @property
    def text(self) -> str:
        """The body, unpacked."""
        packed = self.headers["Content-Encoding"] == "gzip"
        return (gzip.decompress(self.body) if packed else self.body).decode()

    @property
    def json(self) -> Any:
        """The body as a document."""
        return json.loads(self.text)

    def parts(self) -> set[str]:
        """The paths of the static files that the page needs at once."""
        return {unescape(path) for path in _PART.findall(self.text)}

    def hidden_fields(self) -> dict[str, str]:
        """The hidden fields of its forms."""
        return {name: unescape(value) for name, value in _HIDDEN.findall(self.text)}


class Caller:
    """A caller with a connection that stays open and cookies that are kept."""

    def __init__(self, host: str) -> None:
        self._connection = HTTPConnection(host, timeout=_SECONDS)
        self._cookies: dict[str, str] = {}
        self.headers = {"Accept-Encoding": "gzip", "Accept": "text/html, application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str) -> Visit:
        """Ask for a page and read it whole."""
        return self._request("GET", path)

    def post(self, path: str, form: Mapping[str, str]) -> Visit:
        """Send a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._request("POST", path, urlencode(form).encode(), kind)

    def sign_in(self, name: str, password: str) -> None:
        """Sign in as people do: from now on a session's cookie goes along."""
        fields = self.get("/sign-in").hidden_fields()
        answer = self.post("/sign-in", {**fields, "name": name, "password": password})
        if answer.status != 303:
            raise SystemExit(f"/sign-in answered {answer.status}")

    def first_view(self, page: Visit) -> int:
        """Return the bytes of a page with everything that it needs at once."""
        return page.wire + sum(self.get(path).wire for path in page.parts())

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Visit:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        started = time.perf_counter()
        self._connection.request(
            method, path, body, {**self.headers, **(cookies if self._cookies else {}), **(headers or {})}
        )
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - started
        for line in response.headers.get_all("Set-Cookie", []):
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        head = sum(len(name) + len(value) + 4 for name, value in response.headers.items()) + 17
        return Visit(response.status, response.headers, content, seconds, head + len(content))


def next_path(visit: Visit) -> str | None:
    """Return where the next page of a list of the API is."""
    link = re.search(r'<([^>]+)>; rel="next"', visit.headers["Link"] or "")
    if link is None:
        return None
    address = urlsplit(link[1])
    return f"{address.path}?{address.query}"
