"""A store that speaks TLS, with a certificate of an authority that only this deployment knows."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.storage.servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server

from . import clients
from .certificates import Tls, make_certificate
from .images import Image, gzip_layer, image, noise, tar, write_layout
from .process import running
from .server import ADMIN, Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# More than one part.
LAYER_SIZE = 9 << 20
ADVICE = "set s3_ca to a file with the certificates of the authority"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """The store's certificate."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "tls", "127.0.0.1")


@pytest.fixture(scope="module")
def store(tls: Tls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """MinIO with that certificate."""
    with running(S3Server("minio", tmp_path_factory.mktemp("store"), tls=tls)) as store:
        assert store.endpoint.startswith("https://")
        yield store


def server_of(folder: Path, store: S3Server, **settings: str) -> Server:
    """A server whose blobs are in the store."""
    return Server(
        folder,
        {
            "LONGSHORE_STORAGE": f"s3://{BUCKET}/{folder.name}",
            "LONGSHORE_S3_ENDPOINT": store.endpoint,
            "LONGSHORE_S3_REGION": REGION,
            "LONGSHORE_WORKERS": "1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        },
    )


@pytest.fixture(scope="module", params=["redirects", "no-redirects"])
def server(
    request: pytest.FixtureRequest, store: S3Server, tls: Tls, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that knows the authority, and either sends clients to the store or does not."""
    settings = {
        "LONGSHORE_S3_CA": str(tls.authority),
        "LONGSHORE_S3_REDIRECT": json.dumps(request.param == "redirects"),
    }
    with running(server_of(tmp_path_factory.mktemp(request.param), store, **settings)) as server:
        yield server


@pytest.fixture(scope="module")
def is_redirecting(server: Server) -> bool:
    return server.environment["LONGSHORE_S3_REDIRECT"] == "true"


@pytest.fixture(scope="module")
def pushed(server: Server) -> Image:
    """An image in the server: one blob is an object, the other one is made of parts."""
    content = image([gzip_layer(tar({"noise": noise("parts", LAYER_SIZE)}), level=0)])
    with Wire(server.host, "library/app", ADMIN) as wire:
        wire.push("1", content)
    return content


def test_blobs_come_back(server: Server, tls: Tls, pushed: Image, *, is_redirecting: bool) -> None:
    trusting = ssl.create_default_context(cafile=tls.authority)
    with Wire(server.host, "library/app", ADMIN) as wire:
        for blob in pushed.blobs:
            if not is_redirecting:
                assert wire.blob(blob.digest) == blob.data
                continue
            answer = wire.request("GET", f"/v2/library/app/blobs/{blob.digest}").expect(307)
            location = answer.headers["Location"]
            assert location.startswith(f"{server.environment['LONGSHORE_S3_ENDPOINT']}/{BUCKET}/")
            assert "X-Amz-Signature=" in urlsplit(location).query
            with urlopen(location, timeout=60, context=trusting) as found:
                assert found.read() == blob.data


def test_a_client_pulls_where_it_trusts_the_store(
    server: Server, tls: Tls, pushed: Image, tmp_path: Path, *, is_redirecting: bool
) -> None:
    """Clients that are sent to the store have to trust it, others need not know that there is one."""
    crane = clients.crane(tmp_path / "home")
    name = f"{server.host}/library/app:1"
    trusting = crane.with_environment(SSL_CERT_FILE=str(tls.authority))
    trusting("pull", "--format", "oci", name, tmp_path / "trusting")
    wanted = {each.digest for each in (pushed.manifest, *pushed.blobs)}
    assert blobs_in(tmp_path / "trusting") == wanted
    if is_redirecting:
        assert "unknown authority" in crane.refused("pull", name, tmp_path / "refused")
    else:
        crane("pull", "--format", "oci", name, tmp_path / "unknowing")
        assert blobs_in(tmp_path / "unknowing") == wanted


def test_a_client_pushes(server: Server, tmp_path: Path) -> None:
    content = image([gzip_layer(tar({"noise": noise("pushed", LAYER_SIZE)}), level=0)])
    layout = write_layout(tmp_path / "layout", "1", content)
    skopeo = clients.skopeo(tmp_path / "home")
    credentials = f"{ADMIN.name}:{ADMIN.password}"
    to = f"docker://{server.host}/library/pushed:1"
    skopeo("copy", "--dest-tls-verify=false", "--dest-creds", credentials, f"oci:{layout}:1", to)
    with Wire(server.host, "library/pushed", ADMIN) as wire:
        assert wire.manifest("1") == content.manifest.data


def blobs_in(layout: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir()}


def findings_of(server: Server, **environment: str) -> dict[str, list[dict[str, Any]]]:
    """What the doctor says, by check."""
    longshore = server.longshore.with_environment(**environment)
    done = longshore.run("doctor", "--json", "--data", server.data, "--external-url", server.url)
    findings: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(done.stdout)["findings"]:
        findings.setdefault(each["check"], []).append(each)
    return findings


def test_the_doctor_looks_as_a_client_does(server: Server, tls: Tls, *, is_redirecting: bool) -> None:
    unknown = findings_of(server)
    assert {each["result"] for each in unknown["storage"]} == {"ok"}
    if not is_redirecting:
        assert "redirects" not in unknown
        return
    (fault,) = unknown["redirects"]
    assert fault["result"] == "fault"
    assert "clients do not trust the store" in fault["found"]
    assert "a certificate that clients trust, or set s3_redirect = false" in fault["advice"]
    (found,) = findings_of(server, SSL_CERT_FILE=str(tls.authority))["redirects"]
    assert found["result"] == "ok"


@pytest.fixture(params=["nobody", "another"])
def mistaken(
    request: pytest.FixtureRequest, store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server that trusts whom the machine does, or another authority; neither knows the store's."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "nobody":
        return server_of(folder, store)
    other = make_certificate(folder / "tls", "127.0.0.1")
    return server_of(folder, store, LONGSHORE_S3_CA=str(other.authority))


def test_it_does_not_start_without_the_authority(mistaken: Server, store: S3Server) -> None:
    done = mistaken.longshore.run("serve", "--data", mistaken.data, "--port", str(mistaken.port))
    said = (done.stdout + done.stderr).decode()
    assert done.returncode != 0
    assert f"the bucket '{BUCKET}' at {store.endpoint} cannot be reached" in said
    assert "certificate verify failed" in said
    assert ADVICE in said
    assert "Traceback" not in said


def test_the_doctor_names_what_is_missing(mistaken: Server) -> None:
    faults = [each for each in findings_of(mistaken)["storage"] if each["result"] == "fault"]
    (fault,) = faults
    assert "certificate verify failed" in fault["found"]
    assert fault["advice"].startswith(ADVICE)
