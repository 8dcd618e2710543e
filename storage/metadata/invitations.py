"""Invitations: links that make an account, or a member of an organization, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, or_, select, update

from storage.metadata.schema import invitations, namespaces, teams


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation without its secret."""

    id: int
    organization_id: int | None
    team_id: int | None
    organization: str | None
    team: str | None
    as_owner: bool
    note: str
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    accepted_by: str | None


_I: Final = invitations.c


def _invitations() -> Select[*tuple[Any, ...]]:
    return (
        select(
            _I.id,
            _I.namespace_id,
            _I.team_id,
            namespaces.c.name,
            teams.c.name,
            _I.as_owner,
            _I.note,
            _I.invited_by,
            _I.created_at,
            _I.expires_at,
            _I.accepted_at,
            _I.accepted_by,
        )
        .outerjoin(namespaces, namespaces.c.id == _I.namespace_id)
        .outerjoin(teams, teams.c.id == _I.team_id)
    )


def add(
    db: Connection,
    secret_hash: str,
    *,
    organization_id: int | None,
    team_id: int | None,
    as_owner: bool,
    note: str,
    by: str,
    now: datetime,
    expires_at: datetime,
) -> int:
    """Keep an invitation and return its id."""
    new = invitations.insert().values(
        secret_hash=secret_hash,
        namespace_id=organization_id,
        team_id=team_id,
        as_owner=as_owner,
        note=note,
        invited_by=by,
        created_at=now,
        expires_at=expires_at,
    )
    added: int = db.execute(new.returning(_I.id)).scalar_one()
    return added


def of_organization(db: Connection, organization_id: int | None) -> Sequence[Invitation]:
    """Return the invitations to an organization, or to none, newest first."""
    statement = _invitations().where(_I.namespace_id == organization_id)
    return [Invitation(*row) for row in db.execute(statement.order_by(_I.id.desc()))]


def find(db: Connection, invitation_id: int) -> Invitation | None:
    """Return the invitation of that id, whatever became of it."""
    row = db.execute(_invitations().where(_I.id == invitation_id)).first()
    return None if row is None else Invitation(*row)


def open_by(db: Connection, secret_hash: str, *, now: datetime) -> Invitation | None:
    """Return the invitation that the secret is of, unless it was accepted or is too old."""
    statement = _invitations().where(
        _I.secret_hash == secret_hash, _I.accepted_at.is_(None), _I.expires_at > now
    )
    row = db.execute(statement).first()
    return None if row is None else Invitation(*row)


def accept(db: Connection, invitation_id: int, *, by: str, now: datetime) -> None:
    """Use an invitation up."""
    db.execute(update(invitations).where(_I.id == invitation_id).values(accepted_at=now, accepted_by=by))


def remove(db: Connection, invitation_id: int) -> None:
    """Withdraw an invitation."""
    db.execute(delete(invitations).where(_I.id == invitation_id))


def remove_before(db: Connection, moment: datetime) -> int:
    """Forget what was accepted or ran out before the moment; return how many."""
    statement = delete(invitations).where(or_(_I.expires_at < moment, _I.accepted_at < moment))
    return db.execute(statement).rowcount
