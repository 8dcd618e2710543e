"""Sealed objects: what comes back, and what does not."""

import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from registry.backup.sealing import KEY_SIZE, Plain, SealBroken, Sealed, Sealing
from storage.digest import Digest

MIB = 1024 * 1024
KEY = bytes(range(KEY_SIZE))
CHUNK = MIB + 16


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def sealed(sealing: Sealing, data: bytes, name: str = "name", size: int = 300_001) -> bytes:
    return b"".join([piece async for piece in sealing.seal(name, in_pieces(data, size))])


async def opened(sealing: Sealing, data: bytes, name: str = "name", size: int = 70_001) -> bytes:
    return b"".join([piece async for piece in sealing.open(name, in_pieces(data, size))])


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 5])
@pytest.mark.parametrize("sealing", [Plain(), Sealed(KEY)], ids=["plain", "sealed"])
async def test_content_comes_back(sealing: Sealing, size: int) -> None:
    data = secrets.token_bytes(size)
    written = await sealed(sealing, data)
    assert len(written) == sealing.size(size)
    assert await opened(sealing, written) == data


async def test_the_same_content_looks_different_each_time() -> None:
    first, second = await sealed(Sealed(KEY), b"secret"), await sealed(Sealed(KEY), b"secret")
    assert first != second
    assert b"secret" not in first


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing left": lambda data: b"",
    "cut in the salt": lambda data: data[:20],
    "cut behind the salt": lambda data: data[:32],
    "cut at a chunk": lambda data: data[: 32 + CHUNK],
    "cut in a chunk": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "salt changed": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "bit changed": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "chunks exchanged": lambda data: (
        data[:32] + data[32 + CHUNK : 32 + 2 * CHUNK] + data[32 : 32 + CHUNK] + data[32 + 2 * CHUNK :]
    ),
    "chunk left out": lambda data: data[:32] + data[32 + CHUNK :],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_not_opened(change: str) -> None:
    data = CHANGES[change](await sealed(Sealed(KEY), secrets.token_bytes(2 * MIB + 100)))
    with pytest.raises(SealBroken):
        await opened(Sealed(KEY), data)


async def test_another_key_or_name_opens_nothing() -> None:
    data = await sealed(Sealed(KEY), b"x")
    with pytest.raises(SealBroken):
        await opened(Sealed(KEY[::-1]), data)
    with pytest.raises(SealBroken):
        await opened(Sealed(KEY), data, "another")


def test_names_tell_digests_only_where_nothing_is_sealed() -> None:
    digest = Digest.of(b"x")
    assert Plain().blob(digest) == f"blobs/sha256/{digest.hex[:2]}/{digest.hex}"
    name = Sealed(KEY).blob(digest)
    assert digest.hex not in name
    assert name == Sealed(KEY).blob(digest)
    assert name != Sealed(KEY[::-1]).blob(digest)
    assert len({Plain().fingerprint, Sealed(KEY).fingerprint, Sealed(KEY[::-1]).fingerprint}) == 3
