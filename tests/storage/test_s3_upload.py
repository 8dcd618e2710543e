"""How parts are sent: in parallel, within a bound of memory. The store is in memory and answers when told."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import pytest

from storage.blobs import BlobTooLarge, StoreUnavailable
from storage.digest import Digest
from storage.s3_client import Body, S3Client
from storage.s3_memory import Budget
from storage.s3_parts import PartPlan, UploadState
from storage.s3_upload import S3Upload

# Bytes: nothing here needs more.
PART: Final = 8
PLAN: Final = PartPlan(PART, PART)
CONTENT: Final = bytes(range(100))


def content_of(body: Body) -> bytes:
    return b"".join(iter(body.read, b""))


class MemoryS3:
    """The calls of an S3Client that an upload makes; parts wait for `let`, or for one of `passes`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.let = asyncio.Event()
        self.passes = 0
        self.waiting = 0
        self.most_waiting = 0
        self.most_bytes = 0
        self.failing = False

    async def put(self, key: str, body: Body) -> None:
        self.objects[key] = content_of(body)

    async def get(self, key: str, start: int, stop: int) -> bytes:
        return self.objects[key][start:stop]

    async def size(self, key: str) -> int:
        return len(self.objects[key])

    async def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    async def begin(self, key: str) -> str:
        self.parts[key] = {}
        return f"multipart of {key}"

    async def put_part(self, key: str, multipart: str, number: int, body: Body) -> str:
        assert multipart == f"multipart of {key}"
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        self.most_bytes = max(self.most_bytes, self.waiting * len(body))
        while not self.let.is_set() and not self.passes:  # noqa: ASYNC110 - either, in the order of waiting
            await asyncio.sleep(0)
        self.passes = max(self.passes - 1, 0)
        self.waiting -= 1
        if self.failing:
            raise StoreUnavailable("as the test wants it")
        self.parts[key][number] = content_of(body)
        return f"etag {number}"

    async def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        parts = self.parts.pop(key)
        assert list(etags) == [f"etag {number}" for number in sorted(parts)]
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))

    async def abort(self, key: str, multipart: str) -> None:
        self.parts.pop(key, None)


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


def upload_to(s3: MemoryS3, budget: Budget, plan: PartPlan = PLAN, name: str = "upload") -> S3Upload:
    return S3Upload(cast(S3Client, s3), plan, budget, name)


async def turns(count: int = 200) -> None:
    """Let everything happen that nothing holds up."""
    for _ in range(count):
        await asyncio.sleep(0)


async def write_all(upload: S3Upload, content: bytes, size: int, taken: list[int]) -> None:
    for at in range(0, len(content), size):
        await upload.write(content[at : at + size])
        taken.append(len(content[at : at + size]))


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 20, 100])
@pytest.mark.parametrize("in_flight", [1, 3, 50])
async def test_parts_are_sent_together_as_far_as_memory_goes(s3: MemoryS3, size: int, in_flight: int) -> None:
    taken: list[int] = []
    upload = upload_to(s3, Budget((in_flight + 1) * PART))
    writing = asyncio.create_task(write_all(upload, CONTENT, size, taken))
    await turns()
    fits = min(in_flight, len(CONTENT) // PART)
    assert s3.waiting == fits
    # In flight, collected, and the piece that is being written: no more is taken.
    assert sum(taken) <= (in_flight + 1) * PART + size
    assert writing.done() == (fits < in_flight)
    s3.let.set()
    await writing
    assert s3.most_bytes <= in_flight * PART
    location = await upload.commit(Digest.of(CONTENT))
    assert s3.objects == {location: CONTENT}


@pytest.mark.parametrize("least", [0, 3 * PART])
async def test_uploads_of_a_process_share_the_bound(s3: MemoryS3, least: int) -> None:
    budget, count = Budget(7 * PART, least), 5
    uploads = [upload_to(s3, budget, name=f"upload-{number}") for number in range(count)]
    writing = [asyncio.create_task(write_all(each, CONTENT, PART, [])) for each in uploads]
    await turns()
    # The first ones had it for themselves. Now each has collected a part, and what is left is on its way.
    while s3.waiting * PART > max(least, (7 - count) * PART):
        s3.passes = 1
        await turns()
    for _ in range(5):
        s3.passes = 1
        await turns()
        assert s3.waiting * PART == max(least, (7 - count) * PART)
    s3.let.set()
    await asyncio.gather(*writing)
    locations = [await each.commit(Digest.of(CONTENT)) for each in uploads]
    for each in uploads:
        await each.let_go(is_done=True)
    assert s3.objects == dict.fromkeys(locations, CONTENT)
    # All of it was given back: one upload alone has it for itself.
    s3.let.clear()
    alone = asyncio.create_task(write_all(upload_to(s3, budget), CONTENT, PART, []))
    await turns()
    assert s3.waiting == 6
    s3.let.set()
    await alone


async def test_part_that_is_larger_than_the_bound_is_sent_alone(s3: MemoryS3) -> None:
    upload = upload_to(s3, Budget(PART - 1))
    s3.let.set()
    await upload.write(CONTENT)
    location = await upload.commit(Digest.of(CONTENT))
    assert s3.objects == {location: CONTENT}
    assert s3.most_waiting == 1


@pytest.mark.parametrize("end", ["resume", "let go"])
async def test_what_was_collected_and_dropped_is_given_back(s3: MemoryS3, end: str) -> None:
    budget = Budget(3 * PART)
    s3.let.set()
    for _ in range(9):
        upload = upload_to(s3, budget)
        await upload.write(CONTENT[:13])
        state = await upload.sync()
        again = upload_to(s3, budget)
        await again.resume(13, state)
        await again.write(CONTENT[13:15])
        if end == "resume":
            await again.resume(13, state)
            await again.resume(0, None)
        await again.let_go(is_done=False)
        await upload.let_go(is_done=False)
    s3.let.clear()
    alone = asyncio.create_task(write_all(upload_to(s3, budget), CONTENT, PART, []))
    await turns()
    assert s3.waiting == 2
    s3.let.set()
    await alone


async def test_failure_of_a_part_is_told_by_what_comes_next(s3: MemoryS3) -> None:
    s3.failing = True
    s3.let.set()
    for then in ("write", "sync", "commit"):
        upload = upload_to(s3, Budget(100))
        await upload.write(CONTENT[:PART])
        await turns()
        with pytest.raises(StoreUnavailable):
            await {
                "write": lambda upload=upload: upload.write(b"more"),
                "sync": lambda upload=upload: upload.sync(),
                "commit": lambda upload=upload: upload.commit(Digest.of(CONTENT[:PART])),
            }[then]()
        await upload.let_go(is_done=False)
    assert s3.parts == {}
    assert s3.objects == {}


async def test_upload_is_resumed_after_a_part_that_failed(s3: MemoryS3) -> None:
    s3.let.set()
    upload = upload_to(s3, Budget(100))
    await upload.write(CONTENT[:20])
    state = await upload.sync()
    s3.failing = True
    await upload.write(CONTENT[20:])
    with pytest.raises(StoreUnavailable):
        await upload.sync()
    s3.failing = False
    await upload.resume(20, state)
    await upload.write(CONTENT[20:])
    location = await upload.commit(Digest.of(CONTENT))
    await upload.let_go(is_done=True)
    assert s3.objects == {location: CONTENT}


async def test_blob_of_more_parts_than_there_may_be_is_refused(
    s3: MemoryS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.s3_upload.MAX_PARTS", 3)
    s3.let.set()
    upload = upload_to(s3, Budget(100))
    await upload.write(CONTENT[: 3 * PART])
    location = await upload.commit(Digest.of(CONTENT[: 3 * PART]))
    assert s3.objects[location] == CONTENT[: 3 * PART]
    upload = upload_to(s3, Budget(100))
    with pytest.raises(BlobTooLarge, match="a blob has at most 80000 bytes in this store"):
        await upload.write(CONTENT[: 3 * PART + 1])


async def test_upload_goes_on_with_the_parts_that_it_was_begun_with(s3: MemoryS3) -> None:
    s3.let.set()
    before = upload_to(s3, Budget(100), PartPlan(20, 20))
    await before.write(CONTENT[:19])
    state = await before.sync()
    after = upload_to(s3, Budget(100))
    await after.resume(19, state)
    await after.write(CONTENT[19:])
    assert UploadState.parse(await after.sync()).first_part == 20
    location = await after.commit(Digest.of(CONTENT))
    await after.let_go(is_done=True)
    assert s3.objects == {location: CONTENT}


async def test_parts_grow_where_they_may(s3: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.s3_parts._PARTS_OF_A_SIZE", 2)
    s3.let.set()
    upload = upload_to(s3, Budget(100), PartPlan(PART, 4 * PART))
    await upload.write(CONTENT)
    await upload.sync()
    [parts] = s3.parts.values()
    assert [len(parts[number]) for number in sorted(parts)] == [8, 8, 16, 16, 32]
    location = await upload.commit(Digest.of(CONTENT))
    assert s3.objects[location] == CONTENT


def test_a_body_is_read_like_a_file() -> None:
    body: Any = Body(memoryview(b"content"))
    assert len(body) == 7
    for _ in range(2):
        assert body.tell() == 0
        assert [bytes(body.read(1)), body.tell(), bytes(body.read())] == [b"content", 7, b""]
        assert (body.seek(0, 2), body.seek(0)) == (7, 0)
    body.drop()
    assert bytes(body.read()) == b""
