"""What keeps a manifest: a tag or a young manifest, over indexes that name it and over its subject."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from storage.metadata import manifests, reachability, tags
from storage.metadata.manifests import References
from storage.metadata.reachability import Ways
from tests.storage.metadata.content import NOW, SECOND, add_manifest, add_repository, digest

LATER = NOW + timedelta(days=1)


def add(
    db: Connection, repository: int, word: str, *names: str, subject: str | None = None, tagged: bool = False
) -> None:
    """Add a manifest that names others."""
    references = References(manifests=tuple(digest(name) for name in names))
    about = None if subject is None else digest(subject)
    add_manifest(db, repository, word, subject=about, references=references)
    if not tagged:
        tags.remove(db, "team/app", word, now=NOW)


def ways(db: Connection, repository: int, *words: str, young: int = 1) -> Ways:
    return reachability.ways(db, repository, map(digest, words), young=NOW + young * SECOND)


def way(db: Connection, repository: int, word: str) -> list[str]:
    words = ("image", "index", "outer", "referrer", "second", "other", "a", "b")
    known = {str(digest(each)): each for each in words}
    return [known[each] for each in ways(db, repository, word).to(digest(word))]


@pytest.fixture
def app(db: Connection) -> int:
    return add_repository(db, "team/app")


def test_tag_keeps_what_it_means(db: Connection, app: int) -> None:
    add(db, app, "image", tagged=True)
    add(db, app, "other")
    assert ways(db, app, "image", "other").kept == {digest("image")}
    assert way(db, app, "image") == ["image"]
    assert way(db, app, "other") == []


def test_index_keeps_its_children_and_a_subject_its_referrers(db: Connection, app: int) -> None:
    add(db, app, "image")
    add(db, app, "index", "image")
    add(db, app, "outer", "index", tagged=True)
    add(db, app, "referrer", subject="image")
    add(db, app, "second", subject="referrer")
    add(db, app, "other", "outer")  # what names a kept manifest is not kept by it
    assert way(db, app, "second") == ["outer", "index", "image", "referrer", "second"]
    words = ("image", "index", "outer", "referrer", "second")
    assert ways(db, app, *words, "other").kept == {digest(word) for word in words}


def test_nothing_is_kept_where_nothing_is_tagged(db: Connection, app: int) -> None:
    add(db, app, "image")
    add(db, app, "index", "image")
    add(db, app, "referrer", subject="index")
    assert ways(db, app, "image", "index", "referrer").kept == set()


def test_subject_that_is_not_here_keeps_nothing(db: Connection, app: int) -> None:
    add(db, app, "referrer", subject="nowhere")
    assert ways(db, app, "referrer").kept == set()


def test_tagged_referrer_does_not_keep_its_subject(db: Connection, app: int) -> None:
    add(db, app, "image")
    add(db, app, "referrer", subject="image", tagged=True)
    assert ways(db, app, "image", "referrer").kept == {digest("referrer")}


def test_young_manifest_keeps_what_it_names(db: Connection, app: int) -> None:
    add(db, app, "image")
    add(db, app, "index", "image")
    assert ways(db, app, "image", young=0).kept == {digest("image")}
    assert ways(db, app, "image", young=1).kept == set()
    manifests.renew(db, app, [digest("index")], now=LATER)
    assert way(db, app, "image") == ["index", "image"]


def test_circle_keeps_nothing_by_itself(db: Connection, app: int) -> None:
    add(db, app, "a", "b")
    add(db, app, "b", "a")
    assert ways(db, app, "a", "b").kept == set()
    add(db, app, "outer", "a", tagged=True)
    assert ways(db, app, "a", "b").kept == {digest("outer"), digest("a"), digest("b")}
    assert way(db, app, "b") == ["outer", "a", "b"]


def test_other_repositories_keep_nothing_here(db: Connection, app: int) -> None:
    add(db, app, "image")
    other = add_repository(db, "team/other")
    add_manifest(db, other, "index", references=References(manifests=(digest("image"),)))
    add_manifest(db, other, "image")
    assert ways(db, app, "image").kept == set()


def test_too_many_to_look_at_keep_it(db: Connection, app: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "_FAR", 5)
    add(db, app, "image")
    for number in range(4):
        add(db, app, f"index {number}", "image")
    assert ways(db, app, "image").kept == set()
    add(db, app, "one more", "image")
    assert digest("image") in ways(db, app, "image").kept
