"""Damaging what a store of files keeps, and checking it."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from registry.check import Check, Plan, Report
from storage.blobs import BlobStore
from storage.digest import Digest
from storage.metadata.engine import Metadata

NO_TIME = timedelta(seconds=-60)
"""The age of what was written just now, and somewhat ahead of clocks."""


class Unseen:
    """A progress that nobody looks at."""

    def expect(self, what: str, total: int) -> None:
        """Show nothing."""

    def advance(self, amount: int) -> None:
        """Show nothing."""


async def check(metadata: Metadata, store: BlobStore, **plan: Any) -> Report:
    """Check now, whatever is young."""
    return await Check(metadata, store, Plan(**{"young": NO_TIME, **plan}), Unseen()).run()


def path_of(root: Path, digest: Digest) -> Path:
    """Return the one file of a blob."""
    [path] = (root / "blobs" / digest.algorithm / digest.hex[:2]).glob(f"{digest.hex}*")
    return path


def lose(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def cut(path: Path) -> None:
    """Take the last byte."""
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    """Add a byte."""
    with path.open("ab") as file:
        file.write(b"x")


def flip(path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def kinds(report: Report) -> Sequence[tuple[str, str]]:
    """Return kind and subject of all findings, in order."""
    return sorted((each.kind, each.subject) for each in report.findings)


DAMAGES: Final = [(lose, "missing"), (cut, "truncated"), (lengthen, "truncated"), (flip, "corrupt")]
"""Ways to damage a file, and what each is called."""
