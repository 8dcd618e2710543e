"""Three nodes on PostgreSQL and S3 behind nginx, which gives each request to the next of them."""

import base64
import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from .clients import Account
from .cluster import Cluster, running_cluster
from .server import ADMIN
from .test_conformance import run_suite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB: Final = 1024 * 1024


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose clients are sent to the S3 server for blobs."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One that sends every byte itself."""
    folder = tmp_path_factory.mktemp("strict")
    with running_cluster(folder, settings={"LONGSHORE_S3_REDIRECT": "false"}) as cluster:
        yield cluster


def test_conformance_with_redirects(cluster: Cluster, tmp_path: Path) -> None:
    """The digest's header is checked on the last answer of a download, which here comes from S3."""
    user = cluster.add_user("conformance", "strict but fair")
    without = {"OCI_DATA_SPARSE": "false", "OCI_API_BLOBS_DIGEST_HEADER": "false"}
    toggles = run_suite(cluster.host, user, tmp_path, **without)
    assert [name for name, value in toggles.items() if value != "true"] == ["sparse"]


def test_conformance_without_redirects(strict: Cluster, tmp_path: Path) -> None:
    user = strict.add_user("conformance", "strict but fair")
    toggles = run_suite(strict.host, user, tmp_path, OCI_DATA_SPARSE="false")
    assert [name for name, value in toggles.items() if value != "true"] == ["sparse"]


# -- a blob in pieces, each to another node ----------------------------------------------------------------


class Caller:
    """Plain HTTP requests, each on a connection of its own."""

    def __init__(self, host: str, token: str = "") -> None:
        self._host = host
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; header names are written with `_` for `-`."""
        connection = HTTPConnection(self._host, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, {**self._headers, **named})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found


def log_in(host: str, account: Account, scope: str) -> Caller:
    """Get a token and return who has it."""
    basic = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
    status, _, body = Caller(host).send("GET", f"/token?scope={scope}", Authorization=f"Basic {basic}")
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return Caller(host, answer["token"])


def path_of(location: str) -> str:
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@pytest.mark.parametrize("size", [1000, 3 * MIB, 9 * MIB], ids=["tiny", "smaller-than-a-part", "larger"])
def test_chunks_to_one_node_after_the_other_make_one_blob(cluster: Cluster, size: int) -> None:
    """No node sees two chunks in a row, and none is told of the others but by the database."""
    callers = [log_in(node.host, ADMIN, "repository:library/pieces:pull,push") for node in cluster.nodes]
    chunks = [bytes([number + 1]) * (size + number) for number in range(4)]
    content = b"".join(chunks)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    status, headers, _ = callers[0].send("POST", "/v2/library/pieces/blobs/uploads/")
    assert status == 202
    offset = 0
    for number, chunk in enumerate(chunks):
        caller = callers[(number + 1) % len(callers)]
        where = f"{offset}-{offset + len(chunk) - 1}"
        status, headers, body = caller.send(
            "PATCH",
            path_of(headers["location"]),
            chunk,
            Content_Range=where,
            Content_Type="application/octet-stream",
        )
        assert status == 202, body
        offset += len(chunk)
        assert headers["range"] == f"0-{offset - 1}"
    location = path_of(headers["location"])
    status, _, body = callers[0].send("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")
    assert status == 201, body
    for caller in callers:
        status, headers, _ = caller.send("GET", f"/v2/library/pieces/blobs/{digest}")
        assert status == 307
        elsewhere = urlsplit(headers["location"])
        assert elsewhere.hostname == "localhost"
        status, _, received = Caller(elsewhere.netloc).send("GET", path_of(headers["location"]))
        assert (status, received) == (200, content)


# -- what one node decides, all nodes know -----------------------------------------------------------------


def test_decisions_of_one_node_count_at_once_on_all(cluster: Cluster) -> None:
    user = cluster.add_user("dora", "explores the harbour")
    scope = "repository:dora/app:pull,push"
    first, second, third = (log_in(node.host, user, scope) for node in cluster.nodes)
    digest = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    status, _, body = first.send("POST", f"/v2/dora/app/blobs/uploads/?digest={digest}", b"{}")
    assert status == 201, body
    assert second.send("HEAD", f"/v2/dora/app/blobs/{digest}")[0] == 200
    cluster.nodes[2].longshore("user", "disable", "dora")
    try:
        answers = [each.send("HEAD", f"/v2/dora/app/blobs/{digest}") for each in (first, second, third)]
        assert [status for status, *_ in answers] == [401] * 3
    finally:
        cluster.nodes[0].longshore("user", "enable", "dora")


def test_keys_are_the_same_on_all_nodes_after_a_rotation(cluster: Cluster) -> None:
    def kids() -> list[list[str]]:
        sets = [
            json.loads(Caller(node.host).send("GET", "/.well-known/jwks.json")[2]) for node in cluster.nodes
        ]
        return [[key["kid"] for key in keys["keys"]] for keys in sets]

    before = kids()
    assert before[0] == before[1] == before[2]
    said = cluster.nodes[1].longshore("key", "rotate")
    assert "in 60 seconds" in said
    # Nothing depends on how soon the nodes look again: the old key signs until all have.
    caller = log_in(cluster.nodes[0].host, ADMIN, "repository:library/none:pull")
    for node in cluster.nodes:
        caller._host = node.host
        assert caller.send("GET", "/v2/library/none/tags/list")[0] == 404
