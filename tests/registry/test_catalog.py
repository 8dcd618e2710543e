"""The catalog: who may do what with repositories, and what comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from auth.policy import Role
from registry.catalog import CATEGORIES, Catalog, RepositoryEdit
from registry.errors import Problem
from registry.listing import encode
from registry.names import Tag
from registry.organizations import Organizations
from storage.digest import Digest
from tests.registry.accounts import add_account
from tests.registry.content import image, name, push, refused
from tests.registry.registries import Stores

PUBLIC, PRIVATE, ABSENT = "team/public", "team/private", "team/absent"

IMAGE: Final = image(tags=["v1", "latest"], layers=[b"layer"])


@dataclass(frozen=True, slots=True)
class World:
    """The organization `team` with two repositories of one image, and people around it."""

    stores: Stores
    catalog: Catalog
    people: dict[str, Identity]


@pytest.fixture
async def world(stores: Stores) -> World:
    names = ("owner", "writer", "reader", "keeper", "stranger")
    people = {each: await add_account(stores, each) for each in names}
    people["administrator"] = await add_account(stores, "root", is_admin=True)
    organizations, owner = Organizations(stores.metadata), people["owner"]
    await organizations.create(owner, "team")
    await push(stores.registry(), {PUBLIC: IMAGE, PRIVATE: IMAGE})
    catalog = Catalog(stores.metadata)
    await catalog.edit(SYSTEM, PUBLIC, RepositoryEdit(public=True))
    for person, role in (("reader", Role.READ), ("writer", Role.WRITE), ("keeper", Role.ADMIN)):
        for repository in (PUBLIC, PRIVATE):
            await catalog.set_role(SYSTEM, repository, person, role)
    await organizations.set_member(owner, "team", "writer", is_owner=False)
    await organizations.create_team(owner, "team", "pushers", role=Role.WRITE)
    await organizations.add_team_member(owner, "team", "pushers", "writer")
    for permission in Permission:
        people[f"owner with {permission.name}"] = replace(owner, limit=Limit(1, permission))
    elsewhere = Limit(1, Permission.ADMIN, frozenset({-1}))
    people["owner elsewhere"] = replace(owner, limit=elsewhere)
    people |= {
        "anonymous": ANONYMOUS,
        "outside": Identity(None, "outside", external=True),
        "system": SYSTEM,
    }
    return World(stores, catalog, people)


SEE: Final = {"owner", "writer", "reader", "keeper", "administrator", "system"} | {
    f"owner with {permission.name}" for permission in Permission
}
PUSH: Final = {"owner", "writer", "keeper", "administrator", "system"} | {
    f"owner with {permission.name}" for permission in Permission if permission >= Permission.WRITE
}
DELETE: Final = {
    "owner",
    "keeper",
    "administrator",
    "system",
    "owner with DELETE",
    "owner with ADMIN",
}
GOVERN: Final = DELETE - {"owner with DELETE"}
CREATE: Final = PUSH - {"keeper"}

# A star is an account's own business: who has none, or a token for content alone, gives none.
NO_STARS: Final = {
    "anonymous",
    "outside",
    "system",
    *(f"owner with {permission.name}" for permission in Permission if permission < Permission.ADMIN),
}

Act = Callable[[Catalog, Identity, str], Awaitable[Any]]

# What can be done with a repository, and by whom.
OPERATIONS: Final[dict[str, tuple[Act, set[str]]]] = {
    "see": (lambda c, who, at: c.repository(who, at), SEE),
    "see consequences": (lambda c, who, at: c.consequences(who, at), SEE),
    "list tags": (lambda c, who, at: c.tags(who, at), SEE),
    "see a tag": (lambda c, who, at: c.tag(who, at, "v1"), SEE),
    "star": (lambda c, who, at: c.star(who, at, True), SEE - NO_STARS),
    "describe": (lambda c, who, at: c.edit(who, at, RepositoryEdit(summary="new")), PUSH),
    "say nothing": (lambda c, who, at: c.edit(who, at, RepositoryEdit()), PUSH),
    "deprecate": (lambda c, who, at: c.edit(who, at, RepositoryEdit(deprecation="old")), PUSH),
    "deprecate a tag": (lambda c, who, at: c.deprecate_tag(who, at, "v1", "old"), PUSH),
    "delete a tag": (lambda c, who, at: c.delete_tag(who, at, "latest"), DELETE),
    "delete a manifest": (lambda c, who, at: c.delete_manifest(who, at, IMAGE.digest), DELETE),
    "delete": (lambda c, who, at: c.delete(who, at), DELETE),
    "publish": (lambda c, who, at: c.edit(who, at, RepositoryEdit(public=True)), GOVERN),
    "archive": (lambda c, who, at: c.edit(who, at, RepositoryEdit(archived=True)), GOVERN),
    "describe and archive": (
        lambda c, who, at: c.edit(who, at, RepositoryEdit(summary="new", archived=True)),
        GOVERN,
    ),
    "rename": (lambda c, who, at: c.rename(who, at, "team/renamed"), GOVERN),
    "list roles": (lambda c, who, at: c.roles(who, at), GOVERN),
    "give a role": (lambda c, who, at: c.set_role(who, at, "stranger", Role.ADMIN), GOVERN),
}


# What everybody may do with a public one.
OPEN: Final = {"see", "see consequences", "list tags", "see a tag"}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_who_may_not(world: World, operation: str, subtests: pytest.Subtests) -> None:
    act, allowed = OPERATIONS[operation]
    for who in [each for each in world.people if each not in allowed]:
        for repository in (PUBLIC, PRIVATE, ABSENT):
            seen = repository == PUBLIC or (repository == PRIVATE and who in SEE)
            if seen and (operation in OPEN or (operation == "star" and who not in NO_STARS)):
                continue
            with subtests.test(f"{who} at {repository}"):
                problem = Problem.UNAUTHORIZED if who == "anonymous" else Problem.DENIED
                with refused(problem if seen else Problem.NOT_HERE) as caught:
                    await act(world.catalog, world.people[who], repository)
                if not seen:
                    assert caught.value.message == Problem.NOT_HERE.message


async def test_public_repository_is_for_everybody(world: World, subtests: pytest.Subtests) -> None:
    for who, identity in world.people.items():
        for operation in OPEN if who in NO_STARS else OPEN | {"star"}:
            with subtests.test(f"{who}: {operation}"):
                await OPERATIONS[operation][0](world.catalog, identity, PUBLIC)


@pytest.mark.parametrize(
    ("operation", "who"),
    [(operation, who) for operation, (_, allowed) in OPERATIONS.items() for who in sorted(allowed)],
)
async def test_who_may(world: World, operation: str, who: str) -> None:
    await OPERATIONS[operation][0](world.catalog, world.people[who], PRIVATE)


async def test_who_may_create(world: World, subtests: pytest.Subtests) -> None:
    for number, (who, identity) in enumerate(world.people.items()):
        with subtests.test(who):
            new = f"team/new{number}"
            if who in CREATE:
                assert not (await world.catalog.create(identity, new)).card.is_public
                with refused(Problem.NAME_TAKEN):
                    await world.catalog.create(identity, new)
            else:
                problem = Problem.UNAUTHORIZED if who == "anonymous" else Problem.DENIED
                for each in (new, "team/public/part", "nowhere/app"):
                    with refused(problem):
                        await world.catalog.create(identity, each)


async def test_who_may_publish_what_is_new(world: World, subtests: pytest.Subtests) -> None:
    for number, who in enumerate(sorted(CREATE)):
        with subtests.test(who):
            made = world.catalog.create(
                world.people[who], f"team/new{number}", RepositoryEdit(public=True, summary="of all")
            )
            if who in GOVERN:
                card = (await made).card
                assert (card.is_public, card.summary) == (True, "of all")
            else:
                with refused(Problem.DENIED):
                    await made


async def test_official_ones_are_made_by_administrators_and_public(world: World) -> None:
    with refused(Problem.DENIED):
        await world.catalog.create(world.people["owner"], "nginx")
    made = await world.catalog.create(world.people["administrator"], "nginx")
    assert (made.card.name, made.card.is_official, made.card.is_public) == ("library/nginx", True, True)
    assert (await world.catalog.create(SYSTEM, "fresh/app")).card.name == "fresh/app"


async def test_what_one_may_do_is_told(world: World) -> None:
    async def may(who: str) -> frozenset[str]:
        return (await world.catalog.repository(world.people[who], PUBLIC)).may

    assert await may("anonymous") == frozenset()
    assert await may("reader") == frozenset()
    assert await may("writer") == {"push"}
    assert await may("owner with DELETE") == {"push", "delete"}
    assert await may("keeper") == {"push", "delete", "admin"}
    await world.catalog.edit(SYSTEM, PUBLIC, RepositoryEdit(archived=True))
    assert await may("keeper") == {"delete", "admin"}


# -- edits -----------------------------------------------------------------------------------------------


async def test_edit_changes_what_was_said_and_no_more(world: World) -> None:
    catalog, writer = world.catalog, world.people["writer"]
    await catalog.edit(writer, PRIVATE, RepositoryEdit("one", "# One", ["databases"], "old"))
    edited = await catalog.edit(writer, PRIVATE, RepositoryEdit(summary=" two "))
    card = edited.card
    assert (card.summary, edited.overview, card.categories, card.deprecation) == (
        "two",
        "# One",
        ("databases",),
        "old",
    )
    cleared = await catalog.edit(writer, PRIVATE, RepositoryEdit(categories=[], deprecation=None))
    assert (cleared.card.categories, cleared.card.deprecation) == ((), None)
    assert (await catalog.edit(writer, PRIVATE, RepositoryEdit(deprecation="  "))).card.deprecation is None


async def test_edit_of_what_was_edited(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    seen = (await catalog.repository(owner, PRIVATE)).version
    edited = await catalog.edit(owner, PRIVATE, RepositoryEdit(summary="first"), version=seen)
    assert edited.version == seen + 1
    with refused(Problem.EDITED):
        await catalog.edit(owner, PRIVATE, RepositoryEdit(summary="second"), version=seen)
    with refused(Problem.EDITED):
        await catalog.rename(owner, PRIVATE, "team/other", version=seen)
    assert (await catalog.repository(owner, PRIVATE)).card.summary == "first"


WRONG: Final[dict[str, tuple[RepositoryEdit, set[str]]]] = {
    "long summary": (RepositoryEdit(summary="x" * 201), {"summary"}),
    "lines in a summary": (RepositoryEdit(summary="a\nb"), {"summary"}),
    "turned summary": (RepositoryEdit(summary="a\u202eb"), {"summary"}),
    "long overview": (RepositoryEdit(overview="ä" * 32769), {"overview"}),
    "overview with NUL": (RepositoryEdit(overview="a\0b"), {"overview"}),
    "half a character": (RepositoryEdit(overview="\ud800"), {"overview"}),
    "unknown category": (RepositoryEdit(categories=["cats"]), {"categories"}),
    "many categories": (RepositoryEdit(categories=list(CATEGORIES)[:4]), {"categories"}),
    "long deprecation": (RepositoryEdit(deprecation="x" * 301), {"deprecation"}),
    "header in a deprecation": (RepositoryEdit(deprecation="a\r\nSet-Cookie: b"), {"deprecation"}),
    "all at once": (
        RepositoryEdit("a\nb", "\0", ["cats"], "a\nb"),
        {"summary", "overview", "categories", "deprecation"},
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_be_said(world: World, case: str) -> None:
    edit, fields = WRONG[case]
    with refused(Problem.INVALID) as caught:
        await world.catalog.edit(world.people["owner"], PRIVATE, edit)
    assert set(caught.value.detail["fields"]) == fields
    assert (await world.catalog.repository(SYSTEM, PRIVATE)).version == 1


async def test_most_that_can_be_said(world: World) -> None:
    text = "ä" * 32768
    edit = RepositoryEdit("s" * 200, f"\ta\r\n\u00a0👨\u200d👩{text[:-20]}", list(CATEGORIES)[:3], "d" * 300)
    found = await world.catalog.edit(SYSTEM, PRIVATE, edit)
    assert found.overview.startswith("\ta\n\u00a0👨\u200d👩ä")
    assert len(found.card.categories) == 3


def test_categories_fit_the_interface() -> None:
    assert 15 <= len(CATEGORIES) <= 25
    assert all(slug == slug.lower() and len(slug) <= 64 and " " not in slug for slug in CATEGORIES)


async def test_archived_repository_changes_no_more(world: World) -> None:
    catalog, owner, keeper = world.catalog, world.people["owner"], world.people["keeper"]
    await catalog.edit(owner, PRIVATE, RepositoryEdit(archived=True))
    assert (await catalog.repository(owner, PRIVATE)).card.is_archived
    for change in (
        catalog.edit(owner, PRIVATE, RepositoryEdit(summary="new")),
        catalog.deprecate_tag(owner, PRIVATE, "v1", "old"),
    ):
        with refused(Problem.DENIED) as caught:
            await change
        assert "archived" in caught.value.message
    with refused(Problem.DENIED):
        await catalog.edit(world.people["writer"], PRIVATE, RepositoryEdit(archived=False, summary="new"))
    opened = await catalog.edit(keeper, PRIVATE, RepositoryEdit(archived=False, summary="new"))
    assert (opened.card.is_archived, opened.card.summary) == (False, "new")


# -- names -----------------------------------------------------------------------------------------------


async def test_rename_leaves_the_old_name_as_an_alias(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    renamed = await catalog.rename(owner, PRIVATE, "team/renamed")
    assert (renamed.card.name, renamed.aliases) == ("team/renamed", (PRIVATE,))
    assert await catalog.repository(owner, PRIVATE) == renamed
    assert (await catalog.tag(owner, PRIVATE, "v1")).digest == IMAGE.digest
    with refused(Problem.CONFLICT) as caught:
        await catalog.edit(owner, PRIVATE, RepositoryEdit(summary="new"))
    assert "team/renamed" in caught.value.message
    with refused(Problem.CONFLICT):
        await catalog.delete(owner, PRIVATE)
    back = await catalog.rename(owner, "team/renamed", PRIVATE)
    assert (back.card.name, back.aliases) == (PRIVATE, ("team/renamed",))
    # Who cannot see the repository cannot see what it was called either.
    with refused(Problem.NOT_HERE):
        await catalog.repository(world.people["stranger"], "team/renamed")


async def test_new_repository_takes_a_former_name(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    await catalog.rename(owner, PRIVATE, "team/renamed")
    made = await catalog.create(owner, PRIVATE)
    assert (made.card.name, made.tag_count) == (PRIVATE, 0)
    assert (await catalog.repository(owner, "team/renamed")).aliases == ()


async def test_rename_to_a_name_that_is_taken_or_none(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    with refused(Problem.NAME_TAKEN):
        await catalog.rename(owner, PRIVATE, PUBLIC)
    with refused(Problem.INVALID) as caught:
        await catalog.rename(owner, PRIVATE, "team/Upper")
    assert set(caught.value.detail["fields"]) == {"name"}
    same = await catalog.rename(owner, PRIVATE, PRIVATE)
    assert (same.version, same.aliases) == (1, ())


async def test_transfer_takes_rights_on_both_sides(world: World) -> None:
    catalog, owner, keeper = world.catalog, world.people["owner"], world.people["keeper"]
    for who, target in ((keeper, "owner/app"), (owner, "stranger/app"), (owner, "nowhere/app")):
        with refused(Problem.DENIED):
            await catalog.rename(who, PRIVATE, target)
    limited = frozenset({(await catalog.repository(SYSTEM, PRIVATE)).card.id})
    one = replace(owner, limit=Limit(1, Permission.ADMIN, limited))
    with refused(Problem.DENIED):
        await catalog.rename(one, PRIVATE, "owner/app")
    # An account's own namespace: what people were given on the repository ends.
    moved = await catalog.rename(owner, PRIVATE, "owner/app")
    assert moved.card.name == "owner/app"
    assert await catalog.roles(owner, "owner/app") == []
    with refused(Problem.NOT_HERE):
        await catalog.repository(world.people["writer"], PRIVATE)
    with refused(Problem.NOT_HERE):
        await catalog.repository(one, "team/nothing")


async def test_token_for_one_repository_renames_it(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    limited = frozenset({(await catalog.repository(SYSTEM, PRIVATE)).card.id})
    one = replace(owner, limit=Limit(1, Permission.ADMIN, limited))
    assert (await catalog.rename(one, PRIVATE, "team/renamed")).card.name == "team/renamed"


# -- lists and the rest ----------------------------------------------------------------------------------


async def test_lists_hold_what_the_caller_may_see(world: World) -> None:
    async def names(who: str, **more: Any) -> list[str]:
        found = await world.catalog.repositories(world.people[who], **more)
        return [card.name for card in found.items]

    assert await names("anonymous") == [PUBLIC]
    assert await names("outside") == [PUBLIC]
    assert await names("stranger", namespace="team") == [PUBLIC]
    assert await names("reader", namespace="team") == [PRIVATE, PUBLIC]
    assert await names("owner elsewhere") == [PUBLIC]
    assert await names("administrator", sort="pushed") == [PRIVATE, PUBLIC]


async def test_stars_of_a_person_are_for_who_may_see_the_person(world: World) -> None:
    catalog = world.catalog
    await catalog.star(world.people["stranger"], PUBLIC, True)
    for who, expected in (("reader", [PUBLIC]), ("anonymous", []), ("outside", [])):
        found = await catalog.repositories(world.people[who], starred_by="stranger")
        assert [card.name for card in found.items] == expected, who
    details = await catalog.repository(world.people["stranger"], PUBLIC)
    assert (details.starred, details.card.stars) == (True, 1)
    assert not (await catalog.repository(world.people["reader"], PUBLIC)).starred
    await catalog.star(world.people["stranger"], PUBLIC, False)
    assert (await catalog.repository(world.people["stranger"], PUBLIC)).card.stars == 0


async def test_cursors_lead_on_and_only_there(world: World) -> None:
    first = await world.catalog.repositories(SYSTEM, sort="pushed", limit=1)
    second = await world.catalog.repositories(SYSTEM, sort="pushed", limit=1, cursor=first.next)
    assert [each.items[0].name for each in (first, second)] == [PRIVATE, PUBLIC]
    assert second.next is None
    for cursor in (encode(("a",)), encode((1, 2)), "no cursor"):
        with refused(Problem.PAGE_INVALID):
            await world.catalog.repositories(SYSTEM, sort="pushed", cursor=cursor)
    tags = await world.catalog.tags(SYSTEM, PUBLIC, sort="name", limit=1)
    more = await world.catalog.tags(SYSTEM, PUBLIC, sort="name", limit=1, cursor=tags.next)
    assert [row.name for row in (*tags.items, *more.items)] == ["latest", "v1"]
    with refused(Problem.PAGE_INVALID):
        await world.catalog.tags(SYSTEM, PUBLIC, sort="newest", cursor=tags.next)
    assert (await world.catalog.tags(SYSTEM, PUBLIC, q="x" * 129)).items == []


async def test_details_count(world: World) -> None:
    found = await world.catalog.repository(SYSTEM, PUBLIC)
    assert (found.tag_count, found.manifest_count, found.size) == (2, 1, len(b"{}") + len(b"layer"))
    assert (found.card.kind, found.card.last_pushed_at is None) == ("image", False)


async def test_deletion_of_parts(world: World) -> None:
    catalog = world.catalog
    told = await catalog.consequences(SYSTEM, PUBLIC, "v1")
    assert (told.tags, told.other_tags) == (1, ("latest",))
    assert (await catalog.consequences(SYSTEM, PUBLIC, IMAGE.digest)).manifests == 1
    await catalog.delete_tag(SYSTEM, PUBLIC, "v1")
    for act in (
        catalog.tag(SYSTEM, PUBLIC, "v1"),
        catalog.delete_tag(SYSTEM, PUBLIC, "v1"),
        catalog.deprecate_tag(SYSTEM, PUBLIC, "v1", "old"),
        catalog.consequences(SYSTEM, PUBLIC, "v1"),
        catalog.consequences(SYSTEM, PUBLIC, "sha256:no"),
        catalog.delete_manifest(SYSTEM, PUBLIC, Digest.of(b"none")),
    ):
        with refused(Problem.NOT_HERE):
            await act
    await catalog.delete_manifest(SYSTEM, PUBLIC, IMAGE.digest)
    assert (await catalog.repository(SYSTEM, PUBLIC)).tag_count == 0
    await catalog.delete(SYSTEM, PUBLIC)
    with refused(Problem.NOT_HERE):
        await catalog.repository(SYSTEM, PUBLIC)


async def test_roles_of_people(world: World) -> None:
    catalog, owner = world.catalog, world.people["owner"]
    await catalog.set_role(owner, PRIVATE, "stranger", Role.READ)
    await catalog.set_role(owner, PRIVATE, "stranger", Role.WRITE)
    granted = {each.name: each.role for each in await catalog.roles(owner, PRIVATE)}
    assert granted == {
        "keeper": Role.ADMIN,
        "reader": Role.READ,
        "stranger": Role.WRITE,
        "writer": Role.WRITE,
    }
    await catalog.set_role(owner, PRIVATE, "stranger", None)
    for person in ("stranger", "nobody"):
        with refused(Problem.NOT_HERE):
            await catalog.set_role(owner, PRIVATE, person, None)


async def test_robots_are_given_no_roles(world: World) -> None:
    owner = world.people["owner"]
    await Organizations(world.stores.metadata).create_robot(owner, "team", "ci")
    with refused(Problem.NOT_HERE):
        await world.catalog.set_role(owner, PRIVATE, "team+ci", Role.READ)


async def test_deprecated_tag_says_so_to_who_pulls(world: World) -> None:
    catalog, registry = world.catalog, world.stores.registry()
    assert (await registry.find_manifest(name(PUBLIC), Tag("v1"))).warning is None
    row = await catalog.deprecate_tag(world.people["writer"], PUBLIC, "v1", " use v2 ")
    assert row.deprecation == "use v2"
    await catalog.edit(SYSTEM, PUBLIC, RepositoryEdit(deprecation="all old"))
    pulled = await registry.get_manifest(name(PUBLIC), Tag("v1"))
    assert pulled.descriptor.warning == "use v2; all old"
    assert (await registry.find_manifest(name(PUBLIC), Tag("latest"))).warning == "all old"
    assert (await registry.find_manifest(name(PUBLIC), IMAGE.digest)).warning == "all old"


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        (["1.0"], "artifact"),
        (["sha256-" + "0" * 64 + ".sig"], "image"),
        (["sha256-0"], "artifact"),
        ([], "image"),
    ],
)
async def test_last_push_says_what_kind_of_thing_it_is(world: World, tags: list[str], kind: str) -> None:
    before = (await world.catalog.repository(SYSTEM, PUBLIC)).card
    await push(world.stores.registry(), {PUBLIC: image(tags=tags, artifactType="text/spdx")})
    card = (await world.catalog.repository(SYSTEM, PUBLIC)).card
    assert (card.kind, card.last_pushed_at == before.last_pushed_at) == (kind, not tags)


async def test_large_repository_is_not_counted_for_each_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count() -> int:
        return (await world.catalog.repository(SYSTEM, PUBLIC)).tag_count

    registry = world.stores.registry()
    monkeypatch.setattr("registry.catalog._LARGE", 2)
    assert await count() == 2
    await push(registry, {PUBLIC: replace(IMAGE, tags=("v2", "v3"))})
    assert await count() == 2
    # What is deleted here is missed at once.
    await world.catalog.delete_tag(SYSTEM, PUBLIC, "v2")
    assert await count() == 3
    await push(registry, {PRIVATE: replace(IMAGE, tags=("v3",))})
    assert (await world.catalog.repository(SYSTEM, PRIVATE)).tag_count == 3
