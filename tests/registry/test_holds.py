"""Holding uploads by their rows: one at a time, for a while, and not for ever."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import select

from registry.holds import UploadHolds
from storage.blobs import StagedBusy, StagedMissing
from storage.metadata import schema, uploads
from storage.metadata.engine import Connection, Metadata, MetadataUnavailable
from storage.metadata.uploads import StoredUpload
from tests.registry.registries import Stores
from tests.registry.web.live import PATIENCE

NONE: Final = timedelta(0)


@pytest.fixture
async def metadata(stores: Stores) -> Metadata:
    row = StoredUpload("upload", "team/app", None, "sha256", 0, None)
    await stores.metadata.write(uploads.add, row, now=datetime.now(UTC))
    return stores.metadata


def held_until(db: Connection) -> datetime | None:
    until: datetime | None = db.execute(select(schema.uploads.c.held_until)).scalar_one()
    return until


async def is_free(metadata: Metadata) -> bool:
    try:
        async with UploadHolds(metadata).hold("upload"):
            return True
    except StagedBusy:
        return False


async def test_upload_is_held_and_let_go(metadata: Metadata, other_stores: Stores) -> None:
    async with UploadHolds(metadata).hold("upload"):
        for each in (metadata, other_stores.metadata):
            assert not await is_free(each)
    assert await metadata.lookup(held_until) is None
    assert await is_free(other_stores.metadata)


async def test_upload_is_let_go_after_an_error(metadata: Metadata) -> None:
    with pytest.raises(ZeroDivisionError):
        async with UploadHolds(metadata).hold("upload"):
            raise ZeroDivisionError
    assert await is_free(metadata)


async def test_cancelled_holder_lets_go(metadata: Metadata) -> None:
    async def hold() -> None:
        async with UploadHolds(metadata).hold("upload"):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holder = asyncio.create_task(hold())
    await held.wait()
    holder.cancel()
    await asyncio.wait([holder])
    assert holder.cancelled()
    assert await is_free(metadata)


async def test_one_of_many_holds(metadata: Metadata) -> None:
    async def hold() -> bool:
        try:
            async with UploadHolds(metadata).hold("upload"):
                done.append(True)
                await released.wait()
                return True
        except StagedBusy:
            done.append(False)
            return False

    done: list[bool] = []
    released = asyncio.Event()
    holders = [asyncio.create_task(hold()) for _ in range(10)]
    async with asyncio.timeout(PATIENCE):
        while len(done) < 10:  # noqa: ASYNC110 - each step is one of the database's
            await asyncio.sleep(0)
    released.set()
    assert sum(await asyncio.gather(*holders)) == 1


async def test_unknown_upload_is_missing(metadata: Metadata) -> None:
    with pytest.raises(StagedMissing):
        async with UploadHolds(metadata).hold("unknown"):
            pytest.fail("held what is not there")


async def test_row_may_go_while_it_is_held(metadata: Metadata) -> None:
    async with UploadHolds(metadata).hold("upload"):
        await metadata.write(uploads.remove, "upload")
    with pytest.raises(StagedMissing):
        async with UploadHolds(metadata).hold("upload"):
            pytest.fail("held what is not there")


async def test_hold_that_nobody_renews_ends_by_itself(metadata: Metadata) -> None:
    async with UploadHolds(metadata, lasts=NONE, renewed_every=3600).hold("upload"):
        async with UploadHolds(metadata).hold("upload"):
            assert not await is_free(metadata)
        assert await is_free(metadata)


async def test_late_holder_does_not_let_go_what_another_holds(metadata: Metadata) -> None:
    async with contextlib.AsyncExitStack() as other:
        async with UploadHolds(metadata, lasts=NONE, renewed_every=3600).hold("upload"):
            await other.enter_async_context(UploadHolds(metadata).hold("upload"))
        assert not await is_free(metadata)


async def test_hold_is_renewed(metadata: Metadata) -> None:
    async with UploadHolds(metadata, renewed_every=0).hold("upload"):
        first = await metadata.lookup(held_until)
        assert first is not None
        async with asyncio.timeout(PATIENCE):
            while (await metadata.lookup(held_until) or first) <= first:  # noqa: ASYNC110 - it asks a database
                await asyncio.sleep(0.001)
        assert not await is_free(metadata)


async def test_holder_goes_on_renewing_when_the_database_stumbles(metadata: Metadata) -> None:
    class Stumbling:
        """Fails every second write."""

        writes = 0

        async def write(self, query: object, *args: object, **kwargs: object) -> object:
            self.writes += 1
            if self.writes % 2 == 0:
                raise MetadataUnavailable("as the test wants it")
            return await metadata.write(query, *args, **kwargs)  # type: ignore[arg-type]

    stumbling = Stumbling()
    async with UploadHolds(stumbling, renewed_every=0).hold("upload"):  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            while stumbling.writes < 6:  # noqa: ASYNC110 - each step is one of the database's
                await asyncio.sleep(0)
        assert not await is_free(metadata)
