"""Names that repositories had before: they lead to the repository until another one is called so."""

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from storage.metadata import documents
from storage.metadata.engine import insert
from storage.metadata.repositories import ensure_namespace, namespace_of
from storage.metadata.schema import (
    access_token_repositories,
    repositories,
    repository_aliases,
    repository_roles,
    team_repository_roles,
)


class NameTaken(Exception):
    """A repository has the name."""


def rename(db: Connection, repository_id: int, new_name: str, *, make_namespace: bool, now: datetime) -> None:
    """Call the repository `new_name`; the name of before becomes an alias, and an alias of that name goes.

    In another namespace other people decide: roles of people and teams, and what tokens were made for, end.

    Raises:
        NameTaken: another repository is called so.
        NamespaceMissing: the new name's namespace is not there and `make_namespace` is false.
    """
    c = repositories.c
    if db.execute(select(c.id).where(c.name == new_name)).first() is not None:
        raise NameTaken(new_name)
    this = c.id == repository_id
    old_name, old_namespace = db.execute(select(c.name, c.namespace_id).where(this)).one()
    namespace_id = ensure_namespace(db, namespace_of(new_name), make=make_namespace, now=now)
    db.execute(delete(repository_aliases).where(repository_aliases.c.name == new_name))
    values = {"name": new_name, "namespace_id": namespace_id, "version": c.version + 1}
    db.execute(update(repositories).where(this).values(**values))
    alias = insert(db, repository_aliases)
    db.execute(alias.values(name=old_name, repository_id=repository_id, created_at=now))
    if namespace_id != old_namespace:
        for table in (repository_roles, team_repository_roles, access_token_repositories):
            db.execute(delete(table).where(table.c.repository_id == repository_id))
    documents.refresh(db, repository_id)
