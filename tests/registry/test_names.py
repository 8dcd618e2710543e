"""The grammar of repository names, tags, digests and references."""

import re
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import Problem, RegistryError
from registry.names import (
    MAX_NAME,
    RepositoryName,
    Tag,
    is_namespace,
    parse_digest,
    parse_name,
    parse_reference,
    parse_tag,
)
from storage.digest import Digest
from tests.registry.content import refused
from tests.storage.properties import PROPERTY

SHA256: Final = Digest.of(b"")
SHA512: Final = Digest.of(b"", "sha512")

LONG: Final = "a/" + "b" * (MAX_NAME - 2)

# The specification's own expression ("Pulling manifests").
SPECIFIED: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")

CHARACTERS: Final = st.text(st.sampled_from("ab0._-/A :é\n"), max_size=12)


# Names


@pytest.mark.parametrize(
    "text",
    [
        "a/b",
        "0/0",
        "a/b/c/d/e/f",
        "a.b/c.d",
        "a_b/c_d",
        "a__b/c__d",
        "a-b/c--d/e---f",
        "a.b_c-d__e--f/x",
        "localhost/5000",
        "library/app",
        "v2/v2",
        "a/blobs/uploads",
        LONG,
    ],
)
def test_name(text: str) -> None:
    assert parse_name(text) == text
    assert isinstance(parse_name(text), RepositoryName)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        ".",
        "..",
        "a/..",
        "a/../b",
        "a/./b",
        ".a/b",
        "a./b",
        "_a/b",
        "a_/b",
        "-a/b",
        "a-/b",
        "a..b/c",
        "a___b/c",
        "a._b/c",
        "a.-b/c",
        "a-_b/c",
        "A/b",
        "a/B",
        "a b/c",
        "a/b ",
        " a/b",
        "a/b\n",
        "a\n/b",
        "a/b\0",
        "é/b",
        "a/ß",
        "٣/b",  # a digit, but not one of these
        "a/\uff42",
        "a:b/c",
        "a@b/c",
        "a%2Fb",
        "a\\b/c",
        "a+b/c",
        "a~b/c",
        "_catalog",
        LONG + "b",
        "a" * 100_000,
    ],
)
def test_no_name(text: str) -> None:
    with refused(Problem.NAME_INVALID):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "full"), [("app", "library/app"), ("a.b", "library/a.b"), ("library", "library/library")]
)
def test_name_without_a_slash_is_in_library(text: str, full: str) -> None:
    assert parse_name(text) == full
    assert parse_name(text).aliases == (full, text)


@pytest.mark.parametrize(
    ("text", "aliases"),
    [
        ("library/app", ("library/app", "app")),
        ("library/app/part", ("library/app/part",)),
        ("team/app", ("team/app",)),
        ("library-x/app", ("library-x/app",)),
    ],
)
def test_aliases(text: str, aliases: tuple[str, ...]) -> None:
    assert parse_name(text).aliases == aliases


@pytest.mark.parametrize("length", range(MAX_NAME - 10, MAX_NAME + 2))
def test_full_name_is_a_name(length: int) -> None:
    # A name that could not be written in full would be listed and yet be nowhere.
    fits = len("library/") + length <= MAX_NAME
    if not fits:
        with refused(Problem.NAME_INVALID):
            parse_name("a" * length)
        return
    name = parse_name("a" * length)
    assert {parse_name(alias) for alias in name.aliases} == {name}


@PROPERTY
@given(text=CHARACTERS | st.from_regex(SPECIFIED, fullmatch=True))
def test_names_are_those_of_the_specification(text: str) -> None:
    try:
        name = parse_name(text)
    except RegistryError as error:
        assert error.problem is Problem.NAME_INVALID
        assert not SPECIFIED.fullmatch(text) or len(text) > MAX_NAME - len("library/")
    else:
        assert SPECIFIED.fullmatch(text)
        assert parse_name(name) == name
        assert {parse_name(alias) for alias in name.aliases} == {name}
        assert text in name.aliases


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab", True),
        ("a" * 64, True),
        ("a.b_c-d", True),
        ("42", True),
        ("", False),
        ("a", False),
        ("a" * 65, False),
        ("a/b", False),
        ("Ab", False),
        ("a-", False),
        ("ab\n", False),
        ("éé", False),
    ],
)
def test_namespace(text: str, expected: bool) -> None:
    assert is_namespace(text) is expected


# Tags


@pytest.mark.parametrize(
    "text",
    ["latest", "v1.0", "_", "__", "0", "A", "a.", "a-", "a..b", "1.0_rc.1", "sha256-" + "a" * 64, "x" * 128],
)
def test_tag(text: str) -> None:
    assert parse_tag(text) == text
    assert isinstance(parse_tag(text), Tag)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", ".a", "-a", "a/b", "a:b", "a+b", "a b", "a\n", "\na", "a\0", "é", "v1é", "٣", "x" * 129],
)
def test_no_tag(text: str) -> None:
    with refused(Problem.MANIFEST_INVALID):
        parse_tag(text)


# Digests and references


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digest(text: str) -> None:
    assert parse_digest(text) == text
    assert isinstance(parse_digest(text), Digest)
    assert isinstance(parse_reference(text), Digest)


@pytest.mark.parametrize(
    "text",
    [
        ":",
        "sha256:",
        ":" + SHA256.hex,
        SHA256[:-1],
        SHA256 + "0",
        SHA256.upper(),
        "sha256:" + SHA256.hex.upper(),
        "sha256:" + "g" * 64,
        "sha512:" + SHA256.hex,
        "sha1:" + "0" * 40,
        "md5:" + "0" * 32,
        SHA256 + "\n",
        "a:b:c",
        "../:x",
    ],
)
@pytest.mark.parametrize("parse", [parse_digest, parse_reference])
def test_no_digest(text: str, parse: Callable[[str], object]) -> None:
    with refused(Problem.DIGEST_INVALID):
        parse(text)


@pytest.mark.parametrize("text", ["latest", SHA256.hex, "sha256-" + SHA256.hex])
def test_reference_without_a_colon_is_a_tag(text: str) -> None:
    assert isinstance(parse_reference(text), Tag)
    assert not isinstance(parse_reference(text), Digest)


@PROPERTY
@given(text=st.text(max_size=150) | CHARACTERS)
def test_any_reference_is_read_or_refused(text: str) -> None:
    try:
        assert parse_reference(text) == text
    except RegistryError as error:
        expected = Problem.DIGEST_INVALID if ":" in text else Problem.MANIFEST_INVALID
        assert error.problem is expected
