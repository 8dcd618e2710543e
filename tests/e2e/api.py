"""The catalog's interface spoken by hand."""

import base64
import json
from http.client import HTTPConnection
from typing import Any, Self

from .clients import Account
from .wire import WIRE_SECONDS, Answer

ROOT = "/api/v1"


class Api:
    """A connection to the interface below `/api/v1`, as `account` or as nobody."""

    def __init__(self, host: str, account: Account | None = None) -> None:
        self._connection = HTTPConnection(host, timeout=WIRE_SECONDS)
        self._headers = {"Content-Type": "application/json"}
        if account is not None:
            login = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request with a document, or without, and read the whole answer."""
        content = None if body is None else json.dumps(body).encode()
        self._connection.request(method, ROOT + path, content, self._headers)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str) -> Any:
        """A document."""
        return json.loads(self.request("GET", path).expect(200).body)

    def post(self, path: str, body: object = None) -> Any:
        """Make something and return what the server says of it."""
        answer = self.request("POST", path, body).expect(200, 201, 204)
        return json.loads(answer.body) if answer.body else None

    def put(self, path: str, body: object = None) -> None:
        """Set something."""
        self.request("PUT", path, body).expect(200, 201, 204)

    def patch(self, path: str, body: object) -> None:
        """Change something."""
        self.request("PATCH", path, body).expect(200, 204)
