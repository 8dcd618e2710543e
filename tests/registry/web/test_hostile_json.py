"""JSON that is made to cost: deep, long, wrong a million times over. It is refused, or read, in little time.

What a document costs is told in calls of Python, which no busy machine makes more of.
"""

import cProfile
import json
from typing import Any, Final

import pytest

from registry import image
from registry.errors import Problem, RegistryError
from registry.manifest import MAX_DESCRIPTORS, OCI_INDEX, OCI_MANIFEST, parse_manifest
from tests.registry.web.live import Live

LARGEST: Final = 4 * 1024 * 1024


def manifest(member: bytes) -> bytes:
    return b'{"schemaVersion":2,"manifests":[],"x":%b}' % member


def descriptors(count: int) -> bytes:
    found = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{each:064x}", "size": 1} for each in range(count)]
    return json.dumps({"schemaVersion": 2, "manifests": found}).encode()


def listed(entry: bytes) -> bytes:
    """The longest list of such entries in the place of an index's manifests."""
    return (
        b'{"schemaVersion":2,"manifests":[' + b",".join([entry] * (LARGEST // (len(entry) + 1) - 20)) + b"]}"
    )


def size(number: bytes) -> bytes:
    return b'{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:%b","size":%b}]}' % (
        b"0" * 64,
        number,
    )


REFUSED: Final = {
    "arrays in arrays": manifest(b"[" * (LARGEST - 100)),
    "arrays in arrays that end": manifest(b"[" * 2_000_000 + b"]" * 2_000_000),
    "objects in objects": manifest(b'{"a":' * (LARGEST // 6)),
    "nothing but brackets": b"[" * LARGEST,
    "a number of millions of digits": manifest(b"9" * (LARGEST - 100)),
    "a size of millions of digits": size(b"9" * (LARGEST - 200)),
    "a size without an end": size(b"1e999"),
    "a negative size": size(b"-1"),
    "a size that is no number": size(b"NaN"),
    "a size that no file has": size(b"9223372036854775808"),
    "a version without an end": b'{"schemaVersion":1e999,"manifests":[]}',
    "a million empty descriptors": listed(b"{}"),
    "a million numbers for descriptors": listed(b"1"),
    "a million lists for descriptors": listed(b"[]"),
    "annotations that are no text": b'{"schemaVersion":2,"manifests":[],"annotations":{%b}}'
    % b",".join(b'"%d":1' % each for each in range(350_000)),
    "more descriptors than a manifest may have": descriptors(MAX_DESCRIPTORS + 1),
    "a lone surrogate": manifest(b'"\\ud800"'),
}


def calls_of(call: Any) -> int:
    """Return how many calls of Python functions something takes."""
    profile = cProfile.Profile()
    profile.runcall(call)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("words", REFUSED)
def test_a_hostile_manifest_is_refused_for_little(words: str) -> None:
    def refuse() -> None:
        with pytest.raises(RegistryError) as caught:
            parse_manifest(REFUSED[words], OCI_INDEX)
        assert caught.value.problem is Problem.MANIFEST_INVALID
        assert len(caught.value.message) < 1000

    assert calls_of(refuse) < 50 * MAX_DESCRIPTORS


def test_a_manifest_may_have_many_descriptors() -> None:
    assert len(parse_manifest(descriptors(MAX_DESCRIPTORS), OCI_INDEX).children) == MAX_DESCRIPTORS


@pytest.mark.parametrize("words", REFUSED)
def test_pages_read_hostile_documents_as_nothing_much(words: str) -> None:
    """A configuration is a blob like any other: nobody has looked at it before a page does."""
    content = REFUSED[words]
    outline = image.outline(content, OCI_INDEX)
    assert len(outline.children.items) <= image.MAX_ENTRIES
    assert image.configuration(content).platform == ""
    assert image.steps(content, ()).items == ()


async def test_hostile_manifests_are_answered_in_the_oci_form(open_live: Live) -> None:
    for words in ("arrays in arrays", "a million empty descriptors", "a size without an end"):
        content = REFUSED[words]
        answer = await open_live.client.put("/v2/a/b/manifests/v1", content, Content_Type=OCI_INDEX)
        assert answer.outcome == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"[" * 200_000, "request-invalid"),
        (b'{"name":' * 30_000, "request-invalid"),
        (b'{"name": ' + b"9" * 200_000 + b"}", "request-invalid"),
        (b'{"categories": [' + b",".join([b"1"] * 100_000) + b"]}", "invalid"),
    ],
    ids=["brackets", "deep", "a long number", "a hundred thousand mistakes"],
)
async def test_hostile_bodies_are_answered_with_a_problem(open_live: Live, content: bytes, code: str) -> None:
    await open_live.client.push_blob("a/b", b"so that there is a repository")
    answer = await open_live.client.send(
        "PATCH", "/api/v1/repositories/a/b", content, {"Content-Type": "application/json"}
    )
    assert answer.status in (400, 422)
    assert answer.json()["code"] == code
    assert len(answer.body) < 1000


@pytest.mark.parametrize("number", ["9" * 100, "1e999", "-1", "0x10", "٣", "1.0", " 1", "NaN"])
@pytest.mark.parametrize("path", ["/v2/a/b/tags/list", "/v2/_catalog", "/v2/a/b/referrers/{digest}"])
async def test_the_length_of_a_page_is_a_small_number(open_live: Live, path: str, number: str) -> None:
    digest = await open_live.client.push_blob("a/b", b"so that there is a repository")
    target = path.format(digest=digest)
    answer = await open_live.client.send("GET", f"{target}?n={number}".encode().decode("latin-1"))
    assert answer.outcome == (400, "UNSUPPORTED")
