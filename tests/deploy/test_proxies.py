"""The configurations of reverse proxies do what longshore needs of one."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.deploy.files import DEPLOY, passed
from tests.deploy.proxies import Proxy, Visitor, caddy, nginx, send_chunk
from tests.e2e.clients import debian
from tests.e2e.images import digest_of, noise
from tests.e2e.process import running, wait_until
from tests.e2e.server import ADMIN, Server

pytestmark = pytest.mark.e2e

MIB = 1 << 20
REPOSITORY = "library/app"
KINDS = {"nginx": nginx, "caddy": caddy}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A node that believes proxies of this machine."""
    settings = {"LONGSHORE_TRUSTED_PROXIES": "127.0.0.1,::1", "LONGSHORE_WORKERS": "1"}
    with running(Server(tmp_path_factory.mktemp("server"), settings)) as server:
        yield server


@pytest.fixture(scope="module", params=KINDS)
def proxy(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy of one kind or the other, in front of the node."""
    with running(KINDS[request.param](tmp_path_factory.mktemp(request.param), server.host)) as proxy:
        yield proxy


@pytest.fixture
def visitor(proxy: Proxy) -> Visitor:
    return Visitor(proxy, REPOSITORY, ADMIN)


def test_a_node_that_is_away_is_not_noticed(visitor: Visitor) -> None:
    for _ in range(20):
        with visitor.answer("GET", "/readyz") as answer:
            assert answer.status == 200
        assert visitor.start_upload()


def test_clients_are_sent_where_they_came_from(proxy: Proxy, visitor: Visitor) -> None:
    with visitor.answer("GET", "/v2/", headers={"Accept": "*/*"}) as answer:
        assert answer.status == 401
        challenge = answer.headers["WWW-Authenticate"]
    assert f'realm="https://localhost:{proxy.port}/token"' in challenge


def test_what_it_says_of_its_client_is_believed(server: Server, visitor: Visitor) -> None:
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Request-ID": "forged"}
    with visitor.answer("GET", "/healthz", headers=forged) as answer:
        request_id = answer.headers["X-Request-ID"]
    assert request_id != "forged"
    (line,) = [line for line in server.log_tail().splitlines() if request_id in line]
    assert '"client": "127.0.0.1"' in line
    assert "198.51.100.7" not in line


def test_a_layer_may_be_large(visitor: Visitor) -> None:
    data = noise("large", 40 * MIB)
    digest = push_blob(visitor, data)
    with visitor.answer("GET", f"/v2/{REPOSITORY}/blobs/{digest}") as answer:
        assert answer.headers["Content-Length"] == str(len(data))
        assert digest_of([answer.read()]) == digest


def test_an_upload_arrives_while_it_is_sent(server: Server, visitor: Visitor) -> None:
    """A proxy that collects bodies would show the node nothing before the end."""
    location = path_of(visitor.start_upload())
    before = server.stored_bytes()
    with visitor.sending(location) as connection:
        send_chunk(connection, noise("first", 8 * MIB))
        wait_until(lambda: server.stored_bytes() >= before + 4 * MIB, "the first half arrives")
        send_chunk(connection, noise("second", MIB))
        send_chunk(connection, b"")
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()
    assert answer.headers["Range"] == f"0-{9 * MIB - 1}"


def test_events_come_as_they_happen(visitor: Visitor) -> None:
    push_blob(visitor, b"what makes the repository")
    with visitor.answer("GET", f"/r/{REPOSITORY}/-/events") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.readline() == b"retry: 5000\n"


def test_numbers_are_not_for_everybody(visitor: Visitor) -> None:
    for target in ("/metrics", "/metrics?format=text"):
        with visitor.answer("GET", target) as answer:
            assert answer.status == 404


def test_the_caddyfile_is_written_as_caddy_writes_it() -> None:
    written = (DEPLOY / "Caddyfile").read_text()
    assert passed(debian("caddy"), "fmt", DEPLOY / "Caddyfile") == written


def push_blob(visitor: Visitor, data: bytes) -> str:
    digest = digest_of([data])
    location = path_of(visitor.start_upload())
    with visitor.answer("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", data) as answer:
        assert answer.status == 201, answer.read()
    return digest


def path_of(location: str) -> str:
    parts = urlsplit(location)
    return parts._replace(scheme="", netloc="").geturl()
