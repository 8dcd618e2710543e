"""The contract of Registry for uploads, over every registry in `REGISTRIES`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity
from registry.errors import Problem, UploadError
from registry.interface import Chunk, Registry
from registry.manifest import OCTET_STREAM
from storage.digest import Digest
from tests.registry.conftest import WITH_S3, OpenRegistry
from tests.registry.content import body, broken, name, push_blob, read_blob, refused, repositories_of

APP: Final = name("team/app")
OTHER: Final = name("team/other")

CONTENT: Final = b"0123456789"
DIGEST: Final = Digest.of(CONTENT)
ALGORITHMS: Final = ["sha256", "sha512"]

# More than one batch of what an upload hands to a thread, and of no round length.
LONG: Final = bytes(range(256)) * 10_007


@pytest.fixture(params=WITH_S3)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def start(registry: Registry, *parts: bytes, algorithm: str = "sha256") -> str:
    """Begin an upload, add each part in a request of its own, and return its id."""
    upload = await registry.start_upload(APP, algorithm)
    for part in parts:
        await registry.append_upload(APP, upload.id, Chunk(body(part)))
    return upload.id


async def finish(registry: Registry, upload_id: str, digest: Digest = DIGEST, *parts: bytes) -> None:
    await registry.finish_upload(APP, upload_id, digest, Chunk(body(*parts)))


async def offset_of(registry: Registry, upload_id: str) -> int:
    return (await registry.get_upload(APP, upload_id)).offset


# The ways of clients


async def test_new_upload_is_empty(registry: Registry) -> None:
    upload = await registry.start_upload(APP, "sha256")
    assert upload.offset == 0
    assert upload == await registry.get_upload(APP, upload.id)
    assert upload.id != (await registry.start_upload(APP, "sha256")).id


@pytest.mark.parametrize("content", [b"", b"a", CONTENT, LONG], ids=["empty", "byte", "short", "long"])
@pytest.mark.parametrize("digested", ALGORITHMS)
@pytest.mark.parametrize("announced", ALGORITHMS)
async def test_one_request(registry: Registry, content: bytes, announced: str, digested: str) -> None:
    digest = Digest.of(content, digested)
    upload = await registry.start_upload(APP, announced)
    stored = await registry.finish_upload(APP, upload.id, digest, Chunk(body(content[:5], content[5:])))
    assert stored.to_json() == {"mediaType": OCTET_STREAM, "digest": digest, "size": len(content)}
    assert await read_blob(registry, APP, digest) == content


@pytest.mark.parametrize("content", [b"", b"a", CONTENT, LONG], ids=["empty", "byte", "short", "long"])
@pytest.mark.parametrize("digested", ALGORITHMS)
@pytest.mark.parametrize("announced", ALGORITHMS)
async def test_one_stream_and_an_empty_close(
    registry: Registry, content: bytes, announced: str, digested: str
) -> None:
    digest = Digest.of(content, digested)
    upload_id = await start(registry, algorithm=announced)
    upload = await registry.append_upload(APP, upload_id, Chunk(body(content[:7], b"", content[7:])))
    assert upload.offset == len(content)
    await finish(registry, upload_id, digest)
    assert await read_blob(registry, APP, digest) == content


@pytest.mark.parametrize("size", [1, 3, 10, 11])
@pytest.mark.parametrize("digested", ALGORITHMS)
async def test_chunks(registry: Registry, size: int, digested: str) -> None:
    upload_id = await start(registry)
    for at in range(0, len(CONTENT), size):
        part = CONTENT[at : at + size]
        upload = await registry.append_upload(APP, upload_id, Chunk(body(part), at, len(part)))
        assert (upload.id, upload.offset) == (upload_id, at + len(part))
        assert await offset_of(registry, upload_id) == at + len(part)
    await finish(registry, upload_id, Digest.of(CONTENT, digested))
    assert await read_blob(registry, APP, Digest.of(CONTENT, digested)) == CONTENT


async def test_last_chunk_comes_with_the_close(registry: Registry) -> None:
    upload_id = await start(registry, CONTENT[:4])
    await registry.finish_upload(APP, upload_id, DIGEST, Chunk(body(CONTENT[4:]), 4, 6))
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def test_long_chunks(registry: Registry) -> None:
    upload_id = await start(registry, LONG, LONG)
    await finish(registry, upload_id, Digest.of(LONG * 3), LONG)
    assert await read_blob(registry, APP, Digest.of(LONG * 3)) == LONG * 3


async def test_repository_is_there_with_its_first_blob(registry: Registry) -> None:
    upload_id = await start(registry, CONTENT)
    assert await repositories_of(registry) == []
    await finish(registry, upload_id)
    assert await repositories_of(registry) == [APP]


async def test_same_blob_uploaded_twice_at_once(registry: Registry) -> None:
    await asyncio.gather(*(push_blob(registry, APP, LONG) for _ in range(4)))
    assert await read_blob(registry, APP, Digest.of(LONG)) == LONG


# What does not fit


@pytest.mark.parametrize("at", [0, 1, 3, 5, 10**18])
@pytest.mark.parametrize("closing", [False, True])
async def test_chunk_from_elsewhere_is_refused(registry: Registry, at: int, closing: bool) -> None:
    upload_id = await start(registry, CONTENT[:4])
    with refused(Problem.UPLOAD_RANGE_INVALID) as caught:
        await _send(registry, upload_id, Chunk(body(b"456789"), at, 6), closing=closing)
    _is_told(caught.value, upload_id, 4)
    await finish(registry, upload_id, DIGEST, CONTENT[4:])
    assert await read_blob(registry, APP, DIGEST) == CONTENT


@pytest.mark.parametrize("parts", [[b""], [b"45678"], [b"4567890"], [b"4", b"5678901234"], [LONG, LONG]])
@pytest.mark.parametrize("before", [0, 4])
@pytest.mark.parametrize("closing", [False, True])
async def test_chunk_of_another_length_leaves_the_upload_where_it_was(
    registry: Registry, parts: list[bytes], before: int, closing: bool
) -> None:
    upload_id = await start(registry, CONTENT[:before])
    with refused(Problem.SIZE_INVALID) as caught:
        await _send(registry, upload_id, Chunk(body(*parts), before, 6), closing=closing)
    _is_told(caught.value, upload_id, before)
    assert await offset_of(registry, upload_id) == before
    await registry.append_upload(APP, upload_id, Chunk(body(CONTENT[before:]), before, 10 - before))
    await finish(registry, upload_id)
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def _send(registry: Registry, upload_id: str, chunk: Chunk, *, closing: bool) -> None:
    if closing:
        await registry.finish_upload(APP, upload_id, DIGEST, chunk)
    else:
        await registry.append_upload(APP, upload_id, chunk)


def _is_told(error: Exception, upload_id: str, offset: int) -> None:
    assert isinstance(error, UploadError)
    assert (error.upload_id, error.offset) == (upload_id, offset)
    assert error.detail == {"offset": offset}


@pytest.mark.parametrize("digested", ALGORITHMS)
@pytest.mark.parametrize("parts", [([], [b"?"]), ([b"?"], []), ([b"?"], [b"?"])])
async def test_digest_that_does_not_match_drops_the_upload(
    registry: Registry, parts: tuple[list[bytes], list[bytes]], digested: str
) -> None:
    upload_id = await start(registry, *parts[0])
    digest = Digest.of(CONTENT, digested)
    with refused(Problem.DIGEST_INVALID):
        await finish(registry, upload_id, digest, *parts[1])
    for call in CALLS.values():
        with refused(Problem.UPLOAD_UNKNOWN):
            await call(registry, upload_id)
    with refused(Problem.BLOB_UNKNOWN):
        await registry.find_blob(APP, digest)
    assert await repositories_of(registry) == []


# Which upload

Call = Callable[[Registry, str], Awaitable[object]]

CALLS: Final[dict[str, Call]] = {
    "get": lambda registry, each: registry.get_upload(APP, each),
    "append": lambda registry, each: registry.append_upload(APP, each, Chunk(body(b"x"))),
    "finish": lambda registry, each: registry.finish_upload(APP, each, DIGEST, Chunk(body())),
    "cancel": lambda registry, each: registry.cancel_upload(APP, each),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "upload_id", ["", ".", "..", "../x", "/etc/passwd", "a" * 5000, "0" * 32, "é", "%00", "\0"]
)
async def test_unknown_upload(registry: Registry, upload_id: str, call: str) -> None:
    with refused(Problem.UPLOAD_UNKNOWN):
        await CALLS[call](registry, upload_id)


@pytest.mark.parametrize("call", CALLS)
async def test_upload_of_another_repository_is_unknown(registry: Registry, call: str) -> None:
    upload = await registry.start_upload(OTHER, "sha256")
    with refused(Problem.UPLOAD_UNKNOWN):
        await CALLS[call](registry, upload.id)
    assert (await registry.get_upload(OTHER, upload.id)).offset == 0


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("owner", "other"),
    [
        ("ann", "bob"),
        ("ann", "Ann"),
        ("ann", ""),
        ("", "ann"),
        ("ann", "system"),
        ("system", "ann"),
        ("ann", "ann of outside"),
        ("ann of outside", "ann"),
    ],
)
async def test_upload_of_somebody_else_is_unknown(
    open_registry: OpenRegistry, owner: str, other: str, call: str
) -> None:
    # An administrator's push makes the namespace, which not every owner here could.
    await push_blob(await open_registry(caller=SYSTEM), APP, b"first")
    owned, others = await open_registry(caller=_caller(owner)), await open_registry(caller=_caller(other))
    upload_id = await start(owned, CONTENT[:4])
    with refused(Problem.UPLOAD_UNKNOWN):
        await CALLS[call](others, upload_id)
    assert await offset_of(owned, upload_id) == 4


def _caller(each: str) -> Identity:
    known = {"": ANONYMOUS, "system": SYSTEM, "ann of outside": Identity(None, "ann", external=True)}
    return known.get(each, Identity(1, each, is_admin=True))


@pytest.mark.parametrize("call", CALLS)
async def test_finished_and_cancelled_uploads_are_unknown(registry: Registry, call: str) -> None:
    finished, cancelled = await start(registry, CONTENT), await start(registry, CONTENT)
    await finish(registry, finished)
    await registry.cancel_upload(APP, cancelled)
    for upload_id in (finished, cancelled):
        with refused(Problem.UPLOAD_UNKNOWN):
            await CALLS[call](registry, upload_id)
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def test_uploads_do_not_disturb_each_other(registry: Registry) -> None:
    contents = [bytes([number]) * 100 for number in range(8)]
    ids = [await start(registry) for _ in contents]
    for at in range(0, 100, 25):
        await asyncio.gather(
            *(
                registry.append_upload(APP, upload_id, Chunk(body(content[at : at + 25]), at, 25))
                for upload_id, content in zip(ids, contents, strict=True)
            )
        )
    for upload_id, content in zip(ids, contents, strict=True):
        await finish(registry, upload_id, Digest.of(content))
        assert await read_blob(registry, APP, Digest.of(content)) == content


# Two requests at once


@pytest.mark.parametrize("call", ["append", "finish", "cancel"])
async def test_upload_in_use_is_busy(registry: Registry, call: str) -> None:
    upload_id = await start(registry, CONTENT[:4])
    arrived, goes_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT[4:6]
        arrived.set()
        await goes_on.wait()
        yield CONTENT[6:]

    first = asyncio.create_task(registry.append_upload(APP, upload_id, Chunk(slow())))
    await arrived.wait()
    with refused(Problem.UPLOAD_BUSY) as caught:
        await CALLS[call](registry, upload_id)
    _is_told(caught.value, upload_id, 4)
    assert await offset_of(registry, upload_id) == 4
    goes_on.set()
    assert (await first).offset == 10
    await finish(registry, upload_id)
    assert await read_blob(registry, APP, DIGEST) == CONTENT


# Bodies that break off


@pytest.mark.parametrize("before", [b"", CONTENT[:2]], ids=["first", "second"])
@pytest.mark.parametrize("parts", [[], [b"x"], [b"abc", b"def"], [LONG, LONG[:99]]])
@pytest.mark.parametrize("digested", ALGORITHMS)
@pytest.mark.parametrize("closing", [False, True])
async def test_what_arrived_is_kept(
    registry: Registry, before: bytes, parts: list[bytes], digested: str, closing: bool
) -> None:
    upload_id = await start(registry, before)
    arrived = before + b"".join(parts)
    chunk = Chunk(broken(*parts), len(before), len(arrived) + 1)
    digest = Digest.of(arrived + CONTENT, digested)
    with pytest.raises(ConnectionResetError):
        if closing:
            await registry.finish_upload(APP, upload_id, digest, chunk)
        else:
            await registry.append_upload(APP, upload_id, chunk)
    assert await offset_of(registry, upload_id) == len(arrived)
    await registry.append_upload(APP, upload_id, Chunk(body(CONTENT), len(arrived), len(CONTENT)))
    await finish(registry, upload_id, digest)
    assert await read_blob(registry, APP, digest) == arrived + CONTENT


async def test_stream_that_breaks_off_twice(registry: Registry) -> None:
    upload_id = await start(registry)
    for at in (0, 3, 6):
        with pytest.raises(ConnectionResetError):
            await registry.append_upload(APP, upload_id, Chunk(broken(CONTENT[at : at + 3])))
    await finish(registry, upload_id, DIGEST, CONTENT[9:])
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def test_stream_that_begins_with_nothing(registry: Registry) -> None:
    upload_id = await start(registry, b"", b"")
    with pytest.raises(ConnectionResetError):
        await registry.append_upload(APP, upload_id, Chunk(broken()))
    await finish(registry, upload_id, DIGEST, CONTENT)
    assert await read_blob(registry, APP, DIGEST) == CONTENT
