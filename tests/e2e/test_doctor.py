"""`longshore doctor` beside real proxies, databases and stores, set up right and wrong."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.storage.servers import BUCKET

from .certificates import Tls, make_certificate
from .cluster import Cluster, Nginx, running_cluster
from .process import free_port, running
from .server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TRUSTING: Final = {"LONGSHORE_WORKERS": "1", "LONGSHORE_TRUSTED_PROXIES": "127.0.0.0/8"}

PASSED: Final = {"long headers", "keys of nodes", "request bodies"}


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor said."""

    exit_code: int
    findings: list[dict[str, Any]]

    def of(self, check: str) -> list[tuple[str, str]]:
        """Results of a check, and what there is to do."""
        return [(each["result"], each["advice"]) for each in self.findings if each["check"] == check]

    @property
    def faults(self) -> dict[str, str]:
        """What does not work, by check: warnings depend on the machine as well."""
        return {each["check"]: each["found"] for each in self.findings if each["result"] == "fault"}


def doctor(server: Server, url: str, **environment: str) -> Report:
    """Run the command beside a server, for those who come by way of a URL."""
    longshore = server.longshore.with_environment(**environment)
    done = longshore.run("doctor", "--json", "--data", server.data, "--external-url", url)
    assert done.stdout, done.stderr
    return Report(done.returncode, json.loads(done.stdout)["findings"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind proxies of this machine, which say where clients came to."""
    with running(Server(tmp_path_factory.mktemp("server"), TRUSTING)) as server:
        yield server


@contextlib.contextmanager
def proxied(folder: Path, *nodes: Server, tls: Tls | None = None, **changed: str) -> Iterator[Nginx]:
    """Run a proxy, with directives of its own: client_max_body_size="1m", or "" to leave one out."""
    lines = {name: f"{name} {value};" if value else "" for name, value in changed.items()}
    with running(Nginx(folder / "nginx", f"127.0.0.1:{free_port()}", list(nodes), tls, lines)) as proxy:
        yield proxy


# -- proxies ---------------------------------------------------------------------------------------------


def test_proxy_as_deployed(server: Server, tmp_path: Path) -> None:
    with proxied(tmp_path, server) as proxy:
        report = doctor(server, proxy.url)
    assert report.faults == {}
    for check in (*PASSED, "external URL", "answer", "token address", "proxy", "database"):
        assert {result for result, _ in report.of(check)} == {"ok"}, check
    assert report.exit_code == 0
    assert not list((server.data / "uploads").iterdir())
    assert "longshore-doctor" not in server.longshore("repo", "list", "--data", server.data)


def test_limit_of_bodies(server: Server, tmp_path: Path) -> None:
    with proxied(tmp_path, server, client_max_body_size="100m") as proxy:
        report = doctor(server, proxy.url)
    assert report.exit_code == 1
    ((result, advice),) = report.of("request bodies")
    assert result == "fault"
    assert "client_max_body_size 0" in advice
    assert set(report.faults) == {"request bodies"}


def test_bodies_that_are_kept_back(server: Server, tmp_path: Path) -> None:
    # In memory: the proxy's other account may not write into the test's folder.
    with proxied(tmp_path, server, proxy_request_buffering="on; client_body_buffer_size 1m") as proxy:
        report = doctor(server, proxy.url)
    assert report.exit_code == 1
    ((result, advice),) = report.of("request bodies")
    assert result == "fault"
    assert "proxy_request_buffering off" in advice
    assert set(report.faults) == {"request bodies"}
    assert not list((server.data / "uploads").iterdir())


def test_limit_of_headers(server: Server, tmp_path: Path) -> None:
    with proxied(tmp_path, server, large_client_header_buffers="") as proxy:
        report = doctor(server, proxy.url)
    ((result, advice),) = report.of("long headers")
    assert result == "warning"
    assert "large_client_header_buffers" in advice
    assert report.faults == {}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate of an authority that nobody knows."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "tls", "127.0.0.1")


def test_certificates(server: Server, tls: Tls, tmp_path: Path) -> None:
    with proxied(tmp_path, server, tls=tls) as proxy:
        trusted = doctor(server, proxy.url, SSL_CERT_FILE=str(tls.authority))
        unknown = doctor(server, proxy.url)
    assert trusted.faults == {}
    assert trusted.of("request bodies") == [("ok", "")]
    assert trusted.of("token address") == [("ok", "")]
    ((result, advice),) = unknown.of("answer")
    assert result == "fault"
    assert "SSL_CERT_FILE" in advice
    assert "not trusted" in unknown.faults["answer"]


def test_scheme_that_the_proxy_does_not_tell(server: Server, tls: Tls, tmp_path: Path) -> None:
    wrong = {"proxy_set_header X-Forwarded-Proto": "proxy_set_header X-Forwarded-Proto http;"}
    with running(Nginx(tmp_path / "nginx", f"127.0.0.1:{free_port()}", [server], tls, wrong)) as proxy:
        report = doctor(server, proxy.url, SSL_CERT_FILE=str(tls.authority))
    assert report.exit_code == 1
    assert set(report.faults) == {"token address"}
    assert f"http://{proxy.host}/token: the scheme is another" in report.faults["token address"]
    ((_, advice),) = report.of("token address")
    assert "X-Forwarded-Proto" in advice
    assert "trusted_proxies" in advice


def test_proxy_that_nobody_trusts(server: Server, tmp_path: Path) -> None:
    with proxied(tmp_path, server) as proxy:
        report = doctor(server, proxy.url, LONGSHORE_TRUSTED_PROXIES="")
    ((result, advice),) = report.of("proxy")
    assert result == "warning"
    assert "trusted_proxies" in advice


def test_proxy_to_nowhere(server: Server, tmp_path: Path) -> None:
    nowhere = Server(tmp_path / "nowhere")
    with proxied(tmp_path, nowhere) as proxy:
        report = doctor(server, proxy.url)
    assert report.exit_code == 1
    assert "a proxy answers 502" in report.faults["answer"]
    assert not report.of("request bodies")


def test_nodes_with_keys_of_their_own(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with running(Server(tmp_path / "other", TRUSTING)) as other, proxied(tmp_path, server, other) as proxy:
        report = doctor(server, proxy.url)
    assert "refused 4 of 8 times" in report.faults["keys of nodes"]
    ((_, advice),) = report.of("keys of nodes")
    assert "keys_secret" in advice


# -- a team's deployment ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), count=2) as cluster:
        yield cluster


def keys_in(cluster: Cluster) -> set[str]:
    found = cluster.s3.client().list_objects_v2(Bucket=BUCKET)
    return {each["Key"] for each in found.get("Contents", ())}


def test_cluster_as_deployed(cluster: Cluster) -> None:
    node, before = cluster.nodes[0], keys_in(cluster)
    report = doctor(node, cluster.url)
    assert report.faults == {}
    for check in (
        *PASSED,
        "answer",
        "database clock",
        "storage",
        "storage clock",
        "redirects",
        "signing keys",
    ):
        assert {result for result, _ in report.of(check)} == {"ok"}, check
    assert report.exit_code == 0
    assert keys_in(cluster) == before


def test_cluster_with_another_secret(cluster: Cluster) -> None:
    other = "another secret of more than thirty-two characters"
    report = doctor(cluster.nodes[0], cluster.url, LONGSHORE_KEYS_SECRET=other)
    assert report.exit_code == 1
    assert set(report.faults) == {"signing keys"}
    assert {result for result, _ in report.of("storage")} == {"ok"}


def test_cluster_whose_database_and_store_are_away(cluster: Cluster) -> None:
    """What cannot be asked ends nothing else."""
    away = {
        "LONGSHORE_DATABASE": "postgresql://postgres:a-wrong-one@127.0.0.1:1/hub",
        "LONGSHORE_S3_ENDPOINT": "http://127.0.0.1:1",
    }
    report = doctor(cluster.nodes[0], cluster.url, **away)
    assert report.exit_code == 1
    assert set(report.faults) == {"database", "storage", "request bodies"}
    assert report.of("token address") == [("ok", "")]
    assert "a-wrong-one" not in json.dumps(report.findings)
