"""Every kind of damage is found, told by its name, fenced and healed; what is sound is left alone."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from registry.errors import Problem
from registry.healing import Directory, NamedSource
from registry.interface import Chunk
from registry.local import LocalRegistry, Rules
from storage.blobs import BlobMissing, BlobReader, BlobStore, StoreUnavailable
from storage.digest import Digest
from storage.filesystem import FileStore
from storage.metadata import blobs, damage, schema
from storage.metadata.engine import Connection
from tests.registry.content import body, image, name, pull, push, push_blob, put, read_blob, refused
from tests.registry.damage import DAMAGES, check, flip, kinds, lose, path_of
from tests.registry.registries import Stores
from tests.registry.stores import WrappedStore
from tests.storage.servers import S3Server

APP: Final = name("team/app")
CONTENT: Final = b"content of a layer"
DIGEST: Final = Digest.of(CONTENT)
IMAGE: Final = image(tags=["v1"], layers=[CONTENT])

BY_SIZE: Final = [each for each in DAMAGES if each[1] != "corrupt"]
Break = Callable[[Path], None]


@pytest.fixture
async def registry(place: Stores) -> LocalRegistry:
    """A registry with an image, and another blob."""
    registry = place.registry(Rules(sparse="none"))
    await push(registry, {"team/app": IMAGE})
    await push_blob(registry, "team/app", b"another")
    return registry


async def test_nothing_is_found_where_nothing_is_wrong(place: Stores, registry: LocalRegistry) -> None:
    await push(registry, {"team/other": image(tags=["a"], layers=[b"1"])})
    upload = await registry.start_upload(APP, "sha256")
    await registry.append_upload(APP, upload.id, Chunk(body(b"under way")))
    for plan in ({}, {"hashing": False}, {"repair": True}, {"rate": 1 << 40}):
        report = await check(place.metadata, place.store, **plan)
        assert report.is_clean
        assert (report.blobs, report.objects, report.manifests) == (4, 5, 2)  # {} came twice
        assert report.findings == []
    assert report.size == len(CONTENT) + len(b"{}") + len(b"another") + 1


@pytest.mark.parametrize(("break_", "kind"), DAMAGES)
async def test_damage_is_found(
    place: Stores, registry: LocalRegistry, root: Path, break_: Break, kind: str
) -> None:
    break_(path_of(root, DIGEST))
    report = await check(place.metadata, place.store)
    assert kinds(report) == [(kind, DIGEST)]
    assert report.counts == {kind: 1}
    # Nothing was changed.
    assert (await registry.find_blob(APP, DIGEST)).size == len(CONTENT)


@pytest.mark.parametrize(("break_", "kind"), DAMAGES)
async def test_quick_check_finds_what_sizes_tell(
    place: Stores, registry: LocalRegistry, root: Path, break_: Break, kind: str
) -> None:
    break_(path_of(root, DIGEST))
    report = await check(place.metadata, place.store, hashing=False)
    assert kinds(report) == ([] if kind == "corrupt" else [(kind, DIGEST)])
    # What was fenced is read all the same.
    await check(place.metadata, place.store, repair=True)
    report = await check(place.metadata, place.store, hashing=False)
    assert kinds(report) == [(kind, DIGEST)]


@pytest.mark.parametrize(("break_", "kind"), DAMAGES)
async def test_fenced_blob_is_not_there_until_it_is_pushed_again(
    place: Stores, registry: LocalRegistry, root: Path, break_: Break, kind: str
) -> None:
    break_(path_of(root, DIGEST))
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == ["fenced"]
    for asked in (registry.find_blob(APP, DIGEST), registry.open_blob(APP, DIGEST)):
        with refused(Problem.BLOB_UNKNOWN):
            await asked
    assert await registry.mount_blob(name("team/new"), DIGEST, APP) is None
    assert await registry.mount_blob(name("team/new"), DIGEST, None) is None
    with refused(Problem.MANIFEST_BLOB_UNKNOWN) as caught:
        await put(registry, "team/app", image(tags=["v2"], layers=[CONTENT]))
    assert caught.value.detail == [{"digest": DIGEST}]
    with refused(Problem.BLOB_IN_USE):
        await registry.delete_blob(APP, DIGEST)
    await push(place.registry(Rules(sparse="all")), {"team/app": image(tags=["v3"], layers=[CONTENT])})
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT
    assert (await check(place.metadata, place.store)).is_clean
    assert "damaged" in await reasons(place)


async def reasons(place: Stores) -> list[str]:
    def ask(db: Connection) -> list[str]:
        return list(db.execute(select(schema.removed_content.c.reason)).scalars())

    return await place.metadata.read(ask)


async def test_blob_that_is_sound_again_is_served_again(
    place: Stores, registry: LocalRegistry, root: Path
) -> None:
    path = path_of(root, DIGEST)
    path.rename(root / "aside")
    await check(place.metadata, place.store, repair=True)
    (root / "aside").rename(path)
    assert (await check(place.metadata, place.store, repair=True)).is_clean
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT


async def test_check_notes_when_blobs_were_sound(place: Stores, registry: LocalRegistry) -> None:
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    await place.metadata.write(lambda db: db.execute(update(schema.blobs).values(verified_at=long_ago)))
    for repair, left in ((False, 3), (True, 0)):
        await check(place.metadata, place.store, repair=repair)
        due = await place.metadata.read(damage.least_verified, before=long_ago + timedelta(1), limit=9)
        assert len(due) == left


class Sick(WrappedStore):
    """A store whose disk does not give one blob, so many times."""

    def __init__(self, store: BlobStore, times: int, error: Exception) -> None:
        super().__init__(store)
        self.times = times
        self.error = error

    async def open(self, location: str) -> BlobReader:
        if DIGEST.hex in location and self.times:
            self.times -= 1
            raise self.error
        return await self.store.open(location)


@pytest.mark.parametrize(("times", "found"), [(1, []), (2, [("unreadable", DIGEST)])])
async def test_error_of_the_disk_counts_when_it_stays(
    place: Stores, registry: LocalRegistry, times: int, found: list[tuple[str, str]]
) -> None:
    report = await check(place.metadata, Sick(place.store, times, OSError(5, "Input/output error")))
    assert kinds(report) == found


async def test_store_that_is_away_damages_nothing(place: Stores, registry: LocalRegistry) -> None:
    with pytest.raises(StoreUnavailable):
        await check(place.metadata, Sick(place.store, 9, StoreUnavailable("away")), repair=True)
    assert (await check(place.metadata, place.store)).is_clean


async def test_disk_that_is_away_damages_nothing(place: Stores, registry: LocalRegistry, root: Path) -> None:
    (root / "blobs").rename(root / "away")
    with pytest.raises(StoreUnavailable):
        await registry.open_blob(APP, DIGEST)
    with pytest.raises(StoreUnavailable):
        await check(place.metadata, place.store, repair=True)
    (root / "away").rename(root / "blobs")
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT


class Racing(WrappedStore):
    """A store that is listed late: something happens first, and after."""

    def __init__(self, store: BlobStore, after: Callable[[], AsyncIterator[None]]) -> None:
        super().__init__(store)
        self.after = after

    async def walk(self):  # type: ignore[no-untyped-def]
        async for page in self.store.walk():
            yield page
        async for _ in self.after():
            pass


async def test_push_during_a_check_is_no_finding(place: Stores, registry: LocalRegistry) -> None:
    async def go_on() -> AsyncIterator[None]:
        await push(registry, {"team/late": image(tags=["v1"], layers=[b"late"])})
        await push_blob(registry, "team/app", CONTENT)  # elsewhere from now on
        yield

    assert (await check(place.metadata, Racing(place.store, go_on))).is_clean


async def test_blob_that_goes_during_a_check_is_no_finding(place: Stores, registry: LocalRegistry) -> None:
    location = await orphan(place, b"goes")

    async def go_on() -> AsyncIterator[None]:
        await place.store.delete([location])
        yield

    assert (await check(place.metadata, Racing(place.store, go_on))).is_clean


# Bytes without a row


async def orphan(place: Stores, content: bytes, *, days: int = 0) -> str:
    """Leave bytes in the store that nobody knows of."""
    key = os.urandom(8).hex()
    await place.store.stage(key)
    async with place.store.hold(key) as staged:
        await staged.resume(0, None)
        await staged.write(content)
        location = await staged.commit(Digest.of(content))
    assert isinstance(place.store, FileStore)
    then = datetime.now(UTC).timestamp() - days * 86400
    os.utime(place.store.blobs / location, (then, then))
    return location


async def test_bytes_without_a_row_are_orphaned(place: Stores, registry: LocalRegistry) -> None:
    location = await orphan(place, b"nobody's")
    assert kinds(await check(place.metadata, place.store)) == [("orphaned", location)]
    assert (await check(place.metadata, place.store, young=timedelta(hours=1))).is_clean
    # One that is young stays in a repair.
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == [""]
    assert await place.store.size(location) == len(b"nobody's")


async def test_old_ones_are_on_their_way_out_after_a_repair(place: Stores, registry: LocalRegistry) -> None:
    location = await orphan(place, b"nobody's", days=30)
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == ["removed"]

    def removed(db: Connection) -> tuple[str, int, str, str]:
        c = schema.removed_content.c
        return tuple(db.execute(select(c.digest, c.size, c.location, c.reason)).one())

    expected = (Digest.of(b"nobody's"), len(b"nobody's"), location, "unnamed")
    assert await place.metadata.read(removed) == expected
    assert (await check(place.metadata, place.store)).is_clean


async def test_bytes_of_an_upload_are_not_orphaned_while_it_has_a_row(
    place: Stores, registry: LocalRegistry
) -> None:
    upload = await registry.start_upload(APP, "sha256")
    await registry.append_upload(APP, upload.id, Chunk(body(b"half")))
    async with place.store.hold(upload.id) as staged:
        await staged.resume(4, None)
        location = await staged.commit(Digest.of(b"half"))
    assert (await check(place.metadata, place.store)).is_clean
    await place.metadata.write(lambda db: db.execute(delete(schema.uploads)))
    assert kinds(await check(place.metadata, place.store)) == [("orphaned", location)]


# Healing


@pytest.mark.parametrize(("break_", "kind"), DAMAGES)
async def test_orphan_heals(
    place: Stores, registry: LocalRegistry, root: Path, break_: Break, kind: str
) -> None:
    path = path_of(root, DIGEST)
    await orphan(place, CONTENT)
    await orphan(place, CONTENT[::-1])  # as long, and something else
    break_(path)
    report = await check(place.metadata, place.store, repair=True)
    [healed] = [each for each in report.findings if each.kind == kind]
    assert healed.outcome == "healed from unnamed bytes"
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT


async def test_removed_content_heals(place: Stores, registry: LocalRegistry, root: Path) -> None:
    earlier = path_of(root, DIGEST)
    await push_blob(registry, "team/app", CONTENT)
    [path] = [each for each in earlier.parent.glob(f"{DIGEST.hex}.*") if each != earlier]
    flip(path)
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == ["healed from removed content"]
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT
    # What is being deleted is not trusted.
    await place.metadata.write(lambda db: db.execute(update(schema.removed_content).values(is_going=True)))
    [path] = [each for each in earlier.parent.glob(f"{DIGEST.hex}.*") if each not in (earlier, path)]
    flip(path)
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == ["fenced"]


@pytest.mark.parametrize("layout", ["{0}/{1}", "{0}/{2}/{1}", "{0}/{2}/{1}.0123"])
async def test_directory_heals(
    place: Stores, registry: LocalRegistry, root: Path, tmp_path: Path, layout: str
) -> None:
    copy = tmp_path / "blobs" / layout.format("sha256", DIGEST.hex, DIGEST.hex[:2])
    copy.parent.mkdir(parents=True)
    sources = [NamedSource("the copy", Directory(tmp_path))]
    flip(path_of(root, DIGEST))
    for content, outcome in ((CONTENT[::-1], "fenced"), (CONTENT, "healed from the copy")):
        copy.write_bytes(content)
        report = await check(place.metadata, place.store, repair=True, sources=sources)
        assert [each.outcome for each in report.findings if each.kind == "corrupt"] == [outcome]
    assert await pull(registry, "team/app", IMAGE.digest)
    assert await count(place, "uploads") == 0


async def count(place: Stores, table: str) -> int:
    def rows(db: Connection) -> int:
        return db.execute(select(func.count()).select_from(schema.metadata.tables[table])).scalar_one()

    return await place.metadata.read(rows)


async def test_source_that_breaks_off_is_followed_by_the_next(
    place: Stores, registry: LocalRegistry, root: Path, tmp_path: Path
) -> None:
    class Broken:
        async def open(self, _: Digest) -> AsyncIterator[bytes]:
            async def read() -> AsyncIterator[bytes]:
                yield CONTENT[:5]
                raise OSError("it broke off")

            return read()

    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / DIGEST.hex).write_bytes(CONTENT)
    sources = [NamedSource("broken", Broken()), NamedSource("whole", Directory(tmp_path))]
    lose(path_of(root, DIGEST))
    report = await check(place.metadata, place.store, repair=True, sources=sources)
    assert [each.outcome for each in report.findings] == ["healed from whole"]
    assert await count(place, "uploads") == 0
    assert list((root / "uploads").iterdir()) == []


# Rows


async def test_manifest_whose_bytes_changed(place: Stores, registry: LocalRegistry) -> None:
    table = schema.manifests
    await place.metadata.write(
        lambda db: db.execute(update(table).values(content=IMAGE.content.replace(b"v1", b"v2") + b" "))
    )
    assert kinds(await check(place.metadata, place.store)) == [("manifest", f"team/app@{IMAGE.digest}")]


async def test_manifest_that_names_what_its_repository_lacks(place: Stores, registry: LocalRegistry) -> None:
    await place.metadata.write(blobs.unlink, "team/app", DIGEST)
    expected = [("unlinked", f"team/app@{IMAGE.digest}")]
    assert kinds(await check(place.metadata, place.store)) == expected
    assert (await check(place.metadata, place.store, sparse="all")).is_clean


async def test_rows_of_references_that_are_gone(place: Stores, registry: LocalRegistry) -> None:
    await place.metadata.write(lambda db: db.execute(delete(schema.manifest_references)))
    report = await check(place.metadata, place.store)
    assert report.counts == {"reference": 2}


async def test_blob_that_counts_as_removed(place: Stores, registry: LocalRegistry) -> None:
    def remove(db: Connection) -> None:
        now = datetime.now(UTC)
        row = db.execute(select(schema.blobs).where(schema.blobs.c.digest == DIGEST)).mappings().one()
        values = {name: row[name] for name in ("digest", "size", "location")}
        db.execute(
            insert(schema.removed_content).values(**values, reason="unused", removed_at=now, due_at=now)
        )

    await place.metadata.write(remove)
    assert kinds(await check(place.metadata, place.store)) == [("removed", DIGEST)]


async def test_tags_and_links_that_lead_nowhere(
    place: Stores, registry: LocalRegistry, database: str | None
) -> None:
    """As a database that has lost rows, or was edited without its keys, would have it."""

    def break_keys(db: Connection) -> None:
        if database is None:
            db.execute(text("PRAGMA defer_foreign_keys=ON"))
        else:
            db.execute(text("SET LOCAL session_replication_role = replica"))
        db.execute(delete(schema.manifests))
        db.execute(delete(schema.blobs).where(schema.blobs.c.digest == DIGEST))

    if database is None:
        # Foreign keys cannot be broken over a connection that holds them: by another one.
        import sqlite3  # noqa: PLC0415 - for this alone
        from contextlib import closing  # noqa: PLC0415

        path = await place.metadata.read(lambda db: str(db.engine.url.database))
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("DELETE FROM manifests")
            raw.execute("DELETE FROM blobs WHERE digest = ?", (DIGEST,))
            raw.commit()
    else:
        await place.metadata.write(break_keys)
    report = await check(place.metadata, place.store)
    found = {kind for kind, _ in kinds(report)}
    assert {"tag", "link"} <= found
    assert ("tag", "team/app:v1") in kinds(report)
    assert ("link", f"team/app@{DIGEST}") in kinds(report)
    assert ("database" in found) is (database is None)


# S3


@pytest.mark.e2e
async def test_bucket(stores: Stores, bucket: BlobStore, minio: S3Server) -> None:
    place = replace(stores, store=bucket)
    registry = place.registry()
    strays = [each.location async for page in bucket.walk() for each in page]
    await bucket.delete(strays)
    await push(registry, {"team/app": IMAGE})
    assert (await check(place.metadata, place.store)).is_clean
    row = await place.metadata.lookup(damage.find, DIGEST)
    assert row is not None
    s3, key = minio.client(), f"registry/{row.location}"
    original = s3.get_object(Bucket="longshore", Key=key)["Body"].read()
    s3.put_object(Bucket="longshore", Key=key, Body=original[::-1])
    s3.put_object(Bucket="longshore", Key="registry/blobs/00/0011.aa", Body=original)
    expected = [("corrupt", DIGEST), ("orphaned", "blobs/00/0011.aa")]
    assert kinds(await check(place.metadata, place.store)) == expected
    report = await check(place.metadata, place.store, repair=True)
    assert [each.outcome for each in report.findings] == ["healed from unnamed bytes", ""]
    assert await read_blob(registry, "team/app", DIGEST) == CONTENT
    s3.delete_object(Bucket="longshore", Key=f"registry/{row.location}")
    await bucket.delete(["blobs/00/0011.aa"])
    assert (await check(place.metadata, place.store)).is_clean
    row = await place.metadata.lookup(damage.find, DIGEST)
    assert row is not None
    await bucket.delete([row.location])
    assert kinds(await check(place.metadata, place.store, hashing=False)) == [("missing", DIGEST)]
    with pytest.raises(BlobMissing):
        await bucket.size(row.location)
