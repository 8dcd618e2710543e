"""openapi.yaml is what the running server does: schemathesis sends what the description allows, and what it
does not, and every answer must be one that is described. What deletes comes last.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import requests
import schemathesis
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .clients import ROOT, Account
from .process import running
from .seed import APP, CONTENT, Hub, seed
from .server import Server

pytestmark = pytest.mark.e2e

Case = schemathesis.Case[APIOperation[Any, Any, Any, Any]]


def schema_of_whole_answers(
    context: CheckContext, response: schemathesis.Response, case: Case
) -> bool | None:
    """Hold a body against its schema; a range of a document is no document."""
    return None if response.status_code == 206 else response_schema_conformance(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    schema_of_whole_answers,
]

# What is really there, so that requests come further than "no such repository".
KNOWN = {
    "name": ["alice/app", "library/python", "acme/site"],
    "person": ["alice", "bob", "carol"],
    "organization": ["acme"],
    "team": ["developers", "operators"],
    "robot": ["ci"],
    "tag": ["1.0", "latest"],
    "id": ["1", "2"],
    "reference": ["1.0", "latest", APP.manifest.digest],
    "digest": [APP.manifest.digest, *(blob.digest for blob in APP.blobs)],
}

SCHEMA = schemathesis.openapi.from_path(
    ROOT / "openapi.yaml",
    config=SchemathesisConfig.from_dict(
        {
            "seed": 20260301,
            "dictionaries": {name: {"values": values} for name, values in KNOWN.items()},
            "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.7} for name in KNOWN},
            "generation": {"max-examples": 10, "deterministic": True, "database": "none", "no-shrink": True},
            "max-stream-events": 1,
            "cache": {"enabled": False},
        }
    ),
)
BUILDING, REMOVING = SCHEMA.exclude(method="DELETE"), SCHEMA.include(method="DELETE")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A server with content whose tokens last as long as the tests."""
    settings = {"LONGSHORE_TOKEN_LIFETIME": "1d", "LONGSHORE_LOG_LEVEL": "error"}
    if request.param == "postgresql":
        settings["LONGSHORE_DATABASE"] = request.getfixturevalue("postgres").create()
    with running(Server(tmp_path_factory.mktemp("openapi"), settings)) as server:
        yield seed(server)


@pytest.fixture(scope="module")
def secret(hub: Hub) -> str:
    """The administrator's token, taken before wrong passwords by the hundred close the door."""
    return token(hub.server, hub.admin)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks the server, with the headers that each request carries."""

    url: str
    session: requests.Session
    headers: dict[str, str]

    def judge(self, case: Case) -> None:
        """Send the request and hold the answer against the description."""
        case.call_and_validate(self.url, self.session, self.headers, checks=CHECKS, allow_redirects=False)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that heed no proxy of the machine."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def stranger(hub: Hub, secret: str, session: requests.Session) -> Caller:
    """A caller whom nobody knows."""
    return Caller(hub.server.url, session, {})


@pytest.fixture(scope="module")
def administrator(hub: Hub, secret: str, session: requests.Session) -> Caller:
    """A caller with a token for everything."""
    return Caller(hub.server.url, session, {"Authorization": f"Bearer {secret}"})


def token(server: Server, account: Account) -> str:
    """A token with all the rights that the account has."""
    repositories = [f"repository:{name}:pull,push,delete" for name in CONTENT]
    scopes = [("scope", each) for each in ["registry:catalog:*", "registry:api:*", *repositories]]
    login = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
    request = Request(f"{server.url}/token?{urlencode(scopes)}", headers={"Authorization": f"Basic {login}"})
    with urlopen(request, timeout=30) as response:
        return str(json.load(response)["token"])


@BUILDING.parametrize()
def test_what_a_stranger_asks(case: Case, stranger: Caller) -> None:
    stranger.judge(case)


@BUILDING.parametrize()
def test_what_an_administrator_asks(case: Case, administrator: Caller) -> None:
    administrator.judge(case)


@REMOVING.parametrize()
def test_what_a_stranger_deletes(case: Case, stranger: Caller) -> None:
    stranger.judge(case)


@REMOVING.parametrize()
def test_what_an_administrator_deletes(case: Case, administrator: Caller) -> None:
    administrator.judge(case)
