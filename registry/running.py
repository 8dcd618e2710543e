"""What runs over a data directory: servers and backups have directories in it, which they hold by locks.

The library of metrics keeps the numbers there that a server's worker processes share.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from registry.config import Settings


def metrics_of(settings: Settings) -> Path:
    """Return a new name for the directory in which the worker processes of one server share their numbers."""
    return settings.data / "metrics" / secrets.token_hex(8)


def make_metrics_directory(directory: Path) -> None:
    """Make the directory, for this process and those that it forks, and remove those that are left over.

    A server holds a lock on its directory for as long as one of its processes lives.
    """
    _make_held(directory)


def make_workspace(settings: Settings) -> Path:
    """Make a directory for what a backup is made of, and remove those that dead processes have left.

    The data directory is there.
    """
    workspace = settings.data / "backups" / secrets.token_hex(8)
    _make_held(workspace)
    return workspace


def _make_held(directory: Path) -> None:
    """Make a directory that is held as long as this process lives, and remove those that nobody holds."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory.parent):
        directory.mkdir(mode=0o700)
        _try_lock(directory)
        for other in directory.parent.glob("*/"):
            lock = None if other == directory else _try_lock(other)
            if lock is not None:
                shutil.rmtree(other)
                os.close(lock)


def is_running(settings: Settings) -> bool:
    """Tell whether a server of this data directory runs."""
    for directory in metrics_of(settings).parent.glob("*/"):
        lock = _try_lock(directory)
        if lock is None:
            return True
        os.close(lock)
    return False


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _try_lock(directory: Path) -> int | None:
    """Return the descriptor that holds the lock; None where another process holds it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
