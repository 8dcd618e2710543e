import re

import pytest
from sqlalchemy import Connection

from storage.metadata import accounts, organizations, repositories, robots, schema, teams
from storage.metadata.accounts import NameTaken
from storage.metadata.organizations import LastOwner, NotEmpty, Organization
from storage.metadata.repositories import Viewer
from tests.storage.metadata.content import NOW, SECOND, add_account, add_repository, count

NOBODY = Viewer()


def add(db: Connection, name: str, *owners: int) -> int:
    """Add an organization with its owners and return its id."""
    organizations.add(db, name, owners[0] if owners else None, full_name="", about="", now=NOW)
    for owner in owners[1:]:
        organizations.put_member(db, found(db, name).id, owner, is_owner=True, now=NOW)
    return found(db, name).id


def found(db: Connection, name: str, viewer: Viewer = NOBODY) -> Organization:
    organization = organizations.find(db, name, viewer)
    assert organization is not None
    return organization


def names_of(db: Connection, organization: int, last: str = "", limit: int = 100) -> list[str]:
    return [each.name for each in organizations.members(db, organization, last=last, limit=limit)]


def test_organization_comes_back(db: Connection) -> None:
    ann = add_account(db, "ann")
    organizations.add(db, "crew", ann, full_name="The crew", about="who sail", now=NOW)
    seen = found(db, "crew", Viewer(ann))
    assert seen == Organization(seen.id, "crew", "The crew", "who sail", "", NOW, 1, True, 1, 0, 0)
    assert seen.role == "owner"
    assert found(db, "crew").role is None


@pytest.mark.parametrize("name", ["ann", "crew", "library", "crew+ci"])
def test_name_is_taken(db: Connection, name: str) -> None:
    ann = add_account(db, "ann")
    crew = add(db, "crew", ann)
    robots.add(db, crew, "crew+ci", about="", now=NOW)
    add_repository(db, "library/app")
    with pytest.raises(NameTaken, match=re.escape(name)):
        organizations.add(db, name, ann, full_name="", about="", now=NOW)
    assert count(db, schema.organization_members) == [1]


@pytest.mark.parametrize("name", ["ann", "library", "nothing"])
def test_other_namespaces_are_no_organizations(db: Connection, name: str) -> None:
    ann = add_account(db, "ann")
    add_repository(db, "library/app")
    assert organizations.find(db, name, Viewer(ann)) is None
    assert organizations.listed(db, Viewer(ann), mine=False, prefix="", last="", limit=9) == []


def test_counts_are_of_what_the_viewer_sees(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    crew = add(db, "crew", ann)
    teams.add(db, crew, "readers", about="", role=None, now=NOW)
    for name, public in (("crew/open", True), ("crew/closed", False), ("crew/other", False)):
        add_repository(db, name, public=public)
    add_repository(db, "bob/app")
    counts = {
        who: found(db, "crew", viewer).repository_count
        for who, viewer in {"ann": Viewer(ann), "bob": Viewer(bob), "nobody": NOBODY}.items()
    }
    assert counts == {"ann": 3, "bob": 1, "nobody": 1}
    assert (found(db, "crew").member_count, found(db, "crew").team_count) == (1, 1)


def test_list_goes_on_after_a_name(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    for name, owner in (("crew", ann), ("crew-2", bob), ("other", ann), ("crew_3", ann)):
        add(db, name, owner)

    def listed(viewer: Viewer = NOBODY, *, mine: bool = False, prefix: str = "", last: str = "") -> list[str]:
        rows = organizations.listed(db, viewer, mine=mine, prefix=prefix, last=last, limit=3)
        return [each.name for each in rows]

    assert listed() == ["crew", "crew-2", "crew_3"]
    assert listed(last="crew_3") == ["other"]
    assert listed(prefix="crew_") == ["crew_3"]
    assert listed(prefix="%") == []
    assert listed(Viewer(ann), mine=True) == ["crew", "crew_3", "other"]
    assert listed(Viewer(bob), mine=True, prefix="crew") == ["crew-2"]
    assert listed(mine=True) == []
    assert organizations.of_account(db, ann) == ["crew", "crew_3", "other"]


def test_edit_raises_the_version(db: Connection) -> None:
    crew, other = add(db, "crew"), add(db, "other")
    organizations.edit(db, crew, {"full_name": "Crew", "website": "https://example.com"})
    organizations.edit(db, crew, {"about": "who sail"})
    seen = found(db, "crew")
    assert (seen.full_name, seen.about, seen.website, seen.version) == (
        "Crew",
        "who sail",
        "https://example.com",
        3,
    )
    assert organizations.find(db, "other", NOBODY) == Organization(
        other, "other", "", "", "", NOW, 1, None, 0, 0, 0
    )


# -- members ---------------------------------------------------------------------------------------------


def test_members_by_name_with_their_teams(db: Connection) -> None:
    people = {name: add_account(db, name) for name in ("bob", "ann", "zoe", "a-b")}
    crew, other = add(db, "crew", people["ann"]), add(db, "other", people["ann"])
    for name in ("bob", "zoe", "a-b"):
        organizations.put_member(db, crew, people[name], is_owner=False, now=NOW + SECOND)
    for organization, team in ((crew, "writers"), (crew, "readers"), (other, "others")):
        teams.add(db, organization, team, about="", role=None, now=NOW)
        found_team = teams.find(db, organization, team)
        assert found_team is not None
        teams.put_member(db, found_team.id, people["ann"])
    assert names_of(db, crew) == ["a-b", "ann", "bob", "zoe"]
    assert names_of(db, crew, last="ann", limit=1) == ["bob"]
    ann = organizations.members(db, crew, last="a-b", limit=1)[0]
    assert (ann.is_owner, ann.teams, ann.joined_at) == (True, ("readers", "writers"), NOW)
    assert names_of(db, other) == ["ann"]


def test_member_keeps_the_day_it_joined(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    crew = add(db, "crew", ann)
    for is_owner in (False, True, False):
        organizations.put_member(db, crew, bob, is_owner=is_owner, now=NOW + 5 * SECOND)
        assert organizations.membership(db, crew, bob) is is_owner
    organizations.put_member(db, crew, bob, is_owner=True, now=NOW + 9 * SECOND)
    assert organizations.members(db, crew, last="ann", limit=1)[0].joined_at == NOW + 5 * SECOND


def test_organization_keeps_an_owner(db: Connection) -> None:
    ann, bob, zoe = (add_account(db, name) for name in ("ann", "bob", "zoe"))
    crew = add(db, "crew", ann)
    add(db, "other", bob)
    organizations.put_member(db, crew, zoe, is_owner=False, now=NOW)
    with pytest.raises(LastOwner):
        organizations.remove_member(db, crew, ann)
    with pytest.raises(LastOwner):
        organizations.put_member(db, crew, ann, is_owner=False, now=NOW)
    assert organizations.membership(db, crew, ann) is True
    # Who is not the owner may go, and so may the owner once there is another one.
    assert organizations.remove_member(db, crew, zoe)
    organizations.put_member(db, crew, bob, is_owner=True, now=NOW)
    assert organizations.remove_member(db, crew, ann)
    assert names_of(db, crew) == ["bob"]


def test_who_leaves_leaves_the_teams_too(db: Connection) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    ids = {}
    for name in ("crew", "other"):
        organization = add(db, name, ann)
        organizations.put_member(db, organization, bob, is_owner=False, now=NOW)
        teams.add(db, organization, "writers", about="", role=2, now=NOW)
        team = teams.find(db, organization, "writers")
        assert team is not None
        teams.put_member(db, team.id, bob)
        ids[name] = organization
    assert repositories.rights(db, "crew/app", bob).role == 2
    assert organizations.remove_member(db, ids["crew"], bob)
    assert not organizations.remove_member(db, ids["crew"], bob)
    assert repositories.rights(db, "crew/app", bob).role is None
    assert repositories.rights(db, "other/app", bob).role == 2


@pytest.mark.parametrize("is_owner", [False, True])
def test_owner_has_the_highest_role(db: Connection, is_owner: bool) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    crew = add(db, "crew", ann)
    organizations.put_member(db, crew, bob, is_owner=is_owner, now=NOW)
    add_repository(db, "crew/app", public=False)
    rights = repositories.rights(db, "crew/app", bob)
    assert rights.role == (repositories.OWNER_ROLE if is_owner else None)


# -- the end ---------------------------------------------------------------------------------------------


def test_organization_goes_with_all_that_is_its(db: Connection) -> None:
    ann = add_account(db, "ann")
    crew, other = add(db, "crew", ann), add(db, "other", ann)
    for organization, name in ((crew, "crew"), (other, "other")):
        teams.add(db, organization, "readers", about="", role=1, now=NOW)
        robots.add(db, organization, f"{name}+ci", about="", now=NOW)
    organizations.remove(db, crew)
    assert organizations.find(db, "crew", Viewer(ann)) is None
    tables = (schema.organization_members, schema.teams, schema.robots, schema.namespace_roles)
    assert count(db, *tables) == [1, 1, 1, 1]
    assert count(db, schema.accounts) == [2]
    assert not [name for name in ("crew", "crew+ci") if accounts.name_is_taken(db, name)]


def test_organization_with_repositories_stays(db: Connection) -> None:
    ann = add_account(db, "ann")
    crew = add(db, "crew", ann)
    robots.add(db, crew, "crew+ci", about="", now=NOW)
    add_repository(db, "crew/app")
    with pytest.raises(NotEmpty):
        organizations.remove(db, crew)
    assert robots.find(db, "crew+ci") is not None
    assert names_of(db, crew) == ["ann"]


def test_something_to_see(db: Connection) -> None:
    ann = add_account(db, "ann")
    add(db, "crew", ann)
    assert not organizations.has_visible(db, "crew", Viewer(ann))
    add_repository(db, "crew/app", public=False)
    assert [organizations.has_visible(db, "crew", each) for each in (Viewer(ann), NOBODY)] == [True, False]
    repositories.set_public(db, "crew/app", public=True)
    assert organizations.has_visible(db, "crew", NOBODY)
    assert not organizations.has_visible(db, "ann", NOBODY)
