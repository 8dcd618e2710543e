"""Ranges of blobs, in the table and over the wire (RFC 9110, section 14)."""

import email.message
import email.parser
import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.web.blob import RangeNotSatisfiable, parse_ranges
from storage.digest import Digest
from tests.registry.web.live import Client, Live
from tests.storage.properties import PROPERTY

SIZE: Final = 10

WHOLE: Final = None
REFUSED: Final = "416"

RANGES: Final[list[tuple[str, list[range] | str | None]]] = [
    # One
    ("bytes=0-0", [range(1)]),
    ("bytes=0-1", [range(2)]),
    ("bytes=3-5", [range(3, 6)]),
    ("bytes=9-9", [range(9, 10)]),
    ("bytes=0-9", [range(10)]),
    ("bytes=0-99", [range(10)]),
    ("bytes=5-999999999999999999", [range(5, 10)]),
    ("bytes=0-", [range(10)]),
    ("bytes=9-", [range(9, 10)]),
    ("bytes=-1", [range(9, 10)]),
    ("bytes=-10", [range(10)]),
    ("bytes=-99", [range(10)]),
    ("bytes=00-01", [range(2)]),
    (" bytes=0-1 ", [range(2)]),
    ("bytes= 0-1", [range(2)]),
    # Several
    ("bytes=0-1,4-5", [range(2), range(4, 6)]),
    ("bytes=0-1, 4-5 ,8-", [range(2), range(4, 6), range(8, 10)]),
    ("bytes=4-5,0-1", [range(4, 6), range(2)]),
    ("bytes=0-1,-2", [range(2), range(8, 10)]),
    ("bytes=0-1,1-2", [range(2), range(1, 3)]),
    ("bytes=0-1,,4-5", [range(2), range(4, 6)]),
    ("bytes=,0-1,", [range(2)]),
    ("bytes=0-1,99-", [range(2)]),
    ("bytes=0-4,5-9", [range(5), range(5, 10)]),
    # Overlapping or too many: whole, as the specification allows
    ("bytes=0-9,0-9", WHOLE),
    ("bytes=0-5,4-9", WHOLE),
    ("bytes=" + ",".join(["0-0"] * 65), WHOLE),
    # None of it is there
    ("bytes=10-", REFUSED),
    ("bytes=10-20", REFUSED),
    ("bytes=-0", REFUSED),
    ("bytes=10-,20-30", REFUSED),
    ("bytes=999999999999999999-", REFUSED),
    ("bytes=5-4", REFUSED),
    ("bytes=0-1,5-4", REFUSED),
    ("bytes=,", REFUSED),
    # No range of bytes: ignored
    ("", WHOLE),
    ("bytes", WHOLE),
    ("bytes=", WHOLE),
    ("bytes=-", WHOLE),
    ("bytes=a-b", WHOLE),
    ("bytes=0-1-2", WHOLE),
    ("bytes=--1", WHOLE),
    ("bytes=1", WHOLE),
    ("bytes=0x0-0x1", WHOLE),
    ("bytes=+0-1", WHOLE),
    ("bytes=0.0-1", WHOLE),
    ("bytes=²-3", WHOLE),
    ("bytes=0-1\n", [range(2)]),
    ("bytes=0-1;4-5", WHOLE),
    ("items=0-1", WHOLE),
    ("0-1", WHOLE),
    (f"bytes=0-{'9' * 30}", WHOLE),
]


@pytest.mark.parametrize(("header", "expected"), RANGES)
def test_table(header: str, expected: list[range] | str | None) -> None:
    if expected == REFUSED:
        with pytest.raises(RangeNotSatisfiable) as caught:
            parse_ranges(header, SIZE)
        assert caught.value.size == SIZE
    else:
        assert parse_ranges(header, SIZE) == expected


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_empty_blob_has_no_range(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(header, 0)


def test_as_many_ranges_as_are_answered() -> None:
    found = parse_ranges("bytes=" + ",".join(f"{2 * each}-{2 * each}" for each in range(64)), 1000)
    assert found == [range(2 * each, 2 * each + 1) for each in range(64)]


@PROPERTY
@given(st.text(alphabet="0123456789-, bytes=x", max_size=40).map("bytes=".__add__), st.integers(0, 50))
def test_whatever_is_asked_lies_in_the_blob(header: str, size: int) -> None:
    try:
        found = parse_ranges(header, size)
    except RangeNotSatisfiable:
        return
    for each in found or []:
        assert 0 <= each.start < each.stop <= size
    assert sum(map(len, found or [])) <= size


# -- over the wire ---------------------------------------------------------------------------------------

CONTENT: Final = random.Random(2).randbytes(300_000)
DIGEST: Final = Digest.of(CONTENT)
BLOB: Final = f"/v2/a/b/blobs/{DIGEST}"


@pytest.fixture
async def client(open_live: Live) -> Client:
    await open_live.client.push_blob("a/b", CONTENT)
    return open_live.client


async def test_single_ranges(client: Client, subtests: pytest.Subtests) -> None:
    size = len(CONTENT)
    for header, (first, last) in {
        "bytes=0-0": (0, 0),
        "bytes=0-1": (0, 1),
        "bytes=116-347": (116, 347),
        "bytes=200000-": (200_000, size - 1),
        "bytes=-72": (size - 72, size - 1),
        "bytes=0-": (0, size - 1),
        "bytes=299999-400000": (size - 1, size - 1),
    }.items():
        with subtests.test(header):
            answer = (await client.get(BLOB, Range=header)).expect(206)
            assert answer.body == CONTENT[first : last + 1]
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
            assert answer.headers["Content-Length"] == str(last - first + 1)
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Docker-Content-Digest"] == DIGEST
            assert answer.headers["ETag"] == f'"{DIGEST}"'


async def test_unsatisfiable_range(client: Client) -> None:
    for header in (f"bytes={len(CONTENT)}-", "bytes=-0"):
        answer = await client.get(BLOB, Range=header)
        assert answer.outcome == (416, "SIZE_INVALID")
        assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert (await client.get(BLOB)).body == CONTENT


async def test_ignored_ranges(client: Client) -> None:
    for header in ("bytes=0-299999,0-", "bytes=x", "items=0-1", "bytes=" + ",".join(["0-0"] * 100)):
        answer = (await client.get(BLOB, Range=header)).expect(200)
        assert answer.body == CONTENT
        assert "Content-Range" not in answer.headers


async def test_several_ranges(client: Client) -> None:
    answer = (await client.get(BLOB, Range="bytes=116-347,356-557,-5")).expect(206)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "Content-Range" not in answer.headers
    parts = _parts(answer.headers["Content-Type"], answer.body)
    size = len(CONTENT)
    assert [part["Content-Range"] for part in parts] == [
        f"bytes 116-347/{size}",
        f"bytes 356-557/{size}",
        f"bytes {size - 5}-{size - 1}/{size}",
    ]
    assert [part["Content-Type"] for part in parts] == ["application/octet-stream"] * 3
    bodies = [part.get_payload(decode=True) for part in parts]
    assert bodies == [CONTENT[116:348], CONTENT[356:558], CONTENT[-5:]]


def _parts(content_type: str, body: bytes) -> list[email.message.Message]:
    """Read multipart/byteranges with a parser that is not ours; bytes are kept by calling them binary."""
    assert content_type.startswith("multipart/byteranges; boundary=")
    body = body.replace(b"\r\nContent-Range", b"\r\nContent-Transfer-Encoding: binary\r\nContent-Range")
    message = email.parser.BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert not message.defects
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, email.message.Message)]


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (f'"{DIGEST}"', 206),
        (DIGEST, 206),
        ('"sha256:other"', 200),
        ("", 200),
        ("Tue, 24 Nov 2026 06:00:00 GMT", 200),
    ],
)
async def test_if_range(client: Client, if_range: str, status: int) -> None:
    answer = (await client.get(BLOB, Range="bytes=0-1", If_Range=if_range)).expect(status)
    assert answer.body == (CONTENT[:2] if status == 206 else CONTENT)


async def test_range_beyond_the_end_of_another_version_is_the_whole(client: Client) -> None:
    answer = await client.get(BLOB, Range="bytes=999999-", If_Range='"sha256:other"')
    assert (answer.status, answer.body) == (200, CONTENT)


async def test_head_knows_no_range(client: Client) -> None:
    answer = (await client.head(BLOB, Range="bytes=0-1")).expect(200)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_304_goes_before_the_range(client: Client) -> None:
    answer = await client.get(BLOB, Range="bytes=0-1", If_None_Match=f'"{DIGEST}"')
    assert (answer.status, answer.body) == (304, b"")


async def test_range_of_a_manifest_under_blobs(open_live: Live) -> None:
    await open_live.client.push_blob("a/b", b"{}")
    content = b'{"schemaVersion":2,"manifests":[]}'
    media_type = "application/vnd.oci.image.index.v1+json"
    (await open_live.client.put("/v2/a/b/manifests/v1", content, Content_Type=media_type)).expect(201)
    answer = await open_live.client.get(f"/v2/a/b/blobs/{Digest.of(content)}", Range="bytes=1-4,6-7")
    parts = _parts(answer.headers["Content-Type"], answer.body)
    assert [part.get_payload(decode=True) for part in parts] == [content[1:5], content[6:8]]
    assert parts[0]["Content-Type"] == media_type


async def test_empty_blob(open_live: Live) -> None:
    digest = await open_live.client.push_blob("a/b", b"")
    answer = await open_live.client.get(f"/v2/a/b/blobs/{digest}", Range="bytes=0-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */0")
    answer = await open_live.client.get(f"/v2/a/b/blobs/{digest}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
