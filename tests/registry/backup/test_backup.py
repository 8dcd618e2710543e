"""Backups taken, listed, pruned, verified and restored, in one process."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, delete

from registry.backup.pruning import Pruned, prune
from registry.backup.restoring import Restore, Restored
from registry.backup.sealing import KEY_SIZE, Plain, Sealed, Sealing
from registry.backup.source import BlobSource
from registry.backup.taking import Backup, Hold, Taken
from registry.backup.vault import BackupError, Vault, moment_of
from registry.backup.verifying import Verified, verify
from registry.collected import Collected
from registry.errors import Problem
from registry.grace import Grace
from registry.jobs.collect import Collector
from registry.move import Journal
from registry.names import Tag, parse_name
from storage.blobs import BlobMissing, BlobReader, BlobStore, StoreUnavailable
from storage.digest import Digest
from storage.metadata import backups, blobs, copying, repositories, schema
from storage.metadata.copying import NotEmpty
from storage.metadata.databases import PostgresDatabase, SqliteDatabase
from storage.objects_files import FileObjects
from storage.objects_s3 import S3Objects
from tests.postgres import PostgresServer
from tests.registry.conftest import IN_MEMORY
from tests.registry.content import (
    Content,
    body,
    image,
    index,
    pull,
    push,
    push_blob,
    read_blob,
    refused,
    tags_of,
)
from tests.registry.registries import Stores, opened
from tests.registry.stores import WrappedStore
from tests.storage.servers import S3Server
from tests.storage.stores import place_of

KEY: Final = bytes(KEY_SIZE)
APP: Final = image(tags=["v1"], layers=[b"first layer", b"shared"])
TOOL: Final = image(tags=["v1"], layers=[b"tool", b"shared"])
MANY: Final = index(
    image(layers=[b"amd64"], config=b'{"a":1}'), image(layers=[b"arm64"], config=b'{"a":2}'), tags=["many"]
)
# Of the three: layers and configurations.
ALL: Final = (b"first layer", b"shared", b"tool", b"{}", b"amd64", b"arm64", b'{"a":1}', b'{"a":2}')
BLOBS: Final = len(ALL)


async def alone() -> None:
    """Nobody else writes."""


class Silent:
    """Hears how far it has come, and keeps it to itself."""

    def expect(self, what: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


SILENT: Final = Silent()


@dataclass(frozen=True)
class Place:
    """Where backups of the stores go, and how."""

    stores: Stores
    vault: Vault
    folder: Path

    async def back_up(self, keep: int | None = None) -> Taken:
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        await self.vault.make()
        async with self.vault.objects.hold() as alone:
            hold = Hold(self.stores.metadata, str(self.vault))
            async with hold.held(alone=alone):
                backup = Backup(self.stores.metadata, self.stores.store, self.vault, workspace, SILENT)
                taken = await backup.take(hold)
                if keep is not None:
                    assert await hold.start_pruning()
                    await prune(self.vault, keep, hold.require)
        return taken

    async def verify(self) -> Verified:
        return await verify(self.vault, await self.vault.snapshots(), SILENT)

    async def restore(self, snapshot: str, there: Stores, *, skip_damaged: bool = False) -> Restored:
        workspace = self.folder / "restoring"
        workspace.mkdir(exist_ok=True)
        restore = Restore(self.vault, snapshot, there.metadata, there.store, workspace, SILENT)
        with contextlib.closing(Journal(self.folder / "restore.jsonl", snapshot)) as journal:
            return await restore.run(journal, skip_damaged=skip_damaged)


@pytest.fixture(params=["plain", "sealed"])
def sealing(request: pytest.FixtureRequest) -> Sealing:
    return Plain() if request.param == "plain" else Sealed(KEY)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        yield Path(text)


@pytest.fixture
def place(stores: Stores, sealing: Sealing, folder: Path) -> Place:
    return Place(stores, Vault(FileObjects(folder / "backup"), sealing), folder)


@pytest.fixture
async def there(folder: Path) -> AsyncIterator[Stores]:
    """An empty place: a directory."""
    data = folder / "there"
    data.mkdir()
    SqliteDatabase(data / "longshore.db").migrate()
    async with opened(data) as stores:
        await stores.store.prepare()
        yield stores


@pytest.fixture
async def elsewhere(there: Stores, migrated_postgres: str, postgres: PostgresServer) -> AsyncIterator[Stores]:
    """An empty place on PostgreSQL."""
    assert migrated_postgres
    metadata = PostgresDatabase(postgres.create("migrated"), pool_size=5).open()
    yield replace(there, metadata=metadata)
    await metadata.close()


def files_of(place: Place) -> dict[str, Path]:
    root = place.folder / "backup"
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}


def blob_file(place: Place, content: bytes) -> Path:
    return files_of(place)[place.vault.sealing.blob(Digest.of(content))]


async def fill(stores: Stores) -> None:
    await push(stores.registry(), {"library/app": [APP, MANY], "team/tool": TOOL})


async def require_restored(place: Place, there: Stores) -> None:
    taken = await place.back_up()
    assert (taken.copied.count, taken.manifest.blobs) == (BLOBS, BLOBS)
    assert (await place.verify()).wrong == {}
    restored = await place.restore(taken.snapshot, there)
    assert (restored.blobs.moved, restored.rows["tags"]) == (BLOBS, 3)
    everything = (("library/app", "v1", APP), ("library/app", "many", MANY), ("team/tool", "v1", TOOL))
    for repository, tag, content in everything:
        assert (await pull(there.registry(), repository, Tag(tag)))[content.digest] == content.content
    before, after = [
        await each.metadata.read(partial(copying.fingerprints, locations=False))
        for each in (place.stores, there)
    ]
    assert before == after


async def test_round_trip(place: Place, there: Stores) -> None:
    await fill(place.stores)
    await require_restored(place, there)


@pytest.mark.e2e
async def test_round_trip_into_postgresql(place: Place, elsewhere: Stores) -> None:
    await fill(place.stores)
    await require_restored(place, elsewhere)
    # Numbers that the database gives go on behind those that were restored.
    await push(elsewhere.registry(), {"another/one": APP})


@pytest.mark.e2e
async def test_round_trip_over_a_bucket(
    place: Place, there: Stores, bucket: BlobStore, minio: S3Server, folder: Path
) -> None:
    """From blobs in a bucket, by way of a backup in a bucket, into a directory."""
    minio.note_place(folder)
    vault = Vault(S3Objects(place_of(folder)), place.vault.sealing)
    away = replace(place, vault=vault, stores=replace(place.stores, store=bucket))
    await fill(away.stores)
    await require_restored(away, there)


@pytest.mark.sqlite
async def test_only_new_blobs_are_copied(place: Place) -> None:
    await fill(place.stores)
    await place.back_up()
    written = {name: path.stat().st_mtime_ns for name, path in files_of(place).items()}
    assert (await place.back_up()).copied.count == 0
    await push(place.stores.registry(), {"library/app": image(tags=["v2"], layers=[b"new", b"shared"])})
    taken = await place.back_up()
    assert (taken.copied.count, taken.copied.size, taken.manifest.blobs) == (1, 3, BLOBS + 1)
    later = {name: path.stat().st_mtime_ns for name, path in files_of(place).items()}
    assert {name: later[name] for name in written} == written


@pytest.mark.sqlite
async def test_points_in_time(place: Place, there: Stores) -> None:
    await push(place.stores.registry(), {"library/app": image(tags=["latest"], layers=[b"one"])})
    first = await place.back_up()
    newer = image(tags=["latest", "v2"], layers=[b"two"])
    await push(place.stores.registry(), {"library/app": newer})
    second = await place.back_up()
    at = place.vault.snapshot_at
    moment = moment_of(second.snapshot)
    assert await at(None) == await at(moment) == second.snapshot
    assert await at(moment - timedelta(microseconds=1)) == first.snapshot
    with pytest.raises(BackupError, match="no snapshot of"):
        await at(moment_of(first.snapshot) - timedelta(microseconds=1))
    await place.restore(first.snapshot, there)
    assert await tags_of(there.registry(), "library/app") == ["latest"]
    assert Digest.of(b"one") in await pull(there.registry(), "library/app", Tag("latest"))


async def forget(stores: Stores, repository: str, content: Content, *blobs: bytes) -> None:
    """Delete a manifest, and blobs as the collector of garbage does."""
    await stores.registry().delete_manifest(parse_name(repository), content.digest)
    await stores.metadata.write(_forget, [Digest.of(each) for each in blobs])


def _forget(db: Connection, digests: Sequence[Digest]) -> None:
    for table in (schema.blob_links, schema.blobs):
        db.execute(delete(table).where(table.c.digest.in_(digests)))


@pytest.mark.sqlite
async def test_pruning_keeps_what_the_others_name(place: Place, there: Stores) -> None:
    for number in range(4):
        layer = b"layer %d" % number
        content = image(tags=["latest"], layers=[layer, b"shared"])
        await push(place.stores.registry(), {"library/app": content})
        await place.back_up()
        await forget(place.stores, "library/app", content, layer)
    names = await place.vault.snapshots()
    # As a backup that was cut off leaves it.
    await place.vault.put("snapshots/20200101T000000.000000Z/metadata.db", body(b"half"), 4)
    await place.vault.put(place.vault.sealing.blob(Digest.of(b"never named")), body(b"never named"), 11)
    pruned = await prune(place.vault, 2, alone)
    assert (pruned.snapshots, pruned.blobs) == (2, 3)
    assert await place.vault.snapshots() == names[2:]
    assert await place.vault.broken_snapshots() == []
    assert (await place.verify()).blobs == 4  # two layers, the shared one, the configuration
    assert await prune(place.vault, 2, alone) == Pruned(0, 0, 0)
    await place.restore(names[2], there)
    assert Digest.of(b"layer 2") in await pull(there.registry(), "library/app", Tag("latest"))


@pytest.mark.sqlite
async def test_a_backup_prunes_behind_itself(place: Place) -> None:
    await fill(place.stores)
    taken = [await place.back_up(keep=2) for _ in range(4)]
    assert await place.vault.snapshots() == [each.snapshot for each in taken[2:]]


# -- what goes wrong -------------------------------------------------------------------------------------


@pytest.mark.sqlite
async def test_what_cannot_be_read_is_named_and_left_out(place: Place, there: Stores) -> None:
    await fill(place.stores)
    lost = BrokenStore(place.stores.store, {Digest.of(b"tool"): "gone", Digest.of(b"arm64"): "flipped"})
    taken = await replace(place, stores=replace(place.stores, store=lost)).back_up()
    assert taken.manifest.lacking == {
        Digest.of(b"tool"): "the bytes are missing",
        Digest.of(b"arm64"): "the bytes are not what the digest says",
    }
    assert taken.manifest.blobs == BLOBS - 2
    assert (await place.verify()).wrong == {}
    await place.restore(taken.snapshot, there)
    await pull(there.registry(), "library/app", Tag("v1"))
    with refused(Problem.BLOB_UNKNOWN):
        await read_blob(there.registry(), "team/tool", Digest.of(b"tool"))
    # The next backup has them.
    taken = await place.back_up()
    assert (taken.copied.count, taken.manifest.lacking) == (2, {})


@pytest.mark.sqlite
async def test_a_blob_that_was_pushed_again_meanwhile_is_found(place: Place) -> None:
    await fill(place.stores)
    tool = Digest.of(b"tool")
    store = BrokenStore(place.stores.store, {tool: "gone"})

    async def heal() -> None:
        store.broken.clear()
        lost = await place.stores.metadata.lookup(blobs.location_of, tool)
        assert lost is not None
        await place.stores.store.delete([lost])
        await push_blob(place.stores.registry(), "team/tool", b"tool")

    store.once_broken = heal
    taken = await replace(place, stores=replace(place.stores, store=store)).back_up()
    assert taken.manifest.lacking == {}
    assert (await place.verify()).wrong == {}


class BrokenStore(WrappedStore):
    """A store that has lost some bytes; `once_broken` is called the first time that one of them is read."""

    def __init__(self, store: BlobStore, broken: Mapping[Digest, str]) -> None:
        super().__init__(store)
        self.broken = dict(broken)
        self.once_broken: Callable[[], Awaitable[None]] | None = None

    async def open(self, location: str) -> BlobReader:
        how = next((how for digest, how in self.broken.items() if digest.hex in location), None)
        if how is not None and self.once_broken is not None:
            call, self.once_broken = self.once_broken, None
            await call()
        if not how:
            return await self.store.open(location)
        if how == "gone":
            raise BlobMissing(location)
        return Flipped(await self.store.open(location))


class Flipped:
    """A reader of other bytes."""

    file = None

    def __init__(self, reader: BlobReader) -> None:
        self.reader = reader

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        async for piece in self.reader.read(start, stop):
            yield bytes(each ^ 1 for each in piece)

    async def close(self) -> None:
        await self.reader.close()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.sqlite
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
async def test_damaged_blobs_are_found(place: Place, there: Stores, damage: Callable[[Path], None]) -> None:
    await fill(place.stores)
    taken = await place.back_up()
    damage(blob_file(place, b"tool"))
    verified = await place.verify()
    assert set(verified.wrong) == {Digest.of(b"tool")}
    assert verified.blobs == BLOBS - 1
    restored = await place.restore(taken.snapshot, there)
    assert set(restored.blobs.damaged) == {Digest.of(b"tool")}
    assert restored.rows == {}
    await there.metadata.read(copying.require_empty)
    restored = await place.restore(taken.snapshot, there, skip_damaged=True)
    assert (restored.blobs.moved, restored.rows["blobs"]) == (0, BLOBS - 1)
    # What is too short or gone is copied again.
    assert (await place.back_up()).copied.count == (0 if damage is flip else 1)


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["metadata.db", "blobs.txt", "manifest.json"])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
async def test_damaged_snapshots_are_found(
    place: Place, there: Stores, name: str, damage: Callable[[Path], None]
) -> None:
    await fill(place.stores)
    taken = await place.back_up()
    damage(files_of(place)[f"snapshots/{taken.snapshot}/{name}"])
    if name == "manifest.json" and damage is Path.unlink:
        # It is none without it.
        assert await place.vault.snapshots() == []
        return
    assert list((await place.verify()).wrong) == [f"snapshot {taken.snapshot}"]
    if name != "blobs.txt":
        with pytest.raises(BackupError):
            await place.restore(taken.snapshot, there)
        await there.metadata.read(copying.require_empty)
    if name != "metadata.db":
        with pytest.raises(BackupError):
            await prune(place.vault, 1, alone)
    assert len(await place.vault.stored_blobs()) == BLOBS


@pytest.mark.sqlite
async def test_the_place_is_looked_at(place: Place) -> None:
    other = place.folder / "other"
    other.mkdir()
    vault = Vault(FileObjects(other), place.vault.sealing)
    with pytest.raises(BackupError, match="is no backup"):
        await vault.check()
    (other / "letter.txt").write_text("Dear")
    with pytest.raises(BackupError, match="neither empty nor a backup"):
        await vault.make()
    await place.vault.make()
    await place.vault.check()
    sealed = place.vault.sealing.fingerprint is not None
    for sealing, reason in (
        (Plain(), "is sealed: say --key-file" if sealed else None),
        (Sealed(KEY), None if sealed else "is not sealed"),
        (Sealed(b"x" * KEY_SIZE), "is sealed with another key" if sealed else "is not sealed"),
    ):
        with contextlib.nullcontext() if reason is None else pytest.raises(BackupError, match=reason):
            await Vault(place.vault.objects, sealing).check()


@pytest.mark.sqlite
async def test_a_place_that_is_not_empty_is_left_alone(place: Place, there: Stores) -> None:
    await fill(place.stores)
    taken = await place.back_up()
    await push_blob(there.registry(), "library/app", b"other")
    with pytest.raises(NotEmpty):
        await place.restore(taken.snapshot, there)
    await there.metadata.write(_empty_repositories)
    with pytest.raises(BackupError, match="has blobs already"):
        await place.restore(taken.snapshot, there)


def _empty_repositories(db: Connection) -> None:
    for table in (schema.blob_links, schema.repositories, schema.blobs):
        db.execute(delete(table))


@pytest.mark.sqlite
async def test_restore_goes_on(place: Place, there: Stores) -> None:
    await fill(place.stores)
    taken = await place.back_up()
    with pytest.raises(ConnectionError):
        await place.restore(taken.snapshot, replace(there, store=FailingStore(there.store, after=BLOBS - 1)))
    await there.metadata.read(copying.require_empty)
    restored = await place.restore(taken.snapshot, there)
    assert 1 <= restored.blobs.moved < BLOBS
    assert len(restored.blobs.locations) == BLOBS
    await pull(there.registry(), "library/app", Tag("many"))


class FailingStore(WrappedStore):
    """A store whose server goes away after some blobs."""

    def __init__(self, store: BlobStore, after: int) -> None:
        super().__init__(store)
        self.left = after

    async def stage(self, key: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("gone")
        await self.store.stage(key)


# -- beside the collector --------------------------------------------------------------------------------


async def test_what_is_collected_while_it_runs_is_in_it(place: Place, there: Stores) -> None:
    """All content is deleted and collected, without grace or quarantine, before the first blob is read."""
    await fill(place.stores)
    at_once = Grace(blobs=timedelta(), quarantine=timedelta())
    minutes = (datetime.now(UTC) + timedelta(minutes=number) for number in count(1))
    collector = Collector(place.stores.metadata, place.stores.store, at_once, clock=lambda: next(minutes))
    collected = Collected()

    async def collect() -> None:
        for repository in ("library/app", "team/tool"):
            assert await place.stores.metadata.write(repositories.remove, parse_name(repository))
        for _ in range(3):
            turn = await collector.collect_all()
            collected.blobs += turn.blobs
            collected.deleted += turn.deleted

    store = BrokenStore(place.stores.store, {Digest.of(each): "" for each in ALL})
    store.once_broken = collect
    taken = await replace(place, stores=replace(place.stores, store=store)).back_up()
    assert (collected.blobs, collected.deleted) == (BLOBS, 0)
    assert taken.manifest.lacking == {}
    await place.restore(taken.snapshot, there)
    await pull(there.registry(), "library/app", Tag("many"))
    # Then it goes.
    assert (await collector.collect_all()).deleted == BLOBS


async def test_a_backup_that_counted_as_dead_is_no_snapshot(place: Place) -> None:
    await fill(place.stores)

    class Forgetting(WrappedStore):
        async def open(self, location: str) -> BlobReader:
            await place.stores.metadata.write(_forget_backups)
            return await self.store.open(location)

    with pytest.raises(BackupError, match="counts as dead"):
        await replace(place, stores=replace(place.stores, store=Forgetting(place.stores.store))).back_up()
    assert await place.vault.snapshots() == []
    # What it copied stays for the next one.
    assert (await place.back_up()).copied.count == 0


async def test_when_it_was_finished_is_known(place: Place) -> None:
    metadata = place.stores.metadata

    async def finished_at() -> datetime | None:
        return await metadata.read(backups.finished_at)

    class Away(WrappedStore):
        async def open(self, location: str) -> BlobReader:
            raise StoreUnavailable("away")

    await fill(place.stores)
    with pytest.raises(StoreUnavailable):
        await replace(place, stores=replace(place.stores, store=Away(place.stores.store))).back_up()
    assert await finished_at() is None
    began_at = datetime.now(UTC)
    await place.back_up(keep=1)
    first = await finished_at()
    assert first is not None
    assert began_at < first < datetime.now(UTC)
    assert await metadata.read(backups.needed_since, now=began_at) is None
    await place.back_up()
    second = await finished_at()
    assert second is not None
    assert second > first


def _forget_backups(db: Connection) -> None:
    db.execute(delete(schema.backups))


async def test_pruning_waits_for_nobody(place: Place) -> None:
    """Where the place has no locks, rows keep who removes blobs apart from who counts on them."""
    first, second = (Hold(place.stores.metadata, "s3://bucket/place") for _ in range(2))
    async with first.held(alone=False):
        async with second.held(alone=False):
            assert not await first.start_pruning()
        assert await first.start_pruning()
        waiting = asyncio.create_task(_hold(second))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    await waiting


async def _hold(hold: Hold) -> None:
    async with hold.held(alone=False):
        pass


@pytest.mark.sqlite
async def test_it_is_a_source_to_heal_from(place: Place) -> None:
    await fill(place.stores)
    await place.back_up()
    source: BlobSource = place.vault
    found = await source.open(Digest.of(b"tool"))
    assert found is not None
    assert b"".join([piece async for piece in found]) == b"tool"
    assert await source.open(Digest.of(b"never pushed")) is None
