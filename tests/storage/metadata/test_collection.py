"""What the collector's queries take, and what they leave."""

from datetime import datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import Connection, select, update

from storage.metadata import blobs, collection, manifests, repositories, schema, tags
from storage.metadata.blobs import StoredBlob
from storage.metadata.collection import Name, Place
from storage.metadata.manifests import References
from storage.metadata.removed import Sizes
from tests.storage.metadata.content import (
    NOW,
    SECOND,
    add_blob,
    add_manifest,
    add_repository,
    count,
    digest,
)

AGO: Final = NOW - timedelta(hours=1)
AFTER: Final = NOW + SECOND
DUE: Final = NOW + timedelta(days=9)


@pytest.fixture
def app(db: Connection) -> int:
    return add_repository(db, "team/app")


def age(db: Connection, at: datetime = AGO) -> None:
    db.execute(update(schema.blob_links).values(linked_at=at))


def loose(db: Connection, before: datetime = NOW) -> set[str]:
    look = collection.loose_links(db, None, before=before, limit=100)
    assert look.last is None
    return {place.digest for place in look.found}


# Links


def test_link_is_loose_that_is_old_and_that_no_manifest_needs(db: Connection, app: int) -> None:
    for word in ("old", "young", "layer", "child"):
        add_blob(db, app, word)
    add_manifest(db, app, "image", references=References((digest("layer"),), (digest("child"),)))
    age(db)
    blobs.renew(db, "team/app", digest("young"), now=NOW)
    assert loose(db) == {digest("old")}
    assert loose(db, AFTER) == {digest("old"), digest("young")}


def test_manifest_of_another_repository_needs_no_link_here(db: Connection, app: int) -> None:
    other = add_repository(db, "team/other")
    for repository in (app, other):
        add_blob(db, repository, "layer")
    add_manifest(db, other, "image", references=References((digest("layer"),)))
    age(db)
    look = collection.loose_links(db, None, before=NOW, limit=100)
    assert look.found == [Place(app, digest("layer"))]


def test_look_goes_page_by_page(db: Connection, app: int) -> None:
    other = add_repository(db, "team/other")
    words = [f"blob {number}" for number in range(7)]
    for word in words:
        add_blob(db, app, word)
        add_blob(db, other, word)
    found: list[Place] = []
    last: Place | None = None
    looks = 0
    while looks == 0 or last is not None:
        look = collection.loose_links(db, last, before=AFTER, limit=4)
        found += look.found
        last = look.last
        looks += 1
    assert looks == 4
    assert found == [
        Place(repository, each) for repository in (app, other) for each in sorted(map(digest, words))
    ]


def test_link_goes_and_its_blob_is_unused_since_then(db: Connection, app: int) -> None:
    add_blob(db, app, "blob")
    add_blob(db, app, "shared")
    add_blob(db, add_repository(db, "team/other"), "shared")
    age(db)
    places = [Place(app, digest(word)) for word in ("blob", "shared")]
    assert collection.remove_links(db, places, before=NOW) == 2
    c = schema.blobs.c
    found = {row.digest: row.unused_since for row in db.execute(select(c.digest, c.unused_since))}
    assert found == {digest("blob"): AGO, digest("shared"): None}


@pytest.mark.parametrize("what", ["renewed", "named", "linked"])
def test_link_stays_that_somebody_needs_since_the_look(db: Connection, app: int, what: str) -> None:
    add_blob(db, app, "blob")
    age(db)
    assert loose(db) == {digest("blob")}
    match what:
        case "renewed":
            assert blobs.renew(db, "team/app", digest("blob"), now=NOW)
        case "named":
            add_manifest(db, app, "image", references=References((digest("blob"),)))
        case "linked":
            blobs.link(db, app, digest("blob"), now=NOW)
    assert collection.remove_links(db, [Place(app, digest("blob"))], before=NOW) == 0
    assert blobs.find(db, "team/app", digest("blob")) is not None


def test_blob_that_a_manifest_names_is_not_loose(db: Connection, app: int) -> None:
    add_blob(db, app, "blob")
    found = blobs.find(db, "team/app", digest("blob"))
    assert found is not None
    assert found.loose_since == NOW
    add_manifest(db, app, "image", references=References((digest("blob"),)))
    found = blobs.find(db, "team/app", digest("blob"))
    assert found is not None
    assert found.loose_since is None


def test_renewing_what_is_gone_tells(db: Connection, app: int) -> None:
    assert not blobs.renew(db, "team/app", digest("blob"), now=NOW)
    assert not manifests.renew(db, app, [digest("image")], now=NOW)


def test_time_of_a_link_begins_when_its_last_manifest_goes(db: Connection, app: int) -> None:
    add_blob(db, app, "layer")
    add_manifest(db, app, "image", references=References((digest("layer"),)))
    age(db)
    later = NOW + timedelta(days=30)
    assert manifests.remove(db, "team/app", digest("image"), now=later)
    assert loose(db, later - timedelta(minutes=1)) == set()
    assert loose(db, later) == {digest("layer")}


# Blobs


def unlinked(db: Connection) -> list[str]:
    return [name.digest for name in collection.unlinked_blobs(db, None, limit=100).found]


def test_unlinked_blob_is_found_once(db: Connection, app: int) -> None:
    add_blob(db, app, "linked")
    blobs.add(db, StoredBlob(digest("blob"), 5, "at/blob"), now=NOW)
    assert unlinked(db) == [digest("blob")]
    collection.note_unused(db, [Name(digest("blob")), Name(digest("linked"))], now=AGO)
    assert unlinked(db) == []
    collection.note_unused(db, [Name(digest("blob"))], now=NOW)  # its time runs already
    assert collection.remove_unused(db, before=NOW, now=NOW, due_at=DUE, limit=9) == Sizes(1, 5)
    c = schema.removed_content.c
    [row] = db.execute(select(c.digest, c.size, c.location, c.reason, c.removed_at, c.due_at, c.is_going))
    assert tuple(row) == (digest("blob"), 5, "at/blob", "unused", NOW, DUE, False)
    assert count(db, schema.blobs) == [1]


@pytest.mark.parametrize("again", ["linked", "pushed"])
def test_blob_that_is_used_again_begins_anew(db: Connection, app: int, again: str) -> None:
    blob = StoredBlob(digest("blob"), 5, "at/blob")
    blobs.add(db, blob, now=NOW)
    collection.note_unused(db, [Name(blob.digest)], now=AGO)
    if again == "pushed":
        blobs.add(db, blob, now=NOW)
    else:
        blobs.link(db, app, blob.digest, now=NOW)
    assert collection.remove_unused(db, before=AFTER, now=NOW, due_at=DUE, limit=9) == Sizes(0, 0)
    assert db.execute(select(schema.blobs.c.unused_since)).scalar_one() is None


def test_repository_that_goes_leaves_its_blobs_unlinked(db: Connection, app: int) -> None:
    add_blob(db, app, "layer")
    add_manifest(db, app, "image", references=References((digest("layer"),)))
    assert repositories.remove(db, "team/app")
    assert unlinked(db) == [digest("layer")]


def test_as_many_blobs_go_as_are_asked_for_the_oldest_first(db: Connection) -> None:
    for number in range(5):
        blobs.add(db, StoredBlob(digest(str(number)), 1, f"at/{number}"), now=NOW)
        collection.note_unused(db, [Name(digest(str(number)))], now=AGO - number * SECOND)
    assert collection.remove_unused(db, before=NOW, now=NOW, due_at=DUE, limit=3) == Sizes(3, 3)
    left = db.execute(select(schema.blobs.c.location)).scalars().all()
    assert sorted(left) == ["at/0", "at/1"]


# Manifests


def collect(db: Connection, before: datetime = AFTER) -> Sizes:
    look = collection.loose_manifests(db, None, before=before, limit=100)
    return collection.remove_manifests(db, look.found, before=before, now=NOW, due_at=DUE)


def test_untagged_manifest_goes_with_its_bytes_kept(db: Connection, app: int) -> None:
    add_blob(db, app, "layer")
    add_manifest(db, app, "image", references=References((digest("layer"),)))
    add_manifest(db, app, "tagged", references=References((digest("layer"),)))
    assert collect(db) == Sizes(0, 0)
    assert tags.remove(db, "team/app", "image", now=NOW)
    assert collect(db, NOW) == Sizes(0, 0)
    assert collect(db) == Sizes(1, len(b"image"))
    c = schema.removed_content.c
    [row] = db.execute(
        select(c.digest, c.repository, c.media_type, c.content, c.location, c.reason, c.removed_at, c.due_at)
    )
    media_type = "application/vnd.oci.image.manifest.v1+json"
    assert tuple(row) == (digest("image"), "team/app", media_type, b"image", None, "untagged", NOW, DUE)
    assert count(db, schema.manifests, schema.manifest_references) == [1, 1]


def test_index_goes_with_its_children_at_once(db: Connection, app: int) -> None:
    add_manifest(db, app, "child")
    add_manifest(db, app, "referrer", subject=digest("child"))
    add_manifest(db, app, "index", references=References(manifests=(digest("child"),)))
    for word in ("child", "referrer"):
        tags.remove(db, "team/app", word, now=NOW)
    assert collect(db) == Sizes(0, 0)
    tags.remove(db, "team/app", "index", now=NOW)
    assert collect(db).count == 3


def test_moved_tag_lets_the_time_begin(db: Connection, app: int) -> None:
    for word in ("v1", "v2"):
        add_manifest(db, app, word)
    later = NOW + timedelta(days=30)
    tags.put(db, app, "v1", digest("v2"), by=None, now=later)
    assert collect(db, later) == Sizes(0, 0)
    assert collect(db, later + SECOND).count == 1
    assert manifests.find(db, "team/app", digest("v2")) is not None


def test_manifest_that_is_deleted_lets_the_time_of_others_begin(db: Connection, app: int) -> None:
    add_manifest(db, app, "child")
    add_manifest(db, app, "index", references=References(manifests=(digest("child"),)))
    add_manifest(db, app, "referrer", subject=digest("index"))
    for word in ("child", "referrer"):
        tags.remove(db, "team/app", word, now=NOW)
    later = NOW + timedelta(days=30)
    manifests.remove(db, "team/app", digest("index"), now=later)
    assert collect(db, later) == Sizes(0, 0)
    assert collect(db, later + SECOND).count == 2


def test_manifest_stays_that_was_tagged_since_the_look(db: Connection, app: int) -> None:
    add_manifest(db, app, "image")
    tags.remove(db, "team/app", "image", now=NOW)
    look = collection.loose_manifests(db, None, before=AFTER, limit=100)
    assert look.found == [Place(app, digest("image"))]
    tags.put(db, app, "late", digest("image"), by=None, now=NOW)
    assert collection.remove_manifests(db, look.found, before=AFTER, now=NOW, due_at=DUE) == Sizes(0, 0)


def test_manifest_that_is_gone_since_the_look_is_not_counted(db: Connection, app: int) -> None:
    gone = [Place(app, digest("image")), Place(app + 1, digest("image"))]
    assert collection.remove_manifests(db, gone, before=AFTER, now=NOW, due_at=DUE) == Sizes(0, 0)
    assert count(db, schema.removed_content) == [0]
