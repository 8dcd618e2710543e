"""What goes with what is deleted."""

from typing import Final

import pytest
from sqlalchemy import Connection

from storage.metadata import consequences, stars, tags
from storage.metadata.consequences import Consequences
from storage.metadata.manifests import References
from tests.storage.metadata.content import NOW, add_account, add_blob, add_manifest, add_repository, digest

ALONE, SHARED, COMMON, CHILD_SIZE = 1, 10, 100, 1000


@pytest.fixture
def app(db: Connection) -> int:
    """v1 and also mean one image; multi is an index of amd64, which is tagged, and arm64, which is not."""
    app, other = add_repository(db, "team/app"), add_repository(db, "team/other")
    add_blob(db, app, "alone", ALONE)
    add_blob(db, app, "shared", SHARED)
    add_blob(db, other, "shared", SHARED)
    add_blob(db, app, "common", COMMON)
    add_blob(db, app, "child", CHILD_SIZE)
    blobs = (digest("alone"), digest("shared"), digest("common"))
    add_manifest(db, app, "v1", references=References(blobs=blobs))
    tags.put(db, app, "also", digest("v1"), by=None, now=NOW)
    add_manifest(db, app, "amd64", references=References(blobs=(digest("common"),)))
    add_manifest(db, app, "arm64", references=References(blobs=(digest("child"),)))
    tags.remove(db, "team/app", "arm64", now=NOW)
    children = (digest("amd64"), digest("arm64"), digest("never pushed"))
    add_manifest(db, app, "multi", references=References(manifests=children))
    add_manifest(db, app, "signature", subject=digest("v1"))
    stars.put(db, add_account(db, "ann"), app, now=NOW)
    return app


TAGS: Final = {
    "v1": Consequences(tags=1, other_tags=("also",), referrers=1),
    "multi": Consequences(tags=1, manifests=2, size=CHILD_SIZE),
    "amd64": Consequences(tags=1, dependents=1),
    "signature": Consequences(tags=1, manifests=1),
}


@pytest.mark.parametrize("tag", TAGS)
def test_of_a_tag(db: Connection, app: int, tag: str) -> None:
    assert consequences.of_tag(db, app, tag) == TAGS[tag]


def test_of_the_last_tag(db: Connection, app: int) -> None:
    tags.remove(db, "team/app", "also", now=NOW)
    expected = Consequences(tags=1, manifests=1, size=ALONE, referrers=1)
    assert consequences.of_tag(db, app, "v1") == expected


def test_of_a_manifest(db: Connection, app: int) -> None:
    found = consequences.of_manifest(db, app, digest("v1"))
    assert found == Consequences(tags=2, other_tags=("also", "v1"), manifests=1, size=ALONE, referrers=1)
    # An index that stays lacks it then.
    found = consequences.of_manifest(db, app, digest("arm64"))
    assert found is not None
    assert (found.tags, found.dependents) == (0, 1)


def test_of_a_repository(db: Connection, app: int) -> None:
    assert consequences.of_repository(db, app) == Consequences(
        tags=5, manifests=5, size=ALONE + COMMON + CHILD_SIZE, stars=1, referrers=1
    )


def test_of_what_is_not_there(db: Connection, app: int) -> None:
    assert consequences.of_tag(db, app, "gone") is None
    assert consequences.of_manifest(db, app, digest("gone")) is None


def test_many_other_tags_are_cut(db: Connection, app: int) -> None:
    for number in range(150):
        tags.put(db, app, f"z{number}", digest("v1"), by=None, now=NOW)
    for found in (consequences.of_tag(db, app, "z0"), consequences.of_manifest(db, app, digest("v1"))):
        assert found is not None
        assert len(found.other_tags) == 100
