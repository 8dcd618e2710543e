"""The configurations of reverse proxies do what longshore needs of one."""

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, passed
from tests.deploy.proxies import Proxy, caddy, nginx
from tests.e2e.clients import go_tool
from tests.e2e.images import Content, noise
from tests.e2e.process import free_port, running, serving, wait_until
from tests.e2e.server import ADMIN, Server
from tests.e2e.wire import Wire

pytestmark = pytest.mark.e2e

MIB = 1 << 20
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
    """A proxy of one kind or the other, in front of the node and one that is away."""
    kind, away = request.param, f"127.0.0.1:{free_port()}"
    with running(KINDS[kind](tmp_path_factory.mktemp(kind), server.host, away)) as proxy:
        yield proxy


@pytest.fixture
def wire(proxy: Proxy) -> Iterator[Wire]:
    """Somebody who pushes and pulls by the proxy's address."""
    with proxy.wire("library/app", ADMIN) as wire:
        yield wire


def test_a_node_that_is_away_is_not_noticed(proxy: Proxy) -> None:
    for _ in range(10):
        with proxy.wire("library/app", ADMIN) as wire:
            wire.request("GET", "/readyz").expect(200)
            assert wire.start_upload()


class Leaving(BaseHTTPRequestHandler):
    """A node that says it is ready, and hangs up on who comes."""

    server: "LeavingNode"

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.server.checks += 1
            return
        self.server.left_alone += 1
        self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class LeavingNode(ThreadingHTTPServer):
    """Counts who asked whether it is ready, and whom it has hung up on."""

    checks = 0
    left_alone = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Leaving)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def leaving() -> Iterator[LeavingNode]:
    """A node that is on its way out."""
    node = LeavingNode()
    with serving(node):
        yield node


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_leaves_in_the_middle_is_not_noticed(
    kind: str, method: str, server: Server, leaving: LeavingNode, tmp_path: Path
) -> None:
    with running(KINDS[kind](tmp_path, server.host, leaving.host)) as proxy:
        while leaving.left_alone == 0:
            with contextlib.closing(proxy.connect()) as connection:
                connection.request(method, "/v2/")
                assert connection.getresponse().status == 401


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_while_a_node_goes_is_not_lost(
    kind: str, server: Server, leaving: LeavingNode, tmp_path: Path
) -> None:
    """Nothing listens where the proxy still believes in a node: bodies go to the other one."""
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Wire(server.host, "library/app", ADMIN))
        proxy = stack.enter_context(running(KINDS[kind](tmp_path, server.host, leaving.host)))
        if kind == "caddy":  # which asks by itself
            wait_until(lambda: leaving.checks > 0, "it is believed in")
        leaving.shutdown()
        leaving.server_close()
        connections = []
        # While one is at the node that lives, the other one is for the node that is gone.
        for location in (wire.start_upload(), wire.start_upload()):
            connection = stack.enter_context(contextlib.closing(proxy.connect()))
            connection.putrequest("PATCH", location)
            for name, value in wire.headers({"Transfer-Encoding": "chunked"}).items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(b"4\r\nmore\r\n")
            connections.append(connection)
        for connection in connections:
            connection.send(b"0\r\n\r\n")
            assert connection.getresponse().status == 202


def test_clients_are_sent_where_they_came_from(proxy: Proxy) -> None:
    with contextlib.closing(proxy.connect()) as connection:
        connection.request("GET", "/v2/")
        answer = connection.getresponse()
        assert answer.status == 401
        assert f'realm="https://localhost:{proxy.port}/token"' in answer.headers["WWW-Authenticate"]


def test_what_a_client_says_of_itself_is_not_passed_on(server: Server, wire: Wire) -> None:
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Request-ID": "forged"}
    request_id = wire.request("GET", "/healthz", headers=forged).headers["X-Request-ID"]
    assert request_id != "forged"
    (line,) = [line for line in server.log_tail().splitlines() if request_id in line]
    assert '"client": "127.0.0.1"' in line
    assert "198.51.100.7" not in line


def test_a_layer_may_be_large(wire: Wire) -> None:
    layer = Content("application/octet-stream", noise("large", 40 * MIB))
    wire.push_blob(layer)
    assert wire.blob_digest(layer.digest) == layer.digest


def test_an_upload_arrives_while_it_is_sent(server: Server, wire: Wire) -> None:
    """A proxy that collects bodies would show the node nothing before the end."""
    wire.begin_stream(wire.start_upload())
    before = server.stored_bytes()
    wire.send_streamed(noise("part", 8 * MIB))
    wait_until(lambda: server.stored_bytes() >= before + 4 * MIB, "what was sent so far arrives")


def test_events_come_as_they_happen(proxy: Proxy, wire: Wire) -> None:
    wire.push_blob(Content("application/octet-stream", b"what makes the repository"))
    with contextlib.closing(proxy.connect()) as connection:
        connection.request("GET", "/r/library/app/-/events", headers=wire.headers())
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.readline() == b"retry: 5000\n"


def test_numbers_are_not_for_everybody(wire: Wire) -> None:
    wire.request("GET", "/metrics").expect(404)
    wire.request("GET", "/metrics?format=text").expect(404)


def test_the_caddyfile_is_written_as_caddy_writes_it() -> None:
    written = (DEPLOY / "Caddyfile").read_text()
    assert passed(go_tool("caddy"), "fmt", DEPLOY / "Caddyfile") == written
