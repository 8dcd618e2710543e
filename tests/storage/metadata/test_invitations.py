from datetime import datetime

import pytest
from sqlalchemy import Connection

from storage.metadata import accounts, invitations, organizations, schema, teams
from storage.metadata.invitations import Invitation
from storage.metadata.repositories import Viewer
from tests.storage.metadata.content import NOW, SECOND, add_account, count


@pytest.fixture
def crew(db: Connection) -> int:
    """The organization `crew`, which ann owns, with the team `readers`."""
    organizations.add(db, "crew", add_account(db, "ann"), full_name="", about="", now=NOW)
    found = organizations.find(db, "crew", Viewer())
    assert found is not None
    teams.add(db, found.id, "readers", about="", role=None, now=NOW)
    return found.id


def add(
    db: Connection,
    secret: str,
    organization: int | None = None,
    *,
    team: str | None = None,
    expires_at: datetime = NOW + 10 * SECOND,
) -> int:
    found = None if organization is None or team is None else teams.find(db, organization, team)
    return invitations.add(
        db,
        secret,
        organization_id=organization,
        team_id=None if found is None else found.id,
        as_owner=False,
        note="come in",
        by="ann",
        now=NOW,
        expires_at=expires_at,
    )


def good(db: Connection, secret: str, seconds: int = 0) -> bool:
    return invitations.open_by(db, secret, now=NOW + seconds * SECOND) is not None


@pytest.mark.parametrize("team", [None, "readers"])
def test_invitation_comes_back(db: Connection, crew: int, team: str | None) -> None:
    number = add(db, "secret", crew, team=team)
    found = invitations.find(db, number)
    assert found is not None
    expected = Invitation(
        number,
        crew,
        found.team_id,
        "crew",
        team,
        False,
        "come in",
        "ann",
        NOW,
        NOW + 10 * SECOND,
        None,
        None,
    )
    assert found == expected
    assert invitations.open_by(db, "secret", now=NOW) == expected


def test_invitation_to_nothing(db: Connection) -> None:
    found = invitations.find(db, add(db, "secret"))
    assert found is not None
    assert (found.organization, found.team, found.organization_id, found.team_id) == (None,) * 4


def test_lists_newest_first(db: Connection, crew: int) -> None:
    numbers = [add(db, "first", crew), add(db, "second"), add(db, "third", crew), add(db, "fourth")]
    listed = [[each.id for each in invitations.of_organization(db, which)] for which in (crew, None)]
    assert listed == [[numbers[2], numbers[0]], [numbers[3], numbers[1]]]


@pytest.mark.parametrize(("seconds", "is_good"), [(-1, True), (0, True), (9, True), (10, False), (11, False)])
def test_invitation_is_good_until_it_ends(db: Connection, seconds: int, is_good: bool) -> None:
    add(db, "secret")
    assert good(db, "secret", seconds) is is_good
    assert not good(db, "other secret", seconds)


def test_invitation_is_good_once(db: Connection, crew: int) -> None:
    number, other = add(db, "secret", crew), add(db, "other secret", crew)
    invitations.accept(db, number, by="bob", now=NOW + SECOND)
    assert (good(db, "secret"), good(db, "other secret")) == (False, True)
    found = invitations.find(db, number)
    assert found is not None
    assert (found.accepted_by, found.accepted_at) == ("bob", NOW + SECOND)
    invitations.remove(db, other)
    assert not good(db, "other secret")
    assert count(db, schema.invitations) == [1]


def test_invitation_goes_with_what_it_is_to(db: Connection, crew: int) -> None:
    add(db, "to the team", crew, team="readers")
    add(db, "to the organization", crew)
    add(db, "to neither")
    team = teams.find(db, crew, "readers")
    assert team is not None
    teams.remove(db, team.id)
    secrets = ("to the team", "to the organization", "to neither")
    assert [good(db, secret) for secret in secrets] == [False, True, True]
    organizations.remove(db, crew)
    assert [good(db, secret) for secret in secrets] == [False, False, True]
    assert accounts.find(db, "ann") is not None


def test_old_ones_are_forgotten(db: Connection) -> None:
    add(db, "ran out", expires_at=NOW)
    add(db, "good", expires_at=NOW + 10 * SECOND)
    accepted = add(db, "accepted", expires_at=NOW + 10 * SECOND)
    invitations.accept(db, accepted, by="bob", now=NOW)
    assert invitations.remove_before(db, NOW) == 0
    assert invitations.remove_before(db, NOW + SECOND) == 2
    assert good(db, "good")
