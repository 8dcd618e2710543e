"""The server as processes: how it starts, shares the port, logs and ends."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.server import make_tls_context
from tests.e2e.clients import Account
from tests.e2e.images import Content, noise, small_image
from tests.e2e.process import free_port, wait_until
from tests.e2e.server import ADMIN
from tests.e2e.wire import CONNECTION_LOST, Answer, Wire
from tests.registry.certificates import Certificate, certify, write_certificate
from tests.registry.logged import parse_lines
from tests.registry.served import PATIENCE, Served, longshore, serving

MIB = 1 << 20
OCTETS = "application/octet-stream"

# An upload whose first half arrives before the server is told to stop.
HALF = noise("half", 3 * MIB)
WHOLE = Content(OCTETS, HALF + HALF)

# More than the buffers of both ends of a connection hold.
LARGE = Content(OCTETS, noise("large", 32 * MIB))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of two workers for tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("shared"), workers="2", log_level="debug") as served:
        yield served


# -- the first start -------------------------------------------------------------------------------------


def test_first_start_shows_a_password_once(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        served.start()
        host = re.escape(served.host)
        found = re.fullmatch(
            rf"longshore listens on http://{host}\n"
            r"first login: admin, password: (\S{20,})   \(shown this once; kept nowhere\)\n"
            rf"try:\n  docker login {host}\n"
            rf"  docker tag IMAGE {host}/library/hello\n  docker push {host}/library/hello\n",
            served.printed,
        )
        assert found is not None, served.printed
        password = found[1]
        with served.wire("admin/app", Account("admin", password)) as wire:
            wire.push("v1", small_image("first"))
        assert served.end() == 0
        assert password not in served.log
        served.start()
        assert "password" not in served.printed
        assert f"docker login {served.host}" in served.printed
        with served.wire("admin/app", Account("admin", password)) as wire:
            assert wire.has_manifest("v1")
        assert served.files_holding([password]) == []
    finally:
        served.kill()


def test_password_of_the_settings_is_not_shown(shared: Served) -> None:
    assert shared.printed.startswith(f"longshore listens on {shared.url}\ntry:\n")
    assert ADMIN.password not in shared.printed + shared.log
    assert shared.files_holding([ADMIN.password]) == []


def test_commands_to_try_name_the_external_url(tmp_path: Path) -> None:
    with serving(tmp_path, external_url="https://hub.example:8443") as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert "  docker login hub.example:8443\n" in served.printed
        assert "  docker push hub.example:8443/library/hello\n" in served.printed


@pytest.mark.parametrize(("host", "flags"), [("127.0.0.1", {}), ("0.0.0.0", {"auth_off_anywhere": "true"})])
def test_no_access_control_is_said_loudly(tmp_path: Path, host: str, flags: dict[str, str]) -> None:
    with serving(tmp_path, "--host", host, auth="off", **flags) as served:
        assert (
            "!! Access control is OFF: whoever reaches this server may pull, push and delete"
            in served.printed
        )
        assert "docker login" not in served.printed
        assert [line["event"] for line in served.log_lines if line["level"] == "warning"] == [
            "access control is off"
        ]
        assert served.url.startswith(f"http://{host}:")
        assert served.ask("GET", "/v2/").status == 200
        assert not (served.data / "keys").exists()


def test_those_that_start_together_agree_on_everything(tmp_path: Path) -> None:
    """Two nodes on one directory: one administrator, one key, and tokens of one count at the other."""
    servers = [Served(tmp_path / name) for name in ("one", "two")]
    for served in servers:
        served.folder.mkdir()
        served.data = tmp_path / "data"
    try:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(Served.start, servers))
        shown = re.findall(r"password: (\S+)", servers[0].printed + servers[1].printed)
        assert len(shown) == 1
        assert [path.name for path in (tmp_path / "data" / "keys").iterdir()] == ["key-000001.pem"]
        admin = Account("admin", shown[0])
        with servers[0].wire("admin/app", admin) as wire:
            wire.push("v1", small_image("both"))
            answer = servers[1].ask("GET", "/v2/admin/app/manifests/v1", headers=wire.headers())
        assert answer.status == 200
        counted = [
            count_of(served, 'method="PUT",route="/v2/{name}/manifests/{reference}"') for served in servers
        ]
        assert counted == [1, 0]
    finally:
        for served in servers:
            served.kill()


# -- what cannot be started ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    return certify("test authority", key, key, issuer=None), key


@pytest.fixture(scope="module")
def tls(
    tmp_path_factory: pytest.TempPathFactory, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
) -> Certificate:
    """What the authority says of 127.0.0.1."""
    issuer, signing = authority
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify("127.0.0.1", key, signing, issuer=issuer)
    return write_certificate(tmp_path_factory.mktemp("tls"), certificate, key)


def spoiled(folder: Path, how: str, good: Certificate) -> Certificate:
    """Return a pair of files that cannot be used together."""
    other = ec.generate_private_key(ec.SECP256R1())
    text = folder / "text.pem"
    text.write_text("no PEM at all")
    match how:
        case "no certificate":
            return Certificate(text, good.key)
        case "key for certificate":
            return Certificate(good.key, good.key)
        case "no key":
            return Certificate(good.certificate, text)
        case "certificate for key":
            return Certificate(good.certificate, good.certificate)
        case "another key":
            return Certificate(
                good.certificate, write_certificate(folder, certify("x", other, other, None), other).key
            )
    return write_certificate(folder, certify("x", other, other, None), other, b"locked")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no certificate", "tls_certificate: {certificate} is not a certificate in PEM"),
        ("key for certificate", "tls_certificate: {certificate} is not a certificate in PEM"),
        ("no key", "tls_key: {key} is not a private key in PEM without a passphrase"),
        ("certificate for key", "tls_key: {key} is not a private key in PEM without a passphrase"),
        ("another key", "tls_key: {key} does not belong to the certificate in {certificate}"),
        ("locked key", "tls_key: {key} is not a private key in PEM without a passphrase"),
    ],
)
def test_tls_files_that_cannot_be_used(tmp_path: Path, tls: Certificate, how: str, message: str) -> None:
    bad = spoiled(tmp_path, how, tls)
    with pytest.raises(OSError, match=r"^tls_") as caught:
        make_tls_context(bad.certificate, bad.key)
    assert str(caught.value) == message.format(certificate=bad.certificate, key=bad.key)


def test_nothing_is_made_where_tls_cannot_be_spoken(tmp_path: Path, tls: Certificate) -> None:
    data, text = tmp_path / "data", spoiled(tmp_path, "no key", tls).key
    done = longshore(
        "serve", "--port", "0", "--data", data, tls_certificate=str(tls.certificate), tls_key=str(text)
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: tls_key: {text} is not a private key in PEM without a passphrase\n"
    assert not data.exists()


def test_port_in_use(tmp_path: Path, shared: Served) -> None:
    """Nothing is made: a password that nobody gets to see would lock everybody out."""
    port, data = str(urlsplit(shared.url).port), tmp_path / "data"
    done = longshore("serve", "--port", port, "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: cannot listen on 127.0.0.1:{port}: address already in use\n"
    assert not data.exists()


def test_second_start_by_mistake_leaves_the_first_alone(shared: Served) -> None:
    port = str(urlsplit(shared.url).port)
    before = count_of(shared, 'route="/healthz"')
    shared.ask("GET", "/healthz")
    done = longshore("serve", "--port", port, "--data", shared.data)
    assert done.returncode == 1
    assert count_of(shared, 'route="/healthz"') == before + 1


@pytest.mark.parametrize("host", ["nothing.invalid", "2001:db8::1"])
def test_host_that_is_not_ours(tmp_path: Path, host: str) -> None:
    data = tmp_path / "data"
    done = longshore("serve", "--port", "0", "--host", host, "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    shown = f"[{host}]" if ":" in host else host
    assert re.fullmatch(rf"Error: cannot listen on {re.escape(shown)}:0: [a-z -]+\n", done.stderr), (
        done.stderr
    )
    assert not data.exists()


# -- where it listens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "shown", "others"),
    [
        ("localhost", "127.0.0.1", ["localhost"]),
        ("::1", "[::1]", ["::1"]),
        ("::", "[::]", ["::1", "127.0.0.1"]),
    ],
)
def test_hosts(tmp_path: Path, host: str, shown: str, others: list[str]) -> None:
    with serving(tmp_path, "--host", host) as served:
        port = urlsplit(served.url).port
        assert served.url == f"http://{shown}:{port}"
        for other in others:
            connection = http.client.HTTPConnection(other, port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("GET", "/v2/")
                challenge = connection.getresponse().headers["WWW-Authenticate"]
            written = f"[{other}]" if ":" in other else other
            assert f'realm="http://{written}:{port}/token"' in challenge
            connection = http.client.HTTPConnection(other, port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics")
                assert connection.getresponse().status == 200


def test_port_that_is_told(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, "--port", str(port)) as served:
        assert served.url == f"http://127.0.0.1:{port}"
        assert served.ask("GET", "/healthz").status == 200


# -- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, tls: Certificate) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("secured"), auth="off", **tls.settings) as served:
        yield served


@pytest.fixture
def trusting(authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> ssl.SSLContext:
    """A client that trusts the authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority[0].public_bytes(serialization.Encoding.PEM).decode())
    return context


def test_a_large_blob_comes_whole_over_tls(secured: Served, trusting: ssl.SSLContext) -> None:
    assert secured.url.startswith("https://127.0.0.1:")
    blob = Content(OCTETS, noise("tls", 20 * MIB))
    target = f"/v2/team/app/blobs/uploads/?{urlencode({'digest': blob.digest})}"
    secured.ask("POST", target, blob.data, tls=trusting).expect(201)
    assert secured.ask("GET", f"/v2/team/app/blobs/{blob.digest}", tls=trusting).expect(200).body == blob.data


def test_ranges_come_over_tls(secured: Served, trusting: ssl.SSLContext) -> None:
    blob = Content(OCTETS, noise("tls ranges", 3 * MIB))
    secured.ask(
        "POST", f"/v2/team/app/blobs/uploads/?{urlencode({'digest': blob.digest})}", blob.data, tls=trusting
    ).expect(201)
    target = f"/v2/team/app/blobs/{blob.digest}"
    one = secured.ask("GET", target, headers={"Range": f"bytes=7-{2 * MIB}"}, tls=trusting).expect(206)
    assert one.body == blob.data[7 : 2 * MIB + 1]
    two = secured.ask("GET", target, headers={"Range": "bytes=0-4,1000000-2999999"}, tls=trusting).expect(206)
    assert len(two.body) == int(two.headers["Content-Length"])
    assert blob.data[:5] in two.body
    assert blob.data[1_000_000:3_000_000] in two.body


def test_a_blob_that_is_cut_short_breaks_the_connection_over_tls(
    tmp_path: Path, tls: Certificate, trusting: ssl.SSLContext
) -> None:
    blob = Content(OCTETS, noise("tls cut", 3 * MIB))
    target = f"/v2/team/app/blobs/uploads/?{urlencode({'digest': blob.digest})}"
    with serving(tmp_path, auth="off", **tls.settings) as served:
        served.ask("POST", target, blob.data, tls=trusting).expect(201)
        [path] = served.data.glob(f"blobs/sha256/*/{blob.digest.partition(':')[2]}*")
        os.truncate(path, 2 * MIB + 5)
        with pytest.raises((http.client.IncompleteRead, OSError)):
            served.ask("GET", f"/v2/team/app/blobs/{blob.digest}", tls=trusting)
        assert "the file ends at byte" in served.log


def test_clients_that_do_not_trust_the_authority_are_told(secured: Served) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secured.ask("GET", "/healthz", tls=ssl.create_default_context())


def handshake(served: Served, context: ssl.SSLContext) -> str | None:
    address = urlsplit(served.url)
    with (
        socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as secure,
    ):
        return secure.version()


@pytest.mark.parametrize("number", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(secured: Served, trusting: ssl.SSLContext, number: ssl.TLSVersion) -> None:
    trusting.minimum_version = trusting.maximum_version = number
    assert handshake(secured, trusting) == number.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1"])
def test_outdated_tls_is_refused(secured: Served, trusting: ssl.SSLContext, name: str) -> None:
    trusting.set_ciphers("ALL:@SECLEVEL=0")
    trusting.minimum_version = trusting.maximum_version = ssl.TLSVersion[name]
    # It is the server that ends it: the client itself would have gone on.
    with pytest.raises((ssl.SSLError, ConnectionError), match=r"EOF|ALERT_PROTOCOL_VERSION|reset"):
        handshake(secured, trusting)


def test_plain_http_to_a_tls_port_does_no_harm(secured: Served, trusting: ssl.SSLContext) -> None:
    with pytest.raises(CONNECTION_LOST):
        secured.ask("GET", "/healthz")
    assert secured.ask("GET", "/healthz", tls=trusting).status == 200
    assert "Traceback" not in secured.log


# -- workers ---------------------------------------------------------------------------------------------


def count_of(served: Served, labels: str) -> int:
    """Return how many requests with these labels were answered, by the metrics."""
    page = served.ask("GET", "/metrics").expect(200).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("longshore_http_requests_total")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if labels in line)


@contextlib.contextmanager
def stopped(served: Served, process: int) -> Iterator[None]:
    """Let a worker rest, though not amid a write: it would let nobody else write."""

    def rests() -> bool:
        os.kill(process, signal.SIGSTOP)
        wait_until(lambda: state_of(process) == "T", "the worker stops")
        if can_write(served):
            return True
        os.kill(process, signal.SIGCONT)
        return False

    wait_until(rests, "the worker rests between two writes")
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def state_of(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def can_write(served: Served) -> bool:
    with contextlib.closing(sqlite3.connect(served.data / "longshore.db", timeout=0)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def test_each_worker_answers_and_the_metrics_are_their_sum(shared: Served) -> None:
    one, two = shared.workers
    before = count_of(shared, 'route="/readyz"')
    for resting in (one, two):
        with stopped(shared, resting):
            for _ in range(5):
                assert shared.ask("GET", "/readyz").status == 200
    assert [count_of(shared, 'route="/readyz"') for _ in range(4)] == [before + 10] * 4


def test_a_killed_worker_is_replaced_while_requests_go_on(tmp_path: Path) -> None:
    with serving(tmp_path, workers="2") as served:
        before, victim = served.workers, min(served.workers)
        stop = threading.Event()
        outcomes: Counter[str] = Counter()

        def ask_on() -> None:
            while not stop.is_set():
                try:
                    outcomes[str(served.ask("GET", "/readyz").status)] += 1
                except CONNECTION_LOST:
                    outcomes["lost"] += 1

        with ThreadPoolExecutor(2) as threads:
            asking = [threads.submit(ask_on) for _ in range(2)]
            try:
                wait_until(lambda: outcomes["200"] > 20, "requests are answered")
                counted = count_of(served, 'route="/readyz"')
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: len(served.workers - {victim}) == 2, "the worker is replaced")
                answered = outcomes["200"]
                wait_until(lambda: outcomes["200"] > answered + 20, "requests are still answered")
            finally:
                stop.set()
        for each in asking:
            each.result()
        # Those that the victim had in hand are lost, and no others.
        assert outcomes["lost"] <= 4
        assert set(outcomes) <= {"200", "lost"}
        assert before - served.workers == {victim}
        assert count_of(served, 'route="/readyz"') >= counted
        assert in_flight(served) == 1
        assert any(str(victim) in line["event"] for line in served.log_lines if line["level"] == "error")


def in_flight(served: Served) -> float:
    page = served.ask("GET", "/metrics").expect(200).body.decode()
    (value,) = re.findall(r"^longshore_http_requests_in_flight (\S+)$", page, re.MULTILINE)
    return float(value)


def test_workers_end_with_their_parent_and_free_the_port(tmp_path: Path) -> None:
    with serving(tmp_path, workers="2") as served:
        workers = served.workers
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: not any(is_running(worker) for worker in workers), "the workers end")
        assert served.refuses_connections()
        served.start()
        assert served.ask("GET", "/readyz").status == 200
        assert len(list((served.data / "metrics").iterdir())) == 1


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_hangup_replaces_the_workers_and_lets_uploads_finish(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.wire("admin/app") as wire:
        before = served.workers
        begin_upload(served, wire)
        served.signal(signal.SIGHUP)
        wait_until(lambda: bool(served.workers - before), "there is a new worker")
        assert served.ask("GET", "/readyz").status == 200
        finish_stream(wire)
        wait_until(lambda: not served.workers & before, "the old worker is gone")
        assert served.ask("GET", "/readyz").status == 200
        assert served.end() == 0


# -- stopping --------------------------------------------------------------------------------------------


def begin_upload(served: Served, wire: Wire) -> str:
    """Send half of an upload and leave the request open when it is stored; return the location."""
    location = wire.start_upload()
    wire.begin_stream(location)
    for start in range(0, len(HALF), MIB):
        wire.send_streamed(HALF[start : start + MIB])
    wait_until(lambda: stored_size(served) >= 2 * MIB, "half of the upload is stored")
    return location


def stored_size(served: Served) -> int:
    return sum(path.stat().st_size for path in (served.data / "uploads").iterdir())


def finish_stream(wire: Wire) -> int:
    """Send the rest of the upload and return the status of the answer."""
    wire.send_streamed(HALF)
    connection = connection_of(wire)
    connection.send(b"0\r\n\r\n")
    response = http.client.HTTPResponse(connection.sock, method="PATCH")
    response.begin()
    response.read()
    return response.status


def connection_of(wire: Wire) -> http.client.HTTPConnection:
    return wire._connection


def begin_download(served: Served, account: Account | None = ADMIN) -> tuple[socket.socket, bytes]:
    """Push a large blob, ask for it and read no more than the beginning."""
    with served.wire("admin/app", account) as wire:
        wire.push_blob(LARGE)
        headers = "".join(f"{name}: {value}\r\n" for name, value in wire.headers().items())
    address = urlsplit(served.url)
    connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE)
    request = f"GET /v2/admin/app/blobs/{LARGE.digest} HTTP/1.1\r\nHost: {served.host}\r\n{headers}\r\n"
    connection.sendall(request.encode())
    head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return connection, body


def read_rest(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(MIB):
            parts.append(data)
    return b"".join(parts)


STOPPING: dict[str, Callable[[Served], None]] = {
    "SIGTERM": lambda served: served.signal(signal.SIGTERM),
    "SIGINT": lambda served: served.signal(signal.SIGINT),
    "SIGINT of a terminal": lambda served: served.signal(signal.SIGINT, group=True),
}


@pytest.mark.parametrize("how", STOPPING)
def test_a_slow_upload_finishes(tmp_path: Path, how: str) -> None:
    with serving(tmp_path, workers="2") as served:
        with served.wire("admin/app") as wire:
            location = begin_upload(served, wire)
            STOPPING[how](served)
            wait_until(served.refuses_connections, "no new connection is taken")
            assert finish_stream(wire) == 202
        assert served.wait() == 0
        served.start()
        with served.wire("admin/app") as wire:
            location, offset = wire.upload_offset(location)
            assert offset == len(WHOLE.data)
            wire.finish_upload(location, WHOLE.digest)
            assert wire.blob(WHOLE.digest) == WHOLE.data


def test_a_slow_download_finishes(tmp_path: Path) -> None:
    with serving(tmp_path, workers="2") as served:
        connection, begun = begin_download(served)
        with connection:
            served.signal(signal.SIGTERM)
            wait_until(served.refuses_connections, "no new connection is taken")
            assert begun + read_rest(connection) == LARGE.data
        assert served.wait() == 0
        assert [line["status"] for line in served.requests if line["method"] == "GET"][-1] == 200


def test_requests_go_on_on_the_connection_of_a_running_one(tmp_path: Path) -> None:
    """What comes on an open connection before it may close is answered, and told to be the last."""
    with serving(tmp_path) as served, served.wire("admin/app") as wire:
        other = served.connect()
        with contextlib.closing(other):
            other.request("GET", "/healthz")
            other.getresponse().read()
            begin_upload(served, wire)
            served.signal(signal.SIGTERM)
            wait_until(served.refuses_connections, "no new connection is taken")
            other.request("GET", "/healthz")
            response = other.getresponse()
            assert (response.status, response.headers["Connection"]) == (200, "close")
        assert finish_stream(wire) == 202
        assert served.wait() == 0


@pytest.mark.parametrize("seconds", [0, 1])
def test_an_upload_that_takes_too_long_is_cut_and_kept(tmp_path: Path, seconds: int) -> None:
    with serving(tmp_path, shutdown_timeout=str(seconds)) as served:
        with served.wire("admin/app") as wire:
            location = begin_upload(served, wire)
            assert served.end(seconds=seconds + 15) == 0
            with pytest.raises(CONNECTION_LOST):
                finish_stream(wire)
        cut = [line for line in served.requests if line["status"] == 499]
        assert [(line["method"], line["path"]) for line in cut] == [("PATCH", urlsplit(location).path)]
        assert [line for line in served.log_lines if line["level"] in ("warning", "error")] == []
        served.start()
        with served.wire("admin/app") as wire:
            location, offset = wire.upload_offset(location)
            assert offset == len(HALF)
            location = wire.patch_upload(location, [HALF], offset, len(HALF))
            wire.finish_upload(location, WHOLE.digest)


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_download_that_takes_too_long_is_cut(tmp_path: Path, seconds: int) -> None:
    with serving(tmp_path, shutdown_timeout=str(seconds)) as served:
        connection, begun = begin_download(served)
        with connection:
            assert served.end(seconds=seconds + 15) == 0
            assert len(begun + read_rest(connection)) < len(LARGE.data)
        assert [line["method"] for line in served.requests if line["status"] == 499] == ["GET"]
        assert [line for line in served.log_lines if line["level"] in ("warning", "error")] == []


def test_idle_connections_do_not_hold_it_up(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        idle, silent = served.connect(), served.connect()
        with contextlib.closing(idle), contextlib.closing(silent):
            idle.request("GET", "/healthz")
            idle.getresponse().read()
            silent.connect()
            assert served.end(seconds=15) == 0


@pytest.mark.parametrize("path", ["/api/v1/repositories/admin/app/-/events", "/r/admin/app/-/events"])
def test_followers_do_not_hold_it_up(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, auth="off") as served:
        with served.wire("admin/app", None) as wire:
            wire.push_blob(WHOLE)
        with contextlib.closing(served.connect()) as following:
            following.request("GET", path)
            response = following.getresponse()
            assert response.status == 200
            assert response.readline() == b"retry: 5000\n"
            assert served.end(seconds=15) == 0
        assert [line for line in served.log_lines if line["level"] == "error"] == []


def test_ending_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path, workers="2") as served:
        workers = served.workers
        with served.wire("admin/app") as wire:
            wire.push("v1", small_image("last"))
        assert served.end() == 0
        assert not any(is_running(worker) for worker in workers)
        # SQLite removes these when the last connection is closed in order.
        assert not list(served.data.glob("longshore.db-*"))


# -- commands beside a running server --------------------------------------------------------------------


def basic(account: Account) -> dict[str, str]:
    text = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def tokens_of(served: Served, account: Account, scope: str) -> dict[str, str]:
    """Log in as an engine does: an access token and a refresh token."""
    form = {
        "grant_type": "password",
        "username": account.name,
        "password": account.password,
        "service": "longshore",
        "client_id": "docker",
        "access_type": "offline",
        "scope": scope,
    }
    answer: dict[str, str] = json.loads(post_form(served, form).expect(200).body)
    return answer


def post_form(served: Served, form: dict[str, str]) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return served.ask("POST", "/token", urlencode(form).encode(), headers)


def refresh(served: Served, token: str) -> Answer:
    return post_form(
        served,
        {"grant_type": "refresh_token", "service": "longshore", "client_id": "d", "refresh_token": token},
    )


def key_of(token: str) -> str:
    head = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return kid


def opens(served: Served, token: str) -> bool:
    status = served.ask("GET", "/v2/", headers={"Authorization": f"Bearer {token}"}).status
    assert status in (200, 401)
    return status == 200


def test_a_rotated_key_signs_at_once_and_logs_nobody_out(shared: Served) -> None:
    before = tokens_of(shared, ADMIN, "repository:admin/app:pull")
    for _ in range(2):
        printed = shared.run("key", "rotate")
        kid = printed.removeprefix("tokens are signed with the key ").strip()
        for _ in range(4):  # whichever worker is asked
            after = json.loads(refresh(shared, before["refresh_token"]).expect(200).body)
            assert key_of(after["token"]) == kid
            assert opens(shared, before["token"])
            assert opens(shared, after["token"])
        published = json.loads(shared.ask("GET", "/.well-known/jwks.json").body)["keys"]
        assert {kid, key_of(before["token"])} <= {key["kid"] for key in published}


def test_a_disabled_account_is_out_at_once(shared: Served) -> None:
    carol = Account("carol", "wonderland rabbit hole")
    shared.run("user", "add", carol.name, stdin=carol.password.encode())
    tokens = tokens_of(shared, carol, "repository:carol/app:pull")
    assert opens(shared, tokens["token"])
    shared.run("user", "disable", carol.name)
    for _ in range(4):
        assert not opens(shared, tokens["token"])
        assert refresh(shared, tokens["refresh_token"]).status == 401
        assert shared.ask("GET", "/token?service=longshore", headers=basic(carol)).status in (401, 429)


def test_a_new_password_logs_the_old_one_out(shared: Served) -> None:
    dave = Account("dave", "wonderland rabbit hole")
    shared.run("user", "add", dave.name, stdin=dave.password.encode())
    tokens = tokens_of(shared, dave, "repository:dave/app:pull")
    shared.run("user", "passwd", dave.name, stdin=b"another password")
    assert refresh(shared, tokens["refresh_token"]).status == 401
    assert tokens_of(shared, Account("dave", "another password"), "repository:dave/app:pull")["token"]


def test_a_granted_role_counts_at_once(shared: Served) -> None:
    erin = Account("erin", "wonderland rabbit hole")
    shared.run("user", "add", erin.name, stdin=erin.password.encode())
    with shared.wire("admin/granted") as wire:
        wire.push("v1", small_image("granted"))
    for role, seen in (("read", True), ("none", False)):
        shared.run("grant", role, "admin/granted", erin.name)
        token = tokens_of(shared, erin, "repository:admin/granted:pull")["token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = shared.ask("GET", "/v2/admin/granted/manifests/v1", headers=headers)
        assert (answer.status == 200) == seen


# -- the log ---------------------------------------------------------------------------------------------


def test_nothing_secret_is_logged_or_stored(tmp_path: Path) -> None:
    """Log in, push, pull, fail to log in and be refused, while everything is logged."""
    with serving(tmp_path, log_level="debug", metrics_token="a-token-for-metrics") as served:
        tokens = tokens_of(served, ADMIN, "repository:admin/app:pull,push")
        wrong = Account("admin", "a wrong password of mine")
        bearer = {"Authorization": f"Bearer {tokens['token']}"}
        image = small_image("secret")
        with served.wire("admin/app") as wire:
            wire.push("v1", image)
            wire.manifest("v1")
            used = wire.headers()["Authorization"].removeprefix("Bearer ")
        refresh(served, tokens["refresh_token"]).expect(200)
        served.ask("GET", "/v2/admin/app/manifests/v1", headers=bearer).expect(200)
        served.ask("GET", "/token?service=longshore", headers=basic(wrong)).expect(401)
        served.ask("GET", "/v2/", headers=basic(ADMIN)).expect(401)
        served.ask("GET", "/v2/", headers={"Authorization": "Bearer forged.token.here"}).expect(401)
        served.ask("GET", "/metrics", headers={"Authorization": "Bearer a-token-for-metrics"}).expect(200)
        post_form(served, {"grant_type": "password", "username": "admin", "password": wrong.password})
        assert served.end() == 0
        secrets = [
            ADMIN.password,
            wrong.password,
            *(basic(account)["Authorization"].partition(" ")[2] for account in (ADMIN, wrong)),
            tokens["token"],
            tokens["refresh_token"],
            used,
            "forged.token.here",
            "a-token-for-metrics",
        ]
        assert served.requests
        for secret in (*secrets, *map(_quoted, secrets)):
            assert secret not in served.log + served.printed
        assert served.files_holding(secrets) == []


def _quoted(secret: str) -> str:
    return urlencode({"": secret})[1:]


def test_every_request_is_one_line_on_whichever_worker(tmp_path: Path) -> None:
    with serving(tmp_path, workers="2", auth="off") as served:
        ids = [f"request-{number}" for number in range(40)]

        def ask(name: str) -> None:
            served.ask("GET", "/v2/", headers={"X-Request-ID": name}).expect(200)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(ask, ids))
        assert served.end() == 0
        assert sorted(line["request_id"] for line in served.requests) == sorted(ids)
        parse_lines(served.log)


def test_a_log_for_people(tmp_path: Path) -> None:
    with serving(tmp_path, log_format="console") as served:
        served.ask("GET", "/nothing").expect(404)
        wait_until(lambda: "/nothing" in served.log, "the request is logged")
        (line,) = [line for line in served.log.splitlines() if "/nothing" in line]
        assert re.search(r"\[info +\] request .*method=GET .*path=/nothing .*status=404", line)
        assert "\x1b" not in served.log


def test_log_level_error_is_quiet(tmp_path: Path) -> None:
    with serving(tmp_path, log_level="error") as served:
        served.ask("GET", "/nothing").expect(404)
        assert served.end() == 0
        assert served.log == ""


def test_ready_and_healthy(shared: Served) -> None:
    assert shared.ask("GET", "/healthz").expect(200).body == b'{"status": "ok"}'
    assert shared.ask("GET", "/readyz").expect(200).body == b'{"status": "ready"}'


def test_everything_that_was_logged_here_is_json(shared: Served) -> None:
    assert shared.requests
    assert not [line for line in shared.log_lines if line["level"] in ("warning", "error")]
