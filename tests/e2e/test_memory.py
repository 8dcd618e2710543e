"""A node's memory, with a real object store and a real database."""

from pathlib import Path
from typing import Final

import pytest

from benchmarks.large import MIB
from benchmarks.memory import measure, team_node

pytestmark = pytest.mark.e2e

# Memory for uploads is bounded: longer ones than these only take longer.
_SIZE: Final = 256 * MIB


def test_a_node_stays_under_200_mib_while_four_blobs_are_pushed(tmp_path: Path) -> None:
    with team_node(tmp_path, workers=1) as kind:
        held = measure(kind, tmp_path / "pushed", _SIZE)
    # At the peak the uploads held the parts that they may, or this looked at the wrong moment.
    assert held.peak > held.at_rest + 32 * MIB
    assert held.peak < 200 * MIB, held
    # What they held was given back.
    assert held.afterwards < held.at_rest + 24 * MIB, held
