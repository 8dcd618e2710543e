"""A push of many small images, some at a time, as a client of few moves does it.

For each blob HEAD, POST and one PUT, then the manifest; blob after blob on a connection that stays open. All
that is sent is made beforehand, so that the client takes little of the processor beside the server.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.connection import Connection, WrongAnswer, request
from benchmarks.peers import REPOSITORY, Peer
from tests.e2e.images import Content, Image, gzip_layer, image, noise, tar

LAYERS: Final = 8
AT_ONCE: Final = 8

# With its head and its padding a tar of 10,240 bytes.
_FILE: Final = 8000

_EVERY_FOR_A_CHECK: Final = 40


@dataclass(frozen=True, slots=True)
class Pushed:
    """How long a push took, and how much of that the client was computing, in seconds."""

    seconds: float
    own: float


def make_images(count: int, seed: str) -> Mapping[str, Image]:
    """Return images by tag, of which no two share a layer."""
    return {
        f"{seed}-{number}": image(
            [
                gzip_layer(tar({"noise": noise(f"{seed} {number} {layer}", _FILE)}), 0)
                for layer in range(LAYERS)
            ]
        )
        for number in range(count)
    }


def push_images(peer: Peer, images: Mapping[str, Image]) -> Pushed:
    """Push them all; look at some of them afterwards.

    Raises:
        WrongAnswer: a request was not answered as it has to be, or what comes back differs.
    """
    return asyncio.run(_push_images(peer, images))


async def _push_images(peer: Peer, images: Mapping[str, Image]) -> Pushed:
    left = deque(images.items())
    connections = [await Connection.open(peer.host, peer.context()) for _ in range(AT_ONCE)]
    began, computing = time.perf_counter(), time.process_time()
    try:
        async with asyncio.TaskGroup() as pushing:
            for each in connections:
                pushing.create_task(_push_one_by_one(each, peer, left))
        pushed = Pushed(time.perf_counter() - began, time.process_time() - computing)
        await _check(connections[0], peer, [*images.items()][::_EVERY_FOR_A_CHECK])
    except* WrongAnswer as wrong:
        raise wrong.exceptions[0] from None
    finally:
        for each in connections:
            await each.close()
    return pushed


async def _push_one_by_one(connection: Connection, peer: Peer, left: deque[tuple[str, Image]]) -> None:
    while left:
        tag, pushed = left.popleft()
        for blob in pushed.blobs:
            await _push_blob(connection, peer, blob)
        headers = {**peer.headers, "Content-Type": pushed.manifest.media_type}
        target = f"/v2/{REPOSITORY}/manifests/{tag}"
        answer = await connection.send(
            request("PUT", target, peer.host, headers, pushed.manifest.data), status=201
        )
        if pushed.manifest.digest.encode() not in answer.head:
            raise WrongAnswer(f"another digest than {pushed.manifest.digest}: {answer.head!r}")


async def _push_blob(connection: Connection, peer: Peer, blob: Content) -> None:
    target = f"/v2/{REPOSITORY}/blobs/{blob.digest}"
    await connection.send(request("HEAD", target, peer.host, peer.headers), status=404)
    begin = request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", peer.host, peer.headers)
    location = (await connection.send(begin, status=202)).location()
    closing = f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
    headers = {**peer.headers, "Content-Type": "application/octet-stream"}
    await connection.send(request("PUT", closing, peer.host, headers, blob.data), status=201)


async def _check(connection: Connection, peer: Peer, sample: Sequence[tuple[str, Image]]) -> None:
    for tag, pushed in sample:
        wanted = [(f"manifests/{tag}", pushed.manifest)]
        wanted += [(f"blobs/{blob.digest}", blob) for blob in pushed.blobs]
        for path, content in wanted:
            headers = {**peer.headers, "Accept": content.media_type}
            target = f"/v2/{REPOSITORY}/{path}"
            answer = await connection.send(request("GET", target, peer.host, headers), status=200)
            if answer.body != content.data:
                raise WrongAnswer(f"{peer.name} changed {target}")
