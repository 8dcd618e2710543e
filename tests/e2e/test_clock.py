"""A server whose clock jumps by hours, forwards and back, amid pushes."""

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from .clients import debian
from .images import Image, noise, small_image
from .process import running, wait_until
from .server import ADMIN, Server
from .wire import UnexpectedAnswer, Wire

pytestmark = pytest.mark.e2e

REPOSITORY: Final = "library/clock"

HOUR: Final = 3600

# Seconds: within a token's lifetime, past it, past all that expires, into the past, and home.
JUMPS: Final = (240, 2 * HOUR, 40 * 24 * HOUR, -3 * HOUR, 0)


class Clock:
    """The clock of a server: another one than the machine's, and not the one by which it waits."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([debian("tcc"), "-nostdlib", "-shared", "-o", library, source], check=True)
        self._shift = folder / "shift"
        self.set(0)
        self.settings = {
            "LD_PRELOAD": str(library),
            "CLOCK_SHIFT": str(self._shift),
            "LONGSHORE_SWEEP_INTERVAL": "1s",
        }

    def set(self, seconds: int) -> None:
        """Let it be so many seconds ahead."""
        new = self._shift.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.replace(self._shift)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    with running(Server(tmp_path, clock.settings)) as server:
        yield server


def test_clock_that_jumps_loses_nothing(server: Server, clock: Clock) -> None:
    acknowledged: dict[str, Image] = {}
    for number, shift in enumerate(JUMPS):
        pushed, begun = small_image(f"pushed {number}"), small_image(f"begun {number}")
        large = noise(f"upload {number}", 100_000)
        with Wire(server.host, REPOSITORY, ADMIN) as wire:
            location = wire.patch_upload(wire.start_upload(), [large[:50_000]], 0, 50_000)
            wire.push_blob(begun.blobs[0])
            clock.set(shift)
            _go_on(server, location, large)
        for tag, each in ((f"pushed-{number}", pushed), (f"begun-{number}", begun)):
            with Wire(server.host, REPOSITORY, ADMIN) as wire:
                wire.push(tag, each)
            acknowledged[tag] = each
        _require_whole(server, acknowledged)
        _wait_for_a_turn(server)
    server.restart()
    _require_whole(server, acknowledged)


def _go_on(server: Server, location: str, content: bytes) -> None:
    """End the upload by a client that asks for a new token, or find that it has to begin anew."""
    with Wire(server.host, REPOSITORY, ADMIN) as wire:
        try:
            location = wire.patch_upload(location, [content[50_000:]], 50_000, len(content) - 50_000)
        except UnexpectedAnswer as error:
            assert "UPLOAD_UNKNOWN" in str(error)


def _wait_for_a_turn(server: Server) -> None:
    """Return when the sweep has come to its turn."""
    before = _last_turn(server)
    wait_until(lambda: _last_turn(server) != before, "the sweep goes on")


def _last_turn(server: Server) -> int | None:
    """When the sweep began last, by the server's clock."""
    with contextlib.closing(sqlite3.connect(server.data / "longshore.db")) as db:
        [began_at] = db.execute("SELECT began_at FROM leases WHERE name = 'sweep'").fetchone()
    return None if began_at is None else int(began_at)


def _require_whole(server: Server, acknowledged: dict[str, Image]) -> None:
    with Wire(server.host, REPOSITORY, ADMIN) as wire:
        for tag, each in acknowledged.items():
            assert wire.manifest(tag) == each.manifest.data
            for blob in each.blobs:
                assert wire.blob(blob.digest) == blob.data
