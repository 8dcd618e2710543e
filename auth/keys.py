"""The signing keys in a directory: the one place in `auth` that reads and writes files.

    <directory>/            0700
        key-000001.pem      0600  superseded, still verifies
        key-000002.pem      0600  newest, signs
        .new-3f9c…          a key that is being written

Any other `*.pem` in it is a key too, so an operator may bring one. Files are never rewritten. Processes need
no lock: a key is written under a hidden name and then linked to the next number, which one of them gets.

    KeyFileError
    └── UnsafeKeyFile
"""

import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

from auth.jwk import Algorithm, InvalidKey, KeyRing, SigningKey

_NUMBERED: Final = re.compile(r"key-(\d{1,12})\.pem")
_MAX_FILE: Final = 64 * 1024
# The coarsest time stamps of file systems in use. A directory that changed this recently may
# change again without its time stamp telling.
_GRANULARITY_NS: Final = 2_000_000_000


class KeyFileError(Exception):
    """The keys cannot be used; the message says which file and what to do about it."""


class UnsafeKeyFile(KeyFileError):
    """Other users of the machine could read a key or add one."""


class KeyDirectory:
    """Signing keys in files, for several processes at once. `clock` returns seconds since the epoch."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._ring: KeyRing | None = None
        self._seen: tuple[int, int] | None = None

    def ensure(self, algorithm: Algorithm) -> KeyRing:
        """Return the keys, making the directory and the first key where there is none.

        Processes that start together agree on one key. Keys that exist stay, of whatever algorithm: to
        change it, rotate. Raises KeyFileError, OSError.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._files():
            # Losing the race means that another process has made the first key.
            self._write(SigningKey.generate(algorithm, int(self._clock())), 1)
        return self.load()

    def load(self) -> KeyRing:
        """Read every key. Raises KeyFileError (UnsafeKeyFile, no keys, a damaged file) and OSError."""
        return KeyRing(self._read_all().values())

    def ring(self) -> KeyRing:
        """Return the keys as of now, for every request: one stat, and a read only after a change.

        Raises as `load` does: with files that are not safe nothing is issued or believed.
        """
        before = self._path.stat()
        seen = (before.st_ino, before.st_mtime_ns)
        if self._ring is None or seen != self._seen:
            self._ring = self.load()
            # Until the change is older than the time stamps are fine, the next call reads again.
            settled = abs(self._clock() * 1e9 - before.st_mtime_ns) > _GRANULARITY_NS
            self._seen = seen if settled else None
        return self._ring

    def rotate(self, algorithm: Algorithm, keep_seconds: int) -> KeyRing:
        """Add a key that signs from now on, and remove those superseded more than `keep_seconds` ago.

        `keep_seconds` is at least the lifetime of a token: with its key, a token stops being valid.
        Raises KeyFileError, OSError.
        """
        now = int(self._clock())
        while True:
            keys = self._read_all()
            # Always newer than the last one, also where the clock was set back.
            newest = max(key.created for key in keys.values())
            if self._write(SigningKey.generate(algorithm, max(now, newest + 1)), self._last_number() + 1):
                break
        self._remove_superseded(now - keep_seconds)
        return self.load()

    def _remove_superseded(self, before: int) -> None:
        keys = sorted(self._read_all().items(), key=lambda item: item[1].created, reverse=True)
        for (_, successor), (path, _) in pairwise(keys):
            if successor.created < before:
                path.unlink(missing_ok=True)
        _sync_directory(self._path)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._path.glob("*.pem") if not path.name.startswith("."))

    def _last_number(self) -> int:
        matches = (_NUMBERED.fullmatch(path.name) for path in self._files())
        return max((int(match[1]) for match in matches if match is not None), default=0)

    def _read_all(self) -> dict[Path, SigningKey]:
        if self._path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnsafeKeyFile(f"{self._path}: other users may add keys here. Run: chmod 700 {self._path}")
        found = {path: _read_key(path) for path in self._files()}
        keys = {path: key for path, key in found.items() if key is not None}
        if not keys:
            raise KeyFileError(f"{self._path}: there is no signing key (*.pem) here")
        return keys

    def _write(self, key: SigningKey, number: int) -> bool:
        """Store a key under a number; False where another process has taken the number."""
        hidden = self._path / f".new-{secrets.token_hex(8)}"
        _write_new(hidden, key.to_pem())
        try:
            # A link, unlike a rename, never replaces what is there; the content is complete by then.
            (self._path / f"key-{number:06}.pem").hardlink_to(hidden)
        except FileExistsError:
            return False
        finally:
            hidden.unlink()
        _sync_directory(self._path)
        return True


def _read_key(path: Path) -> SigningKey | None:
    """Read one file; None where a rotation in another process has just removed it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        # The open file is looked at, not the path, which may be exchanged in between.
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UnsafeKeyFile(
                f"{path}: other users may use this signing key (mode {mode:04o}). Run: chmod 600 {path}"
            )
        pem = file.read(_MAX_FILE)
    try:
        return SigningKey.from_pem(pem, created=int(status.st_mtime))
    except InvalidKey as error:
        raise KeyFileError(f"{path}: {error}") from None


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
