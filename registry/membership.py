"""Who stands how to an organization; asked in the transaction of the change that depends on it."""

import contextlib
from collections.abc import Iterator

from auth.identity import Identity, Permission
from registry.errors import Problem, RegistryError
from registry.guards import not_here, require_login
from registry.local import viewer_of
from storage.metadata import accounts, organizations
from storage.metadata.accounts import Account
from storage.metadata.engine import Connection
from storage.metadata.organizations import LastOwner, Organization


def visible(db: Connection, caller: Identity, name: str) -> Organization:
    """Return an organization that the caller may know. Raises NOT_HERE."""
    viewer = viewer_of(caller)
    found = organizations.find(db, name, viewer)
    if found is None or (caller.is_anonymous and not organizations.has_visible(db, name, viewer)):
        raise not_here()
    return found


def joined(db: Connection, caller: Identity, name: str) -> Organization:
    """Return an organization that the caller belongs to, for a change or a look at its people."""
    found = visible(db, caller, name)
    require_login(caller, Permission.ADMIN)
    if found.is_owner is None and not caller.administers:
        raise RegistryError(Problem.DENIED, "this is for members of the organization")
    return found


def owned(db: Connection, caller: Identity, name: str) -> Organization:
    """Return an organization that the caller owns."""
    found = visible(db, caller, name)
    require_login(caller, Permission.ADMIN)
    if not found.is_owner and not caller.administers:
        raise RegistryError(Problem.DENIED, "this is for owners of the organization")
    return found


def person(db: Connection, name: str, message: str = "") -> Account:
    """Return a person's account; a robot is none. Raises NOT_HERE."""
    found = accounts.find(db, name)
    if found is None or found.is_robot:
        raise RegistryError(Problem.NOT_HERE, message)
    return found


def person_id(db: Connection, name: str) -> int:
    """Return the id of a person's account. Raises NOT_HERE in words for whoever typed the name."""
    return person(db, name, f"there is no account {name}").id


@contextlib.contextmanager
def keeping_an_owner() -> Iterator[None]:
    """Refuse a change that would leave an organization without an owner. Raises CONFLICT."""
    try:
        yield
    except LastOwner as error:
        raise RegistryError(Problem.CONFLICT, "an organization keeps one owner at least") from error
