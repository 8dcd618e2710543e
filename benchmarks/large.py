"""Large blobs as clients move them: pushed in one PUT or streamed, pulled whole. Answers are checked."""

import hashlib
import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.peers import REPOSITORY, Peer

MIB: Final = 1024 * 1024

_PIECE: Final = MIB


@dataclass(frozen=True, slots=True)
class Source:
    """A file to push."""

    path: Path
    size: int
    digest: str

    @classmethod
    def make(cls, path: Path, size: int, seed: int) -> "Source":
        """Write a file of bytes that nothing compresses, different for each seed."""
        digest = hashlib.sha256()
        block = bytearray(hashlib.shake_256(seed.to_bytes(8, "big")).digest(_PIECE))
        with path.open("wb") as file:
            for number in range(size // _PIECE):
                block[:8] = number.to_bytes(8, "big")
                digest.update(block)
                file.write(block)
        return cls(path, size // _PIECE * _PIECE, f"sha256:{digest.hexdigest()}")


@dataclass(frozen=True, slots=True)
class Push:
    """How long a push took, in seconds: from the first byte to 201, and from the last one to 201."""

    whole: float
    end: float


def push_in_one_put(peer: Peer, source: Source) -> Push:
    """POST, then one PUT with all bytes, sent by the kernel."""
    with _connected(peer.host) as link:
        began = time.perf_counter()
        location = link.start(peer)
        length = {"Content-Length": str(source.size), "Content-Type": "application/octet-stream"}
        link.begin("PUT", _closing(location, source.digest), {**peer.headers, **length})
        sent = link.send_file(source.path)
        link.expect(201)
        return _took(began, sent)


def push_streamed(peer: Peer, source: Source) -> Push:
    """POST, one PATCH of unknown length, then an empty PUT, as Docker pushes."""
    with _connected(peer.host) as link:
        began = time.perf_counter()
        location = link.start(peer)
        chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
        link.begin("PATCH", location, {**peer.headers, **chunked})
        sent = link.send_chunked(source.path)
        location = _path(link.expect(202).headers["Location"])
        link.begin("PUT", _closing(location, source.digest), {**peer.headers, "Content-Length": "0"})
        link.expect(201)
        return _took(began, sent)


def pull(peer: Peer, digest: str, size: int, *, verify: bool = False) -> float:
    """GET the blob, following a redirect; return the seconds. Only `verify` looks at the bytes."""
    began = time.perf_counter()
    host, target, headers = peer.host, f"/v2/{REPOSITORY}/blobs/{digest}", peer.headers
    with _connected(host) as link:
        link.begin("GET", target, headers)
        answer = link.answer()
        if answer.status != 307:
            _receive(answer, digest, size, verify=verify)
            return time.perf_counter() - began
        location = urlsplit(answer.headers["Location"])
    with _connected(location.netloc) as link:
        link.begin("GET", f"{location.path}?{location.query}", {})
        _receive(link.answer(), digest, size, verify=verify)
    return time.perf_counter() - began


class _Link(HTTPConnection):
    """One connection, which is used once for each request in turn."""

    def __enter__(self) -> "_Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, peer: Peer) -> str:
        """Begin an upload and return its path."""
        self.begin("POST", f"/v2/{REPOSITORY}/blobs/uploads/", {**peer.headers, "Content-Length": "0"})
        return _path(self.expect(202).headers["Location"])

    def begin(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Send the head of a request."""
        self.putrequest(method, target)
        for name, value in headers.items():
            self.putheader(name, value)
        self.endheaders()

    def send_file(self, path: Path) -> float:
        """Send a file as the body; return when its last byte was sent."""
        with path.open("rb") as file:
            assert isinstance(self.sock, socket.socket)
            self.sock.sendfile(file)
        return time.perf_counter()

    def send_chunked(self, path: Path) -> float:
        """Send a file in chunks; return when the last one was sent."""
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                self.send(b"%x\r\n%b\r\n" % (len(data), data))
        self.send(b"0\r\n\r\n")
        return time.perf_counter()

    def answer(self) -> http.client.HTTPResponse:
        """Return the answer, unread."""
        return self.getresponse()

    def expect(self, status: int) -> http.client.HTTPResponse:
        """Read the answer, which must have the status."""
        answer = self.getresponse()
        body = answer.read()
        if answer.status != status:
            raise SystemExit(f"{self.host}:{self.port} answered {answer.status}: {body[:500]!r}")
        return answer


def _connected(host: str) -> _Link:
    return _Link(host, timeout=300)


def _receive(answer: http.client.HTTPResponse, digest: str, size: int, *, verify: bool) -> None:
    if answer.status != 200:
        raise SystemExit(f"a pull answered {answer.status}: {answer.read(500)!r}")
    buffer, received, hashed = bytearray(_PIECE), 0, hashlib.sha256()
    while count := answer.readinto(buffer):
        received += count
        if verify:
            hashed.update(memoryview(buffer)[:count])
    if received != size or (verify and f"sha256:{hashed.hexdigest()}" != digest):
        raise SystemExit(f"a pull brought {received} of {size} bytes, or wrong ones")


def _path(location: str) -> str:
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _closing(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def _took(began: float, sent: float) -> Push:
    now = time.perf_counter()
    return Push(now - began, now - sent)
