"""Namespaces, repositories and the roles that accounts have on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    true,
    update,
)

from storage.digest import Digest
from storage.metadata.engine import insert
from storage.metadata.schema import (
    accounts,
    blob_links,
    blobs,
    manifests,
    namespace_roles,
    namespaces,
    repositories,
    repository_roles,
    tags,
)

# A statement has room for some tens of thousands of parameters; a manifest may name more.
_IN_LIMIT: Final = 1000

OWNER_ROLE: Final = 3
"""What owning a namespace amounts to: the highest role, admin."""


class NamespaceMissing(Exception):
    """The namespace is not there, and this caller's push may not make it."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's row."""

    id: int
    name: str
    is_public: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Rights:
    """What is known of one repository name and one account; role numbers as in `auth.policy.Role`."""

    namespace_exists: bool
    exists: bool
    is_public: bool
    role: int | None
    """The higher of the roles on the namespace and on the repository."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose eyes a list is made for."""

    account_id: int | None = None
    sees_all: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list of repositories tells of each."""

    name: str
    is_public: bool
    tags: int
    manifests: int
    size: int
    """Bytes of the blobs that it links; a blob shared with another repository counts in both."""


def find(db: Connection, name: str) -> Repository | None:
    """Return the repository of that full name."""
    columns = repositories.c
    statement = select(columns.id, columns.name, columns.is_public, columns.created_at)
    row = db.execute(statement.where(columns.name == name)).first()
    return None if row is None else Repository(*row)


_EXISTS: Final = select(repositories.c.id).where(repositories.c.name == bindparam("name"))


def exists(db: Connection, name: str) -> bool:
    """Tell whether there is a repository of that full name."""
    return db.execute(_EXISTS, {"name": name}).first() is not None


# Built once, as it is asked on every request: building costs more than a run.
_RIGHTS: Final = (
    select(
        namespaces.c.owner_id,
        namespace_roles.c.role,
        repositories.c.id,
        repositories.c.is_public,
        repository_roles.c.role,
    )
    .select_from(namespaces)
    .outerjoin(
        namespace_roles,
        and_(
            namespace_roles.c.namespace_id == namespaces.c.id,
            namespace_roles.c.account_id == bindparam("account_id"),
        ),
    )
    .outerjoin(repositories, repositories.c.name == bindparam("name"))
    .outerjoin(
        repository_roles,
        and_(
            repository_roles.c.repository_id == repositories.c.id,
            repository_roles.c.account_id == bindparam("account_id"),
        ),
    )
    .where(namespaces.c.name == bindparam("namespace"))
)


def rights(db: Connection, name: str, account_id: int | None) -> Rights:
    """Return what decides over the account's rights on the repository `name`, which need not exist."""
    parameters = {"name": name, "namespace": namespace_of(name), "account_id": account_id}
    row = db.execute(_RIGHTS, parameters).first()
    if row is None:
        return Rights(namespace_exists=False, exists=False, is_public=False, role=None)
    owner_id, granted, repository_id, is_public, role = row
    owned = OWNER_ROLE if account_id is not None and owner_id == account_id else None
    return Rights(
        namespace_exists=True,
        exists=repository_id is not None,
        is_public=bool(is_public),
        role=max((each for each in (owned, granted, role) if each is not None), default=None),
    )


def can_be_made(db: Connection, name: str) -> bool:
    """Tell whether the repository is there, or its namespace for a first push to make it in."""
    return rights(db, name, None).namespace_exists


def id_of(name: str) -> ScalarSelect[int]:
    """Return the subquery for the id of a repository."""
    return select(repositories.c.id).where(repositories.c.name == name).scalar_subquery()


def ensure(db: Connection, name: str, *, public: bool, make_namespace: bool, now: datetime) -> int:
    """Return the id of the repository `name`, made now if it is not there.

    Raises:
        NamespaceMissing: its namespace is not there and `make_namespace` is false.
    """
    by_name = select(repositories.c.id).where(repositories.c.name == name)
    found: int | None = db.execute(by_name).scalar()
    if found is not None:
        return found
    namespace_id = _ensure_namespace(db, namespace_of(name), make=make_namespace, now=now)
    new = insert(db, repositories).values(
        namespace_id=namespace_id, name=name, is_public=public, created_at=now
    )
    db.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    made: int = db.execute(by_name).scalar_one()
    return made


def _ensure_namespace(db: Connection, name: str, *, make: bool, now: datetime) -> int:
    by_name = select(namespaces.c.id).where(namespaces.c.name == name)
    found: int | None = db.execute(by_name).scalar()
    if found is not None:
        return found
    if not make:
        raise NamespaceMissing(name)
    new = insert(db, namespaces).values(name=name, created_at=now)
    db.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    made: int = db.execute(by_name).scalar_one()
    return made


def names(db: Connection, viewer: Viewer, *, last: str, limit: int) -> Sequence[str]:
    """Return the names after `last` that the viewer may see, in byte order, at most `limit`."""
    statement = (
        select(repositories.c.name)
        .where(repositories.c.name > last, visible_to(viewer))
        .order_by(repositories.c.name)
        .limit(limit)
    )
    return db.execute(statement).scalars().all()


def visible_to(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition under which a row of `repositories` may be known to the viewer."""
    if viewer.sees_all:
        return true()
    if viewer.account_id is None:
        return repositories.c.is_public
    own = select(namespaces.c.id).where(namespaces.c.owner_id == viewer.account_id)
    in_namespace = select(namespace_roles.c.namespace_id).where(
        namespace_roles.c.account_id == viewer.account_id
    )
    on_repository = select(repository_roles.c.repository_id).where(
        repository_roles.c.account_id == viewer.account_id
    )
    return or_(
        repositories.c.is_public,
        repositories.c.namespace_id.in_(own),
        repositories.c.namespace_id.in_(in_namespace),
        repositories.c.id.in_(on_repository),
    )


def summaries(db: Connection, *, name: str | None = None) -> Sequence[Summary]:
    """Return every repository, or the one called `name`, with counts, in byte order of the names."""
    tag_count = _count(tags.c.repository_id == repositories.c.id)
    manifest_count = _count(manifests.c.repository_id == repositories.c.id)
    size = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .select_from(blob_links)
        .join(blobs)
        .where(blob_links.c.repository_id == repositories.c.id)
        .scalar_subquery()
    )
    statement = select(repositories.c.name, repositories.c.is_public, tag_count, manifest_count, size)
    if name is not None:
        statement = statement.where(repositories.c.name == name)
    return [Summary(*row) for row in db.execute(statement.order_by(repositories.c.name))]


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).where(condition).scalar_subquery()


def set_public(db: Connection, name: str, *, public: bool) -> bool:
    """Change who may pull; tell whether there is such a repository."""
    statement = update(repositories).where(repositories.c.name == name).values(is_public=public)
    return db.execute(statement).rowcount > 0


def remove(db: Connection, name: str) -> bool:
    """Delete the repository with its tags, manifests, links and roles; tell whether there was one."""
    return db.execute(delete(repositories).where(repositories.c.name == name)).rowcount > 0


def grant(db: Connection, target: str, account_name: str, role: int | None) -> str | None:
    """Give the account `role` on a repository (`a/b`) or a namespace (`a`); None takes it away.

    Returns:
        What is missing ("account", "namespace" or "repository"), or None when it is done.
    """
    account_id = db.execute(select(accounts.c.id).where(accounts.c.name == account_name)).scalar()
    if account_id is None:
        return "account"
    of_repository = "/" in target
    owner, table, column = (
        (repositories, repository_roles, "repository_id")
        if of_repository
        else (namespaces, namespace_roles, "namespace_id")
    )
    target_id = db.execute(select(owner.c.id).where(owner.c.name == target)).scalar()
    if target_id is None:
        return "repository" if of_repository else "namespace"
    key = {column: target_id, "account_id": account_id}
    if role is None:
        db.execute(delete(table).filter_by(**key))
    else:
        new = insert(db, table).values(role=role, **key)
        db.execute(new.on_conflict_do_update(index_elements=list(key), set_={"role": role}))
    return None


def namespace_of(name: str) -> str:
    """Return the part of a full repository name that says whose it is."""
    return name.partition("/")[0]


def lacks(db: Connection, repository_id: int, content: Table, digests: Iterable[Digest]) -> list[Digest]:
    """Return those digests that the repository has no row for in `content` (blob links or manifests)."""
    wanted = list(dict.fromkeys(digests))
    found: set[str] = set()
    for start in range(0, len(wanted), _IN_LIMIT):
        some = wanted[start : start + _IN_LIMIT]
        statement = select(content.c.digest).where(
            content.c.repository_id == repository_id, content.c.digest.in_(some)
        )
        found.update(db.execute(statement).scalars())
    return [digest for digest in wanted if digest not in found]
