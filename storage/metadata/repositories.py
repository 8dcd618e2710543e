"""Namespaces, repositories and the roles that accounts have on them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Connection,
    ScalarSelect,
    Table,
    and_,
    bindparam,
    delete,
    false,
    func,
    or_,
    select,
    true,
    union_all,
    update,
)

from storage.digest import Digest
from storage.metadata import documents
from storage.metadata.engine import insert
from storage.metadata.schema import (
    accounts,
    blob_links,
    blobs,
    manifests,
    namespace_roles,
    namespaces,
    organization_members,
    repositories,
    repository_aliases,
    repository_roles,
    tags,
    team_members,
    team_repository_roles,
    teams,
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

    name: str
    """The repository's name now: another one than was asked for when it was renamed."""
    namespace_exists: bool
    repository_id: int | None
    is_public: bool
    is_archived: bool
    role: int | None
    """The highest of the roles on the namespace and on the repository, one's own and those of teams."""

    @property
    def exists(self) -> bool:
        """Whether there is a repository of the name, or was one that is called otherwise now."""
        return self.repository_id is not None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose eyes a list is made for; `only` are the ids of all that the viewer may see beside the public."""

    account_id: int | None = None
    sees_all: bool = False
    only: frozenset[int] | None = None


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
_ME: Final[BindParameter[int | None]] = bindparam("account_id")
_TEAMS: Final = select(team_members.c.team_id).where(team_members.c.account_id == _ME)
_RIGHTS: Final = (
    select(
        namespaces.c.owner_id,
        repositories.c.id,
        repositories.c.is_public,
        repositories.c.archived_at,
        organization_members.c.is_owner,
        namespace_roles.c.role,
        repository_roles.c.role,
        select(func.max(teams.c.role))
        .where(teams.c.namespace_id == namespaces.c.id, teams.c.id.in_(_TEAMS))
        .scalar_subquery(),
        select(func.max(team_repository_roles.c.role))
        .where(
            team_repository_roles.c.repository_id == repositories.c.id,
            team_repository_roles.c.team_id.in_(_TEAMS),
        )
        .scalar_subquery(),
    )
    .select_from(namespaces)
    .outerjoin(repositories, repositories.c.name == bindparam("name"))
    .outerjoin(
        organization_members,
        and_(
            organization_members.c.namespace_id == namespaces.c.id,
            organization_members.c.account_id == _ME,
        ),
    )
    .outerjoin(
        namespace_roles,
        and_(namespace_roles.c.namespace_id == namespaces.c.id, namespace_roles.c.account_id == _ME),
    )
    .outerjoin(
        repository_roles,
        and_(repository_roles.c.repository_id == repositories.c.id, repository_roles.c.account_id == _ME),
    )
    .where(namespaces.c.name == bindparam("namespace"))
)

_RENAMED: Final = (
    select(repositories.c.name)
    .join(repository_aliases, repository_aliases.c.repository_id == repositories.c.id)
    .where(repository_aliases.c.name == bindparam("name"))
)


def rights(db: Connection, name: str, account_id: int | None, *, former: bool = True) -> Rights:
    """Return what decides over the account's rights on the repository `name`, which need not exist.

    `former` says that a former name of a repository means it as well.
    """
    found = _rights(db, name, account_id)
    if found.exists or not former:
        return found
    renamed: str | None = db.execute(_RENAMED, {"name": name}).scalar()
    return found if renamed is None else _rights(db, renamed, account_id)


def _rights(db: Connection, name: str, account_id: int | None) -> Rights:
    parameters = {"name": name, "namespace": namespace_of(name), "account_id": account_id}
    row = db.execute(_RIGHTS, parameters).first()
    if row is None:
        return Rights(
            name, namespace_exists=False, repository_id=None, is_public=False, is_archived=False, role=None
        )
    owner_id, repository_id, is_public, archived_at, is_owner, *roles = row
    owned = (account_id is not None and owner_id == account_id) or is_owner
    return Rights(
        name,
        namespace_exists=True,
        repository_id=repository_id,
        is_public=bool(is_public),
        is_archived=archived_at is not None,
        role=OWNER_ROLE if owned else max((each for each in roles if each is not None), default=None),
    )


def can_be_made(db: Connection, name: str) -> bool:
    """Tell whether the repository is there, or its namespace for a first push to make it in."""
    return rights(db, name, None).namespace_exists


def id_of(name: str) -> ScalarSelect[int]:
    """Return the subquery for the id of a repository."""
    return select(repositories.c.id).where(repositories.c.name == name).scalar_subquery()


_BY_NAME: Final = select(repositories.c.id).where(repositories.c.name == bindparam("name"))


def ensure(db: Connection, name: str, *, public: bool, make_namespace: bool, now: datetime) -> int:
    """Return the id of the repository `name`, made now if it is not there; no former name stays one.

    Raises:
        NamespaceMissing: its namespace is not there and `make_namespace` is false.
    """
    found: int | None = db.execute(_BY_NAME, {"name": name}).scalar()
    if found is not None:
        return found
    namespace_id = ensure_namespace(db, namespace_of(name), make=make_namespace, now=now)
    new = insert(db, repositories).values(
        namespace_id=namespace_id, name=name, is_public=public, created_at=now
    )
    db.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    made: int = db.execute(_BY_NAME, {"name": name}).scalar_one()
    db.execute(delete(repository_aliases).where(repository_aliases.c.name == name))
    documents.refresh(db, made)
    return made


def ensure_namespace(db: Connection, name: str, *, make: bool, now: datetime) -> int:
    """Return the id of the namespace, made now if it is not there and `make` says so.

    Raises:
        NamespaceMissing: it is not there and `make` is false.
    """
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


def count(db: Connection, namespace: str, viewer: Viewer) -> int:
    """Return how many repositories of the namespace the viewer may see."""
    statement = select(func.count()).select_from(repositories).join(namespaces)
    found: int = db.execute(statement.where(namespaces.c.name == namespace, visible_to(viewer))).scalar_one()
    return found


def visible_to(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition under which a row of `repositories` may be known to the viewer."""
    if viewer.sees_all and viewer.only is None:
        return true()
    if viewer.account_id is None and not viewer.sees_all:
        return repositories.c.is_public
    return or_(repositories.c.is_public, shared_with(viewer))


def shared_with(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition under which a row may be known to the viewer even though it is private."""
    if viewer.only is not None:
        return and_(repositories.c.id.in_(viewer.only), shared_with(replace(viewer, only=None)))
    if viewer.sees_all:
        return true()
    if viewer.account_id is None:
        return false()
    return or_(
        repositories.c.namespace_id.in_(_seen_namespaces(viewer.account_id)),
        repositories.c.id.in_(_seen_repositories(viewer.account_id)),
    )


def _seen_namespaces(account_id: int) -> CompoundSelect[int]:
    """Return the namespaces that the account has a role on: as owner, by itself or through a team."""
    return union_all(
        select(namespaces.c.id).where(namespaces.c.owner_id == account_id),
        select(organization_members.c.namespace_id).where(
            organization_members.c.account_id == account_id, organization_members.c.is_owner
        ),
        select(namespace_roles.c.namespace_id).where(namespace_roles.c.account_id == account_id),
        select(teams.c.namespace_id)
        .join(team_members)
        .where(team_members.c.account_id == account_id, teams.c.role.is_not(None)),
    )


def _seen_repositories(account_id: int) -> CompoundSelect[int]:
    """Return the repositories that the account has a role on: by itself or through a team."""
    return union_all(
        select(repository_roles.c.repository_id).where(repository_roles.c.account_id == account_id),
        select(team_repository_roles.c.repository_id)
        .join(team_members, team_members.c.team_id == team_repository_roles.c.team_id)
        .where(team_members.c.account_id == account_id),
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
    changed = db.execute(statement.returning(repositories.c.id)).scalar()
    if changed is not None:
        documents.refresh(db, changed)
    return changed is not None


def remove(db: Connection, name: str) -> bool:
    """Delete the repository with its tags, manifests, links and roles; tell whether there was one."""
    statement = delete(repositories).where(repositories.c.name == name)
    removed = db.execute(statement.returning(repositories.c.id)).scalar()
    if removed is not None:
        documents.forget(db, removed)
    return removed is not None


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


_PRESENT: Final = {
    content: select(content.c.digest).where(
        content.c.repository_id == bindparam("repository_id"),
        content.c.digest.in_(bindparam("some", expanding=True)),
    )
    for content in (blob_links, manifests)
}


def lacks(db: Connection, repository_id: int, content: Table, digests: Iterable[Digest]) -> list[Digest]:
    """Return those digests that the repository has no row for in `content` (blob links or manifests)."""
    wanted = list(dict.fromkeys(digests))
    found: set[str] = set()
    for some in portions(wanted):
        found.update(db.execute(_PRESENT[content], {"repository_id": repository_id, "some": some}).scalars())
    return [digest for digest in wanted if digest not in found]


def portions(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield the values again, as many at a time as a statement has room for."""
    rest = iter(values)
    while some := list(islice(rest, _IN_LIMIT)):
        yield some
