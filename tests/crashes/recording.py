"""Does each operation once, and says on a file what it promised.

    strace … python -m tests.crashes.recording FOLDER

The data are in FOLDER/data. A line of FOLDER/promises is a promise, in JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.crashes.operations import OPERATIONS, Run, collect
from tests.crashes.promises import registry_in

PROMISES = "promises"


async def record(folder: Path) -> None:
    """Do everything, one after the other."""
    out = os.open(folder / PROMISES, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        # Collection first: what others push without a manifest would be collected at once.
        for number, operation in enumerate(sorted(OPERATIONS.values(), key=lambda each: each is not collect)):
            async with registry_in(folder / "data") as (registry, stores):
                run = Run(registry, stores, number, lambda *words: _tell(out, words))
                async for _ in operation(run):
                    pass
    finally:
        os.close(out)


def _tell(out: int, words: tuple[str, ...]) -> None:
    os.write(out, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
