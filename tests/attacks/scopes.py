"""Rights that are asked for, claimed, or used where they were not given."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.tokens import PULL
from tests.attacks.town import ALICE, BOB, MALLORY, OWN, PRIVATE, PUBLIC, Town
from tests.e2e.clients import Account
from tests.e2e.wire import Answer

_DENIED: Final = Refusal(403, '"code": "denied"')
_BETTER: Final = Refusal(401, 'error="insufficient_scope"')
_NOT_HERE: Final = Refusal(404, '"code": "not-here"')

EVERYTHING: Final = f"repository:{PRIVATE}:pull,push,delete"


def _pull_with(*scopes: str, town: Town) -> Answer:
    """Ask for these scopes as Mallory, and for the secret with what is granted."""
    return town.pull(town.token(MALLORY, *scopes))


def _list_with(scope: str, town: Town) -> Answer:
    return town.bearing(town.token(MALLORY, scope), "GET", "/v2/_catalog")


def _push(who: Account | None, scope: str, repository: str, town: Town) -> Answer:
    return town.bearing(town.token(who, scope), "POST", f"/v2/{repository}/blobs/uploads/")


def _delete(who: Account, scope: str, town: Town) -> Answer:
    return town.bearing(town.token(who, scope), "DELETE", f"/v2/{PRIVATE}/manifests/v1")


def _api_with(scope: str, method: str, path: str, document: object, town: Town) -> Answer:
    """Change something as Alice, with a token of a lesser scope."""
    bearer = f"Bearer {town.token(ALICE, scope)}"
    return town.api(None, method, path, document, Authorization=bearer)


def _access_token(who: Account, permission: str, only: str | None, town: Town) -> Account:
    bound: dict[str, Any] = {} if only is None else {"repositories": [only]}
    return town.access_token(who, permission, **bound)[0]


def _with_access_token(permission: str, method: str, path: str, document: object, town: Town) -> Answer:
    return town.api(_access_token(ALICE, permission, None, town), method, path, document)


def _bound_elsewhere(town: Town) -> Answer:
    login = _access_token(BOB, "read", PUBLIC, town)
    return town.pull(town.token(login, PULL))


def _reading_token_pushes(town: Town) -> Answer:
    login = _access_token(ALICE, "read", None, town)
    return _push(login, EVERYTHING, PRIVATE, town)


def _as(who: Account | None, method: str, path: str, document: object, town: Town) -> Answer:
    return town.api(who, method, path, document)


ROLES: Final = f"/repositories/{PRIVATE}/-/roles"

ATTACKS: Final[Sequence[Attack]] = [
    Attack(
        "scope: everything in somebody's repository",
        partial(lambda town: _pull_with(EVERYTHING, town=town)),
        _BETTER,
    ),
    Attack("scope: every action", lambda town: _pull_with(f"repository:{PRIVATE}:*", town=town), _BETTER),
    Attack("scope: every repository", lambda town: _pull_with("repository:*:pull", town=town), _BETTER),
    Attack(
        "scope: every repository of somebody",
        lambda town: _pull_with("repository:alice/*:pull", town=town),
        _BETTER,
    ),
    Attack(
        "scope: a class of repositories",
        lambda town: _pull_with(f"repository(plugin):{PRIVATE}:pull", town=town),
        _BETTER,
    ),
    Attack(
        "scope: one's own repository, used elsewhere",
        lambda town: _pull_with(f"repository:{OWN}:pull,push", town=town),
        _BETTER,
    ),
    Attack(
        "scope: one's own and somebody's",
        lambda town: _pull_with(f"repository:{OWN}:pull", EVERYTHING, town=town),
        _BETTER,
    ),
    Attack(
        "scope: a path from one's own to somebody's",
        lambda town: _pull_with("repository:mallory/../alice/secret:pull", town=town),
        _BETTER,
    ),
    Attack(
        "scope: the whole catalog",
        partial(_list_with, "registry:catalog:*"),
        Refusal(200, PUBLIC, never=PRIVATE),
    ),
    Attack(
        "scope: the catalog with a token of a repository",
        partial(_list_with, f"repository:{OWN}:pull"),
        _BETTER,
    ),
    Attack("scope: a reader pushes", partial(_push, BOB, EVERYTHING, PRIVATE), _BETTER),
    Attack("scope: a reader deletes", partial(_delete, BOB, EVERYTHING), _BETTER),
    Attack("scope: a puller's token pushes", partial(_push, ALICE, PULL, PRIVATE), _BETTER),
    Attack(
        "scope: a pusher's token deletes", partial(_delete, ALICE, f"repository:{PRIVATE}:pull,push"), _BETTER
    ),
    Attack(
        "scope: nobody pushes to what everybody may pull",
        partial(_push, None, f"repository:{PUBLIC}:pull,push", PUBLIC),
        _BETTER,
    ),
    Attack(
        "scope: a push into somebody's namespace",
        partial(_push, MALLORY, "repository:alice/new:pull,push", "alice/new"),
        _BETTER,
    ),
    Attack(
        "scope: a push into the registry's namespace",
        partial(_push, MALLORY, "repository:library/app:pull,push", "library/app"),
        _BETTER,
    ),
    Attack(
        "scope: a reader of the interface writes",
        partial(_api_with, "registry:api:read", "PATCH", "/me", {"about": "x"}),
        _DENIED,
    ),
    Attack(
        "scope: a token of a repository at the interface",
        partial(_api_with, PULL, "GET", "/me", None),
        _BETTER,
    ),
    Attack("access token: for reading, pushes", _reading_token_pushes, _BETTER),
    Attack("access token: for one repository, pulls another", _bound_elsewhere, _BETTER),
    Attack(
        "access token: for reading, changes visibility",
        partial(_with_access_token, "read", "PATCH", f"/repositories/{PRIVATE}", {"public": True}),
        _DENIED,
    ),
    Attack(
        "access token: makes one that may do more",
        partial(_with_access_token, "delete", "POST", "/me/tokens", {"name": "x", "permission": "admin"}),
        _DENIED,
    ),
    Attack(
        "access token: changes the password",
        partial(
            _with_access_token,
            "delete",
            "PUT",
            "/me/password",
            {"current": ALICE.password, "new": "12345678"},
        ),
        _DENIED,
    ),
    Attack(
        "rights: a stranger makes somebody's repository public",
        partial(_as, MALLORY, "PATCH", f"/repositories/{PRIVATE}", {"public": True}),
        _NOT_HERE,
    ),
    Attack(
        "rights: a stranger takes a role",
        partial(_as, MALLORY, "PUT", f"{ROLES}/mallory", {"role": "admin"}),
        _NOT_HERE,
    ),
    Attack(
        "rights: a reader takes a role", partial(_as, BOB, "PUT", f"{ROLES}/bob", {"role": "admin"}), _DENIED
    ),
    Attack(
        "rights: a reader moves the repository to their namespace",
        partial(_as, BOB, "POST", f"/repositories/{PRIVATE}/-/rename", {"name": "bob/secret"}),
        _DENIED,
    ),
    Attack(
        "rights: somebody makes themselves an administrator",
        partial(_as, MALLORY, "PATCH", "/users/mallory", {"admin": True}),
        _DENIED,
    ),
    Attack(
        "rights: somebody signs up as an administrator",
        partial(_as, None, "POST", "/sign-up", {"name": "eve", "password": "12345678", "admin": True}),
        Refusal(422, "admin"),
    ),
    Attack(
        "rights: somebody closes another account",
        partial(_as, MALLORY, "PATCH", "/users/alice", {"disabled": True}),
        _DENIED,
    ),
    Attack("rights: somebody lists everybody", partial(_as, MALLORY, "GET", "/users", None), _DENIED),
    Attack(
        "rights: somebody revokes another's access token",
        partial(_as, MALLORY, "DELETE", "/me/tokens/1", None),
        _NOT_HERE,
    ),
]
