"""`longshore doctor` and real servers: PostgreSQL and S3, each set up right and wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

import asyncpg
import pytest
from aiohttp import web

from registry.cli.checks.bucket import check_bucket
from registry.cli.checks.findings import Finding
from registry.cli.checks.postgres import check_postgres, judge_facts
from registry.config import Settings
from registry.installation import place_of
from registry.shared_keys import SharedKeys
from storage.blobs import StoreUnavailable
from storage.metadata.databases import PostgresDatabase
from storage.metadata.postgresql import PostgresMetadata
from storage.metadata.probes import PostgresFacts
from storage.s3_probe import FOLDER, S3Probe, offset_of
from tests.postgres import PostgresServer
from tests.registry.findings import faults_in
from tests.storage.proxy import Cut, Proxy, Refuse, Seen
from tests.storage.servers import BUCKET, REGION, S3Server

pytestmark = pytest.mark.e2e

SECRET: Final = "a secret of more than thirty-two characters"


def settings_of(**values: Any) -> Settings:
    return Settings.model_validate(values)


# -- PostgreSQL ------------------------------------------------------------------------------------------


async def examine(dsn: str, **values: Any) -> Sequence[Finding]:
    return await check_postgres(settings_of(database=dsn, workers=1, **values), PostgresDatabase(dsn))


@pytest.fixture
def dsn(postgres: PostgresServer, migrated_postgres: str) -> str:
    """The URL of a database of the test's own, with our schema."""
    return postgres.create("migrated")


async def execute(dsn: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


async def test_database_that_is_fine(dsn: str) -> None:
    findings = await examine(dsn)
    told = {each.found: each.result for each in findings if "round trip" not in each.found}
    assert set(told.values()) == {"ok"}
    for words in ("PostgreSQL ", "room for ", "the schema is at", "takes writes"):
        assert any(words in each for each in told), words
    assert "database clock" in {each.check for each in findings}
    assert await execute(dsn, "SELECT * FROM leases") == []


async def test_database_without_a_schema(postgres: PostgresServer) -> None:
    findings = await examine(postgres.create())
    assert faults_in(findings) == []
    assert [each.advice for each in findings if each.result == "warning"] == ["the first start makes it"]


async def test_database_of_a_newer_program(dsn: str) -> None:
    await execute(dsn, "UPDATE alembic_version SET version_num = '9999'")
    assert faults_in(await examine(dsn)) == ["the schema is at 9999, which this program does not know"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("postgres:secret@", "postgres:a-wrong-one@", "password authentication failed"),
        ("/test_", "/no_such_", "does not exist"),
    ],
)
async def test_database_that_refuses(dsn: str, old: str, new: str, words: str) -> None:
    (fault,) = faults_in(await examine(dsn.replace(old, new)))
    assert words in fault
    assert "a-wrong-one" not in fault


async def test_database_that_is_away() -> None:
    (fault,) = faults_in(await examine("postgresql://hub:a-wrong-one@127.0.0.1:1/hub"))
    assert fault.startswith("postgresql://127.0.0.1:1/hub cannot be used: ")


async def test_database_that_is_closed_to_writes(postgres: PostgresServer, dsn: str) -> None:
    name = dsn.rpartition("/")[2]
    await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    (fault,) = faults_in(await examine(dsn))
    assert fault.startswith("takes no writes: ")
    assert "read-only" in fault


async def test_account_without_rights(postgres: PostgresServer, dsn: str) -> None:
    role = f"reader_{dsn.rpartition('/')[2]}"
    await execute(dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'reading'")
    await execute(dsn, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    (fault,) = faults_in(await examine(dsn.replace("postgres:secret@", f"{role}:reading@")))
    assert "permission denied" in fault
    await execute(dsn, f"DROP OWNED BY {role}")
    await execute(dsn, f"DROP ROLE {role}")


def test_standby() -> None:
    facts = PostgresFacts(150000, True, 0.0, 100, 0)
    (fault,) = faults_in(judge_facts(facts, settings_of(workers=1)))
    assert "standby" in fault


def test_clock_of_the_database() -> None:
    facts = PostgresFacts(150000, False, -120.0, 100, 0)
    (fault,) = faults_in(judge_facts(facts, settings_of(workers=1)))
    assert "behind this machine's" in fault


async def test_keys_in_the_database(dsn: str) -> None:
    metadata = PostgresMetadata(dsn, pool_size=1, statement_timeout=10)
    try:
        await SharedKeys(metadata, SECRET).ensure("ES256")
    finally:
        await metadata.close()
    findings = await examine(dsn, keys_secret=SECRET)
    assert [each.result for each in findings if each.check == "signing keys"] == ["ok"]
    findings = await examine(dsn, keys_secret=f"not {SECRET}")
    (fault,) = faults_in(findings)
    assert SECRET not in fault
    assert "give all nodes the same keys_secret" in {each.advice for each in findings}


# -- S3 --------------------------------------------------------------------------------------------------


def place(endpoint: str, **values: Any) -> Settings:
    storage = values.pop("storage", f"s3://{BUCKET}/hub")
    return settings_of(storage=storage, s3_endpoint=endpoint, s3_region=REGION, **values)


async def look(settings: Settings) -> Sequence[Finding]:
    assert settings.storage is not None
    return await check_bucket(settings, settings.storage)


def objects_of(server: S3Server) -> list[Any]:
    client = server.client()
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    # MinIO takes a prefix here for the whole name of an object.
    uploads = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    # Tests of the stores share the bucket.
    return [each for each in [*listed, *uploads] if each["Key"].startswith(f"hub/{FOLDER}/")]


@pytest.fixture(params=["minio", "versitygw"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


async def test_store_that_is_fine(server: S3Server) -> None:
    findings = await look(place(server.endpoint))
    assert [each for each in findings if each.result != "ok"] == []
    told = " ".join(each.found for each in findings)
    for words in ("read and removed", "two parts", "given up", "If-None-Match", "a range of an object"):
        assert words in told, words
    assert "storage clock" in {each.check for each in findings}
    assert objects_of(server) == []


async def test_no_redirect_is_tried_where_there_is_none(server: S3Server) -> None:
    findings = await look(place(server.endpoint, s3_redirect=False))
    assert "redirects" not in {each.check for each in findings}


async def test_bucket_that_is_missing(minio: S3Server) -> None:
    (fault,) = faults_in(await look(place(minio.endpoint, storage="s3://no-such-bucket")))
    assert fault.startswith("s3://no-such-bucket cannot be used: ")


async def test_store_that_is_away(minio: S3Server) -> None:
    (fault,) = faults_in(await look(place("http://127.0.0.1:1")))
    assert "cannot be used" in fault


async def test_credentials_that_are_wrong(minio: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "minioadmin")
    findings = await look(place(minio.endpoint))
    (fault,) = faults_in(findings)
    assert "cannot be used" in fault
    assert ["secret key" in each.found for each in findings if each.result == "warning"] == [True]


@pytest.fixture
async def proxy(minio: S3Server) -> AsyncIterator[Proxy]:
    async with Proxy(minio.endpoint).running() as proxy:
        yield proxy


def is_put(seen: Seen) -> bool:
    return seen.method == "PUT"


def is_part(seen: Seen) -> bool:
    return seen.is_part


def is_completion(seen: Seen) -> bool:
    return seen.method == "POST" and "uploadId=" in seen.query


def is_abort(seen: Seen) -> bool:
    return seen.method == "DELETE" and "uploadId=" in seen.query


def is_removal(seen: Seen) -> bool:
    return seen.method == "DELETE" and "uploadId=" not in seen.query


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (is_put, "is not written, read and removed"),
        (is_part, "of two parts is not made"),
        (is_completion, "of two parts is not made"),
        (is_abort, "is not given up"),
        (is_removal, "could not remove what was put under hub/doctor/"),
    ],
)
async def test_rights_that_are_missing(
    proxy: Proxy, refused: Callable[[Seen], bool], words: str, minio: S3Server
) -> None:
    proxy.fault = lambda seen: Refuse(403, "AccessDenied") if refused(seen) else None
    findings = await look(place(proxy.endpoint, s3_public_endpoint=minio.endpoint))
    assert any(words in each for each in faults_in(findings)), findings
    proxy.fault = lambda _: None
    await asyncio.to_thread(remove_all, minio)


def remove_all(server: S3Server) -> None:
    client = server.client()
    for each in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])
    for each in client.list_objects_v2(Bucket=BUCKET, Prefix=f"hub/{FOLDER}/").get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])


async def test_answers_that_are_cut_off(proxy: Proxy) -> None:
    proxy.fault = lambda seen: Cut(3) if seen.method == "GET" else None
    findings = await look(place(proxy.endpoint, s3_redirect=False))
    assert len(faults_in(findings)) == 2
    proxy.fault = lambda _: None


async def test_store_that_clients_do_not_reach(minio: S3Server) -> None:
    findings = await look(place(minio.endpoint, s3_public_endpoint="http://127.0.0.1:1"))
    (fault,) = faults_in(findings)
    assert fault.startswith("http://127.0.0.1:1 is not reached: ")
    (advice,) = [each.advice for each in findings if each.result == "fault"]
    assert "s3_public_endpoint" in advice
    assert "s3_redirect = false" in advice


async def test_public_endpoint_that_changes_the_host(minio: S3Server, proxy: Proxy) -> None:
    """What is signed for one name is sent to the store under another."""

    def forget_host(seen: Seen) -> None:
        del seen.headers["Host"]

    proxy.fault = forget_host
    findings = await look(place(minio.endpoint, s3_public_endpoint=proxy.endpoint))
    (fault,) = faults_in(findings)
    assert "answers 403 to a presigned URL" in fault


@pytest.fixture
async def whole() -> AsyncIterator[str]:
    """A server that knows no ranges."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="longshore was here\n")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_public_endpoint_without_ranges(minio: S3Server, whole: str) -> None:
    (fault,) = faults_in(await look(place(minio.endpoint, s3_public_endpoint=whole)))
    assert fault == f"{whole} gives a whole object where a range is asked for"


async def test_clock_of_a_store(minio: S3Server) -> None:
    probe = S3Probe(place_of(place(minio.endpoint), f"s3://{BUCKET}/hub"))
    offset = await asyncio.to_thread(probe.clock_offset)
    assert offset is not None
    assert abs(offset) < 30
    away = S3Probe(place_of(place("http://127.0.0.1:1"), f"s3://{BUCKET}/hub"))
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(away.clock_offset)


@pytest.mark.parametrize(
    ("headers", "offset"),
    [
        ({"date": format_datetime(datetime.fromtimestamp(1_000_100, UTC), usegmt=True)}, 100.5),
        ({"date": "Mon, 12 Jan 1970 13:45:00 -0000"}, -99.5),
        ({"date": "yesterday"}, None),
        ({}, None),
    ],
)
def test_date_of_an_answer(headers: Mapping[str, str], offset: float | None) -> None:
    assert offset_of(headers, 1_000_000) == offset
