"""The real application on a loopback socket, and clients that speak to it."""

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from sqlalchemy import Connection, Engine
from yarl import URL

from auth.keys import KeyDirectory
from auth.policy import Role
from registry.app import make_runner
from registry.config import Settings
from registry.installation import keys_of, passwords_of
from storage.digest import Digest
from storage.metadata import accounts, repositories
from storage.metadata.sqlite import open_sqlite

T = TypeVar("T")

# What a request may take here before it counts as hanging: seconds.
PATIENCE: Final = 20

CHEAP_PASSWORDS: Final[Mapping[str, int]] = {
    "password_time_cost": 1,
    "password_memory_cost": 1024,
    "password_parallelism": 1,
}

Body = bytes | AsyncIterator[bytes] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in the OCI form."""
        (entry,) = self.json()["errors"]
        code: str = entry["code"]
        return code

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, with the code of an error."""
        return self.status, self.code if self.status >= 400 and self.body else ""

    def expect(self, status: int) -> Self:
        """This answer, if it has the status."""
        assert self.status == status, f"{self.status}, not {status}: {self.body[:500]!r}"
        return self


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to the server at `base`, with `headers` in each request. Paths go out exactly as written."""

    session: aiohttp.ClientSession
    base: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_token(self, token: str) -> "Client":
        """The same client with a bearer token."""
        return Client(self.session, self.base, {**self.headers, "Authorization": f"Bearer {token}"})

    async def send(
        self, method: str, target: str, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; redirects are not followed."""
        async with self.session.request(
            method,
            URL(self.base + target, encoded=True),
            # A large body is sent piece by piece.
            data=io.BytesIO(body) if isinstance(body, bytes) and len(body) > 65536 else body,
            headers={**self.headers, **(headers or {})},
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, target: str, **headers: str) -> Answer:
        """GET; header names are written with `_` for `-`."""
        return await self.send("GET", target, None, _named(headers))

    async def head(self, target: str, **headers: str) -> Answer:
        """HEAD."""
        return await self.send("HEAD", target, None, _named(headers))

    async def put(self, target: str, body: Body = b"", **headers: str) -> Answer:
        """PUT."""
        return await self.send("PUT", target, body, _named(headers))

    async def post(self, target: str, body: Body = b"", **headers: str) -> Answer:
        """POST."""
        return await self.send("POST", target, body, _named(headers))

    async def patch(self, target: str, body: Body = b"", **headers: str) -> Answer:
        """PATCH."""
        return await self.send("PATCH", target, body, _named(headers))

    async def delete(self, target: str, **headers: str) -> Answer:
        """DELETE."""
        return await self.send("DELETE", target, None, _named(headers))

    async def start_upload(self, name: str) -> str:
        """Begin an upload and return its Location."""
        answer = await self.post(f"/v2/{name}/blobs/uploads/")
        return answer.expect(202).headers["Location"]

    async def push_blob(self, name: str, content: bytes) -> Digest:
        """Push a blob in the short way and return its digest."""
        digest = Digest.of(content)
        (await self.post(f"/v2/{name}/blobs/uploads/?digest={digest}", content)).expect(201)
        return digest

    async def push_manifest(
        self, name: str, reference: str | None, manifest: "Pushable", **headers: str
    ) -> Digest:
        """Push a manifest under `reference`, its digest without one, and return its digest."""
        target = f"/v2/{name}/manifests/{reference or manifest.digest}"
        headers.setdefault("Content_Type", manifest.media_type)
        (await self.put(target, manifest.content, **headers)).expect(201)
        return manifest.digest


@dataclass(frozen=True, slots=True)
class Pushable:
    """The bytes of a manifest and their media type."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> Digest:
        """What the bytes are called."""
        return Digest.of(self.content)

    def descriptor(self, **more: object) -> dict[str, Any]:
        """What points to this manifest."""
        return descriptor(self.media_type, self.content, **more)


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, Any]:
    """What points to this content."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


@dataclass(frozen=True, slots=True)
class Live:
    """A server that runs."""

    settings: Settings
    runner: web.AppRunner
    port: int
    client: Client
    engine: Engine

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.settings.data

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def keys(self) -> KeyDirectory:
        """The keys that sign its tokens."""
        return keys_of(self.settings)

    def blob_path(self, digest: Digest) -> Path:
        """The one file of a blob."""
        [path] = (self.data / "blobs" / digest.algorithm / digest.hex[:2]).glob(f"{digest.hex}.*")
        return path

    def change(self, query: Callable[[Connection], T]) -> T:
        """Run a query function in a transaction, as a command does beside the server."""
        with self.engine.begin() as db:
            return query(db)

    def add_account(self, name: str, *, is_admin: bool = False) -> None:
        """Add an account whose password is `password_of(name)`."""
        password_hash = passwords_of(self.settings).hash(password_of(name))
        now = datetime.now(UTC)
        self.change(lambda db: accounts.add(db, name, password_hash, is_admin=is_admin, now=now))

    def disable(self, name: str, *, disabled: bool = True) -> None:
        """Close or open an account."""
        now = datetime.now(UTC)
        assert self.change(lambda db: accounts.disable(db, name, disabled=disabled, now=now))

    def change_password(self, name: str, password: str) -> None:
        """Set another password."""
        password_hash = passwords_of(self.settings).hash(password)
        assert self.change(lambda db: accounts.change_password(db, name, password_hash))

    def grant(self, role: Role | None, target: str, name: str) -> None:
        """Give an account a role, or take it away."""
        assert self.change(lambda db: repositories.grant(db, target, name, role)) is None

    def publish(self, name: str, *, public: bool = True) -> None:
        """Let everybody pull from a repository, or not."""
        assert self.change(lambda db: repositories.set_public(db, name, public=public))

    async def token(self, account: str | None, *scopes: str) -> str:
        """Return a token for the scopes, as far as they are granted; anonymous without an account."""
        headers = {} if account is None else {"Authorization": basic(account)}
        query = urlencode([("service", self.settings.service), *(("scope", scope) for scope in scopes)])
        answer = await self.client.send("GET", f"/token?{query}", None, headers)
        token: str = answer.expect(200).json()["token"]
        return token

    async def login(self, account: str | None, *scopes: str) -> Client:
        """Return a client with a token."""
        return self.client.with_token(await self.token(account, *scopes))


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Live]:
    """Run the application over the database and the keys that are in the data directory."""
    runner = await make_runner(settings)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    engine = open_sqlite(settings.data / "longshore.db", begin="BEGIN IMMEDIATE")
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout
        ) as session:
            yield Live(settings, runner, port, Client(session, f"http://127.0.0.1:{port}"), engine)
    finally:
        engine.dispose()
        await runner.cleanup()


@dataclass(slots=True)
class Raw:
    """A connection of bytes, for requests that no client would send."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """Return the status and the headers, in lower case, of the next response."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def read_answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Return the next response whole; `head` says that it has no body."""
        status, headers = await self.read_head()
        length = 0 if head or status in (204, 304) else int(headers.get("content-length", "0"))
        async with asyncio.timeout(PATIENCE):
            return status, headers, await self.reader.readexactly(length)

    async def read_rest(self) -> bytes:
        """Return everything until the server closes; what it had to say before a reset is kept."""
        parts: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await self.reader.read(65536):
                    parts.append(data)
        return b"".join(parts)


@contextlib.asynccontextmanager
async def connect(to: Live | int) -> AsyncIterator[Raw]:
    """Open a connection of bytes to a server or a port, and close it the hard way."""
    port = to if isinstance(to, int) else to.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(live: Live, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the bytes of one request on a connection of its own and return the response."""
    async with connect(live) as raw:
        await raw.write(request)
        return await raw.read_answer(head=request.startswith(b"HEAD "))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the condition holds: each question is a step of the server's own loop."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - the condition is asked over the network
            await asyncio.sleep(0)


async def streamed(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body of unknown length: it goes out in chunked encoding."""
    for chunk in chunks:
        yield chunk


def password_of(account: str) -> str:
    """The password that an account of the tests has."""
    return f"{account} says mellon"


def basic(account: str, password: str | None = None) -> str:
    """The Authorization header of a login."""
    text = f"{account}:{password_of(account) if password is None else password}"
    return "Basic " + base64.b64encode(text.encode()).decode()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
