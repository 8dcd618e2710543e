"""The catalog: repositories as people find and keep them.

Who may do something is asked in the transaction that does it: a right that was withdrawn is none.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

from auth.identity import Identity, Permission
from auth.policy import Role
from auth.scope import EVERY_ACTION
from registry.descriptions import CATEGORIES, RepositoryEdit, check_deprecation
from registry.errors import Problem, RegistryError
from registry.guards import check_version, invalid, not_here, require_account, require_login
from registry.listing import Listing, decode, page
from registry.local import viewer_of
from registry.membership import person_id
from registry.names import LIBRARY, RepositoryName, parse_name
from registry.rights import Seen, governs, require_creation, see
from storage.digest import Digest, InvalidDigest
from storage.metadata import (
    aliases,
    catalog,
    collaborators,
    consequences,
    manifests,
    order,
    organizations,
    repositories,
    stars,
    tag_listing,
    tags,
)
from storage.metadata.cards import Card
from storage.metadata.catalog import Filters, Sums
from storage.metadata.consequences import Consequences
from storage.metadata.engine import Connection, Metadata
from storage.metadata.order import Order as Sort
from storage.metadata.tag_listing import Sort as TagSort
from storage.metadata.tag_listing import TagRow

__all__ = [
    "CATEGORIES",
    "Card",
    "Catalog",
    "Collaborator",
    "Consequences",
    "Details",
    "May",
    "RepositoryEdit",
    "Sort",
    "TagRow",
    "TagSort",
]

T = TypeVar("T")

May = Literal["push", "delete", "admin"]

_NOTHING: Final = RepositoryEdit()

# A repository of so much is counted every so many seconds; so many are remembered.
_LARGE: Final = 10_000
_FRESH: Final = 15.0
_KNOWN: Final = 1000

# Characters of a tag: nothing longer is a part of one.
_MAX_TAG: Final = 128

# What the keys of a list are made of, by its order.
_KEYS: Final[dict[Sort, tuple[type | tuple[type, ...], ...]]] = {
    "name": (str,),
    "stars": (int, int, str),
    "pulls": (int, int, str),
    "pushed": ((int, type(None)), str),
}
_TAG_KEYS: Final[dict[TagSort, tuple[type, ...]]] = {
    "newest": (int, str),
    "oldest": (int, str),
    "name": (str,),
    "-name": (str,),
}


@dataclass(frozen=True, slots=True)
class Details:
    """A repository in full. `may`: what the caller may do besides pulling; `size` in bytes."""

    card: Card
    overview: str
    tag_count: int
    manifest_count: int
    size: int
    starred: bool
    may: frozenset[May]
    version: int
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collaborator:
    """Somebody who was given a role on a repository."""

    name: str
    role: Role


class _Sums:
    """What is in large repositories, as it was some seconds ago: it takes longer than a page may."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, Sums]] = {}

    def of(self, db: Connection, repository_id: int) -> Sums:
        """Return what is in a repository."""
        known, now = self._known.get(repository_id), time.monotonic()
        if known is not None and now - known[0] < _FRESH:
            return known[1]
        counted = catalog.sums(db, repository_id)
        if counted.tags + counted.manifests > _LARGE:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[repository_id] = (now, counted)
        return counted

    def forget(self, repository_id: int) -> None:
        """Count anew: something was deleted."""
        self._known.pop(repository_id, None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The repositories. `public`: whether one that nobody said more about may be seen by everybody."""

    metadata: Metadata
    public: bool = False
    sums: _Sums = field(default_factory=_Sums, repr=False)

    # -- looking ---------------------------------------------------------------------------------------

    async def repositories(
        self,
        caller: Identity,
        *,
        namespace: str | None = None,
        starred_by: str | None = None,
        kind: str | None = None,
        category: str | None = None,
        official: bool = False,
        sort: Sort = "name",
        cursor: str | None = None,
        limit: int = 25,
    ) -> Listing[Card]:
        """List the repositories that the caller may see; what a person starred, to who may see the person."""
        after = decode(cursor, *_KEYS[sort])
        filters = Filters(namespace, starred_by, kind, category, official)
        viewer = viewer_of(caller)

        def run(db: Connection) -> Sequence[Card]:
            stranger = caller.is_anonymous or caller.external
            if starred_by and stranger and not organizations.has_visible(db, starred_by, viewer):
                return []
            return catalog.browse(db, viewer, filters, sort, after=after, limit=limit + 1)

        return page(await self.metadata.read(run), limit, lambda card: order.key_of(card, sort))

    async def repository(self, caller: Identity, name: str) -> Details:
        """Return a repository, by its name or a former one."""
        return await self.metadata.read(_details, self.sums, caller, name)

    async def consequences(self, caller: Identity, name: str, tag: str | None = None) -> Consequences:
        """Tell what goes with a repository; with `tag`, what goes with that tag or digest of it."""

        def run(db: Connection) -> Consequences:
            seen = see(db, caller, name)
            if tag is None:
                return consequences.of_repository(db, seen.id)
            digest = _digest(tag) if ":" in tag else None
            if digest is not None:
                return _found(consequences.of_manifest(db, seen.id, digest))
            return _found(consequences.of_tag(db, seen.id, tag))

        return await self.metadata.read(run)

    # -- changing --------------------------------------------------------------------------------------

    async def create(self, caller: Identity, name: str, edit: RepositoryEdit = _NOTHING) -> Details:
        """Make a repository before anything is pushed. Former names of others are no hindrance.

        To make it public where that is not the rule takes the role of an administrator on the namespace.
        """
        full_name = _new_name(name)
        values, categories = edit.checked(_now())
        default = self.public or full_name.startswith(f"{LIBRARY}/")
        public = bool(values.pop("is_public", default))

        def run(db: Connection) -> None:
            standing = require_creation(db, caller, full_name)
            decides = (public and not default) or bool(values.get("archived_at"))
            if decides and not governs(caller, standing):
                raise RegistryError(
                    Problem.DENIED, "this takes the role of an administrator on the namespace"
                )
            repository_id = _make(db, caller, full_name, public=public)
            catalog.describe(db, repository_id, {**values, "is_public": public}, categories)

        await self.metadata.write(run)
        return await self.repository(caller, full_name)

    async def edit(
        self, caller: Identity, name: str, edit: RepositoryEdit, *, version: int | None = None
    ) -> Details:
        """Change what a repository says of itself, who may see it, and whether it is archived."""
        values, categories = edit.checked(_now())

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            if edit.archived is False:
                seen = seen.reopened()
            if edit.describes or not edit.governs:
                seen.require("push")
            if edit.governs:
                seen.require(EVERY_ACTION)
            check_version(version, _found(catalog.version_of(db, seen.id)))
            if values or categories is not None:
                catalog.edit(db, seen.id, values, categories)

        await self.metadata.write(run)
        return await self.repository(caller, name)

    async def rename(
        self, caller: Identity, name: str, new_name: str, *, version: int | None = None
    ) -> Details:
        """Give a repository another name, maybe in another namespace; the old one still leads to it."""
        full_name = _new_name(new_name)

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            seen.require(EVERY_ACTION)
            check_version(version, _found(catalog.version_of(db, seen.id)))
            if full_name == seen.name:
                return
            if repositories.namespace_of(full_name) != repositories.namespace_of(seen.name):
                require_creation(db, caller, full_name)
            _rename(db, caller, seen, full_name)

        await self.metadata.write(run)
        return await self.repository(caller, full_name)

    async def delete(self, caller: Identity, name: str) -> None:
        """Delete a repository with all that is in it."""

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            seen.require("delete")
            repositories.remove(db, seen.name)

        await self.metadata.write(run)

    async def star(self, caller: Identity, name: str, starred: bool) -> None:
        """Star a repository, or take the star back."""

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            require_login(caller, Permission.ADMIN)
            account_id = require_account(caller)
            if starred:
                stars.put(db, account_id, seen.id, now=_now())
            else:
                stars.remove(db, account_id, seen.id)

        await self.metadata.write(run)

    # -- people ----------------------------------------------------------------------------------------

    async def roles(self, caller: Identity, name: str) -> Sequence[Collaborator]:
        """List who was given a role on the repository itself."""

        def run(db: Connection) -> Sequence[Collaborator]:
            seen = see(db, caller, name)
            seen.require(EVERY_ACTION)
            granted = collaborators.of_repository(db, seen.id)
            return [Collaborator(each.name, Role(each.role)) for each in granted]

        return await self.metadata.read(run)

    async def set_role(self, caller: Identity, name: str, person: str, role: Role | None) -> None:
        """Give a person a role on the repository; None takes it away."""

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            seen.require(EVERY_ACTION)
            account_id = person_id(db, person)
            if role is not None:
                collaborators.put(db, seen.id, account_id, role)
            elif not collaborators.remove(db, seen.id, account_id):
                raise not_here()

        await self.metadata.write(run)

    # -- tags ------------------------------------------------------------------------------------------

    async def tags(
        self,
        caller: Identity,
        name: str,
        *,
        q: str = "",
        sort: TagSort = "newest",
        cursor: str | None = None,
        limit: int = 25,
    ) -> Listing[TagRow]:
        """List the tags that hold `q`."""
        after = decode(cursor, *_TAG_KEYS[sort])
        if len(q) > _MAX_TAG:
            return Listing([])

        def run(db: Connection) -> Sequence[TagRow]:
            seen = see(db, caller, name)
            return tag_listing.rows(
                db, seen.id, q=q, sort=sort, after=after, limit=limit + 1, today=_now().date()
            )

        return page(await self.metadata.read(run), limit, lambda row: tag_listing.key_of(row, sort))

    async def tag(self, caller: Identity, name: str, tag: str) -> TagRow:
        """Return a tag."""
        return await self.metadata.read(
            lambda db: _found(tag_listing.find(db, see(db, caller, name).id, tag, today=_now().date()))
        )

    async def deprecate_tag(self, caller: Identity, name: str, tag: str, text: str | None) -> TagRow:
        """Say what is told to whoever pulls by the tag; None is nothing."""
        deprecation = check_deprecation(text)

        def run(db: Connection) -> TagRow:
            seen = see(db, caller, name)
            seen.require("push")
            if not tag_listing.deprecate(db, seen.id, tag, deprecation):
                raise not_here()
            return _found(tag_listing.find(db, seen.id, tag, today=_now().date()))

        return await self.metadata.write(run)

    async def delete_tag(self, caller: Identity, name: str, tag: str) -> None:
        """Delete a tag, not what it means."""

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            seen.require("delete")
            if not tags.remove(db, seen.name, tag, now=_now()):
                raise not_here()
            self.sums.forget(seen.id)

        await self.metadata.write(run)

    async def delete_manifest(self, caller: Identity, name: str, digest: Digest) -> None:
        """Delete a manifest with its tags."""

        def run(db: Connection) -> None:
            seen = see(db, caller, name)
            seen.require("delete")
            if not manifests.remove(db, seen.name, digest, now=_now()):
                raise not_here()
            self.sums.forget(seen.id)

        await self.metadata.write(run)


def _details(db: Connection, sums_of: _Sums, caller: Identity, name: str) -> Details:
    seen = see(db, caller, name)
    described, sums = _found(catalog.find(db, seen.id)), sums_of.of(db, seen.id)
    may: dict[str, May] = {"push": "push", "delete": "delete", EVERY_ACTION: "admin"}
    return Details(
        described.card,
        described.overview,
        sums.tags,
        sums.manifests,
        sums.size,
        starred=caller.account_id is not None and stars.has(db, caller.account_id, seen.id),
        may=frozenset(word for action, word in may.items() if action in seen.allowed),
        version=described.version,
        aliases=described.aliases,
    )


def _make(db: Connection, caller: Identity, name: RepositoryName, *, public: bool) -> int:
    try:
        return repositories.ensure(db, name, public=public, make_namespace=caller.administers, now=_now())
    except repositories.NamespaceMissing as error:
        raise _namespace_missing() from error


def _rename(db: Connection, caller: Identity, seen: Seen, name: RepositoryName) -> None:
    try:
        aliases.rename(db, seen.id, name, make_namespace=caller.administers, now=_now())
    except repositories.NamespaceMissing as error:
        raise _namespace_missing() from error
    except aliases.NameTaken as error:
        raise RegistryError(Problem.NAME_TAKEN) from error


def _namespace_missing() -> RegistryError:
    return RegistryError(Problem.DENIED, "there is no such namespace")


def _new_name(text: str) -> RepositoryName:
    try:
        return parse_name(text)
    except RegistryError as error:
        raise invalid(name=error.message) from error


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise not_here() from error


def _found(value: T | None) -> T:
    """Return what a query found. Raises NOT_HERE for nothing."""
    if value is None:
        raise not_here()
    return value


def _now() -> datetime:
    return datetime.now(UTC)
