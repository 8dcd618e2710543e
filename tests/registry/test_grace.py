"""Whoever is told that something is here can count on it for a while."""

from datetime import datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import BigInteger, select, type_coerce, update

from registry.errors import Problem
from registry.grace import Grace, Renewal
from registry.interface import Registry
from registry.jobs.collect import Collector
from registry.local import LocalRegistry, Rules
from registry.names import Tag
from storage.digest import Digest
from storage.metadata import blobs, schema
from storage.metadata.engine import Connection
from tests.registry.content import image, index, name, pull, push, push_blob, put, read_blob, refused
from tests.registry.registries import Stores

APP: Final = name("team/app")
HOUR: Final = timedelta(hours=1)
GRACE: Final = Grace(blobs=HOUR, quarantine=timedelta(), untagged=HOUR)


@pytest.fixture
def local(stores: Stores) -> LocalRegistry:
    return stores.registry(Rules(grace=GRACE))


async def age(stores: Stores, by: timedelta) -> None:
    """Let all that happened have happened earlier."""
    moments = {"blob_links": ("linked_at",), "manifests": ("pushed_at", "renewed_at")}
    microseconds = by // timedelta(microseconds=1)

    def run(db: Connection) -> None:
        for table, columns in moments.items():
            c = schema.metadata.tables[table].c
            earlier = {each: type_coerce(c[each], BigInteger) - microseconds for each in columns}
            db.execute(update(schema.metadata.tables[table]).values(earlier))

    await stores.metadata.write(run)


async def collect(stores: Stores) -> None:
    await Collector(stores.metadata, stores.store, GRACE).collect_all()


async def linked_at(stores: Stores, digest: Digest) -> datetime:
    c = schema.blob_links.c
    return await stores.metadata.read(
        lambda db: db.execute(select(c.linked_at).where(c.digest == digest)).scalar_one()
    )


async def renewed_at(stores: Stores, digest: Digest) -> datetime | None:
    c = schema.manifests.c
    return await stores.metadata.read(
        lambda db: db.execute(select(c.renewed_at).where(c.digest == digest)).scalar_one()
    )


async def ask_for_blob(registry: Registry, verb: str, digest: Digest) -> None:
    match verb:
        case "HEAD":
            await registry.find_blob(APP, digest)
        case "GET":
            await read_blob(registry, APP, digest)
        case "mount":
            assert await registry.mount_blob(APP, digest, APP) is not None
        case "push":
            await push_blob(registry, APP, b"layer")


@pytest.mark.parametrize("verb", ["HEAD", "GET", "mount", "push"])
async def test_blob_can_be_counted_on(stores: Stores, local: LocalRegistry, verb: str) -> None:
    digest = await push_blob(local, APP, b"layer")
    await age(stores, 2 * HOUR)
    await ask_for_blob(local, verb, digest)
    await age(stores, HOUR / 3)
    await collect(stores)
    await put(local, "team/app", image(tags=["v1"], layers=[b"layer"], config=b"layer"))
    await age(stores, 9 * HOUR)
    await collect(stores)
    assert len(await pull(local, "team/app", Tag("v1"))) == 2


async def test_blob_is_gone_that_nobody_asked_for(stores: Stores, local: LocalRegistry) -> None:
    digest = await push_blob(local, APP, b"layer")
    await age(stores, 2 * HOUR)
    await collect(stores)
    with refused(Problem.BLOB_UNKNOWN):
        await local.find_blob(APP, digest)
    with refused(Problem.MANIFEST_BLOB_UNKNOWN):
        await put(local, "team/app", image(tags=["v1"], layers=[b"layer"], config=b"layer"))


async def test_young_blob_is_told_of_without_a_write(stores: Stores, local: LocalRegistry) -> None:
    digest = await push_blob(local, APP, b"layer")
    await age(stores, HOUR / 3)
    before = await linked_at(stores, digest)
    await local.find_blob(APP, digest)
    assert await linked_at(stores, digest) == before
    await age(stores, HOUR / 3)
    await local.find_blob(APP, digest)
    assert await linked_at(stores, digest) > before


async def test_blob_of_an_image_is_told_of_without_a_write(stores: Stores, local: LocalRegistry) -> None:
    await push(local, {"team/app": image(tags=["v1"], layers=[b"layer"])})
    await age(stores, 99 * HOUR)
    before = await linked_at(stores, Digest.of(b"layer"))
    await pull(local, "team/app", Tag("v1"))
    await local.find_blob(APP, Digest.of(b"layer"))
    assert await linked_at(stores, Digest.of(b"layer")) == before


async def test_blob_whose_image_goes_can_be_counted_on(stores: Stores, local: LocalRegistry) -> None:
    v1 = image(tags=["v1"], layers=[b"layer"])
    await push(local, {"team/app": v1})
    await age(stores, 99 * HOUR)
    await local.find_blob(APP, Digest.of(b"layer"))
    await local.delete_manifest(APP, v1.digest)
    await collect(stores)
    await put(local, "team/app", image(tags=["v2"], layers=[b"layer"], config=b"{}"))
    await age(stores, 99 * HOUR)
    await collect(stores)
    assert len(await pull(local, "team/app", Tag("v2"))) == 3


async def test_blob_that_goes_as_it_is_found_is_not_told_of(stores: Stores, local: LocalRegistry) -> None:
    digest = await push_blob(local, APP, b"layer")
    await age(stores, 2 * HOUR)
    found = await stores.metadata.lookup(blobs.find, APP, digest)
    assert found is not None
    await collect(stores)
    assert not await Renewal(stores.metadata, GRACE).keep_blob(APP, found)


@pytest.mark.parametrize("verb", ["HEAD", "GET", "HEAD blob", "GET blob", "PUT"])
@pytest.mark.parametrize("sparse", ["index", "none"])
async def test_child_can_be_counted_on(stores: Stores, verb: str, sparse: str) -> None:
    rules = Rules("index" if sparse == "index" else "none", grace=GRACE)
    local = stores.registry(rules)
    child = image(layers=[b"layer"])
    await push(local, {"team/app": child})
    await age(stores, 2 * HOUR)
    match verb:
        case "HEAD":
            await local.find_manifest(APP, child.digest)
        case "GET":
            await local.get_manifest(APP, child.digest)
        case "HEAD blob":
            await local.find_blob(APP, child.digest)
        case "GET blob":
            await read_blob(local, APP, child.digest)
        case "PUT":
            await put(local, "team/app", child)
    await age(stores, HOUR / 3)
    await collect(stores)
    await put(local, "team/app", index(child, tags=["v1"]))
    await age(stores, 99 * HOUR)
    await collect(stores)
    assert len(await pull(local, "team/app", Tag("v1"))) == 4


async def test_child_is_gone_that_nobody_asked_for(stores: Stores, local: LocalRegistry) -> None:
    child = image(layers=[b"layer"])
    await push(local, {"team/app": child})
    await age(stores, 2 * HOUR)
    await collect(stores)
    with refused(Problem.MANIFEST_UNKNOWN):
        await local.get_manifest(APP, child.digest)


async def test_image_that_a_tag_leads_to_is_told_of_without_a_write(
    stores: Stores, local: LocalRegistry
) -> None:
    child = image(layers=[b"layer"])
    await push(local, {"team/app": index(child, tags=["v1"])})
    await age(stores, 99 * HOUR)
    await local.find_manifest(APP, child.digest)
    await pull(local, "team/app", Tag("v1"))
    assert await renewed_at(stores, child.digest) is None


async def test_time_is_not_renewed_where_manifests_stay_for_good(stores: Stores) -> None:
    local = stores.registry()
    child = image(layers=[b"layer"])
    await push(local, {"team/app": child})
    await age(stores, 9999 * HOUR)
    await local.find_manifest(APP, child.digest)
    assert await renewed_at(stores, child.digest) is None


async def test_child_that_an_untagged_index_keeps_can_be_counted_on(
    stores: Stores, local: LocalRegistry
) -> None:
    child = image(layers=[b"layer"])
    first = index(child, tags=["v1"])
    await push(local, {"team/app": first})
    await age(stores, 99 * HOUR)
    await local.delete_tag(APP, Tag("v1"))
    await age(stores, HOUR * 2 / 3)
    await local.find_manifest(APP, child.digest)  # kept by the index, yet not for half an hour
    await age(stores, HOUR * 2 / 3)
    await collect(stores)
    with refused(Problem.MANIFEST_UNKNOWN):
        await local.get_manifest(APP, first.digest)
    assert len(await pull(local, "team/app", child.digest)) == 3


async def test_bytes_that_are_elsewhere_since_they_were_looked_up_are_found(
    stores: Stores, local: LocalRegistry
) -> None:
    digest = await push_blob(local, APP, b"layer")
    stored = await local._find_blob(APP, digest)
    assert stored is not None
    await push_blob(local, APP, b"layer")
    await stores.store.delete([stored.location])
    reader = await local._open_stored(APP, stored)
    assert b"".join([part async for part in reader.read(0, 5)]) == b"layer"
    await reader.close()
