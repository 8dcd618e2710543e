import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.registry.web.api.described import check
from tests.registry.web.conftest import Serving
from tests.registry.web.live import Answer, Live, basic

ROOT = "/api/v1"


@dataclass(frozen=True, slots=True)
class Api:
    """Speaks to the interface as somebody."""

    live: Live
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; a body that is no bytes goes out as JSON. Header names are written with `_`."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        answer = await self.live.client.send(method, ROOT + path, content, sent)
        check(method, ROOT + path, answer)
        return answer

    async def get(self, path: str, **headers: str) -> Any:
        """GET what is there."""
        return (await self.send("GET", path, **headers)).expect(200).json()

    async def post(self, path: str, body: Any, status: int = 201) -> Any:
        """POST what is taken."""
        return (await self.send("POST", path, body)).expect(status).json()

    async def patch(self, path: str, body: Any, **headers: str) -> Any:
        """PATCH what may be edited."""
        return (await self.send("PATCH", path, body, **headers)).expect(200).json()

    async def put(self, path: str, body: Any = None) -> None:
        """PUT what is taken."""
        (await self.send("PUT", path, body)).expect(204)

    async def delete(self, path: str) -> None:
        """DELETE what is there."""
        (await self.send("DELETE", path)).expect(204)

    async def outcome(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Return the status, with the code of a problem."""
        answer = await self.send(method, path, body, **headers)
        return answer.status, answer.json()["code"] if answer.status >= 400 else ""

    async def list(self, path: str) -> list[Any]:
        """Return a list, page by page."""
        found: list[Any] = []
        following: str | None = ""
        while following is not None:
            mark = "&" if "?" in path else "?"
            page = await self.get(path + (f"{mark}cursor={following}" if following else ""))
            found += page["items"]
            following = page["next"]
        return found


As = Callable[..., Api]


@pytest.fixture
async def hub(serving: Serving) -> AsyncIterator[Live]:
    """A server with ann, bob, carl and root, who administers it."""
    async with serving() as live:
        for name in ("ann", "bob", "carl"):
            live.add_account(name)
        live.add_account("root", is_admin=True)
        yield live


@pytest.fixture
def api(hub: Live) -> As:
    """Return the interface as an account knows it, with its password, or nobody; or with an access token."""

    def enter(name: str | None = None, *, token: str | None = None) -> Api:
        if token is not None:
            return Api(hub, {"Authorization": f"Bearer {token}"})
        return Api(hub, {} if name is None else {"Authorization": basic(name)})

    return enter
