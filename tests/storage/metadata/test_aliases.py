"""Renaming: the old name leads to the repository, and what others were given ends with a transfer."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Table

from storage.metadata import aliases, catalog, repositories
from storage.metadata.schema import (
    access_token_repositories,
    access_tokens,
    repository_roles,
    team_repository_roles,
    teams,
)
from tests.storage.metadata.content import NOW, add_account, add_repository, count

APP = "team/app"

GRANTS: Sequence[Table] = (repository_roles, team_repository_roles, access_token_repositories)


@pytest.fixture
def app(db: Connection) -> int:
    return add_repository(db, APP, public=False)


def rename(db: Connection, repository_id: int, name: str, *, make_namespace: bool = False) -> None:
    aliases.rename(db, repository_id, name, make_namespace=make_namespace, now=NOW)


def name_of(db: Connection, asked: str) -> str | None:
    found = repositories.rights(db, asked, None)
    return found.name if found.exists else None


def test_old_names_lead_to_the_repository(db: Connection, app: int) -> None:
    rename(db, app, "team/second")
    rename(db, app, "team/third")
    assert [name_of(db, each) for each in (APP, "team/second", "team/third")] == ["team/third"] * 3
    found = catalog.find(db, app)
    assert found is not None
    assert (found.aliases, found.version) == ((APP, "team/second"), 3)


def test_renaming_back(db: Connection, app: int) -> None:
    rename(db, app, "team/second")
    rename(db, app, APP)
    found = catalog.find(db, app)
    assert found is not None
    assert (found.card.name, found.aliases) == (APP, ("team/second",))


def test_new_repository_takes_a_former_name(db: Connection, app: int) -> None:
    rename(db, app, "team/second")
    other = add_repository(db, APP)
    assert (name_of(db, APP), name_of(db, "team/second")) == (APP, "team/second")
    # It stays so when that one is gone.
    repositories.remove(db, APP)
    assert (name_of(db, APP), catalog.find(db, other)) == (None, None)


def test_renamed_repository_takes_a_former_name_of_another(db: Connection, app: int) -> None:
    rename(db, app, "team/second")
    rename(db, add_repository(db, "team/other"), APP)
    assert [name_of(db, each) for each in (APP, "team/second", "team/other")] == [APP, "team/second", APP]


def test_name_that_is_taken(db: Connection, app: int) -> None:
    add_repository(db, "team/other")
    with pytest.raises(aliases.NameTaken):
        rename(db, app, "team/other")
    with pytest.raises(aliases.NameTaken):
        rename(db, app, APP)
    assert name_of(db, APP) == APP


def test_namespace_that_is_not_there(db: Connection, app: int) -> None:
    with pytest.raises(repositories.NamespaceMissing):
        rename(db, app, "new/app")
    rename(db, app, "new/app", make_namespace=True)
    assert name_of(db, APP) == "new/app"


@pytest.mark.parametrize(("name", "left"), [("team/second", 1), ("away/app", 0)])
def test_grants_end_in_another_namespace(db: Connection, app: int, name: str, left: int) -> None:
    ann = add_account(db, "ann")
    add_repository(db, "away/other")
    team = teams.insert().values(namespace_id=1, name="t", created_at=NOW).returning(teams.c.id)
    team_id = db.execute(team).scalar_one()
    token = access_tokens.insert().values(
        account_id=ann, name="t", secret_hash="h", permission=1, is_limited=True, created_at=NOW
    )
    token_id = db.execute(token.returning(access_tokens.c.id)).scalar_one()
    db.execute(repository_roles.insert().values(repository_id=app, account_id=ann, role=1))
    db.execute(team_repository_roles.insert().values(repository_id=app, team_id=team_id, role=1))
    db.execute(access_token_repositories.insert().values(repository_id=app, token_id=token_id))
    rename(db, app, name)
    assert count(db, *GRANTS) == [left] * 3
