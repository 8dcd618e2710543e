"""What LocalRegistry adds: several processes, restarts, stores that fail, requests that are cancelled."""

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from auth.identity import ANONYMOUS, SYSTEM, Identity
from registry import intake
from registry import local as local_module
from registry import uploads as uploading
from registry.errors import Problem, RegistryError, UploadError
from registry.interface import Chunk, Condition
from registry.local import LocalRegistry, Rules
from registry.names import Tag, parse_name
from storage import filesystem
from storage.blobs import StoreFull
from storage.digest import Digest
from storage.filesystem import FileStore
from storage.metadata import blobs, repositories, schema, uploads
from storage.metadata.engine import Connection
from tests.registry.content import (
    body,
    broken,
    image,
    index,
    name,
    pull,
    push,
    push_blob,
    put,
    read_blob,
    refused,
    repositories_of,
    tags_of,
)
from tests.registry.registries import Stores, opened
from tests.registry.stores import ENOUGH, CountingStore, LateStore, SlowStore, SmallStore, UnsyncedStore
from tests.storage.properties import PROPERTY

APP: Final = name("team/app")
CONTENT: Final = b"0123456789"
DIGEST: Final = Digest.of(CONTENT)

ALGORITHMS: Final = st.sampled_from(["sha256", "sha512"])

MEBIBYTE: Final = 1024 * 1024


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and checkpoints that a test of some bytes comes across."""
    monkeypatch.setattr(intake, "_BATCH", 8)
    monkeypatch.setattr(filesystem, "_CHECKPOINT", 20)


@pytest.fixture
def pair(stores: Stores, other_stores: Stores) -> tuple[LocalRegistry, LocalRegistry]:
    """A registry as two processes have it."""
    return stores.registry(), other_stores.registry()


async def start(registry: LocalRegistry, *parts: bytes, algorithm: str = "sha256") -> str:
    upload = await registry.start_upload(APP, algorithm)
    for part in parts:
        await registry.append_upload(APP, upload.id, Chunk(body(part)))
    return upload.id


async def offset_of(registry: LocalRegistry, upload_id: str) -> int:
    return (await registry.get_upload(APP, upload_id)).offset


async def complete(registry: LocalRegistry, upload_id: str, content: bytes) -> None:
    """Go on from where the upload says that it is, finish it, and read the blob back."""
    offset = await offset_of(registry, upload_id)
    assert offset <= len(content)
    rest = Chunk(body(content[offset:]), offset, len(content) - offset)
    await registry.finish_upload(APP, upload_id, Digest.of(content), rest)
    assert await read_blob(registry, APP, Digest.of(content)) == content


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


# Several processes

Way = Literal["whole", "broken", "elsewhere", "too long", "too short"]
WAYS: Final[st.SearchStrategy[Way]] = st.sampled_from(
    ["whole", "broken", "elsewhere", "too long", "too short"]
)
Parts = list[bytes]
PARTS: Final = st.lists(st.binary(max_size=25), max_size=4)


@PROPERTY
@given(
    requests=st.lists(st.tuples(st.booleans(), WAYS, PARTS), max_size=6),
    last=st.tuples(st.booleans(), PARTS),
    announced=ALGORITHMS,
    digested=ALGORITHMS,
)
@pytest.mark.usefixtures("small_sizes")
async def test_blob_is_right_however_it_came(
    pair: tuple[LocalRegistry, LocalRegistry],
    requests: list[tuple[bool, Way, Parts]],
    last: tuple[bool, Parts],
    announced: str,
    digested: str,
) -> None:
    upload_id = await start(pair[0], algorithm=announced)
    content = b""
    for who, way, parts in requests:
        content += await _append(pair[who], upload_id, len(content), way, parts)
        assert {await offset_of(each, upload_id) for each in pair} == {len(content)}
    who, parts = last
    content += b"".join(parts)
    digest = Digest.of(content, digested)
    stored = await pair[who].finish_upload(APP, upload_id, digest, Chunk(body(*parts)))
    assert (stored.digest, stored.size) == (digest, len(content))
    for each in pair:
        assert await read_blob(each, APP, digest) == content


async def _append(registry: LocalRegistry, upload_id: str, offset: int, way: Way, parts: Parts) -> bytes:
    """Send a request; return what of it counts."""
    data, size = b"".join(parts), len(b"".join(parts))
    match way:
        case "whole":
            await registry.append_upload(APP, upload_id, Chunk(body(*parts), offset, size))
            return data
        case "broken":
            with pytest.raises(ConnectionResetError):
                await registry.append_upload(APP, upload_id, Chunk(broken(*parts)))
            return data
        case "elsewhere":
            chunk = Chunk(body(*parts), offset + 1, size)
        case "too long":
            chunk = Chunk(body(*parts, b"x"), offset, size)
        case "too short":
            chunk = Chunk(body(*parts), offset, size + 1)
    with pytest.raises(UploadError) as caught:
        await registry.append_upload(APP, upload_id, chunk)
    assert caught.value.offset == offset
    return b""


async def test_upload_held_by_another_process_is_busy(pair: tuple[LocalRegistry, LocalRegistry]) -> None:
    first, second = pair
    upload_id = await start(first, CONTENT[:4])

    async def data() -> AsyncIterator[bytes]:
        yield CONTENT[4:]
        with refused(Problem.UPLOAD_BUSY):
            await second.append_upload(APP, upload_id, Chunk(body(b"x")))

    await first.append_upload(APP, upload_id, Chunk(data()))
    await complete(second, upload_id, CONTENT)


@pytest.mark.parametrize("finisher", [0, 1], ids=["same process", "another process"])
async def test_common_flow_reads_nothing_again(stores: Stores, other_stores: Stores, finisher: int) -> None:
    counting = [CountingStore(each.store) for each in (stores, other_stores)]
    registries = [
        LocalRegistry(each.metadata, store)
        for each, store in zip((stores, other_stores), counting, strict=True)
    ]
    upload_id = await start(registries[0], CONTENT)
    await registries[finisher].finish_upload(APP, upload_id, DIGEST, Chunk(body()))
    assert counting[finisher].reads == 0


async def test_chunks_in_one_process_are_not_read_again(stores: Stores) -> None:
    store = CountingStore(stores.store)
    registry = LocalRegistry(stores.metadata, store)
    upload_id = await start(registry, CONTENT[:3], CONTENT[3:6])
    # Each request has a view of its own, and they share what is remembered.
    view = registry.acting_for(SYSTEM)
    await view.finish_upload(APP, upload_id, DIGEST, Chunk(body(CONTENT[6:])))
    assert store.reads == 0


@pytest.mark.parametrize("announced", ["sha256", "sha512"])
async def test_one_request_is_hashed_the_way_its_digest_is(stores: Stores, announced: str) -> None:
    store = CountingStore(stores.store)
    registry = LocalRegistry(stores.metadata, store)
    upload_id = await start(registry, algorithm=announced)
    await registry.finish_upload(APP, upload_id, Digest.of(CONTENT, "sha512"), Chunk(body(CONTENT)))
    assert store.reads == 0


@pytest.mark.parametrize("call", ["append", "finish", "cancel"])
async def test_upload_that_went_on_before_it_was_held(
    stores: Stores, other_stores: Stores, call: str
) -> None:
    late, other = LateStore(stores.store), other_stores.registry()
    registry = LocalRegistry(stores.metadata, late)
    upload_id = await start(registry, CONTENT[:2])
    late.before_hold = lambda: other.append_upload(APP, upload_id, Chunk(body(CONTENT[2:6])))
    if call == "append":
        assert (await registry.append_upload(APP, upload_id, Chunk(body(CONTENT[6:])))).offset == 10
        await complete(other, upload_id, CONTENT)
    elif call == "finish":
        await registry.finish_upload(APP, upload_id, DIGEST, Chunk(body(CONTENT[6:])))
        assert await read_blob(registry, APP, DIGEST) == CONTENT
    else:
        await registry.cancel_upload(APP, upload_id)
    with refused(Problem.UPLOAD_UNKNOWN):
        await offset_of(registry, upload_id)


async def test_upload_that_ended_before_it_was_held_is_unknown(stores: Stores, other_stores: Stores) -> None:
    late, other = LateStore(stores.store), other_stores.registry()
    registry = LocalRegistry(stores.metadata, late)
    upload_id = await start(registry, CONTENT)
    late.before_hold = lambda: other.finish_upload(APP, upload_id, DIGEST, Chunk(body()))
    with refused(Problem.UPLOAD_UNKNOWN):
        await registry.append_upload(APP, upload_id, Chunk(body(b"more")))
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def test_more_uploads_than_are_remembered(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "_RUNNING_DIGESTS", 2)
    store = CountingStore(stores.store)
    registry = LocalRegistry(stores.metadata, store)
    ids = [await start(registry, CONTENT[:5]) for _ in range(4)]
    for upload_id in reversed(ids):
        await complete(registry, upload_id, CONTENT)
    assert store.reads == 2


# Restarts and crashes


@pytest.mark.parametrize("before", [b"", CONTENT[:4], CONTENT])
async def test_upload_goes_on_after_a_restart(
    data: Path, database: str | None, stores: Stores, before: bytes
) -> None:
    upload_id = await start(stores.registry(), before)
    async with opened(data, database) as restarted:
        assert await offset_of(restarted.registry(), upload_id) == len(before)
        await complete(restarted.registry(), upload_id, CONTENT)
    assert await read_blob(stores.registry(), APP, DIGEST) == CONTENT


async def test_content_is_there_after_a_restart(data: Path, database: str | None, stores: Stores) -> None:
    await push(stores.registry(), {APP: index(image(layers=[b"a"]), tags=["v1"])})
    async with opened(data, database) as restarted:
        await pull(restarted.registry(), APP, Tag("v1"))


def _copy_as_a_crash_leaves_it(data: Path, to: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(data / "longshore.db")) as source,
        contextlib.closing(sqlite3.connect(to / "longshore.db")) as target,
    ):
        source.backup(target)
    shutil.copytree(data / "uploads", to / "uploads", dirs_exist_ok=True)


@pytest.mark.sqlite
@pytest.mark.usefixtures("small_sizes")
async def test_crash_costs_what_came_after_the_last_checkpoint(data: Path, stores: Stores) -> None:
    registry, content = stores.registry(), bytes(range(200))
    upload_id = await start(registry)
    with tempfile.TemporaryDirectory(dir=data.parent) as text:
        crashed = Path(text)

        async def crashing() -> AsyncIterator[bytes]:
            for at in range(0, 100, 4):
                yield content[at : at + 4]
            while await offset_of(registry, upload_id) < 60:  # noqa: ASYNC110 - others set it, in the database
                await asyncio.sleep(0.001)
            _copy_as_a_crash_leaves_it(data, crashed)

        await registry.append_upload(APP, upload_id, Chunk(crashing()))
        await FileStore(crashed).prepare()
        async with opened(crashed) as after:
            assert 60 <= await offset_of(after.registry(), upload_id) < 100
            await complete(after.registry(), upload_id, content)


@pytest.mark.parametrize("way", ["whole", "broken"])
async def test_bytes_are_durable_before_the_client_hears_of_them(stores: Stores, way: Way) -> None:
    store = UnsyncedStore(stores.store)
    registry = LocalRegistry(stores.metadata, store)
    upload_id = await start(registry)
    await _append(registry, upload_id, 0, way, [CONTENT, CONTENT])
    assert await offset_of(registry, upload_id) == 2 * len(CONTENT)
    assert store.unsynced == 0


# Bytes that are gone


async def test_blob_without_its_bytes_is_unknown(local: LocalRegistry) -> None:
    content = b"will be lost"
    digest = await push_blob(local, APP, content)
    stored = await local.metadata.lookup(blobs.find, APP, digest)
    assert stored is not None
    await local.store.delete([stored.location])
    with refused(Problem.BLOB_UNKNOWN):
        await local.open_blob(APP, digest)
    await push_blob(local, APP, content)
    assert await read_blob(local, APP, digest) == content


@pytest.mark.parametrize("left", [None, 3])
@pytest.mark.parametrize("closing", [False, True])
async def test_upload_without_its_bytes_is_unknown(
    data: Path, local: LocalRegistry, left: int | None, closing: bool
) -> None:
    upload_id = await start(local, CONTENT[:4])
    path = data / "uploads" / upload_id
    path.unlink() if left is None else path.write_bytes(CONTENT[:left])
    with refused(Problem.UPLOAD_UNKNOWN):
        if closing:
            await local.finish_upload(APP, upload_id, DIGEST, Chunk(body(CONTENT[4:])))
        else:
            await local.append_upload(APP, upload_id, Chunk(body(CONTENT[4:])))


async def test_bytes_behind_the_offset_do_not_count(data: Path, local: LocalRegistry) -> None:
    upload_id = await start(local, CONTENT[:4])
    with (data / "uploads" / upload_id).open("ab") as file:
        file.write(b"left by a crash")
    await complete(local, upload_id, CONTENT)


async def test_nothing_is_left_of_uploads_that_ended(data: Path, local: LocalRegistry) -> None:
    finished, cancelled, wrong = [await start(local, CONTENT) for _ in range(3)]
    assert len(files_in(data / "uploads")) == 3
    await local.finish_upload(APP, finished, DIGEST, Chunk(body()))
    await local.cancel_upload(APP, cancelled)
    with refused(Problem.DIGEST_INVALID):
        await local.finish_upload(APP, wrong, Digest.of(b"?"), Chunk(body()))
    assert files_in(data / "uploads") == []
    assert await local.metadata.read(_rows_of_uploads) == 0


def _rows_of_uploads(db: Connection) -> int:
    return len(db.execute(select(schema.uploads)).all())


# A store that fails


@PROPERTY
@given(
    before=st.binary(max_size=30),
    parts=st.lists(st.binary(max_size=25), max_size=8),
    room=st.integers(0, 120),
    closing=st.booleans(),
)
@pytest.mark.usefixtures("small_sizes")
async def test_upload_goes_on_when_the_store_has_room_again(
    stores: Stores, before: bytes, parts: list[bytes], room: int, closing: bool
) -> None:
    store = SmallStore(stores.store, ENOUGH, StoreFull())
    registry = LocalRegistry(stores.metadata, store)
    content = before + b"".join(parts)
    upload_id = await start(registry, before)
    store.room = room
    try:
        if closing:
            await registry.finish_upload(APP, upload_id, Digest.of(content), Chunk(body(*parts)))
        else:
            await registry.append_upload(APP, upload_id, Chunk(body(*parts)))
    except RegistryError as error:
        assert len(content) - len(before) > room
        assert error.problem is Problem.STORE_FULL
        assert len(before) <= await offset_of(registry, upload_id) <= len(before) + room
        await complete(registry, upload_id, content)
    else:
        if not closing:
            await complete(registry, upload_id, content)
        assert await read_blob(registry, APP, Digest.of(content)) == content


@pytest.mark.parametrize("closing", [False, True])
async def test_upload_on_a_broken_disk_is_given_up(data: Path, stores: Stores, closing: bool) -> None:
    registry = LocalRegistry(stores.metadata, SmallStore(stores.store, 4, OSError(errno.EIO, "broken")))
    upload_id = await start(registry, CONTENT[:4])
    with pytest.raises(OSError, match="broken"):
        if closing:
            await registry.finish_upload(APP, upload_id, Digest.of(CONTENT), Chunk(body(CONTENT[4:])))
        else:
            await registry.append_upload(APP, upload_id, Chunk(body(CONTENT[4:])))
    with refused(Problem.UPLOAD_UNKNOWN):
        await registry.get_upload(APP, upload_id)
    assert files_in(data / "uploads") == []


async def test_upload_whose_sync_fails_once_is_given_up(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = LocalRegistry(stores.metadata, stores.store)
    upload_id = await start(registry)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: _fail(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            await registry.append_upload(APP, upload_id, Chunk(body(CONTENT)))
    # The kernel tells of a page that is lost only once: a second sync would have passed.
    with refused(Problem.UPLOAD_UNKNOWN):
        await registry.get_upload(APP, upload_id)


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


async def test_row_that_moved_on_refuses_what_an_earlier_holder_says(stores: Stores) -> None:
    registry = LocalRegistry(stores.metadata, stores.store)
    upload_id = await start(registry)

    async def parts() -> AsyncIterator[bytes]:
        yield CONTENT[:4]
        # As a store without locks would let another node go on meanwhile.
        await stores.metadata.write(uploads.advance, upload_id, 2, None, None, since=0, now=datetime.now(UTC))

    with refused(Problem.UPLOAD_BUSY):
        await registry.append_upload(APP, upload_id, Chunk(parts()))
    assert await offset_of(registry, upload_id) == 2


@pytest.mark.parametrize("moved", ["on", "away"])
async def test_blob_of_an_upload_that_moved_is_not_named(stores: Stores, moved: str) -> None:
    registry = LocalRegistry(stores.metadata, stores.store)
    upload_id = await start(registry)

    async def parts() -> AsyncIterator[bytes]:
        yield CONTENT
        # Whoever moved the row may also have dropped bytes.
        now = datetime.now(UTC)
        if moved == "on":
            await stores.metadata.write(uploads.advance, upload_id, 2, None, None, since=0, now=now)
        else:
            await stores.metadata.write(uploads.remove, upload_id)

    with refused(Problem.UPLOAD_UNKNOWN):
        await registry.finish_upload(APP, upload_id, DIGEST, Chunk(parts()))
    with refused(Problem.BLOB_UNKNOWN):
        await registry.find_blob(APP, DIGEST)


async def test_push_to_no_namespace_is_refused_before_its_bytes(data: Path, stores: Stores) -> None:
    stranger = LocalRegistry(stores.metadata, stores.store).acting_for(Identity(None, "ci", external=True))
    with refused(Problem.DENIED):
        await stranger.start_upload(parse_name("nowhere/app"), "sha256")
    assert files_in(data / "uploads") == []


async def test_full_store_refuses_what_it_was_sent_and_no_more(stores: Stores) -> None:
    store = SmallStore(stores.store, 4, StoreFull())
    registry = LocalRegistry(stores.metadata, store)
    upload_id = await start(registry)
    with refused(Problem.STORE_FULL):
        await registry.append_upload(APP, upload_id, Chunk(body(CONTENT)))
    await complete(registry, upload_id, CONTENT)


# Requests that are cancelled


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("size", [3, 8, 16, 50, 100])
async def test_request_cancelled_while_a_write_goes_on(stores: Stores, size: int) -> None:
    store = SlowStore(stores.store)
    registry, content = LocalRegistry(stores.metadata, store), bytes(range(100))
    upload_id = await start(registry)
    parts = [content[at : at + size] for at in range(0, 100, size)]
    sending = asyncio.create_task(registry.append_upload(APP, upload_id, Chunk(body(*parts))))
    await store.writing.wait()
    sending.cancel()
    assert await asyncio.wait([sending], timeout=0.05) == (set(), {sending})
    with refused(Problem.UPLOAD_BUSY):
        await registry.cancel_upload(APP, upload_id)
    store.let.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await complete(registry, upload_id, content)


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("ticks", [*range(20), 25, 30, 40, 50, 70, 100])
async def test_cancelled_request_leaves_the_upload_whole(
    local: LocalRegistry, ticks: int, closing: bool
) -> None:
    content = bytes(range(120))
    upload_id = await start(local, content[:10])
    chunk = Chunk(_slowly(content[10:]))
    sending: asyncio.Task[object] = (
        asyncio.create_task(local.finish_upload(APP, upload_id, Digest.of(content), chunk))
        if closing
        else asyncio.create_task(local.append_upload(APP, upload_id, chunk))
    )
    for _ in range(ticks):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    try:
        await complete(local, upload_id, content)
    except RegistryError as error:
        # It was closing, and too far for going back: then the blob is there, or the client starts anew.
        assert closing
        assert error.problem is Problem.UPLOAD_UNKNOWN
        await push_blob(local, APP, content)
    assert await read_blob(local, APP, Digest.of(content)) == content


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 5):
        yield content[at : at + 5]
        await asyncio.sleep(0)


# Who acts, and by what rules


@pytest.mark.parametrize(
    ("caller", "actor"),
    [
        (SYSTEM, "system"),
        (ANONYMOUS, None),
        (Identity(7, "ann"), "ann"),
        (Identity(None, "ann", external=True), "outside:ann"),
    ],
)
async def test_who_pushed_is_recorded(local: LocalRegistry, caller: Identity, actor: str | None) -> None:
    await push_blob(local, APP, b"makes the repository")
    await push(local.acting_for(caller), {APP: image(tags=["v1"])})

    def actors(db: Connection) -> set[str | None]:
        columns = (schema.manifests.c.pushed_by, schema.tags.c.tagged_by)
        return {each for column in columns for each in db.execute(select(column)).scalars()}

    assert await local.metadata.read(actors) == {actor}


@pytest.mark.parametrize(
    ("public", "repository", "expected"),
    [
        (False, "team/app", False),
        (True, "team/app", True),
        (False, "app", True),
        (False, "library/app", True),
        (False, "library/app/part", True),
        (False, "library-of/app", False),
    ],
)
async def test_whether_a_new_repository_is_public(
    stores: Stores, public: bool, repository: str, expected: bool
) -> None:
    registry = stores.registry(Rules(public=public))
    await push(registry, {repository: image(tags=["v1"])})
    found = await registry.metadata.lookup(repositories.find, name(repository))
    assert found is not None
    assert found.is_public is expected


@pytest.mark.parametrize("caller", [ANONYMOUS, Identity(7, "ann")])
async def test_namespace_is_made_by_administrators_only(local: LocalRegistry, caller: Identity) -> None:
    registry = local.acting_for(caller)
    with refused(Problem.DENIED):
        await push_blob(registry, APP, CONTENT)
    with refused(Problem.DENIED):
        await put(registry, APP, index())
    assert await repositories_of(local) == []
    await push_blob(local, "team/other", CONTENT)
    await push(registry, {APP: image(tags=["v1"])})
    assert await tags_of(local, APP) == ["v1"]


async def test_what_a_manifest_names_is_recorded(local: LocalRegistry) -> None:
    child = image(layers=[b"a", b"a", b"b"])
    await push(local, {APP: index(child, tags=["v1"])})

    def named(db: Connection) -> set[tuple[str, str, str]]:
        columns = schema.manifest_references.c
        return {
            (digest, kind, target)
            for digest, kind, target in db.execute(select(columns.digest, columns.kind, columns.target))
        }

    blobs = {(child.digest, "blob", Digest.of(each)) for each in (b"{}", b"a", b"b")}
    assert await local.metadata.read(named) == {*blobs, (index(child).digest, "manifest", child.digest)}
    await local.delete_manifest(APP, child.digest)
    assert await local.metadata.read(named) == {(index(child).digest, "manifest", child.digest)}


async def test_condition_is_held_against_other_pushes(
    pair: tuple[LocalRegistry, LocalRegistry],
) -> None:
    images = [image(tags=["v1"], annotations={"number": str(number)}) for number in range(10)]
    await push(pair[0], {APP: [replace(each, tags=()) for each in images]})
    condition = Condition(none_match=frozenset({"*"}))
    results = await asyncio.gather(
        *(put(pair[number % 2], APP, each, condition=condition) for number, each in enumerate(images)),
        return_exceptions=True,
    )
    refusals = [each for each in results if isinstance(each, RegistryError)]
    assert {each.problem for each in refusals} == {Problem.PRECONDITION_FAILED}
    assert len(refusals) == len(images) - 1


async def _all_referrers(registry: LocalRegistry, subject: Digest, limit: int) -> list[Digest]:
    found: list[Digest] = []
    while True:
        last = found[-1] if found else ""
        page = await registry.list_referrers(APP, subject, artifact_type=None, last=last, limit=limit)
        found += [each.digest for each in page.items]
        if not page.more:
            return found
        assert page.items, "a page that leads nowhere"


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("room", [0, 1, 1000])
async def test_pages_end_where_annotations_grow_long(
    local: LocalRegistry, monkeypatch: pytest.MonkeyPatch, limit: int, room: int
) -> None:
    monkeypatch.setattr(local_module, "_MAX_ANNOTATIONS", room)
    subject = image(layers=[b"subject"])
    known = [image(subject=subject.descriptor, annotations={"k": "v" * number * 90}) for number in range(8)]
    tagged = [image(annotations={"k": str(number)}) for number in range(8)]
    listing = index(tags=[f"sha256-{subject.digest.hex}"], manifests=[each.descriptor for each in tagged])
    await push(local, {APP: [*known, *tagged, listing]})
    expected = sorted(each.digest for each in (*known, *tagged))
    assert await _all_referrers(local, subject.digest, limit) == expected


async def test_listing_that_no_client_makes_is_left_out(
    local: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, tagged = image(layers=[b"subject"]), image()
    listing = index(tags=[f"sha256-{subject.digest.hex}"], manifests=[tagged.descriptor])
    await push(local, {APP: [tagged, listing]})
    for most, expected in ((len(listing.content), [tagged.digest]), (len(listing.content) - 1, [])):
        monkeypatch.setattr(local_module, "_MAX_REFERRERS_TAG", most)
        assert await _all_referrers(local, subject.digest, 9) == expected


# Load


async def _zeros(size: int, piece: int) -> AsyncIterator[bytes]:
    for _ in range(size // piece):
        yield bytes(piece)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"], ids=["hashed on its way", "read again"])
async def test_memory_stays_flat(local: LocalRegistry, algorithm: str) -> None:
    size = 64 * MEBIBYTE
    digest = Digest.of(bytes(size), algorithm)
    upload_id = await start(local)
    tracemalloc.start()
    try:
        await local.append_upload(APP, upload_id, Chunk(_zeros(size, 256 * 1024)))
        await local.finish_upload(APP, upload_id, digest, Chunk(body()))
        blob = await local.open_blob(APP, digest)
        async for data in blob.reader.read(0, size):
            assert data
        await blob.reader.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MEBIBYTE


LAYERS: Final = [bytes([number]) * 1000 for number in range(6)]
REPOSITORIES: Final = ["team/a", "team/b", "team/c"]


def _pushed_by(number: int) -> Sequence[tuple[str, str, Sequence[bytes]]]:
    """Return (repository, tag, layers) of each push of one task: tags are shared, and so are layers."""
    return [
        (REPOSITORIES[(number + step) % 3], f"v{(number * step) % 5}", LAYERS[step : step + 3])
        for step in range(4)
    ]


async def test_pushes_and_deletes_at_once_leave_every_tag_whole(
    pair: tuple[LocalRegistry, LocalRegistry],
) -> None:
    async def work(number: int) -> None:
        registry = pair[number % 2]
        for repository, tag, layers in _pushed_by(number):
            doomed = image(tags=[f"doomed-{number}"], layers=layers, annotations={"number": str(number)})
            await push(registry, {repository: [image(tags=[tag], layers=layers), doomed]})
            await registry.delete_tag(name(repository), Tag(doomed.tags[0]))
            await registry.delete_manifest(name(repository), doomed.digest)
            with refused(Problem.BLOB_IN_USE):
                await registry.delete_blob(name(repository), Digest.of(layers[0]))

    await asyncio.gather(*(work(number) for number in range(10)))
    pushed = {(repository, tag) for number in range(10) for repository, tag, _ in _pushed_by(number)}
    for repository in REPOSITORIES:
        tags = await tags_of(pair[0], repository)
        assert set(tags) == {tag for each, tag in pushed if each == repository}
        for tag in tags:
            assert len(await pull(pair[1], repository, Tag(tag))) == 5
