"""The values of the Registry protocol."""

import pytest

from registry.interface import Condition, Descriptor
from storage.digest import Digest

ONE = Digest.of(b"one")
TWO = Digest.of(b"two")


@pytest.mark.parametrize(
    ("match", "none_match", "when_one", "when_absent"),
    [
        (None, None, True, True),
        ({ONE}, None, True, False),
        ({TWO}, None, False, False),
        ({ONE, TWO}, None, True, False),
        ({"*"}, None, True, False),
        (set(), None, False, False),
        (None, {"*"}, False, True),
        (None, {ONE}, False, True),
        (None, {TWO}, True, True),
        (None, {ONE, TWO}, False, True),
        (None, set(), True, True),
        ({ONE}, {TWO}, True, False),
        ({ONE}, {ONE}, False, False),
        ({"*"}, {"*"}, False, False),
        ({"one"}, None, False, False),
    ],
)
def test_condition(
    match: set[str] | None, none_match: set[str] | None, when_one: bool, when_absent: bool
) -> None:
    condition = Condition(
        None if match is None else frozenset(match), None if none_match is None else frozenset(none_match)
    )
    assert condition.holds(ONE) is when_one
    assert condition.holds(None) is when_absent


@pytest.mark.parametrize(
    ("descriptor", "more"),
    [
        (Descriptor("a/b", ONE, 3), {}),
        (Descriptor("a/b", ONE, 3, "x/y"), {"artifactType": "x/y"}),
        (Descriptor("a/b", ONE, 3, annotations={"k": "v"}), {"annotations": {"k": "v"}}),
        (Descriptor("a/b", ONE, 3, annotations={}), {}),
    ],
)
def test_descriptor_is_written_as_the_specification_does(
    descriptor: Descriptor, more: dict[str, object]
) -> None:
    assert descriptor.to_json() == {"mediaType": "a/b", "digest": ONE, "size": 3, **more}
