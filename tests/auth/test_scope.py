import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.scope import MAX_ACCESSES, MAX_NAME, Access, InvalidScope, Scope

NAMES = st.text(st.sampled_from(string.ascii_letters + string.digits + "/:._-*@,()"), min_size=1, max_size=12)
ACTIONS = st.sampled_from(["pull", "push", "delete", "*", "search"])
ACCESSES = st.builds(
    Access,
    type=st.sampled_from(["repository", "registry", "x1"]),
    # Few names, so that scopes overlap.
    name=st.sampled_from(["a", "a/b", "host:5000/a", "catalog"]) | NAMES,
    actions=st.frozensets(ACTIONS, max_size=4),
)
SCOPES = st.lists(ACCESSES, max_size=6).map(Scope)


def actions(text: str, type_: str, name: str) -> set[str]:
    return set(Scope.parse([text]).actions(type_, name))


@pytest.mark.parametrize(
    ("text", "type_", "name", "expected"),
    [
        ("repository:app:pull", "repository", "app", {"pull"}),
        ("repository:team/app:pull,push", "repository", "team/app", {"pull", "push"}),
        ("repository:host:5000/team/app:push", "repository", "host:5000/team/app", {"push"}),
        ("repository(plugin):team/app:pull", "repository", "team/app", {"pull"}),
        ("registry:catalog:*", "registry", "catalog", {"*"}),
        ("repository:app:pull,pull", "repository", "app", {"pull"}),
        ("repository:app:pull repository:app:push", "repository", "app", {"pull", "push"}),
        ("repository:app:pull,*,push", "repository", "app", {"*"}),
        ("  repository:app:pull  ", "repository", "app", {"pull"}),
    ],
)
def test_parse(text: str, type_: str, name: str, expected: set[str]) -> None:
    assert actions(text, type_, name) == expected
    assert len(Scope.parse([text])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "repository",
        "repository:",
        "repository:app",
        "repository::pull",
        "repository:app:",
        ":app:pull",
        "repository:app:pull,",
        "repository:app:,pull",
        "repository:app:PULL",
        "repository:app:pull;push",
        "Repository:app:pull",
        "repository():app:pull",
        "repository(plugin:app:pull",
        "repository(a)(b):app:pull",
        "repository:a\nb:pull",
        "repository:a\tb:pull",
        "repository:a\0b:pull",
        'repository:a"b:pull',
        "repository:a\\b:pull",
        "repository:ä:pull",
        "repository:app:pull\n",
        "repository:app:\x00",
        "repository:\ud800:pull",
        "repository:" + "a" * (MAX_NAME + 1) + ":pull",
        "repository:app:" + "a" * 33,
        "repository:app:" + ",".join(["pull"] * 17),
        "a" * 2000,
        "a" * 1_000_000,
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_malformed_items_are_refused(text: str) -> None:
    with pytest.raises(InvalidScope) as caught:
        Scope.parse(["repository:fine:pull", text])
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_nothing_is_an_empty_scope() -> None:
    assert (
        Scope.parse([])
        == Scope.parse(["", "  "])
        == Scope()
        == Scope([Access("repository", "a", frozenset())])
    )
    assert not Scope()
    assert str(Scope()) == ""


def test_the_number_of_items_is_bounded() -> None:
    items = [f"repository:a{n}:pull" for n in range(MAX_ACCESSES)]
    assert len(Scope.parse(items)) == len(Scope.parse([" ".join(items)])) == MAX_ACCESSES
    with pytest.raises(InvalidScope):
        Scope.parse([*items, "repository:b:pull"])
    with pytest.raises(InvalidScope):
        Scope.parse(["repository:a:pull " * (MAX_ACCESSES + 1)])


def test_allows() -> None:
    scope = Scope.parse(["repository:a:pull", "repository:b:*"])
    assert scope.allows("repository", "a", "pull")
    assert not scope.allows("repository", "a", "push")
    assert not scope.allows("registry", "a", "pull")
    assert not scope.allows("repository", "A", "pull")
    assert scope.allows("repository", "b", "delete")
    assert not scope.allows("repository", "c", "pull")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        "repository:a:pull",
        None,
        [None],
        [[]],
        ["repository:a:pull"],
        [{}],
        [{"type": "repository", "name": "a"}],
        [{"type": "repository", "name": "a", "actions": "pull"}],
        [{"type": "repository", "name": "a", "actions": [1]}],
        [{"type": "repository", "name": "a", "actions": [["pull"]]}],
        [{"type": "repository", "name": "a", "actions": ["pull,push"]}],
        [{"type": "repository", "name": "a", "actions": [""]}],
        [{"type": "repository", "name": "a", "actions": ["pull"] * 17}],
        [{"type": "repository", "name": "a b", "actions": ["pull"]}],
        [{"type": "repository", "name": "", "actions": ["pull"]}],
        [{"type": "repository", "name": "a" * 300, "actions": ["pull"]}],
        [{"type": "repository", "name": 1, "actions": ["pull"]}],
        [{"type": "repository(plugin)", "name": "a", "actions": ["pull"]}],
        [{"type": None, "name": "a", "actions": ["pull"]}],
        [{"type": "repository", "name": "a", "actions": ["pull"]}] * (MAX_ACCESSES + 1),
    ],
)
def test_malformed_claims_are_refused(claims: object) -> None:
    with pytest.raises(InvalidScope):
        Scope.from_claims(claims)


def test_claims_may_hold_more_members_and_no_actions() -> None:
    claims = [
        {"type": "repository", "class": "plugin", "name": "a", "actions": ["pull"]},
        {"type": "repository", "name": "b", "actions": []},
    ]
    assert Scope.from_claims(claims) == Scope.parse(["repository:a:pull"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "actions"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_claims_of_any_shape_are_read_or_refused(claims: object) -> None:
    with contextlib.suppress(InvalidScope):
        Scope.from_claims(claims)


@given(st.lists(st.text(max_size=20), max_size=3))
def test_text_of_any_shape_is_read_or_refused(texts: list[str]) -> None:
    try:
        scope = Scope.parse(texts)
    except InvalidScope:
        return
    assert Scope.parse([str(scope)]) == scope


@given(SCOPES)
def test_round_trips(scope: Scope) -> None:
    assert Scope.parse([str(scope)]) == scope
    assert Scope.parse(str(scope).split(" ")) == scope
    assert Scope.from_claims(scope.to_claims()) == scope
    assert str(Scope(reversed(list(scope)))) == str(scope)
    assert hash(Scope(reversed(list(scope)))) == hash(scope)


@given(SCOPES, SCOPES)
def test_intersection_is_the_greatest_lower_bound(a: Scope, b: Scope) -> None:
    both = a & b
    assert both <= a
    assert both <= b
    assert both == b & a
    assert (a <= b) == (both == a)


@given(SCOPES, SCOPES)
def test_union_is_the_least_upper_bound(a: Scope, b: Scope) -> None:
    either = a | b
    assert a <= either
    assert b <= either
    assert either == b | a
    assert (a <= b) == (either == b)


@given(SCOPES, SCOPES, SCOPES)
def test_scopes_are_a_lattice(a: Scope, b: Scope, c: Scope) -> None:
    assert a & (b & c) == (a & b) & c
    assert a | (b | c) == (a | b) | c
    assert a & (b | c) == (a & b) | (a & c)
    assert a & a == a | a == a
    assert (a <= b <= a) == (a == b)
    assert a & c <= (a | b) & c


@given(SCOPES, SCOPES, ACCESSES, ACTIONS)
def test_allows_agrees_with_the_algebra(a: Scope, b: Scope, access: Access, action: str) -> None:
    key = (access.type, access.name, action)
    assert a.allows(*key) == (Scope([Access(access.type, access.name, frozenset({action}))]) <= a)
    assert (a & b).allows(*key) == (a.allows(*key) and b.allows(*key))
    assert (a | b).allows(*key) == (a.allows(*key) or b.allows(*key))
