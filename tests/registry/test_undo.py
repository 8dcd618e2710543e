"""What was collected comes back if its bytes are what they were; what is damaged stays away, and says so."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import func, select, update

from registry.errors import Problem
from registry.grace import Grace
from registry.jobs.collect import Collector
from registry.local import LocalRegistry, Rules
from registry.names import Tag
from registry.undo import Returned, Undo
from storage.blobs import BlobReader, BlobStore, StoreUnavailable
from storage.digest import Digest
from storage.metadata import damage, removed, schema
from storage.metadata.engine import Connection
from tests.registry.content import describe, image, index, name, pull, push, push_blob, read_blob, refused
from tests.registry.damage import DAMAGES, check, flip, path_of
from tests.registry.registries import Stores
from tests.registry.stores import WrappedStore
from tests.storage.servers import BUCKET, S3Server

APP: Final = name("team/app")
LAYER: Final = b"content of a layer"
DIGEST: Final = Digest.of(LAYER)
FOREIGN: Final = b"a layer that need not be here"
NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
CHILD: Final = image(layers=[LAYER, describe(FOREIGN, NONDISTRIBUTABLE)])
WHOLE: Final = index(CHILD, tags=["v1"])
BLOBS: Final = {Digest.of(each) for each in (b"{}", LAYER, FOREIGN)}
GRACE: Final = Grace(blobs=timedelta(), quarantine=timedelta(days=1), untagged=timedelta())


async def fill(place: Stores) -> LocalRegistry:
    """Return a registry with an index of one image, all of whose blobs are there."""
    registry = place.registry(Rules(grace=GRACE))
    await push_blob(registry, APP, FOREIGN)
    await push(registry, {APP: WHOLE})
    return registry


@pytest.fixture
async def registry(place: Stores) -> LocalRegistry:
    return await fill(place)


async def collect(place: Stores, registry: LocalRegistry) -> None:
    """Let nothing lead to the image, and collect it."""
    await registry.delete_tag(APP, Tag("v1"))
    await Collector(place.metadata, place.store, GRACE).collect_all()


async def bring_back(place: Stores, digest: Digest = WHOLE.digest) -> Returned:
    return await Undo(place.metadata, place.store).bring_back(digest)


async def counts(place: Stores) -> list[int]:
    """Return how many manifests, blobs and removed things there are."""

    def run(db: Connection) -> list[int]:
        tables = (schema.manifests, schema.blobs, schema.removed_content)
        return [db.execute(select(func.count()).select_from(each)).scalar_one() for each in tables]

    return await place.metadata.read(run)


async def test_what_is_sound_comes_back_and_counts_as_verified(
    place: Stores, registry: LocalRegistry
) -> None:
    await collect(place, registry)
    began_at = datetime.now(UTC)
    returned = await bring_back(place)
    assert returned.manifests == (WHOLE.digest, CHILD.digest)
    assert (set(returned.blobs), returned.damaged) == (BLOBS, ())
    assert len(await pull(registry, APP, WHOLE.digest)) == 5
    assert await counts(place) == [2, 3, 0]
    assert await place.metadata.read(damage.least_verified, before=began_at, limit=9) == []


@pytest.mark.parametrize(("break_", "kind"), DAMAGES)
async def test_damaged_blob_keeps_its_manifest_away(
    place: Stores, registry: LocalRegistry, root: Path, break_: Callable[[Path], None], kind: str
) -> None:
    await collect(place, registry)
    before = await counts(place)
    break_(path_of(root, DIGEST))
    with refused(Problem.NOT_HERE) as caught:
        await bring_back(place)
    assert caught.value.message == f"its blob {DIGEST} is damaged ({kind})"
    with refused(Problem.NOT_HERE) as caught:
        await bring_back(place, DIGEST)
    assert caught.value.message == f"{DIGEST} cannot come back: its bytes are damaged ({kind})"
    assert await counts(place) == before
    # From wherever it is pushed.
    await push_blob(registry, "team/other", LAYER)
    await bring_back(place)
    assert len(await pull(registry, APP, WHOLE.digest)) == 5


async def test_what_was_fenced_before_it_was_collected_stays_away_until_it_is_sound(
    place: Stores, registry: LocalRegistry, root: Path
) -> None:
    flip(path_of(root, DIGEST))
    await check(place.metadata, place.store, repair=True)
    await collect(place, registry)
    with refused(Problem.NOT_HERE):
        await bring_back(place)
    flip(path_of(root, DIGEST))
    await bring_back(place)
    assert await read_blob(registry, APP, DIGEST) == LAYER


async def test_sound_bytes_come_back_in_the_place_of_damaged_ones(
    place: Stores, registry: LocalRegistry, root: Path
) -> None:
    earlier = path_of(root, DIGEST)
    await push_blob(registry, APP, LAYER)
    await collect(place, registry)
    [later] = [each for each in earlier.parent.glob(f"{DIGEST.hex}.*") if each != earlier]
    flip(later)
    await bring_back(place)
    assert await read_blob(registry, APP, DIGEST) == LAYER
    row = await place.metadata.lookup(damage.find, DIGEST)
    assert row is not None
    assert row.location.endswith(earlier.name)


async def test_manifest_comes_back_without_a_damaged_blob_that_it_can_do_without(
    place: Stores, registry: LocalRegistry, root: Path
) -> None:
    await collect(place, registry)
    flip(path_of(root, Digest.of(FOREIGN)))
    returned = await bring_back(place)
    assert returned.manifests == (WHOLE.digest, CHILD.digest)
    assert returned.damaged == (Digest.of(FOREIGN),)
    assert set(returned.blobs) == BLOBS - {Digest.of(FOREIGN)}
    with refused(Problem.BLOB_UNKNOWN):
        await registry.find_blob(APP, Digest.of(FOREIGN))


async def test_fenced_blob_of_another_repository_keeps_a_manifest_away(
    place: Stores, registry: LocalRegistry, root: Path
) -> None:
    await push(registry, {"team/other": image(tags=["v1"], layers=[LAYER], config=LAYER)})
    await collect(place, registry)
    row = await place.metadata.lookup(damage.find, DIGEST)
    assert row is not None
    await place.metadata.write(damage.note_damaged, row, now=datetime.now(UTC))
    with refused(Problem.NOT_HERE) as caught:
        await bring_back(place)
    assert caught.value.message == f"its blob {DIGEST} is damaged"


class Interrupted(WrappedStore):
    """A store where something happens before bytes are read."""

    def __init__(self, store: BlobStore, happens: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store)
        self.happens = happens

    async def open(self, location: str) -> BlobReader:
        await self.happens()
        return await self.store.open(location)


async def test_nothing_comes_back_while_the_store_is_away(place: Stores, registry: LocalRegistry) -> None:
    await collect(place, registry)
    before = await counts(place)

    async def fail() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await bring_back(replace(place, store=Interrupted(place.store, fail)))
    assert await counts(place) == before


async def test_what_is_deleted_while_it_is_read_does_not_come_back(
    place: Stores, registry: LocalRegistry
) -> None:
    await collect(place, registry)
    later = datetime.now(UTC) + timedelta(days=2)

    async def delete() -> None:
        await place.metadata.write(removed.take_due, now=later, limit=9)

    with refused(Problem.NOT_HERE) as caught:
        await bring_back(replace(place, store=Interrupted(place.store, delete)))
    assert caught.value.message.endswith(" is gone")
    assert (await counts(place))[:2] == [0, 0]


async def test_what_is_due_while_it_is_read_comes_back(place: Stores, registry: LocalRegistry) -> None:
    await collect(place, registry)
    await place.metadata.write(
        lambda db: db.execute(update(schema.removed_content).values(due_at=datetime.now(UTC)))
    )
    at_once = Grace(quarantine=timedelta())

    async def collect_again() -> None:
        assert (await Collector(place.metadata, place.store, at_once).collect_all()).deleted == 0

    await bring_back(replace(place, store=Interrupted(place.store, collect_again)))
    assert len(await pull(registry, APP, WHOLE.digest)) == 5


async def test_push_that_comes_while_bytes_are_read_is_left_as_it_is(
    place: Stores, registry: LocalRegistry
) -> None:
    await collect(place, registry)
    pushed: list[damage.BlobRow | None] = []

    async def push_once() -> None:
        if not pushed:
            await push_blob(registry, "team/other", LAYER)
            pushed.append(await place.metadata.lookup(damage.find, DIGEST))

    await bring_back(replace(place, store=Interrupted(place.store, push_once)))
    assert await place.metadata.lookup(damage.find, DIGEST) == pushed[0]
    assert len(await pull(registry, APP, WHOLE.digest)) == 5


@pytest.mark.e2e
async def test_bucket(stores: Stores, bucket: BlobStore, minio: S3Server) -> None:
    place = replace(stores, store=bucket)
    registry = await fill(place)
    row = await place.metadata.lookup(damage.find, DIGEST)
    assert row is not None
    await collect(place, registry)
    s3, key = minio.client(), f"registry/{row.location}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=LAYER[::-1])
    with refused(Problem.NOT_HERE) as caught:
        await bring_back(place)
    assert caught.value.message == f"its blob {DIGEST} is damaged (corrupt)"
    s3.delete_object(Bucket=BUCKET, Key=key)
    with refused(Problem.NOT_HERE) as caught:
        await bring_back(place)
    assert caught.value.message == f"its blob {DIGEST} is damaged (missing)"
    s3.put_object(Bucket=BUCKET, Key=key, Body=LAYER)
    await bring_back(place)
    assert len(await pull(registry, APP, WHOLE.digest)) == 5
