"""Rights that come from teams, organizations and former names, and what lists show because of them."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest
from sqlalchemy import Connection, select, update

from storage.metadata import repositories
from storage.metadata.repositories import Viewer
from storage.metadata.schema import (
    namespaces,
    organization_members,
    repository_aliases,
    team_members,
    team_repository_roles,
    teams,
)
from storage.metadata.schema import repositories as table
from tests.storage.metadata.content import NOW, add_account, add_repository

READ, WRITE, ADMIN = 1, 2, 3

APP, OTHER, ELSEWHERE = "team/app", "team/other", "away/app"


def namespace_id(db: Connection, name: str) -> int:
    found: int = db.execute(select(namespaces.c.id).where(namespaces.c.name == name)).scalar_one()
    return found


def join(db: Connection, ann: int, *, is_owner: bool = False) -> None:
    db.execute(
        organization_members.insert().values(
            namespace_id=namespace_id(db, "team"), account_id=ann, is_owner=is_owner, joined_at=NOW
        )
    )


def add_team(db: Connection, account_id: int | None, role: int | None, on: Mapping[str, int]) -> None:
    new = teams.insert().values(
        namespace_id=namespace_id(db, "team"), name=f"t{account_id}", role=role, created_at=NOW
    )
    team_id = db.execute(new.returning(teams.c.id)).scalar_one()
    if account_id is not None:
        db.execute(team_members.insert().values(team_id=team_id, account_id=account_id))
    for name, each in on.items():
        repository_id = db.execute(select(table.c.id).where(table.c.name == name)).scalar_one()
        row = {"team_id": team_id, "repository_id": repository_id, "role": each}
        db.execute(team_repository_roles.insert().values(**row))


# What makes ann who she is, and her role on team/app, team/other and a new team/x, in this order.
CASES: Final[Mapping[str, tuple[Callable[[Connection, int], None], tuple[int | None, ...]]]] = {
    "stranger": (lambda db, ann: None, (None, None, None)),
    "member": (join, (None, None, None)),
    "owner": (lambda db, ann: join(db, ann, is_owner=True), (ADMIN, ADMIN, ADMIN)),
    "team on the namespace": (lambda db, ann: add_team(db, ann, WRITE, {}), (WRITE, WRITE, WRITE)),
    "team on one": (lambda db, ann: add_team(db, ann, None, {APP: READ}), (READ, None, None)),
    "team on both": (lambda db, ann: add_team(db, ann, READ, {APP: ADMIN}), (ADMIN, READ, READ)),
    "team without a role": (lambda db, ann: add_team(db, ann, None, {}), (None, None, None)),
    "others' team": (lambda db, ann: add_team(db, None, ADMIN, {APP: ADMIN}), (None, None, None)),
}


@pytest.fixture
def ann(db: Connection) -> int:
    for name in (APP, OTHER, ELSEWHERE):
        add_repository(db, name, public=False)
    return add_account(db, "ann")


@pytest.mark.parametrize("case", CASES)
def test_rights_of_organizations_and_teams(db: Connection, ann: int, case: str) -> None:
    make, roles = CASES[case]
    make(db, ann)
    found = [repositories.rights(db, name, ann) for name in (APP, OTHER, "team/x")]
    assert tuple(each.role for each in found) == roles
    assert repositories.rights(db, ELSEWHERE, ann).role is None
    assert repositories.rights(db, APP, None).role is None


@pytest.mark.parametrize("case", CASES)
def test_lists_show_what_there_is_a_role_on(db: Connection, ann: int, case: str) -> None:
    make, roles = CASES[case]
    make(db, ann)
    seen = repositories.names(db, Viewer(ann), last="", limit=9)
    assert list(seen) == [name for name, role in zip((APP, OTHER), roles, strict=False) if role is not None]
    assert list(repositories.names(db, Viewer(), last="", limit=9)) == []


def test_limited_viewer_sees_the_public_and_its_own(db: Connection, ann: int) -> None:
    public = "team/public"
    add_repository(db, public)
    app, away = (repositories.rights(db, name, ann).repository_id or 0 for name in (APP, ELSEWHERE))
    add_team(db, ann, READ, {})
    only = frozenset({app, away})
    seen = {
        "account": repositories.names(db, Viewer(ann, only=only), last="", limit=9),
        "administrator": repositories.names(db, Viewer(ann, sees_all=True, only=only), last="", limit=9),
        "nothing": repositories.names(db, Viewer(ann, only=frozenset()), last="", limit=9),
    }
    assert {who: list(names) for who, names in seen.items()} == {
        "account": [APP, public],
        "administrator": [ELSEWHERE, APP, public],
        "nothing": [public],
    }


def test_former_name_means_the_repository(db: Connection, ann: int) -> None:
    add_team(db, ann, None, {APP: WRITE})
    app = repositories.rights(db, APP, ann)
    for name in ("old/gone", "team/former"):
        row = {"name": name, "repository_id": app.repository_id, "created_at": NOW}
        db.execute(repository_aliases.insert().values(**row))
        assert repositories.rights(db, name, ann) == app
    # A repository that has the name itself goes before a former one.
    add_repository(db, "team/former")
    assert repositories.rights(db, "team/former", ann).name == "team/former"


def test_archived_is_told(db: Connection, ann: int) -> None:
    db.execute(update(table).where(table.c.name == APP).values(archived_at=NOW))
    assert repositories.rights(db, APP, ann).is_archived
    assert not repositories.rights(db, OTHER, ann).is_archived
