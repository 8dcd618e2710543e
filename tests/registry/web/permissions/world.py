"""The world that the permissions are tried in: made once, copied for each operation that changes it."""

import asyncio
import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Connection

from auth.keys import KeyDirectory
from registry.config import Settings
from registry.web.callers import csrf_of
from storage.digest import Digest
from storage.metadata import access_tokens, accounts
from tests.registry.web.content import image, push_image
from tests.registry.web.live import CHEAP_PASSWORDS, Answer, Client, Live, basic, password_of, serve
from tests.registry.web.permissions.operations import ACCOUNTS, ANONYMOUS, TOKENS, Operation

LAYER: Final = b"layer"
LOOSE: Final = b"a blob that no manifest names"

# team of each account that belongs to one, and its role on team/app.
_TEAMS: Final = {"team-reader": "read", "team-writer": "write", "team-keeper": "admin"}
_ROLES: Final = {"reader": "read", "writer": "write", "keeper": "admin"}


@dataclass(frozen=True, slots=True)
class World:
    """A data directory, the secrets of all callers and what paths name."""

    data: Path
    secrets: Mapping[str, str]
    sessions: Mapping[str, str]
    names: Mapping[str, str]

    @contextlib.asynccontextmanager
    async def open(self, to: Path) -> AsyncIterator["Open"]:
        """Run a server over a copy."""
        shutil.copytree(self.data, to, dirs_exist_ok=True)
        async with serve(settings(to)) as live:
            yield Open(self, live)

    def restore(self, live: Live) -> None:
        """Put the database of a server back to how the world was made, while it runs."""
        with (
            contextlib.closing(sqlite3.connect(self.data / "longshore.db")) as source,
            contextlib.closing(sqlite3.connect(live.data / "longshore.db")) as target,
        ):
            source.backup(target)


@dataclass(frozen=True, slots=True)
class Open:
    """A server over a copy of the world."""

    world: World
    live: Live

    async def send(self, who: str, operation: Operation, path: str) -> Answer:
        """Send the operation's request as somebody."""
        path = path.format_map(self.world.names)
        match operation.surface:
            case "oci":
                return await self._send_oci(who, operation, path)
            case "page":
                return await self._send_form(who, operation, path)
        headers = self._credentials(who)
        if operation.body is None:
            return await self.live.client.send(operation.method, path, None, headers)
        headers["Content-Type"] = "application/json"
        return await self.live.client.send(
            operation.method, path, json.dumps(operation.body).encode(), headers
        )

    async def _send_oci(self, who: str, operation: Operation, path: str) -> Answer:
        """As a client does: a token for what it is about, and then the request."""
        name = path.removeprefix("/v2/").partition("/")[0] + "/" + path.split("/")[3]
        query = f"scope=repository:{name}:pull,push,delete&scope=repository:team/open:pull"
        login = {} if who == ANONYMOUS else {"Authorization": self._basic(who)}
        answer = await self.live.client.send("GET", f"/token?{query}", None, login)
        if answer.status != 200:
            return answer
        client = self.live.client.with_token(answer.json()["token"])
        manifest = image(LAYER)
        body = manifest.content if operation.body else None
        headers = {"Content-Type": manifest.media_type} if operation.body else {}
        return await client.send(operation.method, path, body, headers)

    async def _send_form(self, who: str, operation: Operation, path: str) -> Answer:
        secret = self.world.sessions.get(who)
        headers = {"Accept-Encoding": "identity"}
        if secret is not None:
            headers["Cookie"] = f"longshore_session={secret}"
        if operation.method == "GET":
            return await self.live.client.send("GET", path, None, headers)
        fields = {**(operation.form or {}), "csrf": "" if secret is None else csrf_of(secret)}
        headers |= {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        return await self.live.client.send(operation.method, path, urlencode(fields).encode(), headers)

    def _credentials(self, who: str) -> dict[str, str]:
        if who == ANONYMOUS:
            return {}
        if who in ACCOUNTS:
            return {"Authorization": self._basic(who)}
        return {"Authorization": f"Bearer {self.world.secrets[who]}"}

    def _basic(self, who: str) -> str:
        if who in ACCOUNTS:
            return basic(who)
        owner = who.partition(":")[0]
        return basic("team+robot" if owner == "robot" else owner, self.world.secrets[who])


def settings(data: Path) -> Settings:
    """Return the settings of a server over the directory."""
    return Settings.model_validate(
        {"data": data, "shutdown_timeout": 0, "sweep_interval": 86400, **CHEAP_PASSWORDS}
    )


def make(data: Path) -> World:
    """Make the world in a directory whose database has its tables."""
    KeyDirectory(data / "keys").ensure("ES256")
    return asyncio.run(_make(data))


async def _make(data: Path) -> World:
    async with serve(settings(data)) as live:
        for each in ACCOUNTS:
            live.add_account(each, is_admin=each == "root")
        maker = _Maker(live)
        await maker.organization()
        names = await maker.content()
        await maker.roles()
        secrets = {each: await maker.token(each) for each in TOKENS}
        sessions = {each: await maker.session(each) for each in ACCOUNTS}
        live.change(_expire)
        live.disable("gone")
    return World(data, secrets, sessions, names)


def _expire(db: Connection) -> None:
    owner = accounts.find(db, "owner")
    assert owner is not None
    token = next(each for each in access_tokens.of_account(db, owner.id) if each.name == "owner:expired")
    past = (datetime.now(UTC) - timedelta(hours=1)).timestamp() * 10**6
    db.exec_driver_sql(f"UPDATE access_tokens SET expires_at = {past:.0f} WHERE id = {token.id}")


class _Maker:
    """Makes the world through the interface, as the owner of everything."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def _say(self, method: str, path: str, body: Any = None, who: str = "owner") -> Any:
        headers = {"Authorization": basic(who), "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        answer = await self._live.client.send(method, f"/api/v1{path}", content, headers)
        assert answer.status < 300, (method, path, answer.body)
        return answer.json() if answer.body else None

    async def organization(self) -> None:
        await self._say("POST", "/organizations", {"name": "team"})
        for each in ("member", *_TEAMS, "team-all-writer"):
            await self._say("PUT", f"/organizations/team/members/{each}", {"owner": False})
        await self._say("PUT", "/organizations/team/members/gone", {"owner": True})
        await self._say("POST", "/organizations/team/robots", {"name": "robot"})

    async def content(self) -> dict[str, str]:
        scope = [f"repository:team/{name}:pull,push" for name in ("app", "open")]
        client: Client = await self._live.login("owner", *scope)
        for name in ("team/app", "team/open"):
            digest = (await push_image(client, name, "v1", layers=(LAYER,))).digest
            await client.push_blob(name, LOOSE)
        self._live.publish("team/open")
        return {"digest": str(digest), "blob": str(Digest.of(LAYER)), "loose": str(Digest.of(LOOSE))}

    async def roles(self) -> None:
        for each, role in _ROLES.items():
            await self._say("PUT", f"/repositories/team/app/-/roles/{each}", {"role": role})
        for each, role in _TEAMS.items():
            team = f"{each.removeprefix('team-')}s"
            await self._say("POST", "/organizations/team/teams", {"name": team})
            await self._say("PUT", f"/organizations/team/teams/{team}/members/{each}")
            await self._say("PUT", f"/organizations/team/teams/{team}/repositories/team/app", {"role": role})
        await self._say("POST", "/organizations/team/teams", {"name": "all-writers", "role": "write"})
        await self._say("PUT", "/organizations/team/teams/all-writers/members/team-all-writer")

    async def token(self, name: str) -> str:
        owner, _, kind = name.partition(":")
        chosen = {"app": "team/app", "elsewhere": "team/open"}.get(kind)
        permission = "delete" if chosen or kind == "expired" else kind
        body: dict[str, Any] = {"name": name, "permission": permission}
        if chosen:
            body["repositories"] = [chosen]
        path = "/organizations/team/robots/robot/tokens" if owner == "robot" else "/me/tokens"
        made = await self._say("POST", path, body, "owner" if owner == "robot" else owner)
        secret: str = made["secret"]
        return secret

    async def session(self, name: str) -> str:
        """Sign in as a browser does: with what the form's page gave it."""
        page = await self._live.client.get("/sign-in", Accept_Encoding="identity")
        csrf = re.search('name="csrf" value="([^"]*)"', page.expect(200).body.decode())
        assert csrf
        form = {"name": name, "password": password_of(name), "csrf": csrf[1]}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
            "Cookie": "; ".join(each.partition(";")[0] for each in page.headers.getall("Set-Cookie", [])),
        }
        answer = await self._live.client.send("POST", "/sign-in", urlencode(form).encode(), headers)
        for each in answer.expect(303).headers.getall("Set-Cookie"):
            cookie = SimpleCookie(each).get("longshore_session")
            if cookie is not None and cookie.value:
                return cookie.value
        raise AssertionError("no session")
