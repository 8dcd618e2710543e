"""Health, metrics, request ids and the one log line of a request."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.web import observe
from registry.web.observe import Metrics
from tests.e2e.clients import ROOT
from tests.registry.logged import Line, Log, logged
from tests.registry.web.conftest import Serving
from tests.registry.web.live import Client, Live, basic, connect, exchange, until

TOKEN = "a-token-for-metrics"

# What dashboards and alerts are built on: changing one of these breaks them.
METRICS = {
    "longshore_http_requests": ("counter", {"method", "route", "status"}),
    "longshore_http_request_duration_seconds": ("histogram", {"method", "route"}),
    "longshore_http_requests_in_flight": ("gauge", set[str]()),
    "longshore_http_request_bytes": ("counter", set[str]()),
    "longshore_http_response_bytes": ("counter", set[str]()),
    "longshore_connections_ended": ("counter", {"reason"}),
    "longshore_job_turns": ("counter", {"name", "outcome"}),
    "longshore_gc_collected": ("counter", {"kind"}),
    "longshore_gc_deleted_blobs": ("counter", set[str]()),
    "longshore_gc_deleted_bytes": ("counter", set[str]()),
    "longshore_gc_quarantine_bytes": ("gauge", set[str]()),
    "longshore_scrubbed_bytes": ("counter", set[str]()),
    "longshore_blobs_found_damaged": ("counter", set[str]()),
    "longshore_blobs_damaged": ("gauge", set[str]()),
    "longshore_backup_last_success_timestamp_seconds": ("gauge", set[str]()),
}


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as kept:
        yield kept


def samples(text: bytes) -> dict[str, float]:
    """Read the samples of a metrics page by name and labels, as they are written."""
    lines = (line for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def metrics_of(client: Client) -> dict[str, float]:
    return samples((await client.get("/metrics")).expect(200).body)


# -- health ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/healthz", "ok"), ("/readyz", "ready")])
async def test_health_is_told_to_everybody(live: Live, path: str, status: str) -> None:
    assert (await live.client.get(path)).expect(200).json() == {"status": status}
    assert (await live.client.head(path)).expect(200).body == b""
    assert (await live.client.post(path)).outcome == (405, "UNSUPPORTED")


async def test_not_ready_without_a_database_but_alive(live: Live) -> None:
    live.change(lambda db: db.exec_driver_sql("ALTER TABLE repositories RENAME TO gone"))
    assert (await live.client.get("/readyz")).status >= 500
    (await live.client.get("/healthz")).expect(200)


async def test_not_ready_while_nothing_can_be_written(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "_READY_WITHIN", 0.05)
    with live.engine.begin():  # holds the write lock, as a command that hangs would
        assert (await live.client.get("/readyz")).outcome == (503, "UNAVAILABLE")
    monkeypatch.undo()
    (await live.client.get("/readyz")).expect(200)


# -- who may see the metrics -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 200),
        ({}, {"X-Forwarded-For": "127.0.0.1"}, 404),
        ({}, {"X-Forwarded-For": "203.0.113.7"}, 404),
        ({}, {"Forwarded": "for=203.0.113.7"}, 404),
        ({}, {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.7"}, 404),
        ({"trusted_proxies": "127.0.0.1"}, {"X-Forwarded-For": "203.0.113.7"}, 404),
        ({"trusted_proxies": "192.0.2.1"}, {"X-Forwarded-For": "203.0.113.7"}, 404),
        ({"metrics": "open"}, {}, 200),
        ({"metrics": "open"}, {"X-Forwarded-For": "203.0.113.7"}, 200),
        ({"metrics": "off"}, {}, 404),
        ({"metrics": "off"}, {"Authorization": "Bearer None"}, 404),
        ({"metrics_token": TOKEN}, {}, 200),
        (
            {"metrics_token": TOKEN},
            {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.7"},
            200,
        ),
        ({"metrics_token": TOKEN, "metrics": "off"}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"metrics_token": TOKEN, "metrics": "off"}, {}, 404),
        ({"metrics_token": TOKEN, "metrics": "off"}, {"Authorization": f"Bearer {TOKEN}x"}, 404),
        ({"metrics_token": TOKEN, "metrics": "off"}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, 404),
        ({"metrics_token": TOKEN, "metrics": "off"}, {"Authorization": TOKEN}, 404),
        ({"metrics_token": TOKEN, "metrics": "off"}, {"Authorization": "Bearer "}, 404),
    ],
)
async def test_who_may_see_metrics(
    serving: Serving, settings: dict[str, str], headers: dict[str, str], status: int
) -> None:
    async with serving(**settings) as live:
        answer = await live.client.send("GET", "/metrics", headers=headers)
        assert answer.status == status
        assert (b"longshore_" in answer.body) == (status == 200)


async def test_hidden_metrics_look_like_no_endpoint(serving: Serving) -> None:
    async with serving(metrics="off") as live:
        hidden, absent = [await live.client.get(path) for path in ("/metrics", "/.well-known/nothing")]
        assert (hidden.status, hidden.body) == (absent.status, absent.body)


async def test_bytes_that_are_no_text_are_no_metrics_token(serving: Serving) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
    async with serving(metrics="off", metrics_token=TOKEN) as live:
        assert (await exchange(live, request))[0] == 404


# -- what the metrics say --------------------------------------------------------------------------------


async def test_metrics_have_the_names_that_dashboards_use(live: Live) -> None:
    await live.client.get("/healthz")
    answer = await live.client.get("/metrics")
    text = answer.expect(200).body.decode()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    kinds = dict(re.findall(r"# TYPE (longshore_\w+?)(?:_total)? (\w+)\n", text))
    assert {name: kind for name, kind in kinds.items() if not name.endswith("_created")} == {
        name: kind for name, (kind, _) in METRICS.items()
    }
    for name, (_, labels) in METRICS.items():
        found = re.findall(rf"^{name}(?:_total|_count)?(?:{{(.*)}})? ", text, re.MULTILINE)
        assert found
        assert {label for each in found for label in re.findall(r'(\w+)="', each)} == labels


async def test_requests_are_counted_by_route_not_by_path(open_live: Live) -> None:
    client = open_live.client
    for number in range(3):
        (await client.get(f"/v2/team/app-{number}/tags/list")).expect(404)
        (await client.get(f"/nothing/{number}")).expect(404)
    found = await metrics_of(client)
    route = "/v2/{name}/tags/list"
    total = "longshore_http_requests_total"
    assert found[f'{total}{{method="GET",route="{route}",status="404"}}'] == 3
    assert found[f'{total}{{method="GET",route="none",status="404"}}'] == 3
    assert found[f'longshore_http_request_duration_seconds_count{{method="GET",route="{route}"}}'] == 3
    assert not [name for name in found if "app-" in name or "/nothing" in name]


async def test_bytes_are_counted_both_ways(open_live: Live) -> None:
    client, content = open_live.client, b"x" * 300_000
    digest = await client.push_blob("team/app", content)
    page = (await client.get("/metrics")).body
    (await client.get(f"/v2/team/app/blobs/{digest}")).expect(200)
    (await client.head(f"/v2/team/app/blobs/{digest}")).expect(200)
    before, after = samples(page), await metrics_of(client)
    assert before["longshore_http_request_bytes_total"] == len(content)
    sent = "longshore_http_response_bytes_total"
    assert after[sent] - before[sent] == len(page) + len(content)


async def test_requests_in_flight_come_and_go(open_live: Live) -> None:
    gauge = "longshore_http_requests_in_flight"
    location = await open_live.client.start_upload("team/app")
    async with connect(open_live) as raw:
        await raw.write(f"PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf".encode())

        async def are_two() -> bool:
            return (await metrics_of(open_live.client))[gauge] == 2

        await until(are_two)

    async def is_one() -> bool:
        return (await metrics_of(open_live.client))[gauge] == 1

    await until(is_one)


def test_numbers_have_room_on_the_disk_before_they_are_written(tmp_path: Path) -> None:
    # In a process of its own: the library looks for the directory when it is imported.
    code = "import sys, pathlib; from registry.web.observe import Metrics; Metrics(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, env=environment, check=True)
    files = list(tmp_path.glob("*.db"))
    assert len(files) == 5
    for file in files:
        status = file.stat()
        assert status.st_blocks * 512 >= status.st_size > 0, file.name


def test_each_application_counts_for_itself(tmp_path: Path) -> None:
    one, two = Metrics(None), Metrics(None)
    one.received.inc(7)
    assert b"longshore_http_request_bytes_total 7.0" in one.render()
    assert b"longshore_http_request_bytes_total 0.0" in two.render()
    assert Metrics(tmp_path).render() == b""


# -- request ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", ["a", "A-b_c.9", "0123456789abcdef" * 4, "3f9c1b1e-9d56-4b52-8d7c-6f5b0a3f6c11"]
)
async def test_well_formed_id_is_taken_over(live: Live, log: Log, sent: str) -> None:
    answer = await live.client.send("GET", "/v2/", headers={"X-Request-ID": sent})
    assert answer.headers.getall("X-Request-ID") == [sent]
    assert [line["request_id"] for line in log.requests] == [sent]


@pytest.mark.parametrize(
    "sent", ["", "a b", 'x"y', "a" * 65, "${jndi}", "a=b", "a,b", "é", "a\u2028b", "id\ttab", "../../etc"]
)
async def test_other_ids_are_replaced(live: Live, log: Log, sent: str) -> None:
    request = f"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Request-ID: {sent}\r\n\r\n"
    _, headers, _ = await exchange(live, request.encode())
    assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
    assert [line["request_id"] for line in log.requests] == [headers["x-request-id"]]


async def test_requests_of_one_connection_have_ids_of_their_own(live: Live, log: Log) -> None:
    async with connect(live) as raw:
        ids: list[str] = []
        for _ in range(3):
            await raw.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            _, headers, _ = await raw.read_answer()
            ids.append(headers["x-request-id"])
    assert len(set(ids)) == 3
    assert [line["request_id"] for line in log.requests] == ids


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v2/", 401), ("GET", "/nothing", 404), ("DELETE", "/healthz", 405), ("GET", "/healthz", 200)],
)
async def test_every_answer_carries_id_and_headers(live: Live, method: str, path: str, status: int) -> None:
    headers = (await live.client.send(method, path)).expect(status).headers
    assert headers["X-Request-ID"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "longshore"
    assert headers.get("Docker-Distribution-Api-Version") == ("registry/2.0" if path == "/v2/" else None)


# -- the log line ----------------------------------------------------------------------------------------


async def test_the_line_says_who_asked_for_what(live: Live, log: Log) -> None:
    live.add_account("alice")
    client = await live.login("alice", "repository:alice/app:pull,push")
    answer = await client.get("/v2/alice/app/tags/list", User_Agent="docker/29")
    line = log.requests[-1]
    assert line.pop("ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "longshore.access",
        "request_id": answer.headers["X-Request-ID"],
        "method": "GET",
        "path": "/v2/alice/app/tags/list",
        "status": 404,
        "sent": len(answer.body),
        "subject": "alice",
        "client": "127.0.0.1",
        "agent": "docker/29",
    }


async def test_every_request_has_exactly_one_line(open_live: Live, log: Log) -> None:
    client = open_live.client
    digest = await client.push_blob("team/app", b"content")
    await client.get(f"/v2/team/app/blobs/{digest}")
    await client.get(f"/v2/team/app/blobs/{digest}", Range="bytes=0-1")
    await client.get(f"/v2/team/app/blobs/{digest}", If_None_Match=f'"{digest}"')
    await client.head(f"/v2/team/app/blobs/{digest}")
    await client.get("/.well-known/nothing")
    refused = await client.post("/healthz")
    assert [(line["method"], line["status"], line["sent"]) for line in log.requests] == [
        ("POST", 201, 0),
        ("GET", 200, 7),
        ("GET", 206, 2),
        ("GET", 304, 0),
        ("HEAD", 200, 0),
        ("GET", 404, 77),
        ("POST", 405, len(refused.body)),
    ]
    assert log.lines == log.requests


async def until_logged(log: Log, count: int) -> list[Line]:
    """Wait for so many lines of requests; return everything that was logged."""

    async def is_logged() -> bool:
        await asyncio.sleep(0.001)
        return len(log.requests) >= count

    await until(is_logged)
    return log.lines


async def test_an_upload_that_breaks_off_is_one_line_499(open_live: Live, log: Log) -> None:
    location = await open_live.client.start_upload("team/app")
    async with connect(open_live) as raw:
        await raw.write(f"PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf".encode())
        gauge = "longshore_http_requests_in_flight"

        async def is_running() -> bool:
            return (await metrics_of(open_live.client))[gauge] == 2

        await until(is_running)
    lines = await until_logged(log, len(log.requests) + 1)
    assert [line["method"] for line in lines if line["event"] == "request" and line["status"] == 499] == [
        "PATCH"
    ]
    assert not [line for line in lines if line["level"] in ("warning", "error")]


async def test_a_download_that_breaks_off_is_one_line_499(open_live: Live, log: Log) -> None:
    digest = await open_live.client.push_blob("team/app", bytes(32 << 20))
    async with connect(open_live) as raw:
        await raw.write(f"GET /v2/team/app/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await raw.read_head()
    lines = await until_logged(log, 2)
    assert [(line["method"], line["status"]) for line in log.requests] == [("POST", 201), ("GET", 499)]
    assert not [line for line in lines if line["level"] in ("warning", "error")]


async def test_a_failure_is_one_error_and_one_line_500(open_live: Live, log: Log) -> None:
    open_live.change(lambda db: db.exec_driver_sql("ALTER TABLE tags RENAME TO gone"))
    answer = await open_live.client.get("/v2/team/app/manifests/latest")
    answer.expect(500)
    failure, request = log.lines
    assert (failure["event"], failure["level"]) == ("request failed", "error")
    assert "Traceback" in failure["exception"]
    assert (request["event"], request["status"]) == ("request", 500)
    assert failure["request_id"] == request["request_id"] == answer.headers["X-Request-ID"]


async def test_what_is_no_http_is_one_line_that_quotes_nothing(live: Live, log: Log) -> None:
    request = f"GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: {basic('alice', 'a secret')}\x01\r\n\r\n"
    assert (await exchange(live, request.encode()))[0] == 400
    assert [(line["event"], line["level"], line["reason"], line["client"]) for line in log.lines] == [
        ("connection ended", "info", "not http", "127.0.0.1")
    ]


async def test_a_path_cannot_forge_a_line(live: Live, log: Log) -> None:
    await live.client.get('/nothing%0a{"event":"forged"}%0d%0a%1b[2J')
    (line,) = log.lines
    assert line["path"] == '/nothing\n{"event":"forged"}\r\n\x1b[2J'


async def test_a_path_cannot_forge_a_line_on_a_terminal(live: Live) -> None:
    with logged("console") as log:
        await live.client.get("/nothing%0a2026-01-01%20forged%0d%1b[2J")
    assert len(log.text.splitlines()) == 1
    assert log.text[:-1].isprintable()


@pytest.mark.parametrize("path", ["/invitations/{}", "/api/v1/invitations/{}/accept"])
async def test_a_secret_in_a_path_is_in_no_line(live: Live, log: Log, path: str) -> None:
    secret = "lsi_0123456789abcdefghij-_0123456789"
    await live.client.get(path.format(secret))
    assert secret not in log.text
    assert log.requests[-1]["path"] == path.format("lsi_…")
