from dataclasses import replace

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from storage.digest import Digest
from storage.metadata import blobs, repositories, schema
from storage.metadata.blobs import StoredBlob
from storage.metadata.manifests import References
from storage.metadata.repositories import Viewer
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

BLOB = StoredBlob(digest("blob"), 2**40, "at/blob")


def test_blob_is_found_where_it_is_linked(db: Connection) -> None:
    app, _ = add_repository(db, "library/app"), add_repository(db, "library/other")
    blobs.add(db, BLOB, now=NOW)
    assert blobs.find(db, "library/app", BLOB.digest) is None
    blobs.link(db, app, BLOB.digest, now=NOW)
    assert blobs.find(db, "library/app", BLOB.digest) == BLOB
    assert blobs.find(db, "library/other", BLOB.digest) is None
    assert blobs.find(db, "library/nowhere", BLOB.digest) is None
    assert blobs.find(db, "library/app", digest("other")) is None


def test_bytes_that_were_replaced_are_on_their_way_out(db: Connection) -> None:
    blobs.add(db, BLOB, now=NOW)
    blobs.add(db, BLOB, now=NOW)
    assert count(db, schema.removed_content) == [0]
    blobs.add(db, replace(BLOB, location="elsewhere"), now=NOW + SECOND)
    c = schema.removed_content.c
    [row] = db.execute(select(c.digest, c.size, c.location, c.reason, c.removed_at))
    assert tuple(row) == (BLOB.digest, BLOB.size, BLOB.location, "replaced", NOW + SECOND)


def test_later_location_takes_the_place_of_the_earlier(db: Connection) -> None:
    app = add_repository(db, "library/app")
    blobs.add(db, BLOB, now=NOW)
    blobs.link(db, app, BLOB.digest, now=NOW)
    blobs.add(db, replace(BLOB, location="elsewhere"), now=NOW + SECOND)
    assert blobs.find(db, "library/app", BLOB.digest) == replace(BLOB, location="elsewhere")
    assert count(db, schema.blobs, schema.blob_links) == [1, 1]


def test_linking_twice_is_linking_once(db: Connection) -> None:
    app = add_repository(db, "library/app")
    blobs.add(db, BLOB, now=NOW)
    for _ in range(2):
        blobs.link(db, app, BLOB.digest, now=NOW)
    assert count(db, schema.blob_links) == [1]
    assert blobs.unlink(db, "library/app", BLOB.digest)
    assert blobs.find(db, "library/app", BLOB.digest) is None


def test_blob_without_bytes_cannot_be_linked(db: Connection) -> None:
    app = add_repository(db, "library/app")
    with pytest.raises(IntegrityError):
        blobs.link(db, app, digest("nowhere"), now=NOW)


def test_unlinked_blob_stays_for_other_repositories(db: Connection) -> None:
    for name in ("library/one", "library/two"):
        add_blob(db, add_repository(db, name), "shared")
    assert blobs.unlink(db, "library/one", digest("shared"))
    assert not blobs.unlink(db, "library/one", digest("shared"))
    assert not blobs.unlink(db, "library/nowhere", digest("shared"))
    assert not blobs.unlink(db, "library/two", digest("other"))
    assert blobs.find(db, "library/one", digest("shared")) is None
    assert blobs.find(db, "library/two", digest("shared")) is not None


@pytest.mark.parametrize(
    ("viewer", "seen"),
    [
        ("nobody", {"public"}),
        ("ann", {"public", "own", "shared"}),
        ("bob", {"public", "granted", "team's", "shared"}),
        ("cid", {"public"}),
        ("all", {"public", "own", "granted", "team's", "shared"}),
    ],
)
def test_blob_is_found_anywhere_the_viewer_sees(db: Connection, viewer: str, seen: set[str]) -> None:
    accounts = {name: add_account(db, name) for name in ("ann", "bob", "cid")}
    add_blob(db, add_repository(db, "library/app"), "public")
    add_blob(db, own := add_repository(db, "ann/app", public=False), "own")
    add_blob(db, granted := add_repository(db, "other/app", public=False), "granted")
    add_blob(db, add_repository(db, "team/app", public=False), "team's")
    for repository_id in (own, granted):
        add_blob(db, repository_id, "shared")
    assert repositories.grant(db, "other/app", "bob", 1) is None
    assert repositories.grant(db, "team", "bob", 1) is None
    blobs.add(db, StoredBlob(digest("unlinked"), 1, "at/unlinked"), now=NOW)
    eyes = Viewer(sees_all=True) if viewer == "all" else Viewer(accounts.get(viewer))
    words = ("public", "own", "granted", "team's", "shared", "unlinked")
    found = {word: blobs.find_anywhere(db, digest(word), eyes) for word in words}
    assert {word for word in words if found[word] is not None} == seen
    assert found["public"] == StoredBlob(digest("public"), 1, "at/public")


def test_user_of_a_blob_is_a_manifest_of_the_repository(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two")
    layer, config, child = digest("layer"), digest("config"), digest("child")
    add_manifest(db, one, "manifest", references=References(blobs=(config, layer)))
    add_manifest(db, one, "index", references=References(manifests=(child,)))
    add_manifest(db, two, "other")
    assert blobs.user_of(db, "library/one", layer) == digest("manifest")
    assert blobs.user_of(db, "library/one", config) == digest("manifest")
    assert blobs.user_of(db, "library/one", child) is None  # named, but as a manifest
    assert blobs.user_of(db, "library/two", layer) is None
    assert blobs.user_of(db, "library/nowhere", layer) is None


def test_missing_blobs_come_once_and_in_order(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two")
    add_blob(db, one, "here")
    add_blob(db, two, "elsewhere")
    wanted = [digest(word) for word in ("z", "here", "elsewhere", "a", "z", "here")]
    assert blobs.missing(db, one, wanted) == [digest("z"), digest("elsewhere"), digest("a")]
    assert blobs.missing(db, one, iter(wanted)) == [digest("z"), digest("elsewhere"), digest("a")]
    assert blobs.missing(db, one, []) == []
    assert blobs.missing(db, one, [digest("here")]) == []


@pytest.mark.parametrize("total", [999, 1000, 1001, 2000, 2501, 40_000])
def test_any_number_of_digests_is_looked_up(db: Connection, total: int) -> None:
    app = add_repository(db, "library/app")
    wanted = [Digest(f"sha256:{number:064x}") for number in range(total)]
    here = {wanted[0], wanted[total // 2], wanted[-1]}
    for each in here:
        blobs.add(db, StoredBlob(each, 1, "somewhere"), now=NOW)
        blobs.link(db, app, each, now=NOW)
    assert blobs.missing(db, app, wanted) == [each for each in wanted if each not in here]


def test_moment_of_storing_is_the_first(db: Connection) -> None:
    for at in range(2):
        blobs.add(db, BLOB, now=NOW + at * SECOND)
    assert db.execute(select(schema.blobs.c.created_at)).scalar_one() == NOW
