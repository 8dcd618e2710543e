"""What a stranger may cost, at a server of processes: as slow as they like, and over TLS."""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.images import Content, noise
from tests.e2e.process import wait_until
from tests.registry.certificates import Authority
from tests.registry.served import PATIENCE, Served, serving

MIB = 1 << 20
LARGE = Content("application/octet-stream", noise("stalled", 32 * MIB))
QUICK = {"head_timeout": "1", "transfer_timeout": "1", "auth": "off"}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of two workers that waits for nobody for longer than a second or two."""
    with serving(tmp_path_factory.mktemp("quick"), workers="2", **QUICK) as served:
        yield served


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("secured")
    settings = authority.certify(folder).settings
    with serving(folder, connections_per_address="20", **QUICK, **settings) as served:
        yield served


def open_socket(served: Served) -> socket.socket:
    address = urlsplit(served.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE)


def read_to_end(connection: socket.socket) -> bytes:
    """Return what comes until the server closes, in whatever way: it must, or this times out."""
    parts: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(MIB):
            parts.append(data)
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
def test_slow_heads_are_closed_by_every_worker(quick: Served, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(open_socket(quick)) for _ in range(40)]
        for connection in slow:
            connection.sendall(sent)
        # They keep nobody else from being served.
        assert quick.ask("GET", "/healthz").status == 200
        assert [read_to_end(connection) for connection in slow] == [b""] * 40


def test_a_trickling_upload_is_answered_and_kept(quick: Served) -> None:
    with quick.wire("team/slow", None) as wire:
        location = wire.start_upload()
        with open_socket(quick) as connection:
            head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b"the first bytes")
            answer = read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "UNSUPPORTED"
        assert wire.upload_offset(location)[1] == len(b"the first bytes")


def test_a_stalled_reader_is_cut_and_its_file_given_back(quick: Served) -> None:
    """The kernel sends the blob by itself, and does not notice that its reader is gone for good."""
    with quick.wire("team/slow", None) as wire:
        wire.push_blob(LARGE)
    with open_socket(quick) as connection:
        connection.sendall(f"GET /v2/team/slow/blobs/{LARGE.digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: stalled(quick) == 1, "the reader is cut")
        assert len(read_to_end(connection)) < len(LARGE.data)
    wait_until(lambda: open_blobs(quick) == [], "the file is closed")
    assert quick.ask("GET", f"/v2/team/slow/blobs/{LARGE.digest}").body == LARGE.data
    assert [line for line in quick.log_lines if line["level"] == "error"] == []


def stalled(served: Served) -> int:
    return sum(line.get("reason") == "stalled reader" for line in served.log_lines)


def open_blobs(served: Served) -> list[str]:
    """The files of blobs that a worker has open."""
    found: list[str] = []
    for worker in served.workers:
        for link in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(served.data / "blobs"))]


def test_a_handshake_that_does_not_end_closes_the_connection(secured: Served) -> None:
    for sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
        with open_socket(secured) as connection:
            connection.sendall(sent)
            assert read_to_end(connection) == b""


def test_slow_heads_are_closed_over_tls(secured: Served, authority: Authority) -> None:
    with (
        open_socket(secured) as plain,
        authority.client.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(b"GET /v2/ HTTP/1.1\r\n")
        with contextlib.suppress(ssl.SSLError):  # it ends without a farewell
            assert read_to_end(tls) == b""


def test_a_stalled_reader_is_cut_over_tls(secured: Served, authority: Authority) -> None:
    target = f"/v2/team/slow/blobs/uploads/?digest={LARGE.digest}"
    secured.ask("POST", target, LARGE.data, tls=authority.client).expect(201)
    with (
        open_socket(secured) as plain,
        authority.client.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(f"GET /v2/team/slow/blobs/{LARGE.digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: stalled(secured) == 1, "the reader is cut")
    wait_until(lambda: open_blobs(secured) == [], "the file is closed")


def test_handshakes_count_as_connections(secured: Served, authority: Authority) -> None:
    """One that is not made yet costs more than one that is."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(open_socket(secured))
        with open_socket(secured) as one_too_many:
            assert read_to_end(one_too_many) == b""
    wait_until(lambda: is_served(secured, authority), "there is room again")


def is_served(served: Served, authority: Authority) -> bool:
    with contextlib.suppress(OSError):
        return served.ask("GET", "/healthz", tls=authority.client).status == 200
    time.sleep(0.1)
    return False
