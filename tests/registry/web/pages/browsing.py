"""A browser for tests over the wire."""

import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import urlencode

from registry.web.callers import csrf_of
from tests.registry.web.live import Answer, Live
from tests.registry.web.pages.site import Page

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
        more = {"Content_Type": FORM, "Accept_Encoding": "identity", **headers, **self._headers()}
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

    async def send_ours(self, path: str, fields: Mapping[str, str]) -> Answer:
        """Send a form as a page of this session has it."""
        return await self.send(path, {**fields, "csrf": csrf_of(self.cookies[SESSION])})

    async def see(self, path: str) -> Page:
        """Open a page, whatever its status, and read it."""
        answer = self._keep(await self.client.get(path, Accept_Encoding="identity", **self._headers()))
        return Page(answer.status, answer.body.decode())

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
