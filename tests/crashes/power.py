"""Loses the power at every moment of a recorded run at which something else would be left of it.

    python -m tests.crashes.power FOLDER TRACE FOLDER-OF-ITS-OWN

FOLDER and TRACE are those of `tests.crashes.recording`, the folder as it was before. What the disk has then
is put into a directory, and looked at as the next start of the server would: all that was acknowledged is
there, byte for byte, and rows and bytes agree once it was swept. Prints how many states were looked at.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from storage.filesystem import FileStore
from tests.crashes.disk import Disk, Left, calls_in
from tests.crashes.killing import fork
from tests.crashes.promises import Promises, require_kept
from tests.crashes.recording import PROMISES


def states(folder: Path, trace: Path) -> Iterator[tuple[str, Left, Promises]]:
    """Yield how the power was lost, what was left and what had been promised, each state once."""
    disk, seen = Disk(folder), set[bytes]()
    for number, (call, arguments, result, opened) in enumerate(calls_in(trace)):
        # Some of the writes may have come to the disk before the sync that was to bring them all.
        torn = disk.torn(number) if call in ("fsync", "fdatasync") else None
        if not disk.does(call, arguments, result, opened):
            continue
        promised = disk.content(folder / PROMISES)
        ways = {"all": disk.forgetful(), "bytes": disk.half_forgetful(), "some": torn}
        for way, left in ways.items():
            if left is None:
                continue
            data = {path: each for path, each in left.items() if "/data/" in path and "-shm" not in path}
            state = _digest(data, promised)
            if state not in seen:
                seen.add(state)
                yield way, data, dict(json.loads(line) for line in promised.splitlines())


def _digest(data: Left, promised: bytes) -> bytes:
    running = hashlib.blake2b(promised)
    for path, content in sorted(data.items()):
        running.update(b"%s %d " % (path.encode(), len(content)))
        running.update(content)
    return running.digest()


def put(data: Left, folder: Path, target: Path) -> None:
    """Let the directory hold just these files."""
    for path in target.rglob("*"):
        if path.is_file():
            path.unlink()
    for name, content in data.items():
        (target / Path(name).relative_to(folder / "data")).write_bytes(content)


def main(folder: Path, trace: Path, target: Path) -> None:
    """Look at every state."""
    asyncio.run(FileStore(target).prepare())
    counts = {"all": 0, "bytes": 0, "some": 0}
    for way, data, promises in states(folder, trace):
        put(data, folder, target)
        code, _ = fork(lambda _, p=promises: asyncio.run(require_kept(target, p)))  # type: ignore[misc]
        if code != 0:
            raise SystemExit(f"state {sum(counts.values())}, where {way} was lost that was not synced")
        counts[way] += 1
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
