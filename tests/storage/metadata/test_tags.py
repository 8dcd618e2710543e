import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from storage.digest import Digest
from storage.metadata import manifests, schema, tags
from tests.storage.metadata.content import NOW, SECOND, add_manifest, add_repository, digest

NAMES = ["v10", "v1", "V1", "latest", "1.0", "1-0", "1_0", "_", "a.b", "a-b", "a_b", "ab", "Z", "z"]


def fill(db: Connection, repository: str, names: list[str]) -> int:
    repository_id = add_repository(db, repository)
    for name in names:
        add_manifest(db, repository_id, name)
    return repository_id


def test_tag_means_a_manifest(db: Connection) -> None:
    fill(db, "library/app", ["v1", "v2"])
    found = tags.digest_of(db, "library/app", "v1")
    assert found == digest("v1")
    assert isinstance(found, Digest)


@pytest.mark.parametrize(
    ("repository", "name"),
    [("library/app", "v2"), ("library/app", "V1"), ("library/app", ""), ("library/other", "v1")],
)
def test_unknown_tag_means_nothing(db: Connection, repository: str, name: str) -> None:
    fill(db, "library/app", ["v1"])
    assert tags.digest_of(db, repository, name) is None


def test_tag_moves(db: Connection) -> None:
    repository_id = fill(db, "library/app", ["v1", "v2"])
    tags.put(db, repository_id, "v1", digest("v2"), by="bob", now=NOW + SECOND)
    assert tags.digest_of(db, "library/app", "v1") == digest("v2")
    assert manifests.find(db, "library/app", digest("v1")) is not None
    columns = schema.tags.c
    row = db.execute(select(columns.tagged_by, columns.tagged_at).where(columns.name == "v1")).one()
    assert tuple(row) == ("bob", NOW + SECOND)


def test_same_tag_in_two_repositories_is_two(db: Connection) -> None:
    one, two = (fill(db, name, ["v1", "v2"]) for name in ("library/one", "library/two"))
    assert one != two
    tags.put(db, two, "v1", digest("v2"), by=None, now=NOW)
    assert tags.digest_of(db, "library/one", "v1") == digest("v1")
    assert tags.digest_of(db, "library/two", "v1") == digest("v2")


def test_tag_means_manifests_of_its_own_repository_only(db: Connection) -> None:
    fill(db, "library/one", ["v1"])
    two = fill(db, "library/two", [])
    with pytest.raises(IntegrityError):
        tags.put(db, two, "v1", digest("v1"), by=None, now=NOW)


def test_names_come_in_the_order_of_their_bytes(db: Connection) -> None:
    fill(db, "library/app", NAMES)
    fill(db, "library/other", ["other"])
    assert list(tags.names(db, "library/app", last="", limit=100)) == sorted(NAMES, key=str.encode)


@pytest.mark.parametrize("limit", [1, 2, 3, len(NAMES) - 1, len(NAMES), 100])
def test_pages_add_up(db: Connection, limit: int) -> None:
    fill(db, "library/app", NAMES)
    pages: list[str] = []
    while page := tags.names(db, "library/app", last=pages[-1] if pages else "", limit=limit):
        assert len(page) <= limit
        pages += page
    assert pages == sorted(NAMES)


@pytest.mark.parametrize(
    ("last", "limit", "names"),
    [
        ("", 0, []),
        ("", 2, ["a", "c"]),
        ("a", 2, ["c", "e"]),
        ("b", 2, ["c", "e"]),  # `last` need not exist
        ("d", 9, ["e"]),
        ("e", 9, []),
        ("A", 1, ["a"]),
        ("zzz", 9, []),
        ("\uffff", 9, []),
    ],
)
def test_names_after_last(db: Connection, last: str, limit: int, names: list[str]) -> None:
    fill(db, "library/app", ["e", "a", "c"])
    assert list(tags.names(db, "library/app", last=last, limit=limit)) == names


def test_unknown_repository_has_no_names(db: Connection) -> None:
    fill(db, "library/app", ["v1"])
    assert list(tags.names(db, "library/other", last="", limit=9)) == []


def test_removed_tag_leaves_its_manifest_and_other_tags(db: Connection) -> None:
    repository_id = fill(db, "library/app", ["v1"])
    fill(db, "library/other", ["v1"])
    tags.put(db, repository_id, "latest", digest("v1"), by=None, now=NOW)
    assert tags.remove(db, "library/app", "v1", now=NOW)
    assert not tags.remove(db, "library/app", "v1", now=NOW)
    assert not tags.remove(db, "library/nowhere", "latest", now=NOW)
    assert list(tags.names(db, "library/app", last="", limit=9)) == ["latest"]
    assert manifests.find(db, "library/app", digest("v1")) is not None
    assert tags.digest_of(db, "library/other", "v1") == digest("v1")
