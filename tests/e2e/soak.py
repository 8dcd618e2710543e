"""Many clients at once that push, pull, list, delete, break off and do it wrong, each by its own connection.

`python -m tests.e2e.soak --rounds 1000` runs for longer than the test does.
"""

import argparse
import asyncio
import contextlib
import functools
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientResponse, ClientSession, TCPConnector, encode_basic_auth

from .clients import Account
from .images import Content, Image, Layer, digest_of, gzip_layer, image, noise, tar
from .process import running
from .server import Server
from .wire import MANIFEST_TYPES

CLIENTS: Final = 200
NAMESPACES: Final = 20

# Layers that images share, as they share what they are built from.
SHARED_LAYERS: Final = 40
LARGEST_LAYER: Final = 64 * 1024
TAGS: Final = 30

# Until the server has noticed that the clients are gone.
SETTLES: Final = 2

SETTINGS: Final = {"LONGSHORE_WORKERS": "2", "LONGSHORE_LOG_LEVEL": "warning"}

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    """What a server's processes hold together: memory in bytes (proportional set size), and descriptors."""

    memory: int
    descriptors: int


@dataclass
class Soak:
    """What the clients did, what was acknowledged, and what went wrong."""

    server: Server
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[tuple[str, str], Image | None] = field(default_factory=dict)
    """By repository and tag; None where it was deleted."""
    faults: list[str] = field(default_factory=list)

    def size(self) -> Size:
        """Measure the server."""
        processes = self.server.processes()
        memory = sum(_memory_of(process) for process in processes)
        return Size(memory, sum(len(list((process / "fd").iterdir())) for process in processes))


def _memory_of(process: Path) -> int:
    lines = (process / "smaps_rollup").read_text().splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(size) * 1024


class Customer:
    """A client that never waits between two things that it does. It alone writes to its repository."""

    def __init__(self, soak: Soak, number: int, account: Account, seed: int) -> None:
        self._soak = soak
        self._random = random.Random(f"{seed}/{number}")
        self._account = account
        self.repository = f"{account.name}/app-{number}"
        self._headers: dict[str, str] = {}
        self._session: ClientSession

    async def run(self, rounds: int) -> None:
        """Do `rounds` things, the first of them a push."""
        connector = TCPConnector(limit=1)
        async with ClientSession(self._soak.server.url, connector=connector) as self._session:
            await self._noted("token", self._get_token)
            await self._noted("push", self._push)
            # Only now can it be told what the client may do with a repository that was not there before.
            await self._noted("token", self._get_token)
            for _ in range(rounds - 1):
                [name] = self._random.choices(list(self._actions), list(self._weights))
                await self._noted(name, self._actions[name])

    async def verify(self) -> None:
        """Require of each of its tags that it is as it was acknowledged, byte for byte."""
        async with ClientSession(self._soak.server.url) as self._session:
            await self._get_token()
            for tag, expected in self._tags().items():
                await self._check(tag, expected)

    @property
    def _actions(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {
            "push": self._push,
            "pull": self._pull,
            "look": self._look,
            "list": self._list,
            "delete": self._delete,
            "token": self._get_token,
            "leave a pull": self._leave_a_pull,
            "leave an upload": self._leave_an_upload,
            "wrong digest": self._send_a_wrong_digest,
            "unknown": self._ask_for_what_is_unknown,
        }

    _weights: Final = (25, 30, 15, 10, 5, 3, 4, 3, 3, 2)

    async def _noted(self, name: str, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except (AssertionError, ClientError, TimeoutError) as error:
            self._soak.faults.append(f"{self.repository}: {name}: {type(error).__name__}: {error}")
        else:
            self._soak.done[name] += 1

    def _tags(self) -> dict[str, Image | None]:
        found = self._soak.acknowledged.items()
        return {tag: content for (repository, tag), content in found if repository == self.repository}

    # What it does

    async def _get_token(self) -> None:
        scope = f"repository:{self.repository}:pull,push,delete"
        basic = encode_basic_auth(self._account.name, self._account.password)
        target = "/token?service=longshore&scope=" + scope
        async with self._session.get(target, headers={"Authorization": basic}) as answer:
            assert answer.status == 200, await answer.text()
            self._headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}

    async def _push(self) -> None:
        tag = f"t{self._random.randrange(TAGS)}"
        content = self._make_image()
        for blob in content.blobs:
            if await self._ask("HEAD", f"blobs/{blob.digest}", (200, 404)) == 404:
                await self._upload(blob)
        headers = {"Content-Type": content.manifest.media_type}
        await self._ask("PUT", f"manifests/{tag}", (201,), content.manifest.data, headers)
        self._soak.acknowledged[self.repository, tag] = content

    async def _pull(self) -> None:
        tags = self._tags()
        if tags:
            tag = self._random.choice(sorted(tags))
            await self._check(tag, tags[tag])

    async def _look(self) -> None:
        for tag, content in list(self._tags().items())[:5]:
            await self._ask("HEAD", f"manifests/{tag}", (404,) if content is None else (200,))

    async def _list(self) -> None:
        async with self._request("GET", "tags/list") as answer:
            assert answer.status == 200, await answer.text()
            listed = set((await answer.json())["tags"])
        assert listed == {tag for tag, content in self._tags().items() if content is not None}

    async def _delete(self) -> None:
        tags = [tag for tag, content in self._tags().items() if content is not None]
        if tags:
            tag = self._random.choice(tags)
            await self._ask("DELETE", f"manifests/{tag}", (202,))
            self._soak.acknowledged[self.repository, tag] = None

    async def _leave_a_pull(self) -> None:
        contents = [content for content in self._tags().values() if content is not None]
        if contents:
            blob = max(self._random.choice(contents).blobs, key=lambda each: len(each.data))
            async with self._request("GET", f"blobs/{blob.digest}") as answer:
                await answer.content.read(10)
                answer.close()

    async def _leave_an_upload(self) -> None:
        async def data() -> AsyncIterator[bytes]:
            yield bytes(1000)
            raise _BreaksOff

        location = await self._start_upload()
        with contextlib.suppress(_BreaksOff, ClientError):
            async with self._open("PATCH", location, data(), None):
                pass

    async def _send_a_wrong_digest(self) -> None:
        location = await self._start_upload()
        wrong = digest_of([b"something else"])
        await self._send("PUT", f"{location}{_and(location)}digest={wrong}", (400,), b"these bytes")

    async def _ask_for_what_is_unknown(self) -> None:
        await self._ask("GET", "manifests/nowhere", (404,))
        await self._ask("GET", f"blobs/{digest_of([b'nowhere'])}", (404,))

    # How it does it

    def _make_image(self) -> Image:
        layers = [_shared_layer(self._random.randrange(SHARED_LAYERS)) for _ in range(2)]
        own = self._random.randbytes(self._random.randrange(1, LARGEST_LAYER))
        return image([*layers, gzip_layer(tar({"own": own}), 0)])

    async def _check(self, tag: str, expected: Image | None) -> None:
        headers = {"Accept": MANIFEST_TYPES}
        async with self._request("GET", f"manifests/{tag}", headers=headers) as answer:
            if expected is None:
                assert answer.status == 404
                return
            assert answer.status == 200, await answer.text()
            assert await answer.read() == expected.manifest.data
        for blob in expected.blobs:
            async with self._request("GET", f"blobs/{blob.digest}") as answer:
                assert answer.status == 200, await answer.text()
                assert await answer.read() == blob.data

    async def _upload(self, blob: Content) -> None:
        location = await self._start_upload()
        await self._send("PUT", f"{location}{_and(location)}digest={blob.digest}", (201,), blob.data)

    async def _start_upload(self) -> str:
        async with self._request("POST", "blobs/uploads/") as answer:
            assert answer.status == 202, await answer.text()
            return answer.headers["Location"]

    async def _ask(
        self,
        method: str,
        path: str,
        expected: tuple[int, ...],
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        return await self._send(method, f"/v2/{self.repository}/{path}", expected, data, headers)

    async def _send(
        self,
        method: str,
        target: str,
        expected: tuple[int, ...],
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        async with self._open(method, target, data, headers) as answer:
            said = await answer.text()
            assert answer.status in expected, f"{method} {target}: {answer.status} {said:.300}"
            return answer.status

    def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[ClientResponse]:
        return self._open(method, f"/v2/{self.repository}/{path}", None, headers)

    def _open(
        self,
        method: str,
        target: str,
        data: bytes | AsyncIterator[bytes] | None,
        headers: Mapping[str, str] | None,
    ) -> AbstractAsyncContextManager[ClientResponse]:
        sent = {**self._headers, **(headers or {})}
        return self._session.request(method, target, data=data, headers=sent, allow_redirects=False)


class _BreaksOff(Exception):
    """What ends an upload in the middle."""


@functools.cache
def _shared_layer(number: int) -> Layer:
    return gzip_layer(tar({"shared": noise(f"layer {number}", 20_000)}), 0)


def _and(location: str) -> str:
    return "&" if "?" in location else "?"


class Crowd:
    """The clients of a soak."""

    def __init__(self, server: Server, seed: int) -> None:
        self.soak = Soak(server)
        accounts = [server.add_user(f"customer{number}", f"soaked to {seed}") for number in range(NAMESPACES)]
        self._customers = [
            Customer(self.soak, number, accounts[number % NAMESPACES], seed) for number in range(CLIENTS)
        ]

    async def run(self, rounds: int) -> Size:
        """Let each client do `rounds` things; return how large the server is when they are gone."""
        async with asyncio.TaskGroup() as clients:
            for each in self._customers:
                clients.create_task(each.run(rounds))
        await asyncio.sleep(SETTLES)
        return self.soak.size()

    async def verify(self) -> None:
        """Pull everything that was acknowledged."""
        for each in self._customers:
            await each.verify()


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="things that each client does, ten times")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Server(Path(folder), SETTINGS)) as server:
        crowd = Crowd(server, wanted.seed)
        for _ in range(10):
            size = await crowd.run(wanted.rounds)
            faults = crowd.soak.faults
            done = f"{crowd.soak.done.total()} done, {len(faults)} faults"
            sys.stdout.write(f"{done}, {size.memory / MIB:.0f} MiB, {size.descriptors} descriptors\n")
            sys.stdout.flush()
        await crowd.verify()
        sys.stdout.write("\n".join([*faults[:20], str(dict(crowd.soak.done)), ""]))


if __name__ == "__main__":
    asyncio.run(_main())
