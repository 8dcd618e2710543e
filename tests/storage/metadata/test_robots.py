import pytest
from sqlalchemy import Connection

from storage.metadata import access_tokens, accounts, organizations, repositories, robots, schema
from storage.metadata.accounts import NameTaken
from storage.metadata.repositories import Viewer
from storage.metadata.robots import Robot
from tests.storage.metadata.content import NOW, SECOND, add_account, count


@pytest.fixture
def crew(db: Connection) -> int:
    """The organization `crew`, which ann owns."""
    organizations.add(db, "crew", add_account(db, "ann"), full_name="", about="", now=NOW)
    found = organizations.find(db, "crew", Viewer())
    assert found is not None
    return found.id


def add(db: Connection, organization: int, name: str = "crew+ci") -> Robot:
    robots.add(db, organization, name, about="builds", now=NOW)
    return found(db, name)


def found(db: Connection, name: str = "crew+ci") -> Robot:
    robot = robots.find(db, name)
    assert robot is not None
    return robot


def add_token(db: Connection, robot: Robot, secret: str) -> int:
    return access_tokens.add(
        db, robot.account_id, "ci", secret, 2, repository_ids=None, now=NOW, expires_at=None
    )


def test_robot_comes_back(db: Connection, crew: int) -> None:
    robot = add(db, crew)
    assert robot == Robot(robot.account_id, "crew+ci", "builds", False, NOW, 0, None)
    assert robots.of_organization(db, crew) == [robot]
    assert [robots.find(db, name) for name in ("ann", "ci", "crew+", "crew")] == [None] * 4


def test_robot_is_an_account_of_its_own_kind(db: Connection, crew: int) -> None:
    add(db, crew)
    account = accounts.find(db, "crew+ci")
    assert account is not None
    assert (account.is_robot, account.password_hash, account.is_admin) == (True, None, False)
    assert not accounts.change_password(db, "crew+ci", "hash")
    assert [each.name for each in accounts.people(db, prefix="", last="", limit=9)] == ["ann"]
    # It has no namespace of its own and keeps that of its organization.
    assert not repositories.can_be_made(db, "crew+ci/app")
    assert repositories.rights(db, "crew/app", account.id).role == repositories.OWNER_ROLE
    assert repositories.rights(db, "ann/app", account.id).role is None


def test_name_is_taken(db: Connection, crew: int) -> None:
    add(db, crew)
    with pytest.raises(NameTaken, match=r"crew\+ci"):
        add(db, crew)
    add(db, crew, "crew+cd")
    assert [each.name for each in robots.of_organization(db, crew)] == ["crew+cd", "crew+ci"]


def test_tokens_are_counted(db: Connection, crew: int) -> None:
    robot, other = add(db, crew), add(db, crew, "crew+cd")
    tokens = [add_token(db, robot, f"secret {number}") for number in range(3)]
    access_tokens.touch(db, tokens[0], now=NOW + 9 * SECOND)
    access_tokens.touch(db, tokens[1], now=NOW + 5 * SECOND)
    assert (found(db).token_count, found(db).last_used_at) == (3, NOW + 9 * SECOND)
    assert (found(db, other.name).token_count, found(db, other.name).last_used_at) == (0, None)


def test_closed_robot_is_nobody(db: Connection, crew: int) -> None:
    robot = add(db, crew)
    token = add_token(db, robot, "secret")
    accounts.add_refresh_token(
        db,
        robot.account_id,
        "refresh",
        "docker",
        now=NOW,
        expires_at=NOW + SECOND,
        access_token_id=token,
    )
    accounts.disable(db, robot.name, disabled=True, now=NOW)
    assert found(db).disabled
    assert access_tokens.find_by_secret(db, "secret", now=NOW) is None
    accounts.disable(db, robot.name, disabled=False, now=NOW)
    assert access_tokens.find_by_secret(db, "secret", now=NOW) is not None
    assert accounts.find_by_refresh_token(db, "refresh", now=NOW) is None


def test_robot_goes_with_its_tokens(db: Connection, crew: int) -> None:
    robot, other = add(db, crew), add(db, crew, "crew+cd")
    for each in (robot, other):
        add_token(db, each, f"secret of {each.name}")
    robots.remove(db, robot.account_id)
    tables = (schema.robots, schema.access_tokens, schema.namespace_roles, schema.accounts)
    assert count(db, *tables) == [1, 1, 1, 2]
    # A robot of the same name is another one: what was made for the first is not its own.
    assert add(db, crew).account_id not in (robot.account_id, other.account_id)
