import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    Digest,
    InvalidDigest,
    RunningDigest,
    check_algorithm,
)
from tests.storage.properties import PROPERTY

A64 = "a" * 64
A128 = "a" * 128

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC_SHA512 = (
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)


@pytest.mark.parametrize(
    "text", [f"sha256:{A64}", f"sha512:{A128}", "sha256:" + "0123456789abcdef" * 4, EMPTY]
)
def test_digest_parses(text: str) -> None:
    digest = Digest.parse(text)
    assert (digest, str(digest), f"{digest.algorithm}:{digest.hex}") == (text, text, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "<algorithm>:<encoded>"),
        ("sha256", "<algorithm>:<encoded>"),
        ("sha256:", "<algorithm>:<encoded>"),
        (f":{A64}", "<algorithm>:<encoded>"),
        (f"SHA256:{A64}", "<algorithm>:<encoded>"),
        (f"sha256:{A64}\n", "<algorithm>:<encoded>"),
        (f" sha256:{A64}", "<algorithm>:<encoded>"),
        (f"sha256:{A64} ", "<algorithm>:<encoded>"),
        (f"sha256::{A64}", "<algorithm>:<encoded>"),
        (f"sha256:{A64}:x", "<algorithm>:<encoded>"),
        (f"sha256:{A64[1:]}/", "<algorithm>:<encoded>"),
        ("sha256:../../etc/passwd", "<algorithm>:<encoded>"),
        (f"+sha256:{A64}", "<algorithm>:<encoded>"),
        (f"sha256+:{A64}", "<algorithm>:<encoded>"),
        (f"sha..256:{A64}", "<algorithm>:<encoded>"),
        (f"sha256:{A64[1:]}\u0661", "<algorithm>:<encoded>"),
        (f"md5:{'a' * 32}", "supported digest algorithms: sha256, sha512"),
        (f"sha384:{'a' * 96}", "supported digest algorithms: sha256, sha512"),
        (f"sha256+b64:{A64}", "supported digest algorithms: sha256, sha512"),
        (f"multihash+base58:{A64}", "supported digest algorithms: sha256, sha512"),
        (f"sha256:{A64[1:]}", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha256:{A64}a", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha256:{A128}", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha256:{A64.upper()}", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha256:{A64[1:]}g", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha256:{A64[1:]}=", "a sha256 digest has 64 lower-case hexadecimal digits"),
        (f"sha512:{A64}", "a sha512 digest has 128 lower-case hexadecimal digits"),
    ],
)
def test_invalid_digest_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidDigest, match=re.escape(reason)):
        Digest.parse(text)


@st.composite
def digests(draw: st.DrawFn) -> str:
    algorithm = draw(st.sampled_from(sorted(ALGORITHMS)))
    length = ALGORITHMS[algorithm]
    return f"{algorithm}:{draw(st.text('0123456789abcdef', min_size=length, max_size=length))}"


@PROPERTY
@given(digests())
def test_every_digest_prints_as_it_was_parsed(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert Digest.parse(str(digest)) == digest
    assert (digest.algorithm, digest.hex) == tuple(text.split(":"))


@PROPERTY
@given(st.text() | st.from_regex(r"sha(256|512):[0-9a-fA-F]*", fullmatch=True))
def test_any_text_is_a_digest_as_it_stands_or_none(text: str) -> None:
    well_formed = re.fullmatch("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", text) is not None
    try:
        assert Digest.parse(text) == text
    except InvalidDigest:
        assert not well_formed
    else:
        assert well_formed


@pytest.mark.parametrize(
    ("data", "algorithm", "digest"), [(b"", "sha256", EMPTY), (b"abc", "sha512", ABC_SHA512)]
)
def test_digest_of_bytes(data: bytes, algorithm: str, digest: str) -> None:
    assert Digest.of(data, algorithm) == digest
    assert Digest.parse(digest).matches(data)
    assert not Digest.parse(digest).matches(data + b"\0")


def test_digest_is_sha256_unless_told() -> None:
    assert DEFAULT_ALGORITHM == "sha256"
    assert Digest.of(b"") == RunningDigest().digest() == EMPTY


def test_digest_is_a_string_in_json_and_as_a_key() -> None:
    digest = Digest.of(b"")
    assert json.loads(json.dumps([digest])) == [EMPTY]
    assert {digest: 1}[Digest(EMPTY)] == 1


@PROPERTY
@given(st.lists(st.binary()), st.sampled_from(sorted(ALGORITHMS)))
def test_running_digest_is_that_of_the_whole(chunks: list[bytes], algorithm: str) -> None:
    running = RunningDigest(algorithm)
    so_far = b""
    for chunk in chunks:
        running.update(chunk)
        so_far += chunk
        assert running.digest() == f"{algorithm}:{hashlib.new(algorithm, so_far).hexdigest()}"
    assert running.digest() == Digest.of(so_far, algorithm)
    assert running.digest().algorithm == running.algorithm == algorithm


@pytest.mark.parametrize("name", ["md5", "sha1", "sha384", "SHA256", "", "sha256 "])
def test_unsupported_algorithm_is_refused(name: str) -> None:
    for refuse in (check_algorithm, RunningDigest):
        with pytest.raises(InvalidDigest, match="supported digest algorithms: sha256, sha512"):
            refuse(name)
