import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from auth.policy import Role, Standing, allowed_actions, api_permission, grant
from auth.scope import Scope

ALICE = Identity(1, "alice")
ADMIN = Identity(2, "root", is_admin=True)
OUTSIDER = Identity(None, "repo:team/app", external=True)

NOTHING: set[str] = set()
PULL = {"pull"}
PUSH = {"pull", "push"}
ALL = {"pull", "push", "delete", "*"}

ABSENT = Standing(exists=False, public=False, namespace_exists=True)
NOWHERE = Standing(exists=False, public=False, namespace_exists=False)


def private(role: Role | None = None) -> Standing:
    return Standing(exists=True, public=False, namespace_exists=True, role=role)


def public(role: Role | None = None) -> Standing:
    return Standing(exists=True, public=True, namespace_exists=True, role=role)


def absent(role: Role | None, namespace: bool = True) -> Standing:
    return Standing(exists=False, public=False, namespace_exists=namespace, role=role)


@pytest.mark.parametrize(
    ("identity", "standing", "expected"),
    [
        (ANONYMOUS, private(), NOTHING),
        (ANONYMOUS, public(), PULL),
        (ANONYMOUS, ABSENT, NOTHING),
        (ANONYMOUS, NOWHERE, NOTHING),
        # Storage never says so; if it did, nobody in particular would still have no role.
        (ANONYMOUS, private(Role.ADMIN), NOTHING),
        (ANONYMOUS, absent(Role.ADMIN), NOTHING),
        (ALICE, private(), NOTHING),
        (ALICE, public(), PULL),
        (ALICE, private(Role.READ), PULL),
        (ALICE, public(Role.READ), PULL),
        (ALICE, private(Role.WRITE), PUSH),
        (ALICE, public(Role.WRITE), PUSH),
        (ALICE, private(Role.ADMIN), ALL),
        (ALICE, absent(None), NOTHING),
        (ALICE, absent(Role.READ), NOTHING),
        (ALICE, absent(Role.WRITE), PUSH),
        (ALICE, absent(Role.ADMIN), PUSH),
        (ALICE, absent(Role.ADMIN, namespace=False), NOTHING),
        (ADMIN, private(), ALL),
        (ADMIN, ABSENT, ALL),
        (ADMIN, NOWHERE, ALL),
        (SYSTEM, NOWHERE, ALL),
    ],
)
def test_allowed_actions(identity: Identity, standing: Standing, expected: set[str]) -> None:
    assert allowed_actions(identity, standing) == expected


def test_roles_are_ordered() -> None:
    assert Role.READ < Role.WRITE < Role.ADMIN


def test_an_external_identity_has_no_rights_here() -> None:
    with pytest.raises(ValueError, match="external"):
        allowed_actions(OUTSIDER, public())
    with pytest.raises(ValueError, match="external"):
        grant(OUTSIDER, Scope.parse(["repository:a:pull"]), lambda name: public())


HOUSE = {
    "team/app": private(Role.WRITE),
    "team/mine": private(Role.ADMIN),
    "team/new": absent(Role.WRITE),
    "other/public": public(),
    "other/secret": private(),
}


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("repository:team/app:pull,push", "repository:team/app:pull,push"),
        ("repository:team/app:pull,push,delete", "repository:team/app:pull,push"),
        ("repository:team/app:*", "repository:team/app:pull,push"),
        ("repository:team/mine:*", "repository:team/mine:*"),
        ("repository:team/mine:delete,pull", "repository:team/mine:delete,pull"),
        ("repository:team/mine:frobnicate", ""),
        ("repository:team/new:pull,push", "repository:team/new:pull,push"),
        ("repository:other/public:pull,push", "repository:other/public:pull"),
        ("repository:other/public:*", "repository:other/public:pull"),
        ("repository:other/secret:pull,push,delete,*", ""),
        ("repository:team/app:pull repository:other/secret:pull", "repository:team/app:pull"),
        ("registry:catalog:*", "registry:catalog:*"),
        ("registry:catalog:search", "registry:catalog:search"),
        ("registry:catalog:pull", "registry:catalog:pull"),
        ("registry:catalog:delete", ""),
        ("registry:other:*", ""),
        ("aliens:team/app:pull", ""),
        ("", ""),
    ],
)
def test_grant(requested: str, expected: str) -> None:
    assert str(grant(ALICE, Scope.parse([requested]), HOUSE.__getitem__)) == expected


def test_everybody_may_ask_for_the_catalog() -> None:
    asked = Scope.parse(["registry:catalog:*"])
    assert grant(ANONYMOUS, asked, HOUSE.__getitem__) == asked


def bounded(permission: Permission) -> Identity:
    return Identity(1, "alice", limit=Limit(9, permission))


@pytest.mark.parametrize(
    ("identity", "requested", "expected"),
    [
        (ANONYMOUS, "*", ""),
        (ANONYMOUS, "read", ""),
        (ALICE, "*", "registry:api:*"),
        (ALICE, "read", "registry:api:read"),
        (ALICE, "write,delete", "registry:api:delete,write"),
        (ALICE, "frobnicate", ""),
        (ADMIN, "*", "registry:api:*"),
        (bounded(Permission.READ), "*", "registry:api:read"),
        (bounded(Permission.READ), "write,delete,admin", ""),
        (bounded(Permission.WRITE), "*", "registry:api:read,write"),
        (bounded(Permission.WRITE), "delete,write", "registry:api:write"),
        (bounded(Permission.DELETE), "*", "registry:api:delete,read,write"),
        (bounded(Permission.ADMIN), "*", "registry:api:*"),
    ],
)
def test_whoever_is_somebody_may_ask_for_the_interface(
    identity: Identity, requested: str, expected: str
) -> None:
    asked = Scope.parse([f"registry:api:{requested}"])
    assert str(grant(identity, asked, HOUSE.__getitem__)) == expected


@pytest.mark.parametrize(
    ("scope", "permission"),
    [
        ("", None),
        ("registry:catalog:*", None),
        ("repository:api:*", None),
        ("registry:api:frobnicate", None),
        ("registry:api:read", Permission.READ),
        ("registry:api:write", Permission.WRITE),
        ("registry:api:read,delete", Permission.DELETE),
        ("registry:api:admin", Permission.ADMIN),
        ("registry:api:*", Permission.ADMIN),
        ("registry:api:read repository:a:*", Permission.READ),
    ],
)
def test_how_far_a_scope_goes_in_the_interface(scope: str, permission: Permission | None) -> None:
    assert api_permission(Scope.parse([scope])) == permission


def test_only_repositories_are_looked_up_and_each_once() -> None:
    seen: list[str] = []

    def standing_of(name: str) -> Standing:
        seen.append(name)
        return public()

    requested = Scope.parse(["repository:a:pull repository:a:push registry:catalog:* plugin:b:pull"])
    grant(ALICE, requested, standing_of)
    assert seen == ["a"]


STANDINGS = st.builds(
    Standing,
    exists=st.booleans(),
    public=st.booleans(),
    namespace_exists=st.booleans(),
    role=st.none() | st.sampled_from(Role),
)
TEXTS = st.sampled_from(
    ["repository:a:pull", "repository:a:*", "repository:b:push,delete", "registry:catalog:*", "x:y:z"]
)


@given(st.sampled_from([ANONYMOUS, ALICE, ADMIN]), STANDINGS, st.lists(TEXTS))
def test_a_grant_is_never_more_than_was_asked_or_is_allowed(
    identity: Identity, standing: Standing, texts: list[str]
) -> None:
    requested = Scope.parse(texts)
    granted = grant(identity, requested, lambda name: standing)
    assert granted <= requested
    for access in granted:
        if access.type == "repository":
            allowed = allowed_actions(identity, standing)
            assert access.actions <= allowed
            assert "*" in allowed or "*" not in access.actions
    assert grant(identity, granted, lambda name: standing) == granted


@given(STANDINGS)
def test_more_rights_never_allow_less(standing: Standing) -> None:
    nobody, alice, admin = (allowed_actions(who, standing) for who in (ANONYMOUS, ALICE, ADMIN))
    assert nobody <= alice <= admin
