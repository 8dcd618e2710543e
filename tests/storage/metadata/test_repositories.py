import pytest
from sqlalchemy import Connection, select

from storage.metadata import blobs, manifests, repositories, schema, tags
from storage.metadata.manifests import References
from storage.metadata.repositories import NamespaceMissing, Repository, Summary, Viewer
from tests.storage.metadata.content import (
    NOW,
    SECOND,
    add_account,
    add_blob,
    add_manifest,
    add_repository,
    count,
    digest,
)

EVERYTHING = Viewer(sees_all=True)

READ, WRITE, ADMIN = 1, 2, 3


# Making and finding


@pytest.mark.parametrize("public", [True, False])
def test_repository_comes_back(db: Connection, public: bool) -> None:
    made = repositories.ensure(db, "library/app", public=public, make_namespace=False, now=NOW)
    assert repositories.find(db, "library/app") == Repository(made, "library/app", public, NOW)
    assert repositories.exists(db, "library/app")


@pytest.mark.parametrize("name", ["", "app", "library", "library/ap", "Library/app", "library/app/x"])
def test_unknown_repository_is_none(db: Connection, name: str) -> None:
    add_repository(db, "library/app")
    assert repositories.find(db, name) is None
    assert not repositories.exists(db, name)


def test_repository_that_is_there_stays_as_it_is(db: Connection) -> None:
    made = add_repository(db, "library/app", public=False)
    later = NOW + SECOND
    assert repositories.ensure(db, "library/app", public=True, make_namespace=False, now=later) == made
    assert repositories.find(db, "library/app") == Repository(made, "library/app", False, NOW)
    assert count(db, schema.repositories) == [1]


def test_repositories_share_a_namespace(db: Connection) -> None:
    made = {add_repository(db, name) for name in ("team/one", "team/two", "team/deep/er", "teams/one")}
    assert len(made) == 4
    names = db.execute(select(schema.namespaces.c.name).order_by(schema.namespaces.c.name)).scalars().all()
    assert list(names) == ["library", "team", "teams"]


def test_namespace_that_a_push_made_is_nobodys(db: Connection) -> None:
    add_repository(db, "team/app")
    owner, made_at = db.execute(
        select(schema.namespaces.c.owner_id, schema.namespaces.c.created_at).where(
            schema.namespaces.c.name == "team"
        )
    ).one()
    assert (owner, made_at) == (None, NOW)


def test_namespace_is_made_only_when_allowed(db: Connection) -> None:
    with pytest.raises(NamespaceMissing, match="team"):
        repositories.ensure(db, "team/app", public=True, make_namespace=False, now=NOW)
    assert count(db, schema.namespaces, schema.repositories) == [1, 0]


def test_account_s_namespace_is_used(db: Connection) -> None:
    ann = add_account(db, "ann")
    repositories.ensure(db, "ann/app", public=False, make_namespace=False, now=NOW)
    assert list(repositories.names(db, Viewer(ann), last="", limit=9)) == ["ann/app"]


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("team/app", "team"), ("team/deep/er", "team"), ("a-b/c", "a-b")],
)
def test_namespace_is_the_first_part_of_a_name(name: str, namespace: str) -> None:
    assert repositories.namespace_of(name) == namespace


# Rights


@pytest.mark.parametrize(
    ("account", "name", "rights"),
    [
        # name: namespace exists, repository exists, public, role
        (None, "nowhere/app", (False, False, False, None)),
        ("ann", "nowhere/app", (False, False, False, None)),
        (None, "library/new", (True, False, False, None)),
        (None, "library/app", (True, True, True, None)),
        ("ann", "library/app", (True, True, True, None)),
        (None, "ann/app", (True, True, False, None)),
        ("ann", "ann/app", (True, True, False, ADMIN)),
        ("ann", "ann/new", (True, False, False, ADMIN)),
        ("bob", "ann/app", (True, True, False, None)),
        ("ann", "team/app", (True, True, False, WRITE)),
        ("ann", "team/new", (True, False, False, READ)),
        ("ann", "team/low", (True, True, False, READ)),
        ("bob", "team/app", (True, True, False, READ)),
        ("bob", "team/new", (True, False, False, None)),
        ("cid", "team/app", (True, True, False, None)),
        ("bob", "bob/app", (True, True, True, ADMIN)),
        ("bob", "ann", (True, False, False, None)),
        ("ann", "ann", (True, False, False, ADMIN)),
    ],
)
def test_rights(
    db: Connection, account: str | None, name: str, rights: tuple[bool, bool, bool, int | None]
) -> None:
    accounts = {each: add_account(db, each) for each in ("ann", "bob", "cid")}
    for private in ("ann/app", "team/app", "team/low"):
        add_repository(db, private, public=False)
    for public in ("library/app", "bob/app"):
        add_repository(db, public)
    for target, who, role in (
        ("team", "ann", READ),
        ("team/app", "ann", WRITE),
        ("team/app", "bob", READ),
        ("bob/app", "bob", READ),  # less than what owning the namespace gives
    ):
        assert repositories.grant(db, target, who, role) is None
    found = repositories.rights(db, name, None if account is None else accounts[account])
    assert (found.namespace_exists, found.exists, found.is_public, found.role) == rights
    assert (found.name, found.is_archived) == (name, False)


@pytest.mark.parametrize(
    ("on_namespace", "on_repository", "role"),
    [
        (None, None, None),
        (READ, None, READ),
        (None, READ, READ),
        (READ, ADMIN, ADMIN),
        (ADMIN, READ, ADMIN),
        (WRITE, WRITE, WRITE),
    ],
)
def test_higher_role_counts(
    db: Connection, on_namespace: int | None, on_repository: int | None, role: int | None
) -> None:
    ann = add_account(db, "ann")
    add_repository(db, "team/app")
    repositories.grant(db, "team", "ann", on_namespace)
    repositories.grant(db, "team/app", "ann", on_repository)
    assert repositories.rights(db, "team/app", ann).role == role


# Grants


@pytest.mark.parametrize(
    ("target", "account", "missing"),
    [
        ("team", "ann", None),
        ("team/app", "ann", None),
        ("team", "bob", "account"),
        ("team/app", "bob", "account"),
        ("nowhere", "bob", "account"),
        ("nowhere", "ann", "namespace"),
        ("team/nothing", "ann", "repository"),
        ("nowhere/app", "ann", "repository"),
        ("team/app/x", "ann", "repository"),
    ],
)
@pytest.mark.parametrize("role", [READ, None])
def test_grant_says_what_is_missing(
    db: Connection, target: str, account: str, missing: str | None, role: int | None
) -> None:
    add_account(db, "ann")
    add_repository(db, "team/app")
    assert repositories.grant(db, target, account, role) == missing
    granted = sum(count(db, schema.namespace_roles, schema.repository_roles))
    assert granted == (1 if missing is None and role is not None else 0)


@pytest.mark.parametrize("target", ["team", "team/app"])
def test_grant_is_replaced_and_taken_away(db: Connection, target: str) -> None:
    ann, bob = add_account(db, "ann"), add_account(db, "bob")
    add_repository(db, "team/app", public=False)
    repositories.grant(db, target, "bob", READ)
    for role in (READ, ADMIN, WRITE, None, None, READ):
        repositories.grant(db, target, "ann", role)
        assert repositories.rights(db, "team/app", ann).role == role
        assert repositories.rights(db, "team/app", bob).role == READ


def test_grant_on_a_repository_reaches_no_other(db: Connection) -> None:
    ann = add_account(db, "ann")
    for name in ("team/app", "team/other"):
        add_repository(db, name, public=False)
    repositories.grant(db, "team/app", "ann", ADMIN)
    assert repositories.rights(db, "team/other", ann).role is None


# Lists


NAMES = [
    "b/a",
    "a/z",
    "a/b.c",
    "a/b-c",
    "a/b_c",
    "a/bc",
    "a/b/c",
    "a-b/c",
    "a0/c",
    "Upper/Case",
    "library/app",
]


def test_names_come_in_the_order_of_their_bytes(db: Connection) -> None:
    for name in NAMES:
        add_repository(db, name)
    assert list(repositories.names(db, EVERYTHING, last="", limit=100)) == sorted(NAMES, key=str.encode)
    assert [summary.name for summary in repositories.summaries(db)] == sorted(NAMES, key=str.encode)


@pytest.mark.parametrize("limit", [1, 2, 3, len(NAMES), 100])
def test_pages_add_up(db: Connection, limit: int) -> None:
    for name in NAMES:
        add_repository(db, name)
    pages: list[str] = []
    while page := repositories.names(db, Viewer(), last=pages[-1] if pages else "", limit=limit):
        assert len(page) <= limit
        pages += page
    assert pages == sorted(NAMES)


@pytest.mark.parametrize(
    ("last", "limit", "names"),
    [
        ("", 0, []),
        ("", 1, ["a/a"]),
        ("a/a", 9, ["a/c", "b/a"]),
        ("a/b", 9, ["a/c", "b/a"]),  # `last` need not exist
        ("a", 1, ["a/a"]),
        ("a/a/a", 1, ["a/c"]),
        ("a/p", 9, ["b/a"]),  # nor be seen: it is private
        ("b/a", 9, []),
        ("\uffff", 9, []),
    ],
)
def test_names_after_last(db: Connection, last: str, limit: int, names: list[str]) -> None:
    for name in ("a/c", "b/a", "a/a"):
        add_repository(db, name)
    add_repository(db, "a/p", public=False)
    assert list(repositories.names(db, Viewer(), last=last, limit=limit)) == names


@pytest.mark.parametrize(
    ("viewer", "private"),
    [
        ("nobody", []),
        ("ann", ["ann/private"]),
        ("team's", ["team/one", "team/two"]),
        ("granted", ["team/two"]),
        ("both", ["team/one", "team/two"]),
        ("other", []),
        ("all", ["ann/private", "team/one", "team/two"]),
    ],
)
def test_private_repositories_are_for_those_with_a_role(
    db: Connection, viewer: str, private: list[str]
) -> None:
    people = {name: add_account(db, name) for name in ("ann", "team's", "granted", "both", "other")}
    add_repository(db, "ann/public")
    for name in ("ann/private", "team/one", "team/two"):
        add_repository(db, name, public=False)
    for who, target in (
        ("team's", "team"),
        ("granted", "team/two"),
        ("both", "team"),
        ("both", "team/one"),
        ("ann", "ann/private"),
    ):
        repositories.grant(db, target, who, READ)
    eyes = EVERYTHING if viewer == "all" else Viewer(people.get(viewer))
    names = list(repositories.names(db, eyes, last="", limit=100))
    assert names == sorted(["ann/public", *private])
    repositories.grant(db, "team", "both", None)
    repositories.grant(db, "team/one", "both", None)
    assert list(repositories.names(db, Viewer(people["both"]), last="", limit=100)) == ["ann/public"]


def test_limit_counts_what_is_seen(db: Connection) -> None:
    for number in range(10):
        add_repository(db, f"team/app-{number}", public=number % 3 == 0)
    assert list(repositories.names(db, Viewer(), last="", limit=3)) == [
        "team/app-0",
        "team/app-3",
        "team/app-6",
    ]


def test_summaries_count_what_a_repository_holds(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two", public=False)
    add_repository(db, "library/empty")
    for repository_id in (one, two):
        add_blob(db, repository_id, "shared", 2**40)
    add_blob(db, one, "own", 5)
    for word in ("v1", "v2"):
        add_manifest(db, one, word)
    for name in ("latest", "stable"):
        tags.put(db, one, name, digest("v2"), by=None, now=NOW)
    add_manifest(db, two, "v1")
    tags.remove(db, "library/two", "v1", now=NOW)
    wanted = [
        Summary("library/empty", is_public=True, tags=0, manifests=0, size=0),
        Summary("library/one", is_public=True, tags=4, manifests=2, size=2**40 + 5),
        Summary("library/two", is_public=False, tags=0, manifests=1, size=2**40),
    ]
    assert repositories.summaries(db) == wanted
    for summary in wanted:
        assert repositories.summaries(db, name=summary.name) == [summary]
    assert repositories.summaries(db, name="library/nowhere") == []


# Changes


def test_visibility_changes(db: Connection) -> None:
    for name in ("library/app", "library/other"):
        add_repository(db, name)
    for public in (False, False, True):
        assert repositories.set_public(db, "library/app", public=public)
        seen = list(repositories.names(db, Viewer(), last="", limit=9))
        assert seen == (["library/app"] if public else []) + ["library/other"]
    assert not repositories.set_public(db, "library/nowhere", public=False)


def test_removed_repository_takes_along_what_is_in_it(db: Connection) -> None:
    add_account(db, "ann")
    for name in ("team/app", "team/other"):
        repository_id = add_repository(db, name)
        layer = add_blob(db, repository_id, "layer")
        add_manifest(db, repository_id, "v1", references=References(blobs=(layer,)))
        repositories.grant(db, name, "ann", READ)
    inside = (
        schema.repositories,
        schema.blob_links,
        schema.manifests,
        schema.manifest_references,
        schema.tags,
        schema.repository_roles,
    )
    assert count(db, *inside) == [2] * len(inside)
    assert repositories.remove(db, "team/app")
    assert count(db, *inside) == [1] * len(inside)
    assert not repositories.remove(db, "team/app")
    assert blobs.find(db, "team/other", digest("layer")) is not None
    assert manifests.read(db, "team/other", "v1") is not None
    assert count(db, schema.blobs, schema.namespaces) == [1, 3]


def test_repository_of_the_same_name_begins_empty(db: Connection) -> None:
    ann = add_account(db, "ann")
    add_manifest(db, add_repository(db, "team/app", public=False), "v1")
    repositories.grant(db, "team/app", "ann", ADMIN)
    repositories.remove(db, "team/app")
    add_repository(db, "team/app", public=False)
    assert manifests.find(db, "team/app", "v1") is None
    assert list(tags.names(db, "team/app", last="", limit=9)) == []
    assert repositories.rights(db, "team/app", ann).role is None
