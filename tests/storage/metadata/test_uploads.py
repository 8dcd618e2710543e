from dataclasses import replace

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from storage.digest import Digest
from storage.metadata import schema, uploads
from storage.metadata.uploads import StoredUpload
from tests.storage.metadata.content import NOW, SECOND, add_repository, count, digest

UPLOAD = StoredUpload("one", "library/app", "ann", "sha256", 0, digest(""))


@pytest.mark.parametrize(
    "upload",
    [
        UPLOAD,
        replace(UPLOAD, actor=None, digest=None),
        replace(UPLOAD, algorithm="sha512", digest=Digest.of(b"", "sha512")),
        replace(UPLOAD, offset=2**40),
        replace(UPLOAD, state="what the store says"),
    ],
)
def test_upload_comes_back(db: Connection, upload: StoredUpload) -> None:
    uploads.add(db, upload, now=NOW)
    found = uploads.find(db, "one")
    assert found == upload
    assert found.digest is None or isinstance(found.digest, Digest)


def test_unknown_upload_is_none(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    assert uploads.find(db, "two") is None
    assert uploads.find(db, "") is None


def test_id_is_given_once(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    with pytest.raises(IntegrityError):
        uploads.add(db, UPLOAD, now=NOW)


@pytest.mark.parametrize("so_far", [digest("bytes"), None])
def test_upload_advances(db: Connection, so_far: Digest | None) -> None:
    other = replace(UPLOAD, id="two")
    for upload in (UPLOAD, other):
        uploads.add(db, upload, now=NOW)
    uploads.advance(db, "one", 5, so_far, None, since=0, now=NOW)
    assert uploads.find(db, "one") == replace(UPLOAD, offset=5, digest=so_far)
    assert uploads.find(db, "two") == other


def test_advance_of_unknown_upload_makes_none(db: Connection) -> None:
    assert not uploads.advance(db, "one", 5, None, None, since=0, now=NOW)
    assert uploads.find(db, "one") is None


def test_advance_from_where_the_upload_no_longer_is_changes_nothing(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    assert uploads.advance(db, "one", 5, digest("five"), None, since=0, now=NOW)
    assert not uploads.advance(db, "one", 3, digest("three"), None, since=0, now=NOW)
    assert uploads.find(db, "one") == replace(UPLOAD, offset=5, digest=digest("five"))


def test_state_goes_with_the_offset(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    assert uploads.advance(db, "one", 5, None, "after five", since=0, now=NOW)
    assert not uploads.advance(db, "one", 3, None, "after three", since=0, now=NOW)
    assert uploads.find(db, "one") == replace(UPLOAD, offset=5, digest=None, state="after five")


def test_upload_is_finished_from_where_it_is(db: Connection) -> None:
    for name in ("one", "two"):
        uploads.add(db, replace(UPLOAD, id=name, offset=5), now=NOW)
    assert not uploads.finish(db, "one", since=4)
    assert uploads.find(db, "one") is not None
    assert uploads.finish(db, "one", since=5)
    assert not uploads.finish(db, "one", since=5)
    assert uploads.find(db, "one") is None
    assert uploads.find(db, "two") is not None


def test_upload_is_held_by_one_until_it_is_let_go(db: Connection) -> None:
    for name in ("one", "two"):
        uploads.add(db, replace(UPLOAD, id=name), now=NOW)
    until = NOW + SECOND
    assert uploads.take_hold(db, "one", "ann", now=NOW, until=until) is True
    for holder in ("ann", "ben"):
        assert uploads.take_hold(db, "one", holder, now=NOW, until=until) is False
    assert uploads.take_hold(db, "two", "ben", now=NOW, until=until) is True
    uploads.release_hold(db, "one", "ben")
    assert uploads.take_hold(db, "one", "ben", now=NOW, until=until) is False
    uploads.release_hold(db, "one", "ann")
    assert uploads.take_hold(db, "one", "ben", now=NOW, until=until) is True


def test_hold_ends_by_itself_unless_it_is_renewed(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    uploads.take_hold(db, "one", "ann", now=NOW, until=NOW + SECOND)
    assert uploads.renew_hold(db, "one", "ann", until=NOW + 3 * SECOND)
    assert uploads.take_hold(db, "one", "ben", now=NOW + 2 * SECOND, until=NOW + 9 * SECOND) is False
    assert uploads.take_hold(db, "one", "ben", now=NOW + 3 * SECOND, until=NOW + 9 * SECOND) is True
    # Whoever comes late neither renews nor ends what another has by now.
    assert not uploads.renew_hold(db, "one", "ann", until=NOW + 99 * SECOND)
    uploads.release_hold(db, "one", "ann")
    assert uploads.take_hold(db, "one", "ann", now=NOW + 4 * SECOND, until=NOW + 9 * SECOND) is False


def test_unknown_upload_is_held_by_nobody(db: Connection) -> None:
    assert uploads.take_hold(db, "one", "ann", now=NOW, until=NOW + SECOND) is None
    assert not uploads.renew_hold(db, "one", "ann", until=NOW + SECOND)
    uploads.release_hold(db, "one", "ann")


def test_hold_of_a_clock_that_was_ahead_does_not_count(db: Connection) -> None:
    uploads.add(db, replace(UPLOAD, id="one"), now=NOW)
    uploads.take_hold(db, "one", "ann", now=NOW + 3600 * SECOND, until=NOW + 3660 * SECOND)
    later = NOW + 3300 * SECOND
    assert uploads.take_hold(db, "one", "ben", now=later, until=later + 60 * SECOND) is False
    assert uploads.take_hold(db, "one", "ben", now=NOW, until=NOW + 60 * SECOND) is True
    assert not uploads.renew_hold(db, "one", "ann", until=NOW + 3700 * SECOND)


def test_holding_changes_nothing_else(db: Connection) -> None:
    uploads.add(db, UPLOAD, now=NOW)
    uploads.take_hold(db, "one", "ann", now=NOW + SECOND, until=NOW + 9 * SECOND)
    assert uploads.find(db, "one") == UPLOAD
    assert list(uploads.untouched_since(db, NOW + SECOND)) == ["one"]


def test_upload_is_removed_once(db: Connection) -> None:
    for name in ("one", "two"):
        uploads.add(db, replace(UPLOAD, id=name), now=NOW)
    assert uploads.remove(db, "one")
    assert not uploads.remove(db, "one")
    assert uploads.find(db, "one") is None
    assert uploads.find(db, "two") is not None


def test_untouched_uploads_are_told_by_their_last_advance(db: Connection) -> None:
    for at, name in enumerate(("one", "two", "three")):
        uploads.add(db, replace(UPLOAD, id=name), now=NOW + at * SECOND)
    assert list(uploads.untouched_since(db, NOW)) == []
    assert sorted(uploads.untouched_since(db, NOW + 2 * SECOND)) == ["one", "two"]
    uploads.advance(db, "one", 1, None, None, since=0, now=NOW + 9 * SECOND)
    assert sorted(uploads.untouched_since(db, NOW + 9 * SECOND)) == ["three", "two"]


def test_upload_needs_no_repository(db: Connection) -> None:
    uploads.add(db, replace(UPLOAD, repository="new/app"), now=NOW)
    add_repository(db, "new/app")
    assert uploads.find(db, "one") == replace(UPLOAD, repository="new/app")
    assert count(db, schema.uploads) == [1]
