"""Commands for organizations, teams, robots and invitations."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.policy import Role
from registry.listing import MAX_PAGE
from storage.metadata import accounts, organizations, repositories, robots
from tests.registry.commands import Stored, done, isolate, refused, rows_of, run

NOW = datetime.now(UTC)
PASSWORD = "wonderland rabbit hole"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def crew(tmp_path: Path) -> Path:
    """Data with the organization `crew`: alice owns it, bob is a member and in the team `readers`."""
    for name in ("alice", "bob", "carol"):
        done("user", "add", name, stdin=PASSWORD)
    done("org", "create", "crew", "--owner", "alice", "--full-name", "The crew")
    done("org", "member", "add", "crew", "bob")
    done("team", "create", "crew", "readers", "--about", "who\nread")
    done("team", "member", "add", "crew", "readers", "bob")
    with Stored(tmp_path / "data") as db:
        repositories.ensure(db, "crew/app", public=False, make_namespace=False, now=NOW)
    return tmp_path / "data"


def role_of(data: Path, name: str, repository: str = "crew/app") -> int | None:
    with Stored(data) as db:
        found = accounts.find(db, name)
        assert found is not None
        return repositories.rights(db, repository, found.id).role


# -- organizations ---------------------------------------------------------------------------------------


def test_lists_of_nothing() -> None:
    header = ["name", "full name", "members", "teams", "repositories", "since"]
    assert rows_of(done("org", "list")) == [header]
    done("org", "create", "crew")
    assert rows_of(done("team", "list", "crew")) == [["name", "role", "members", "repositories", "about"]]
    assert rows_of(done("robot", "list", "crew")) == [["name", "state", "tokens", "last used", "about"]]


def test_org_list_has_all_pages(tmp_path: Path) -> None:
    names = [f"crew-{number:03}" for number in range(MAX_PAGE + 1)]
    with Stored(tmp_path / "data") as db:
        for name in names:
            organizations.add(db, name, None, full_name="", about="", now=NOW)
    assert [row[0] for row in rows_of(done("org", "list"))[1:]] == names


def test_org_show(crew: Path) -> None:
    fields, members = done("org", "show", "crew").split("\n\n")
    shown = dict(line.split(None, 1) for line in fields.replace("full name", "full-name").splitlines())
    assert {**shown, "since": ""} == {
        "name": "crew",
        "full-name": "The crew",
        "members": "2",
        "teams": "1",
        "repositories": "1",
        "since": "",
    }
    assert rows_of(members) == [["member", "role", "teams"], ["alice", "owner"], ["bob", "member", "readers"]]


def test_owner_may_do_everything_with_the_repositories(crew: Path) -> None:
    assert [role_of(crew, name) for name in ("alice", "bob", "carol")] == [Role.ADMIN, None, None]


def test_members_come_and_go(crew: Path) -> None:
    assert done("org", "member", "add", "crew", "bob", "--owner") == "bob is an owner of crew\n"
    assert role_of(crew, "bob") == Role.ADMIN
    assert done("org", "member", "add", "crew", "bob") == "bob is a member of crew\n"
    assert role_of(crew, "bob") is None
    assert done("org", "member", "remove", "crew", "bob") == "bob does not belong to crew any more\n"
    assert rows_of(done("team", "list", "crew"))[1] == ["readers", "none", "0", "0", "who read"]


def test_org_delete(crew: Path) -> None:
    assert refused("org", "delete", "crew", "--yes") == "the organization still has repositories"
    done("repo", "delete", "crew/app", "--yes")
    done("robot", "create", "crew+ci")
    result = run("org", "delete", "crew", stdin="n\n")
    assert (result.exit_code, "Delete crew with 2 members and 1 teams?" in result.output) == (1, True)
    assert done("org", "delete", "crew", "--yes") == "deleted crew\n"
    assert refused("org", "show", "crew") == "there is no organization crew"
    with Stored(crew) as db:
        assert accounts.find(db, "crew+ci") is None


# -- teams and robots ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["crew", "crew/app"])
def test_team_grant(crew: Path, target: str) -> None:
    for role in ("read", "write", "admin", "read"):
        assert done("team", "grant", role, target, "readers") == f"readers has the role {role} on {target}\n"
        assert role_of(crew, "bob") == Role[role.upper()]
    assert role_of(crew, "bob", "crew/other") == (Role.READ if target == "crew" else None)
    assert done("team", "grant", "none", target, "readers") == f"readers has no role on {target}\n"
    assert role_of(crew, "bob") is None


def test_team_with_a_role_from_the_start(crew: Path) -> None:
    done("team", "create", "crew", "writers", "--role", "write")
    done("team", "member", "add", "crew", "writers", "bob")
    assert role_of(crew, "bob") == Role.WRITE
    assert done("team", "member", "remove", "crew", "writers", "bob") == (
        "bob is not in the team writers any more\n"
    )
    assert role_of(crew, "bob") is None
    assert done("team", "delete", "crew", "writers") == "deleted the team writers of crew\n"
    assert [row[0] for row in rows_of(done("team", "list", "crew"))[1:]] == ["readers"]


def test_robots(crew: Path) -> None:
    assert done("robot", "create", "crew+ci", "--about", "builds") == "created crew+ci\n"
    for command, state in (("disable", "disabled"), ("enable", "active")):
        assert done("robot", command, "crew+ci") == f"{command}d crew+ci\n"
        assert rows_of(done("robot", "list", "crew"))[1:] == [["crew+ci", state, "0", "never", "builds"]]
    assert role_of(crew, "crew+ci") == Role.ADMIN
    assert "crew+ci" not in done("user", "list")
    assert done("robot", "delete", "crew+ci") == "deleted crew+ci\n"
    with Stored(crew) as db:
        assert robots.find(db, "crew+ci") is None


def test_robot_gets_no_password(crew: Path) -> None:
    done("robot", "create", "crew+ci")
    assert refused("user", "passwd", "crew+ci", stdin=PASSWORD) == "there is no account crew+ci"
    with Stored(crew) as db:
        found = accounts.find(db, "crew+ci")
        assert found is not None
        assert found.password_hash is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("org", "create", "alice"), "the name is taken"),
        (("org", "create", "other", "--owner", "nobody"), "there is no account nobody"),
        (("org", "create", "admin"), "name: 2 to 64 lower-case letters and digits"),
        (("org", "create", "other", "--full-name", "a\nb"), "full_name: one line of printable characters"),
        (("org", "show", "alice"), "there is no organization alice"),
        (("org", "delete", "nothing"), "there is no organization nothing"),
        (("org", "member", "add", "nothing", "bob"), "there is no organization nothing"),
        (("org", "member", "add", "crew", "nobody"), "there is no account nobody"),
        (("org", "member", "add", "crew", "alice"), "an organization keeps one owner at least"),
        (("org", "member", "remove", "crew", "alice"), "an organization keeps one owner at least"),
        (
            ("org", "member", "remove", "crew", "carol"),
            "there is no organization crew, or carol does not belong to it",
        ),
        (("team", "create", "crew", "readers"), "the name is taken"),
        (("team", "create", "crew", "Readers"), "name: 2 to 64 lower-case letters and digits"),
        (("team", "create", "nothing", "readers"), "there is no organization nothing"),
        (("team", "list", "nothing"), "there is no organization nothing"),
        (("team", "delete", "crew", "nothing"), "there is no team nothing in an organization crew"),
        (("team", "member", "add", "crew", "readers", "carol"), "carol is no member of the organization"),
        (("team", "member", "add", "crew", "nothing", "bob"), "there is no team nothing in an organization"),
        (
            ("team", "member", "remove", "crew", "readers", "alice"),
            "there is no team readers in an organization crew, or alice is not in it",
        ),
        (("team", "grant", "read", "crew", "nothing"), "there is no team nothing in an organization crew"),
        (
            ("team", "grant", "read", "crew/nothing", "readers"),
            "the organization has no repository crew/nothing",
        ),
        (("robot", "create", "ci"), "a robot is called ORG+NAME, not ci"),
        (("robot", "create", "+ci"), "a robot is called ORG+NAME, not +ci"),
        (("robot", "create", "crew+"), "name: 2 to 64 lower-case letters and digits"),
        (("robot", "create", "nothing+ci"), "there is no organization nothing"),
        (("robot", "disable", "crew+nothing"), "there is no robot crew+nothing"),
        (("robot", "delete", "crew+nothing"), "there is no robot crew+nothing"),
        (("user", "invite", "--org", "nothing"), "there is no organization nothing"),
        (("user", "invite", "--org", "crew", "--team", "nothing"), "there is no team nothing"),
        (("user", "invite", "--team", "readers"), "--team and --owner need an organization: --org"),
        (("user", "invite", "--days", "0"), "days: 1 to 90"),
    ],
    ids=" ".join,
)
def test_refusals_are_told_in_words(crew: Path, words: Sequence[str], message: str) -> None:
    assert refused(*words).startswith(message)


# -- invitations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1:5000"),
        ({"host": "::1", "port": "80"}, "http://[::1]:80"),
        ({"external_url": "https://registry.example.com"}, "https://registry.example.com"),
    ],
)
def test_user_invite_prints_a_link(settings: dict[str, str], address: str) -> None:
    link = done("user", "invite", **settings)
    assert link.startswith(f"{address}/invitations/lsi_")
    assert link != done("user", "invite", **settings)
