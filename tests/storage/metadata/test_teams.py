import pytest
from sqlalchemy import Connection

from storage.metadata import organizations, repositories, schema, teams
from storage.metadata.repositories import Viewer
from storage.metadata.teams import Team, TeamNameTaken
from tests.storage.metadata.content import NOW, add_account, add_repository, count


@pytest.fixture
def crew(db: Connection) -> int:
    """The organization `crew`, which ann owns."""
    return add_organization(db, "crew", add_account(db, "ann"))


def add_organization(db: Connection, name: str, owner: int) -> int:
    organizations.add(db, name, owner, full_name="", about="", now=NOW)
    found = organizations.find(db, name, Viewer())
    assert found is not None
    return found.id


def add(db: Connection, organization: int, name: str = "readers", role: int | None = None) -> int:
    teams.add(db, organization, name, about="", role=role, now=NOW)
    return found(db, organization, name).id


def found(db: Connection, organization: int, name: str = "readers") -> Team:
    team = teams.find(db, organization, name)
    assert team is not None
    return team


@pytest.mark.parametrize("role", [None, 1, 2, 3])
def test_team_comes_back(db: Connection, crew: int, role: int | None) -> None:
    teams.add(db, crew, "readers", about="who read", role=role, now=NOW)
    team = found(db, crew)
    assert team == Team(team.id, "readers", "who read", role, NOW, 1, 0, 0)
    assert teams.of_organization(db, crew) == [team]


def test_name_is_of_one_team_in_an_organization(db: Connection, crew: int) -> None:
    other = add_organization(db, "other", add_account(db, "bob"))
    first, second = add(db, crew), add(db, other)
    assert first != second
    with pytest.raises(TeamNameTaken):
        add(db, crew)
    writers = add(db, crew, "writers")
    with db.begin_nested(), pytest.raises(TeamNameTaken):
        teams.edit(db, writers, {"name": "readers"})
    teams.edit(db, first, {"name": "readers", "about": "the same name"})
    assert [each.name for each in teams.of_organization(db, crew)] == ["readers", "writers"]


def test_edit_raises_the_version(db: Connection, crew: int) -> None:
    team = add(db, crew, role=2)
    teams.edit(db, team, {"about": "who read"})
    teams.edit(db, team, {"name": "guests", "role": None})
    assert found(db, crew, "guests") == Team(team, "guests", "who read", None, NOW, 3, 0, 0)
    assert teams.find(db, crew, "readers") is None


def test_members(db: Connection, crew: int) -> None:
    bob, team, other = add_account(db, "bob"), add(db, crew), add(db, crew, "writers")
    organizations.put_member(db, crew, bob, is_owner=False, now=NOW)
    for _ in range(2):
        teams.put_member(db, team, bob)
    assert [each.name for each in organizations.members_of_team(db, crew, team)] == ["bob"]
    assert organizations.members_of_team(db, crew, other) == []
    assert (found(db, crew).member_count, found(db, crew, "writers").member_count) == (1, 0)
    assert [teams.remove_member(db, team, bob) for _ in range(2)] == [True, False]
    assert found(db, crew).member_count == 0


def test_roles_on_repositories(db: Connection, crew: int) -> None:
    team, other = add(db, crew), add(db, crew, "writers")
    app, tool = add_repository(db, "crew/app"), add_repository(db, "crew/a-tool")
    assert teams.set_role(db, team, app, 1)
    assert teams.set_role(db, team, app, 2)
    assert teams.set_role(db, team, tool, 3)
    assert teams.roles(db, team) == [("crew/a-tool", 3), ("crew/app", 2)]
    assert (teams.roles(db, other), found(db, crew).repository_count) == ([], 2)
    assert [teams.set_role(db, team, app, None) for _ in range(2)] == [True, False]
    assert teams.roles(db, team) == [("crew/a-tool", 3)]


# The role of the team on the namespace, and on the repository; what a member has on that repository.
@pytest.mark.parametrize(
    ("on_all", "on_one", "role"),
    [(None, None, None), (1, None, 1), (None, 2, 2), (1, 3, 3), (3, 1, 3), (2, 2, 2)],
)
def test_member_has_the_higher_role(
    db: Connection, crew: int, on_all: int | None, on_one: int | None, role: int | None
) -> None:
    bob, zoe = add_account(db, "bob"), add_account(db, "zoe")
    app, team = add_repository(db, "crew/app", public=False), add(db, crew, role=on_all)
    add_repository(db, "crew/other", public=False)
    teams.put_member(db, team, bob)
    teams.set_role(db, team, app, on_one)
    found_roles = {
        (name, who): repositories.rights(db, name, account).role
        for name in ("crew/app", "crew/other", "ann/app")
        for who, account in (("bob", bob), ("zoe", zoe), ("nobody", None))
    }
    assert {key: value for key, value in found_roles.items() if value is not None} == {
        key: value
        for key, value in {("crew/app", "bob"): role, ("crew/other", "bob"): on_all}.items()
        if value is not None
    }


def test_team_goes_with_its_roles_and_without_its_members(db: Connection, crew: int) -> None:
    bob, team = add_account(db, "bob"), add(db, crew, role=2)
    organizations.put_member(db, crew, bob, is_owner=False, now=NOW)
    teams.put_member(db, team, bob)
    teams.set_role(db, team, add_repository(db, "crew/app"), 3)
    teams.remove(db, team)
    tables = (schema.teams, schema.team_members, schema.team_repository_roles)
    assert count(db, *tables, schema.organization_members) == [0, 0, 0, 2]
    assert repositories.rights(db, "crew/app", bob).role is None


def test_repository_that_goes_takes_its_roles_along(db: Connection, crew: int) -> None:
    team = add(db, crew)
    teams.set_role(db, team, add_repository(db, "crew/app"), 3)
    repositories.remove(db, "crew/app")
    assert teams.roles(db, team) == []
