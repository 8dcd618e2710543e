"""How long an answer takes tells nothing of what is there.

The machine may be as busy as it likes: the quickest of several attempts counts, the two kinds take turns, and
what would tell them apart, a password that is not hashed, makes a difference of many times.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.attacks.tokens import PULL
from tests.attacks.town import MALLORY, Town, basic, founding
from tests.e2e.clients import Account
from tests.e2e.wire import Answer

# Attempts of each kind where a password is hashed, and where a request takes but milliseconds.
FEW: Final = 7
MANY: Final = 40

# How many times as long one may take as the other.
BOUND: Final = 3


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A server where a password takes a tenth of a second, as it does outside of tests."""
    with founding(
        tmp_path_factory.mktemp("town"), password_time_cost="4", password_memory_cost="65536"
    ) as town:
        yield town


def quickest(rounds: int, *attempts: Callable[[], Answer]) -> list[float]:
    """Return the least seconds that each took; they take turns."""
    least = [float("inf")] * len(attempts)
    for _ in range(rounds):
        for number, attempt in enumerate(attempts):
            started = time.perf_counter()
            attempt()
            least[number] = min(least[number], time.perf_counter() - started)
    return least


def check_alike(left: float, right: float) -> None:
    assert left < BOUND * right, (left, right)
    assert right < BOUND * left, (left, right)


def login(town: Town, name: str) -> Callable[[], Answer]:
    """A wrong password for an account, from an address that is not slowed down."""

    def attempt() -> Answer:
        header = {"Authorization": basic(Account(name, "wrong"))}
        return town.ask("GET", "/token?service=longshore", headers=header).expect(401)

    return attempt


def test_an_unknown_name_takes_as_long_as_a_wrong_password(town: Town) -> None:
    unknown, known = quickest(FEW, login(town, "nobody-is-called-so"), login(town, "alice"))
    (unhashed,) = quickest(FEW, lambda: town.ask("GET", "/healthz").expect(200))
    check_alike(unknown, known)
    assert unknown > BOUND * unhashed, "a password that is looked at takes its time, or nothing was measured"


def test_a_private_repository_takes_as_long_as_none(town: Town) -> None:
    token = town.token(MALLORY, PULL)
    targets = [f"/v2/alice/{name}/manifests/v1" for name in ("secret", "absent")]

    def ask(target: str) -> Callable[[], Answer]:
        return lambda: town.bearing(token, "GET", target).expect(401)

    check_alike(*quickest(MANY, *map(ask, targets)))


def test_a_private_blob_that_is_mounted_takes_as_long_as_none(town: Town) -> None:
    token = town.token(MALLORY, "repository:mallory/own:pull,push")
    digests = [town.blob("alice/secret").rpartition("/")[2], "sha256:" + "0" * 64]

    def mount(digest: str) -> Callable[[], Answer]:
        target = f"/v2/mallory/own/blobs/uploads/?mount={digest}&from=alice/secret"
        return lambda: town.bearing(token, "POST", target).expect(202)

    check_alike(*quickest(MANY, *map(mount, digests)))
