from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from storage.metadata.schema import leases, metadata
from tests.storage.properties import PROPERTY

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OFFSETS = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))


def keep(db: Connection, moment: datetime) -> datetime:
    db.execute(leases.delete())
    db.execute(leases.insert().values(name="job", holder="one", expires_at=moment))
    kept: datetime = db.execute(select(leases.c.expires_at)).scalar_one()
    return kept


@PROPERTY
@given(moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 30), timezones=OFFSETS))  # noqa: DTZ001
def test_moment_comes_back_exact(db: Connection, moment: datetime) -> None:
    kept = keep(db, moment)
    assert kept == moment.astimezone(UTC)
    assert kept.tzinfo is UTC


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        (EPOCH, 0),
        (EPOCH + timedelta(microseconds=1), 1),
        (EPOCH - timedelta(microseconds=1), -1),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
        (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), 1767323045678901),
    ],
)
def test_moment_is_kept_in_microseconds(db: Connection, moment: datetime, kept: int) -> None:
    assert keep(db, moment) == moment
    assert db.execute(text("SELECT expires_at FROM leases")).scalar_one() == kept


def test_moment_without_a_time_zone_is_refused(db: Connection) -> None:
    with pytest.raises(StatementError):
        keep(db, datetime(2026, 1, 2))  # noqa: DTZ001


def test_every_constraint_has_a_name() -> None:
    assert [c for table in metadata.tables.values() for c in table.constraints if c.name is None] == []


@pytest.mark.parametrize(
    "row",
    [
        "repositories (namespace_id, name, is_public, created_at) VALUES (99, 'a/b', true, 0)",
        "repositories (namespace_id, name, is_public, created_at) VALUES (1, NULL, true, 0)",
        "namespaces (name, created_at) VALUES ('library', 0)",
        "blob_links VALUES (99, 'sha256:x', 0)",
        "manifests VALUES (99, 'sha256:x', '', 0, NULL, NULL, NULL, 0, NULL, '', NULL)",
        "tags VALUES (99, 'tag', 'sha256:x', 0, NULL, NULL, NULL)",
        "namespace_roles VALUES (1, 99, 1)",
        "repository_roles VALUES (99, 99, 1)",
        "refresh_tokens VALUES (1, 99, 'secret', 'client', 0, 0, NULL)",
    ],
)
def test_row_that_contradicts_another_is_refused(db: Connection, row: str) -> None:
    with pytest.raises(IntegrityError):
        db.execute(text(f"INSERT INTO {row}"))
