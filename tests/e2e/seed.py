"""A hub as people leave it: their accounts and what they pushed, through the server's own doors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .clients import Account
from .images import Image, Index, small_image
from .server import ADMIN, Server
from .showcase import app_image, app_index, artifact, bill_of_materials, chart, hostile_image, signature
from .wire import Wire

ALICE: Final = Account("alice", "wonderland rabbit hole")
BOB: Final = Account("bob", "builder of many things")
CAROL: Final = Account("carol", "singing at the window")

PYTHON: Final = app_index("python-3.12")
APP: Final = app_image("app-1.0")
CHART: Final = chart("site", "1.2.3")
MODEL: Final = artifact("application/vnd.example.model", {"model.bin": b"weights", "README.md": b"# Model"})

# What is pushed where; a tag of None stands for a digest.
CONTENT: Final[Mapping[str, tuple[tuple[str | None, Image | Index], ...]]] = {
    "library/python": (
        ("3.12", PYTHON),
        ("latest", PYTHON),
        ("3.11", app_index("python-3.11", ["amd64", "arm64/v8"])),
        (None, signature(PYTHON)),
        (None, bill_of_materials(PYTHON)),
    ),
    "alice/app": (
        ("1.0", APP),
        ("latest", APP),
        ("0.9", app_image("app-0.9")),
        (None, signature(APP)),
        (None, bill_of_materials(APP)),
    ),
    "alice/site": (("1.2.3", CHART), ("1.2.2", chart("site", "1.2.2"))),
    "alice/model": (("v1", MODEL),),
    "alice/nightly": tuple((f"2026.{number:03}", small_image("nightly")) for number in range(60)),
    "alice/hostile": (("latest", hostile_image()),),
    "bob/tools": (("1", app_image("tools")),),
}


@dataclass(frozen=True, slots=True)
class Hub:
    """A server with people and content."""

    server: Server
    admin: Account = ADMIN
    alice: Account = ALICE
    bob: Account = BOB
    carol: Account = CAROL


def seed(server: Server) -> Hub:
    """Fill a running server that nobody has used yet."""
    for person in (ALICE, BOB, CAROL):
        server.add_user(person.name, person.password)
    for repository in CONTENT:
        push(server, repository)
    for name in ("alice/site", "alice/nightly", "alice/hostile"):
        server.longshore("repo", "visibility", name, "public", "--data", server.data)
    return Hub(server)


def push(server: Server, repository: str) -> None:
    """Push what belongs into the repository, as the administrator."""
    with Wire(server.host, repository, ADMIN) as wire:
        for tag, content in CONTENT[repository]:
            wire.push(tag or content.manifest.digest, content)
