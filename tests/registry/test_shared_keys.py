"""Signing keys that nodes share through the database."""

import asyncio
from typing import Final

import pytest

from auth.jwk import SigningKey
from auth.keys import KeyFileError
from auth.sealing import Seal, WrongSecret
from registry.shared_keys import PUBLISHED_AHEAD, SharedKeys
from storage.metadata import signing_keys
from tests.registry.registries import Stores

SECRET: Final = "a secret of more than thirty-two characters"
OTHER: Final = "another secret of more than thirty-two characters"

START: Final = 1_800_000_000


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(stores: Stores, clock: Clock) -> SharedKeys:
    return SharedKeys(stores.metadata, SECRET, clock=clock)


@pytest.fixture
def others(other_stores: Stores, clock: Clock) -> SharedKeys:
    """The keys as another node has them."""
    return SharedKeys(other_stores.metadata, SECRET, clock=clock)


def test_sealed_key_opens_with_its_secret_alone() -> None:
    key = SigningKey.generate("ES256", START)
    sealed = Seal(SECRET).seal(key)
    assert Seal(SECRET).open(sealed) == key
    assert "PRIVATE" not in sealed
    with pytest.raises(WrongSecret):
        Seal(OTHER).open(sealed)
    with pytest.raises(WrongSecret):
        Seal(SECRET).open(sealed[:-8] + "AAAAAAA=")


async def test_nodes_that_start_together_agree_on_one_key(keys: SharedKeys, others: SharedKeys) -> None:
    await asyncio.gather(keys.ensure("ES256"), others.ensure("ES256"))
    await keys.load()
    assert len(keys.ring().keys) == 1
    assert keys.ring().signing.kid == others.ring().signing.kid


async def test_database_holds_no_key_in_the_open(keys: SharedKeys, stores: Stores) -> None:
    await keys.ensure("EdDSA")
    (stored,) = await stores.metadata.lookup(signing_keys.everything)
    assert "PRIVATE" not in stored.sealed
    assert stored.kid == keys.ring().signing.kid


async def test_new_key_is_known_before_it_signs(keys: SharedKeys, others: SharedKeys, clock: Clock) -> None:
    await keys.ensure("ES256")
    first = keys.ring().signing.kid
    new = (await keys.rotate("ES256", 300)).kid
    await others.load()
    for node in (keys, others):
        assert node.ring().signing.kid == first
        assert new in node.ring().verifying_keys()
    clock.now += PUBLISHED_AHEAD
    for node in (keys, others):
        assert node.ring().signing.kid == new
        assert first in node.ring().verifying_keys()


async def test_superseded_key_goes_when_its_tokens_have_ended(keys: SharedKeys, clock: Clock) -> None:
    await keys.ensure("ES256")
    first = keys.ring().signing.kid
    second = (await keys.rotate("ES256", 300)).kid
    clock.now += PUBLISHED_AHEAD + 300
    third = (await keys.rotate("ES256", 300)).kid
    assert set(keys.ring().verifying_keys()) == {first, second, third}
    clock.now += 1
    fourth = (await keys.rotate("ES256", 300)).kid
    assert set(keys.ring().verifying_keys()) == {second, third, fourth}


async def test_clock_behind_the_first_key_still_signs(keys: SharedKeys, clock: Clock) -> None:
    await keys.ensure("ES256")
    clock.now -= 30
    await keys.load()
    assert keys.ring().signing.created == START


async def test_keys_of_another_secret_are_told_of(keys: SharedKeys, stores: Stores, clock: Clock) -> None:
    await keys.ensure("ES256")
    strangers = SharedKeys(stores.metadata, OTHER, clock=clock)
    with pytest.raises(KeyFileError, match=r"another secret.*key rotate --replace"):
        await strangers.load()
    new = await strangers.replace("ES256")
    assert list(strangers.ring().verifying_keys()) == [new.kid]
    assert strangers.ring().signing.kid == new.kid


async def test_no_key_is_told_of(keys: SharedKeys) -> None:
    with pytest.raises(KeyFileError, match="no signing key"):
        await keys.load()
