"""What a caller may do with one repository; asked in the transaction of what depends on it."""

from dataclasses import dataclass, replace
from typing import Final

from auth.identity import ANONYMOUS, Identity
from auth.policy import Standing, allowed_actions
from auth.scope import EVERY_ACTION
from registry.accounts import standing_of
from registry.errors import Problem, RegistryError
from registry.guards import not_here
from registry.names import RepositoryName, parse_name
from storage.metadata.engine import Connection

ARCHIVED: Final = "the repository is archived: nothing changes in it"


@dataclass(frozen=True, slots=True)
class Seen:
    """A repository that the caller may see, under the name that it has now."""

    id: int
    name: RepositoryName
    asked: RepositoryName
    """What the caller calls it: another name where that is a former one."""
    caller: Identity
    archived: bool
    allowed: frozenset[str]

    def require(self, action: str) -> None:
        """Return if the caller may do this: "push", "delete" or "*".

        Raises:
            RegistryError: UNAUTHORIZED, DENIED; CONFLICT for a change under a former name.
        """
        if action not in self.allowed:
            raise _refusal(self.caller, ARCHIVED if action == "push" and self.archived else "")
        if self.name != self.asked:
            raise RegistryError(Problem.CONFLICT, f"{self.asked} is called {self.name} now")

    def reopened(self) -> "Seen":
        """Return it as it is once it is no longer archived: who may do that may push then."""
        if EVERY_ACTION not in self.allowed:
            return self
        return replace(self, allowed=self.allowed | {"push"}, archived=False)


def see(db: Connection, caller: Identity, name: str) -> Seen:
    """Return a repository that the caller may see, by its name or a former one. Raises NOT_HERE."""
    try:
        asked = parse_name(name)
    except RegistryError as error:
        raise not_here() from error
    standing = standing_of(db, caller, asked)
    allowed = _allowed(caller, standing)
    if standing.repository_id is None or "pull" not in allowed:
        raise not_here()
    return Seen(
        standing.repository_id, RepositoryName(standing.name), asked, caller, standing.archived, allowed
    )


def require_creation(db: Connection, caller: Identity, name: RepositoryName) -> Standing:
    """Return how the caller stands to a name that nobody has, if it may make a repository of it.

    Raises:
        RegistryError: UNAUTHORIZED, DENIED; NAME_TAKEN where the caller could have made it.
    """
    standing = standing_of(db, caller, name, former=False)
    if "push" not in _allowed(caller, replace(standing, exists=False, repository_id=None)):
        raise _refusal(caller, "this takes the right to push to the whole namespace")
    if standing.exists:
        raise RegistryError(Problem.NAME_TAKEN)
    return standing


def governs(caller: Identity, standing: Standing) -> bool:
    """Tell whether the caller decides who sees what is made under a name that nobody has."""
    return EVERY_ACTION in _allowed(caller, replace(standing, exists=True))


def _allowed(caller: Identity, standing: Standing) -> frozenset[str]:
    # What an outside token says is about content; here its bearer is anybody.
    return allowed_actions(ANONYMOUS if caller.external else caller, standing)


def _refusal(caller: Identity, message: str = "") -> RegistryError:
    if caller.is_anonymous:
        return RegistryError(Problem.UNAUTHORIZED)
    return RegistryError(Problem.DENIED, message)
