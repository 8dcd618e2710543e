"""Large blobs as clients move them: pushed in one PUT or streamed, pulled whole. Answers are checked."""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from benchmarks.connection import WrongAnswer, path_of
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
    def make(cls, path: Path, size: int, seed: str) -> "Source":
        """Write a file of bytes that nothing compresses, different for each seed."""
        block = bytearray(hashlib.shake_256(b"block").digest(_PIECE))
        with path.open("wb") as file:
            for number in range(size // _PIECE):
                block[8:16] = number.to_bytes(8, "big")
                file.write(block)
        return cls(path, size // _PIECE * _PIECE, "").renewed(seed)

    def renewed(self, seed: str) -> "Source":
        """Return other bytes in the same file, of which only the first differ: there is little to sync."""
        with self.path.open("r+b") as file:
            file.write(hashlib.sha256(seed.encode()).digest()[:8])
            file.flush()
            os.fdatasync(file.fileno())
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(self.path, self.size, f"sha256:{digest}")


@dataclass(frozen=True, slots=True)
class Push:
    """How long a push took, in seconds: from the first byte to 201, and from the last one to 201."""

    whole: float
    end: float


def push_in_one_put(peer: Peer, source: Source) -> Push:
    """POST, then one PUT with all bytes, sent by the kernel where there is no TLS."""
    with _Link(peer.connect()) as link:
        began = time.perf_counter()
        location = link.start(peer)
        length = {"Content-Length": str(source.size), "Content-Type": "application/octet-stream"}
        link.begin("PUT", _closing(location, source.digest), {**peer.headers, **length})
        sent = link.send_file(source.path)
        link.expect(201)
        return _took(began, sent)


def push_streamed(peer: Peer, source: Source) -> Push:
    """POST, one PATCH of unknown length, then an empty PUT, as Docker pushes."""
    with _Link(peer.connect()) as link:
        began = time.perf_counter()
        location = link.start(peer)
        chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
        link.begin("PATCH", location, {**peer.headers, **chunked})
        sent = link.send_chunked(source.path)
        location = path_of(link.expect(202).headers["Location"])
        link.begin("PUT", _closing(location, source.digest), {**peer.headers, "Content-Length": "0"})
        link.expect(201)
        return _took(began, sent)


def pull(peer: Peer, source: Source, *, verify: bool = False) -> float:
    """GET the blob, following a redirect; return the seconds. Only `verify` looks at the bytes."""
    began = time.perf_counter()
    with _Link(peer.connect()) as link:
        link.begin("GET", f"/v2/{REPOSITORY}/blobs/{source.digest}", peer.headers)
        answer = link.answer()
        if answer.status != 307:
            _receive(answer, source, verify=verify)
            return time.perf_counter() - began
        location = urlsplit(answer.headers["Location"])
    with _Link(HTTPConnection(location.netloc)) as link:
        link.begin("GET", f"{location.path}?{location.query}", {})
        _receive(link.answer(), source, verify=verify)
    return time.perf_counter() - began


class _Link:
    """One connection, which is used once for each request in turn."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def start(self, peer: Peer) -> str:
        """Begin an upload and return its path."""
        self.begin("POST", f"/v2/{REPOSITORY}/blobs/uploads/", {**peer.headers, "Content-Length": "0"})
        return path_of(self.expect(202).headers["Location"])

    def begin(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Send the head of a request."""
        self._connection.putrequest(method, target)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()

    def send_file(self, path: Path) -> float:
        """Send a file as the body; return when its last byte was sent."""
        with path.open("rb") as file:
            self._connection.sock.sendfile(file)
        return time.perf_counter()

    def send_chunked(self, path: Path) -> float:
        """Send a file in chunks; return when the last one was sent."""
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        self._connection.send(b"0\r\n\r\n")
        return time.perf_counter()

    def answer(self) -> HTTPResponse:
        """Return the answer, unread."""
        return self._connection.getresponse()

    def expect(self, status: int) -> HTTPResponse:
        """Read the answer, which must have the status."""
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != status:
            raise WrongAnswer(f"{answer.status}, not {status}: {body[:500]!r}")
        return answer


def _receive(answer: HTTPResponse, source: Source, *, verify: bool) -> None:
    if answer.status != 200:
        raise WrongAnswer(f"a pull was answered {answer.status}: {answer.read(500)!r}")
    buffer, received, hashed = bytearray(_PIECE), 0, hashlib.sha256()
    while count := answer.readinto(buffer):
        received += count
        if verify:
            hashed.update(memoryview(buffer)[:count])
    if received != source.size or (verify and f"sha256:{hashed.hexdigest()}" != source.digest):
        raise WrongAnswer(f"a pull brought {received} of {source.size} bytes, or wrong ones")


def _closing(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def _took(began: float, sent: float) -> Push:
    now = time.perf_counter()
    return Push(now - began, now - sent)
