"""Who may do what: (identity, standing, requested scope) → granted scope. Pure.

Asking for too much is no error: what is granted is the intersection, maybe nothing
(https://distribution.github.io/distribution/spec/auth/token/).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from auth.identity import Identity, Permission
from auth.scope import EVERY_ACTION, Access, Scope

NOTHING: Final[frozenset[str]] = frozenset()
_PULL: Final = frozenset({"pull"})
_PUSH: Final = frozenset({"pull", "push"})
_EVERYTHING: Final = frozenset({"pull", "push", "delete", EVERY_ACTION})
_CATALOG: Final = frozenset({"pull", "search", EVERY_ACTION})


class Role(IntEnum):
    """What an account may do in a repository or a namespace; a higher role includes the lower ones."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """How one identity stands to one repository name.

    `role` is the effective one: the highest that the account has on the repository, on its namespace or
    through a team. For a repository that does not exist it is the role on the namespace.
    """

    exists: bool
    public: bool
    namespace_exists: bool
    role: Role | None = None
    repository_id: int | None = None
    name: str = ""
    """What the repository is called now, where it was asked for by a former name."""
    archived: bool = False

    @property
    def may_create(self) -> bool:
        """Whether the first push may create the repository. Administrators may anyway."""
        return not self.exists and self.namespace_exists and self.role is not None and self.role >= Role.WRITE


def allowed_actions(identity: Identity, standing: Standing) -> frozenset[str]:
    """Return the actions of {"pull", "push", "delete", "*"} that `identity` has on one repository.

    Raises ValueError for an external identity: its token says what it may do, nothing here does.
    """
    if identity.external:
        raise ValueError("the scope of an external identity is in its token")
    allowed = _actions_of_account(identity, standing)
    if standing.archived:
        allowed -= {"push"}
    limit = identity.limit
    if limit is None:
        return allowed
    if not limit.covers(Permission.READ, standing.repository_id):
        # For this repository the token is nothing: who has it is no worse off than without it.
        return allowed & _PULL if standing.public else NOTHING
    return allowed & _ACTIONS_WITH[limit.permission]


def _actions_of_account(identity: Identity, standing: Standing) -> frozenset[str]:
    if identity.is_admin:
        return _EVERYTHING
    role = None if identity.is_anonymous else standing.role
    if not standing.exists:
        # Push without pull is of no use to clients: they ask for both and look for blobs first.
        return _PUSH if standing.may_create and role is not None else NOTHING
    if role is None:
        return _PULL if standing.public else NOTHING
    return _ACTIONS_OF[role]


def grant(identity: Identity, requested: Scope, standing_of: Callable[[str], Standing]) -> Scope:
    """Return the part of `requested` that `identity` has; a requested "*" expands to all that is allowed.

    `standing_of` is asked once for each requested repository, by the name as it was requested. Everybody
    may ask for the catalog, as lists are filtered by what the caller may see; whoever is somebody may ask for
    the interface of the catalog, as far as what they came with goes. Other types get nothing.
    """
    api = frozenset[str]() if identity.is_anonymous else _api_actions(identity)

    def allowed(access: Access) -> frozenset[str]:
        if access.type == "repository":
            return allowed_actions(identity, standing_of(access.name))
        return {("registry", "catalog"): _CATALOG, ("registry", "api"): api}.get(
            (access.type, access.name), NOTHING
        )

    return Scope(Access(each.type, each.name, _meet(each.actions, allowed(each))) for each in requested)


def api_permission(scope: Scope) -> Permission | None:
    """Return how far a token of this scope goes in the catalog's interface; None is not at all."""
    granted = [each for each in Permission if scope.allows("registry", "api", each.name.lower())]
    return max(granted, default=None)


def _api_actions(identity: Identity) -> frozenset[str]:
    actions = {each.name.lower() for each in Permission if identity.may(each)}
    return frozenset(actions | {EVERY_ACTION} if identity.may(Permission.ADMIN) else actions)


def _meet(requested: frozenset[str], allowed: frozenset[str]) -> frozenset[str]:
    # Not the intersection of scopes: an allowed "*" must not grant an action that nobody has heard of.
    return allowed if EVERY_ACTION in requested else requested & allowed


_ACTIONS_OF: Final = {Role.READ: _PULL, Role.WRITE: _PUSH, Role.ADMIN: _EVERYTHING}
_ACTIONS_WITH: Final = {
    Permission.READ: _PULL,
    Permission.WRITE: _PUSH,
    Permission.DELETE: _PUSH | {"delete"},
    Permission.ADMIN: _EVERYTHING,
}
