"""`docker search` and `podman search`: everybody finds what they may pull, and can pull what they find."""

import base64
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from . import clients
from .clients import Account, Client
from .engine import Engine
from .images import small_image
from .process import running
from .server import ADMIN, Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ALICE = Account("alice", "wonderland rabbit hole")
BOB = Account("bob", "builder of many things")

PUBLIC = {"lantern", "alice/lantern"}
PRIVATE = {"alice/lantern-secret"}


@pytest.fixture(scope="module")
def hub(server: Server) -> Server:
    """The server with two lanterns for everybody, of which one is official, and alice's own."""
    for account in (ALICE, BOB):
        server.add_user(account.name, account.password)
    for account, name in (
        (ADMIN, "library/lantern"),
        (ALICE, "alice/lantern"),
        (ALICE, "alice/lantern-secret"),
    ):
        with Wire(server.host, name, account) as wire:
            wire.push("latest", small_image(name))
    for name in ("library/lantern", "alice/lantern"):
        server.longshore("repo", "visibility", "--data", server.data, name, "public")
    call(server, ALICE, "PUT", "/api/v1/repositories/alice/lantern/-/star")
    summary = {"summary": "It gives light"}
    call(server, ADMIN, "PATCH", "/api/v1/repositories/library/lantern", summary)
    return server


@pytest.fixture(scope="module")
def engine(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine."""
    with running(Engine(tmp_path_factory.mktemp("engine"), mirror=server.url)) as engine:
        yield engine


@pytest.fixture(scope="module")
def anonymous(engine: Engine) -> Client:
    """Docker's client without credentials."""
    return engine.client("nobody")


@pytest.fixture(scope="module")
def alice(engine: Engine, hub: Server) -> Client:
    """Docker's client after alice's login: it keeps a token."""
    client = engine.client("alice")
    client.login(hub.host, ALICE)
    return client


@pytest.fixture(scope="module")
def bob(engine: Engine, hub: Server) -> Client:
    """Docker's client after bob's login."""
    client = engine.client("bob")
    client.login(hub.host, BOB)
    return client


@pytest.fixture(scope="module")
def alice_by_password(engine: Engine, hub: Server) -> Client:
    """Docker's client with alice's password in its configuration, as other clients write it there."""
    client = engine.client("alice-by-password")
    keep_password(client, hub.host, ALICE)
    return client


def call(server: Server, account: Account, method: str, target: str, body: object = None) -> None:
    """Change something over the API."""
    connection = HTTPConnection(server.host, timeout=60)
    text = None if body is None else json.dumps(body)
    headers = {"Authorization": f"Basic {encoded(account)}", "Content-Type": "application/json"}
    connection.request(method, target, text, headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert answer.status < 300, said


def encoded(account: Account) -> str:
    """Name and password as Basic has them."""
    return base64.b64encode(f"{account.name}:{account.password}".encode()).decode()


def keep_password(client: Client, host: str, account: Account) -> None:
    """Write the configuration that holds a password and no token."""
    folder = Path(client.environment["HOME"]) / ".docker"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": encoded(account)}}}))


def search(docker: Client, term: str, *options: str) -> list[dict[str, str]]:
    """Return what `docker search` prints."""
    said = docker("search", "--no-trunc", "--format", "{{json .}}", *options, term)
    return [json.loads(line) for line in said.splitlines()]


def names(docker: Client, term: str, *options: str) -> set[str]:
    """Return the names that `docker search` prints."""
    return {each["Name"] for each in search(docker, term, *options)}


def test_everybody_finds_what_is_public(hub: Server, anonymous: Client) -> None:
    # Docker's client sorts by stars.
    starred, official = search(anonymous, f"{hub.host}/lantern")
    assert (official["Name"], official["IsOfficial"], official["StarCount"]) == ("lantern", "true", "0")
    assert official["Description"] == "It gives light"
    assert (starred["Name"], starred["IsOfficial"], starred["StarCount"]) == ("alice/lantern", "false", "1")


@pytest.mark.parametrize("term", ["lant", "LANTERN", "lantern alice", "alice/lantern"])
def test_words_find_it(hub: Server, anonymous: Client, term: str) -> None:
    assert "alice/lantern" in names(anonymous, f"{hub.host}/{term}")


def test_what_is_not_there_is_not_found(hub: Server, anonymous: Client) -> None:
    assert search(anonymous, f"{hub.host}/absent") == []


def test_owners_find_their_own_and_others_do_not(
    hub: Server, anonymous: Client, alice: Client, alice_by_password: Client, bob: Client
) -> None:
    term = f"{hub.host}/lantern"
    assert names(alice, term) == PUBLIC | PRIVATE
    assert names(alice_by_password, term) == PUBLIC | PRIVATE
    assert names(bob, term) == PUBLIC
    assert names(anonymous, term) == PUBLIC


def test_wrong_password_is_no_anonymous_search(hub: Server, engine: Engine) -> None:
    client = engine.client("mallory")
    keep_password(client, hub.host, Account("mallory", "guess"))
    assert "401" in client.refused("search", f"{hub.host}/lantern")


def test_limit_and_filters(hub: Server, alice: Client) -> None:
    term = f"{hub.host}/lantern"
    assert [each["Name"] for each in search(alice, term, "--limit", "1")] == ["lantern"]
    assert names(alice, term, "--filter", "is-official=true") == {"lantern"}
    assert names(alice, term, "--filter", "is-official=false") == {"alice/lantern"} | PRIVATE
    assert names(alice, term, "--filter", "stars=1") == {"alice/lantern"}
    assert names(alice, term, "--filter", "stars=2") == set()


def test_what_is_found_can_be_pulled(hub: Server, alice: Client) -> None:
    found = names(alice, f"{hub.host}/lantern")
    for name in found:
        alice("pull", f"{hub.host}/{name}")


def test_podman_finds_and_prints_what_can_be_pulled(
    hub: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    podman = clients.podman(tmp_path_factory.mktemp("h"))
    words = ("search", "--tls-verify=false", "--format", "{{.Name}}")
    said = podman(*words, f"{hub.host}/lantern").split()
    assert {name.removeprefix(f"{hub.host}/") for name in said} == PUBLIC
    assert len(podman(*words, "--limit", "1", f"{hub.host}/lantern").split()) == 1
    for name in said:
        podman("pull", "--tls-verify=false", name)
