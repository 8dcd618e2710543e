"""What an access token takes away from its account's rights."""

from typing import Final

import pytest

from auth.identity import Identity, Limit, Permission
from auth.policy import Role, Standing, allowed_actions

ACTIONS: Final = {
    "": frozenset[str](),
    "r": frozenset({"pull"}),
    "w": frozenset({"pull", "push"}),
    "d": frozenset({"pull", "push", "delete"}),
    "a": frozenset({"pull", "push", "delete", "*"}),
}

# For each role of the account on a private repository: what is left with a token of
# READ, WRITE, DELETE and ADMIN.
LEFT: Final[dict[Role | None, tuple[str, str, str, str]]] = {
    None: ("", "", "", ""),
    Role.READ: ("r", "r", "r", "r"),
    Role.WRITE: ("r", "w", "w", "w"),
    Role.ADMIN: ("r", "w", "d", "a"),
}

ID: Final = 7


def caller(permission: Permission, *only: int, is_admin: bool = False) -> Identity:
    limit = Limit(1, permission, frozenset(only) if only else None)
    return Identity(1, "ann", is_admin=is_admin, limit=limit)


def standing(
    role: Role | None, *, public: bool = False, exists: bool = True, archived: bool = False
) -> Standing:
    return Standing(
        exists=exists,
        public=public,
        namespace_exists=True,
        role=role,
        repository_id=ID if exists else None,
        archived=archived,
    )


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", LEFT)
@pytest.mark.parametrize("only", [(), (ID,), (ID, 8)])
def test_token_bounds_the_role(role: Role | None, permission: Permission, only: tuple[int, ...]) -> None:
    left = allowed_actions(caller(permission, *only), standing(role))
    assert left == ACTIONS[LEFT[role][permission - 1]]


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", LEFT)
@pytest.mark.parametrize("public", [False, True])
def test_token_for_others_is_worth_no_more_than_none(
    role: Role | None, permission: Permission, public: bool
) -> None:
    left = allowed_actions(caller(permission, 8), standing(role, public=public))
    assert left == ACTIONS["r" if public else ""]


@pytest.mark.parametrize("permission", Permission)
def test_token_of_an_administrator(permission: Permission) -> None:
    left = allowed_actions(caller(permission, is_admin=True), standing(None))
    assert left == ACTIONS[LEFT[Role.ADMIN][permission - 1]]
    assert allowed_actions(caller(permission, 8, is_admin=True), standing(None)) == ACTIONS[""]


@pytest.mark.parametrize("permission", Permission)
def test_new_repository_takes_a_token_for_all(permission: Permission) -> None:
    new = standing(Role.WRITE, exists=False)
    assert allowed_actions(caller(permission), new) == ACTIONS["r" if permission == Permission.READ else "w"]
    assert allowed_actions(caller(permission, ID), new) == ACTIONS[""]


@pytest.mark.parametrize(
    ("identity", "administers", "sees_all"),
    [
        (Identity(1, "ann"), False, False),
        (Identity(1, "ann", is_admin=True), True, True),
        (caller(Permission.ADMIN, is_admin=True), True, True),
        (caller(Permission.DELETE, is_admin=True), False, True),
        (caller(Permission.ADMIN, ID, is_admin=True), False, False),
        (caller(Permission.ADMIN), False, False),
    ],
)
def test_administrator_with_a_lesser_token_administers_nothing(
    identity: Identity, administers: bool, sees_all: bool
) -> None:
    assert (identity.administers, identity.sees_all) == (administers, sees_all)


@pytest.mark.parametrize("role", LEFT)
def test_nobody_pushes_to_an_archived_repository(role: Role | None) -> None:
    ann, root = Identity(1, "ann"), Identity(2, "root", is_admin=True)
    archived = standing(role, archived=True)
    assert allowed_actions(ann, archived) == allowed_actions(ann, standing(role)) - {"push"}
    assert "push" not in allowed_actions(root, archived)
