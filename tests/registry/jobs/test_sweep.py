"""What was begun and left goes; what somebody still works on stays. Rows and files are set back in time."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import structlog
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from auth.identity import Identity, Permission
from auth.throttle import FORGET_SECONDS, keys
from registry.accounts import StoredAccounts, StoredThrottle
from registry.errors import Problem
from registry.interface import Chunk
from registry.jobs import sweep as sweeping
from registry.jobs.sweep import Sweep
from registry.local import LocalRegistry
from storage.blobs import BlobMissing, BlobStore, StagedMissing
from storage.digest import Digest
from storage.metadata import schema
from storage.metadata.engine import Connection
from storage.s3_parts import MIN_PART
from tests.registry.accounts import add_account
from tests.registry.content import body, name, push_blob, read_blob, refused
from tests.registry.registries import Stores
from tests.registry.stores import LateStore
from tests.storage.servers import BUCKET, S3Server

TTL: Final = 3600
HOUR: Final = timedelta(hours=1)
APP: Final = name("team/app")
CONTENT: Final = b"content"


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that no earlier test has bound to its own configuration."""
    monkeypatch.setattr(sweeping, "_log", structlog.stdlib.get_logger())


@pytest.fixture
def sweep(stores: Stores) -> Sweep:
    return Sweep(stores.metadata, stores.store, TTL)


async def begin(registry: LocalRegistry, content: bytes = CONTENT) -> str:
    upload = await registry.start_upload(APP, "sha256")
    await registry.append_upload(APP, upload.id, Chunk(body(content)))
    return upload.id


async def leave(data: Path, stores: Stores, upload_id: str, seconds: int = TTL + 1) -> None:
    """Let the last byte of an upload have come `seconds` ago."""
    await leave_row(stores, upload_id, seconds)
    set_back(data / "uploads" / upload_id, seconds)


async def leave_row(stores: Stores, upload_id: str, seconds: int = TTL + 1) -> None:
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    table = schema.uploads
    await stores.metadata.write(
        lambda db: db.execute(update(table).where(table.c.id == upload_id).values(touched_at=then))
    )


def set_back(path: Path, seconds: int = TTL + 1) -> None:
    then = datetime.now(UTC).timestamp() - seconds
    os.utime(path, (then, then))


def files(data: Path) -> set[str]:
    return {path.name for path in (data / "uploads").iterdir()}


async def count(stores: Stores, table: str) -> int:
    def rows(db: Connection) -> int:
        return db.execute(select(func.count()).select_from(schema.metadata.tables[table])).scalar_one()

    return await stores.metadata.read(rows)


# Uploads


async def test_abandoned_upload_goes_with_its_bytes(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep
) -> None:
    old, fresh = await begin(local), await begin(local)
    await leave(data, stores, old)
    with capture_logs() as logs:
        await sweep()
    assert files(data) == {fresh}
    with refused(Problem.UPLOAD_UNKNOWN):
        await local.get_upload(APP, old)
    await local.finish_upload(APP, fresh, Digest.of(CONTENT), Chunk(body()))
    [entry] = logs
    assert (entry["event"], entry["uploads"]) == ("swept", 1)


@pytest.mark.parametrize(
    ("seconds", "goes"), [(0, False), (TTL - 60, False), (TTL + 1, True), (TTL * 99, True)]
)
async def test_age_at_which_an_upload_goes(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep, seconds: int, goes: bool
) -> None:
    await leave(data, stores, await begin(local), seconds)
    await sweep()
    assert await count(stores, "uploads") == len(files(data)) == (0 if goes else 1)


async def test_upload_without_a_byte_goes_too(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep
) -> None:
    upload = await local.start_upload(APP, "sha256")
    await leave(data, stores, upload.id)
    await sweep()
    assert files(data) == set()
    assert await count(stores, "uploads") == 0


async def test_upload_that_somebody_writes_to_stays(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep, other_stores: Stores
) -> None:
    upload_id = await begin(local)
    await leave(data, stores, upload_id)
    async with other_stores.store.hold(upload_id):
        await sweep()
    await local.finish_upload(APP, upload_id, Digest.of(CONTENT), Chunk(body()))


async def test_upload_that_went_on_since_it_was_looked_for_stays(
    data: Path, stores: Stores, local: LocalRegistry
) -> None:
    upload_id = await begin(local)
    before = datetime.now(UTC) - timedelta(seconds=TTL)
    set_back(data / "uploads" / upload_id)  # the bytes look old, the row does not
    assert await Sweep(stores.metadata, stores.store, TTL).sweep_uploads(before) == 0
    await local.finish_upload(APP, upload_id, Digest.of(CONTENT), Chunk(body()))


async def test_upload_that_goes_on_while_it_is_looked_for_stays(
    data: Path, stores: Stores, local: LocalRegistry
) -> None:
    upload_id = await begin(local)
    await leave(data, stores, upload_id)
    late = LateStore(stores.store)
    late.before_hold = lambda: local.append_upload(APP, upload_id, Chunk(body(CONTENT)))
    await Sweep(stores.metadata, late, TTL)()
    await local.finish_upload(APP, upload_id, Digest.of(CONTENT * 2), Chunk(body()))


async def test_row_without_bytes_goes(data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep) -> None:
    upload_id = await begin(local)
    await leave(data, stores, upload_id)
    (data / "uploads" / upload_id).unlink()
    await sweep()
    assert await count(stores, "uploads") == 0


@pytest.mark.parametrize(("seconds", "goes"), [(0, False), (TTL + 1, True)])
async def test_bytes_without_a_row_go_when_they_are_old(
    data: Path, stores: Stores, sweep: Sweep, seconds: int, goes: bool
) -> None:
    await stores.store.stage("stray")
    set_back(data / "uploads" / "stray", seconds)
    await sweep()
    assert files(data) == (set() if goes else {"stray"})


async def test_bytes_that_a_crash_kept_from_being_named_go(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep
) -> None:
    upload_id = await begin(local)
    named = await push_blob(local, APP, CONTENT)
    async with stores.store.hold(upload_id) as staged:
        await staged.resume(len(CONTENT), None)
        location = await staged.commit(Digest.of(CONTENT))
    await leave_row(stores, upload_id)
    await sweep()
    assert await count(stores, "uploads") == 0
    with pytest.raises(BlobMissing):
        await stores.store.open(location)
    assert await read_blob(local, APP, named) == CONTENT


async def test_blobs_stay(data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep) -> None:
    digest = await push_blob(local, APP, CONTENT)
    for path in (data / "blobs" / "sha256" / digest.hex[:2]).glob(f"{digest.hex}.*"):
        set_back(path, TTL * 99)
    await sweep()
    assert await read_blob(local, APP, digest) == CONTENT


@pytest.mark.e2e
async def test_bucket_is_swept(stores: Stores, bucket: BlobStore, minio: S3Server) -> None:
    registry = replace(stores, store=bucket).registry()
    content = bytes(2 * MIN_PART)
    digest = await push_blob(registry, APP, content + b"blob")
    upload_id = await begin(registry, content + b"tail")
    stray = "0123456789abcdef"
    s3 = minio.client()
    for key in (f"registry/blobs/{stray[:2]}/{stray}.0", f"registry/blobs/{upload_id[:2]}/{upload_id}.0"):
        s3.create_multipart_upload(Bucket=BUCKET, Key=key)
    s3.put_object(Bucket=BUCKET, Key=f"registry/uploads/{stray}.0", Body=b"tail")
    assert await Sweep(stores.metadata, bucket, TTL).sweep_uploads(datetime.now(UTC) + HOUR) >= 2
    multiparts = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert not [each for each in multiparts if each["Key"].startswith("registry/")]
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="registry/uploads/")
    assert await count(stores, "uploads") == 0
    assert await read_blob(registry, APP, digest) == content + b"blob"


async def test_sweeping_counts_what_it_removed(
    data: Path, stores: Stores, local: LocalRegistry, sweep: Sweep
) -> None:
    for _ in range(3):
        await leave(data, stores, await begin(local))
    await stores.store.stage("stray")
    set_back(data / "uploads" / "stray")
    before = datetime.now(UTC) - timedelta(seconds=TTL)
    assert await sweep.sweep_uploads(before) == 4
    assert await sweep.sweep_uploads(before) == 0
    with pytest.raises(StagedMissing):
        async with stores.store.hold("stray"):
            pass


# Tokens and failures


async def test_expired_refresh_tokens_go(stores: Stores, sweep: Sweep) -> None:
    ann = await add_account(stores, "ann")
    kept = await StoredAccounts(stores.metadata, 60).add_refresh_token(ann, "client")
    for _ in range(2):
        await StoredAccounts(stores.metadata, -1).add_refresh_token(ann, "client")
    with capture_logs() as logs:
        await sweep()
    assert await count(stores, "refresh_tokens") == 1
    assert await StoredAccounts(stores.metadata, 60).find_by_refresh_token(kept or "") == ann
    assert [entry["refresh_tokens"] for entry in logs] == [2]


@pytest.mark.parametrize(("seconds", "left"), [(0, 3), (FORGET_SECONDS - 60, 3), (FORGET_SECONDS + 1, 0)])
async def test_old_login_failures_go(stores: Stores, sweep: Sweep, seconds: int, left: int) -> None:
    await StoredThrottle(stores.metadata).record_failure(keys("ann", "10.0.0.1"))
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    await stores.metadata.write(lambda db: db.execute(update(schema.login_failures).values(failed_at=then)))
    await sweep()
    assert await count(stores, "login_failures") == left


@pytest.mark.parametrize(
    ("table", "days", "goes"),
    [
        ("sessions", -1, False),
        ("sessions", 0, True),
        ("access_tokens", -1, False),
        ("access_tokens", 29, False),
        ("access_tokens", 31, True),
        ("invitations", 29, False),
        ("invitations", 31, True),
    ],
)
async def test_what_ended_so_many_days_ago_goes(
    stores: Stores, sweep: Sweep, table: str, days: int, goes: bool
) -> None:
    ann = await add_account(stores, "ann")
    await stores.metadata.write(add_ended, table, ann, datetime.now(UTC) - timedelta(days=days))
    with capture_logs() as logs:
        await sweep()
    assert await count(stores, table) == (0 if goes else 1)
    assert [entry[table] for entry in logs] == ([1] if goes else [])


def add_ended(db: Connection, table: str, owner: Identity, end: datetime) -> None:
    began = end - timedelta(days=9)
    values: dict[str, object] = {"secret_hash": "x", "created_at": began, "expires_at": end}
    more: dict[str, dict[str, object]] = {
        "sessions": {"account_id": owner.account_id, "seen_at": began, "address": "", "agent": ""},
        "access_tokens": {
            "account_id": owner.account_id,
            "name": "ci",
            "permission": Permission.READ,
            "is_limited": False,
        },
        "invitations": {"as_owner": False, "note": "", "invited_by": "ann"},
    }
    db.execute(schema.metadata.tables[table].insert().values(**values, **more[table]))


@pytest.mark.parametrize(("days", "goes"), [(29, False), (31, True)])
async def test_invitation_that_was_accepted_so_many_days_ago_goes(
    stores: Stores, sweep: Sweep, days: int, goes: bool
) -> None:
    ann, now = await add_account(stores, "ann"), datetime.now(UTC)
    await stores.metadata.write(add_ended, "invitations", ann, now + timedelta(days=99))
    then = now - timedelta(days=days)
    await stores.metadata.write(lambda db: db.execute(update(schema.invitations).values(accepted_at=then)))
    await sweep()
    assert await count(stores, "invitations") == (0 if goes else 1)


async def test_tokens_without_an_end_and_open_invitations_stay(stores: Stores, sweep: Sweep) -> None:
    ann = await add_account(stores, "ann")
    await stores.metadata.write(add_ended, "access_tokens", ann, datetime.now(UTC) - timedelta(days=99))
    await stores.metadata.write(lambda db: db.execute(update(schema.access_tokens).values(expires_at=None)))
    await stores.metadata.write(add_ended, "invitations", ann, datetime.now(UTC) + timedelta(days=1))
    await sweep()
    assert [await count(stores, table) for table in ("access_tokens", "invitations")] == [1, 1]


async def test_nothing_to_do_is_not_worth_a_line(sweep: Sweep) -> None:
    with capture_logs() as logs:
        await sweep()
    assert logs == []
