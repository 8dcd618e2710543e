"""Two hundred clients at once: nothing fails that should not, nothing is lost, the server does not grow."""

from pathlib import Path
from typing import Final

import pytest

from .process import running
from .server import Server
from .soak import CLIENTS, MIB, SETTINGS, Crowd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SEED: Final = 20

# Caches are filled by then, and threads begun.
WARMING: Final = 12
ROUNDS: Final = 24

# What the last rounds may add: buffers of connections, and pieces of memory that nothing fits into.
MOST_GROWTH: Final = 24 * MIB
MOST_DESCRIPTORS: Final = 8


async def test_many_clients_for_long(tmp_path: Path) -> None:
    with running(Server(tmp_path, SETTINGS)) as server:
        crowd = Crowd(server, SEED)
        warm = await crowd.run(WARMING)
        end = await crowd.run(ROUNDS)
        await crowd.verify()
        assert crowd.soak.faults == []
        assert crowd.soak.done.total() >= CLIENTS * (WARMING + ROUNDS)
        assert end.memory - warm.memory < MOST_GROWTH, (warm, end)
        assert end.descriptors - warm.descriptors <= MOST_DESCRIPTORS, (warm, end)
