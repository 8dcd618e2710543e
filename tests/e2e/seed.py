"""A hub as people leave it: who they are and what they keep there, through the server's own doors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .api import Api
from .clients import Account
from .images import Image, Index, small_image
from .server import ADMIN, Server
from .showcase import (
    HOSTILE_LINE,
    HOSTILE_OVERVIEW,
    OVERVIEW,
    app_image,
    app_index,
    artifact,
    bill_of_materials,
    chart,
    hostile_image,
    signature,
)
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
    "alice/hostile": (("latest", hostile_image()),),
    "acme/site": (("1.2.3", CHART), ("1.2.2", chart("site", "1.2.2"))),
    "acme/model": (("v1", MODEL),),
    "acme/nightly": tuple((f"2026.{number:03}", small_image("nightly")) for number in range(60)),
    "acme/old": (("1", app_image("old")),),
    "bob/tools": (("1", app_image("tools")),),
}

# What is said of the repositories, and whether everybody may read it.
EDITS: Final[Mapping[str, Mapping[str, object]]] = {
    "library/python": {
        "summary": "Python is an interpreted, interactive, object-oriented language",
        "overview": OVERVIEW,
        "categories": ["languages", "base-images"],
    },
    "alice/app": {"summary": "Says hello", "overview": "# App\n\nIt says *hello*.", "public": False},
    "alice/hostile": {"summary": HOSTILE_LINE, "overview": HOSTILE_OVERVIEW, "public": True},
    "acme/site": {"summary": "The chart of our site", "categories": ["web-servers"], "public": True},
    "acme/model": {"summary": "Weights", "categories": ["machine-learning"], "public": False},
    "acme/nightly": {"summary": "Built every night", "public": True},
    "acme/old": {"deprecation": "Use acme/site", "archived": True, "public": True},
}

STARS: Final[Mapping[Account, tuple[str, ...]]] = {
    ALICE: ("library/python", "acme/site"),
    BOB: ("library/python", "acme/nightly"),
    CAROL: ("library/python",),
}


@dataclass(frozen=True, slots=True)
class Hub:
    """A server with people and content. The organization `acme` is Alice's, and Bob is one of it."""

    server: Server
    admin: Account = ADMIN
    alice: Account = ALICE
    bob: Account = BOB
    carol: Account = CAROL
    invitation: str = ""
    """The secret of an invitation to `acme`."""

    def account(self, name: str) -> Account | None:
        """The account called `name`; "" is nobody's."""
        everybody = (self.admin, self.alice, self.bob, self.carol)
        return next((each for each in everybody if each.name == name), None)


def seed(server: Server) -> Hub:
    """Fill a running server that nobody has used yet."""
    with Api(server.host, ADMIN) as admin, Api(server.host, ALICE) as alice:
        for person in (ALICE, BOB, CAROL):
            admin.post("/users", {"name": person.name, "password": person.password})
        alice.patch(
            "/me", {"full_name": "Alice Liddell", "about": "Down here.", "website": "https://alice.example"}
        )
        invitation = _found(alice)
        for repository in CONTENT:
            push(server, repository)
        _describe(admin, alice)
    for person, repositories in STARS.items():
        with Api(server.host, person) as caller:
            for repository in repositories:
                caller.put(f"/repositories/{repository}/-/star")
    return Hub(server, invitation=invitation)


def push(server: Server, repository: str) -> None:
    """Push what belongs into the repository, as the administrator."""
    with Wire(server.host, repository, ADMIN) as wire:
        for tag, content in CONTENT[repository]:
            wire.push(tag or content.manifest.digest, content)


def _found(alice: Api) -> str:
    """Make the organization with its teams, a robot and an invitation, whose secret is returned."""
    alice.post(
        "/organizations", {"name": "acme", "full_name": "Acme Corporation", "about": "Makes everything."}
    )
    acme = "/organizations/acme"
    alice.put(f"{acme}/members/bob", {"owner": False})
    alice.post(f"{acme}/teams", {"name": "developers", "about": "Who build it", "role": "write"})
    alice.post(f"{acme}/teams", {"name": "operators", "about": "Who run it"})
    alice.put(f"{acme}/teams/developers/members/bob")
    alice.post(f"{acme}/robots", {"name": "ci", "about": "Builds every night"})
    alice.post(f"{acme}/robots/ci/tokens", {"name": "nightly", "permission": "write"})
    alice.post("/me/tokens", {"name": "laptop", "permission": "read"})
    invitation = alice.post(f"{acme}/invitations", {"team": "operators", "note": "for Carol", "days": 7})
    return str(invitation["secret"])


def _describe(admin: Api, alice: Api) -> None:
    """Say what the repositories are, who else may use them, and what nobody should use any more."""
    for repository, edit in EDITS.items():
        admin.patch(f"/repositories/{repository}", edit)
    alice.put("/repositories/alice/app/-/roles/carol", {"role": "read"})
    alice.put("/organizations/acme/teams/operators/repositories/acme/model", {"role": "read"})
    alice.post("/me/tokens", {"name": "server", "permission": "write", "repositories": ["alice/app"]})
    alice.patch("/repositories/alice/app/-/tags/0.9", {"deprecation": "Use 1.0 or later"})
    admin.post("/repositories/bob/tools/-/rename", {"name": "bob/toolbox"})
