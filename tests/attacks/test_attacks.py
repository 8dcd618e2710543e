"""The table of attacks against a real server: each is refused as it says, and leaves the server as it was."""

from collections.abc import Iterator

import pytest

from tests.attacks.attack import Attack
from tests.attacks.table import ATTACKS
from tests.attacks.tokens import PULL
from tests.attacks.town import BOB, LAYER, Town, founding


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A server for all attacks; what they did to it would show in the next ones."""
    with founding(tmp_path_factory.mktemp("town")) as town:
        yield town
        check_unharmed(town)


def check_unharmed(town: Town) -> None:
    """Who may pull still does, and nothing was a failure of the server's."""
    assert town.pull(town.token(BOB, PULL)).expect(200).body == LAYER.data
    assert town.pull(town.forger.of()).expect(200).body == LAYER.data  # what the forgeries vary is believed
    assert [line for line in town.served.log_lines if line["level"] in ("error", "critical")] == []
    assert [line for line in town.served.requests if line["status"] >= 500] == []


@pytest.mark.parametrize("attack", ATTACKS, ids=[each.name for each in ATTACKS])
def test_attack(town: Town, attack: Attack) -> None:
    assert attack.faults(town) == []


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(ATTACKS) >= 60
    assert len({each.name for each in ATTACKS}) == len(ATTACKS)
