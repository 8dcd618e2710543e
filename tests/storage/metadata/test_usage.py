"""How much is stored, and pushes in progress."""

from sqlalchemy import Connection

from storage.metadata import pushes, tags, uploads, usage
from storage.metadata.pushes import LinkedBlob, SetTag
from storage.metadata.uploads import StoredUpload
from storage.metadata.usage import NamespaceUse, Totals
from tests.storage.metadata.content import (
    NOW,
    SECOND,
    add_account,
    add_blob,
    add_manifest,
    add_repository,
    digest,
)


def test_blobs_count_once_in_a_namespace(db: Connection) -> None:
    one, two, away = (add_repository(db, name) for name in ("team/one", "team/two", "away/app"))
    add_account(db, "idle")
    for repository_id in (one, two):
        add_blob(db, repository_id, "both", 1)
    add_blob(db, one, "alone", 10)
    for repository_id in (one, two, away):
        add_blob(db, repository_id, "everywhere", 100)
    expected = [
        NamespaceUse("away", 1, exclusive=0, shared=100),
        NamespaceUse("idle", 0),
        NamespaceUse("library", 0),
        NamespaceUse("team", 2, exclusive=11, shared=100),
    ]
    assert usage.by_namespace(db, last="", limit=9) == expected
    assert usage.by_namespace(db, last="away", limit=1) == expected[1:2]


def test_totals(db: Connection) -> None:
    app = add_repository(db, "team/app")
    add_account(db, "ann")
    add_blob(db, app, "one", 3)
    add_blob(db, app, "two", 4)
    add_manifest(db, app, "v1")
    uploads.add(db, StoredUpload("u", "team/app", None, "sha256", 0, None), now=NOW)
    assert usage.totals(db) == Totals(
        accounts=1, namespaces=3, repositories=1, tags=1, manifests=1, blobs=2, uploads=1, size=7
    )


def test_progress_tells_what_is_under_way_and_what_landed(db: Connection) -> None:
    app, other = add_repository(db, "team/app"), add_repository(db, "team/other")
    for number, name in enumerate(("team/app", "team/app", "team/other")):
        uploads.add(db, StoredUpload(f"u{number}", name, None, "sha256", 10, None), now=NOW)
    add_blob(db, app, "one", 3)
    add_blob(db, other, "two", 4)
    add_manifest(db, app, "v1")
    tags.put(db, app, "v2", digest("v1"), by="ben", now=NOW + SECOND)
    found = pushes.progress(db, app, since=NOW, limit=9)
    assert found is not None
    assert (found.uploads, found.size) == (2, 20)
    assert found.blobs == [LinkedBlob(digest("one"), 3, NOW)]
    assert found.tags == [
        SetTag("v1", digest("v1"), "ann", NOW),
        SetTag("v2", digest("v1"), "ben", NOW + SECOND),
    ]
    found = pushes.progress(db, app, since=NOW + SECOND, limit=9)
    assert found is not None
    assert (found.blobs, [tag.name for tag in found.tags]) == ([], ["v2"])
    assert pushes.progress(db, 999, since=NOW, limit=9) is None
