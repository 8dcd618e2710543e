"""Which manifests list another, and how many can be read at a price."""

import pytest
from sqlalchemy import Connection

from storage.metadata import indexes
from storage.metadata.manifests import References
from tests.storage.metadata.content import add_manifest, add_repository, digest


@pytest.fixture
def app(db: Connection) -> int:
    app = add_repository(db, "team/app")
    for word in ("a", "bb", "cccc"):
        add_manifest(db, app, word)
    return app


def test_listing(db: Connection, app: int) -> None:
    listed = References(manifests=(digest("a"), digest("bb")))
    places = sorted(add_manifest(db, app, word, references=listed) for word in ("one", "two"))
    add_manifest(db, app, "blob", references=References(blobs=(digest("a"),)))
    other = add_repository(db, "team/other")
    add_manifest(db, other, "other", references=listed)
    assert indexes.listing(db, app, digest("a"), limit=9) == places
    assert indexes.listing(db, app, digest("a"), limit=1) == places[:1]
    assert indexes.listing(db, app, digest("cccc"), limit=9) == []


@pytest.mark.parametrize(
    ("max_bytes", "words"),
    [(7, ["cccc", "a", "bb"]), (6, ["cccc", "a"]), (4, ["cccc"]), (3, ["a", "bb"]), (0, [])],
)
def test_affordable(db: Connection, app: int, max_bytes: int, words: list[str]) -> None:
    wanted = [digest(word) for word in ("cccc", "a", "missing", "bb", "a")]
    assert indexes.affordable(db, app, wanted, max_bytes=max_bytes) == [digest(word) for word in words]
