"""Uploads as real clients send them, with the exact headers that these read."""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.content import ABSENT
from tests.registry.web.live import Answer, Client, Live, connect, exchange, streamed, until
from tests.storage.properties import PROPERTY

CONTENT: Final = b"the bytes of a layer"
DIGEST: Final = Digest.of(CONTENT)
START: Final = "/v2/a/b/blobs/uploads/"

OPAQUE: Final = {"Content-Type": "application/octet-stream"}


def check_session(answer: Answer, status: int, received: int, name: str = "a/b") -> str:
    """Check what is told of an upload that has so many bytes, and return its Location."""
    answer.expect(status)
    location = answer.headers["Location"]
    found = re.fullmatch(rf"/v2/{name}/blobs/uploads/([0-9a-f]{{32}})", location)
    assert found is not None
    assert answer.headers["Docker-Upload-UUID"] == found[1]
    # dockerd parses "%d-%d" and fails where the end is before the start.
    assert answer.headers["Range"] == f"0-{max(received - 1, 0)}"
    assert answer.body == b""
    assert answer.headers.get("Content-Length", "0") == "0"
    assert "OCI-Chunk-Min-Length" not in answer.headers
    return location


async def check_stored(
    client: Client, answer: Answer, content: bytes = CONTENT, algorithm: str = "sha256"
) -> None:
    """Check that a blob was made and can be read where the answer says."""
    digest = Digest.of(content, algorithm)
    answer.expect(201)
    assert answer.headers["Location"] == f"/v2/a/b/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.body == b""
    assert (await client.get(answer.headers["Location"])).expect(200).body == content


@pytest.fixture
def client(open_live: Live) -> Client:
    return open_live.client


# -- clients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "no bytes"])
async def test_containerd(client: Client, content: bytes) -> None:
    """HEAD, POST, one PUT with the body."""
    digest = Digest.of(content)
    (await client.head(f"/v2/a/b/blobs/{digest}")).expect(404)
    location = check_session(await client.post("/v2/a/b/blobs/uploads/"), 202, 0)
    put = f"{location}?digest={quote(digest)}"
    await check_stored(client, await client.send("PUT", put, content, OPAQUE), content)
    (await client.head(f"/v2/a/b/blobs/{digest}")).expect(200)


@pytest.mark.parametrize(
    "chunks", [[CONTENT], [b"the bytes ", b"of a layer"], []], ids=["one", "two", "none"]
)
async def test_dockerd(client: Client, chunks: Sequence[bytes]) -> None:
    """POST, one PATCH of unknown length without Content-Range, an empty PUT."""
    content = b"".join(chunks)
    location = check_session(await client.post(START), 202, 0)
    location = check_session(await client.patch(location, streamed(chunks)), 202, len(content))
    await check_stored(
        client, await client.put(f"{location}?digest={quote(Digest.of(content), safe='')}"), content
    )


async def test_dockerd_mounts_with_an_encoded_query(client: Client) -> None:
    await client.push_blob("x/y", CONTENT)
    answer = await client.post(f"{START}?from=x%2Fy&mount={quote(DIGEST, safe='')}")
    await check_stored(client, answer)
    assert not answer.headers.keys() & {"Docker-Upload-UUID", "Range"}


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "no bytes"])
async def test_crane_and_skopeo(client: Client, content: bytes) -> None:
    """A mount that names its origin and says JSON, then POST, PATCH, PUT."""
    query = f"?mount={DIGEST}&from=elsewhere/app&origin=index.docker.io"
    location = check_session(await client.post(START + query, Content_Type="application/json"), 202, 0)
    location = check_session(await client.send("PATCH", location, content, OPAQUE), 202, len(content))
    await check_stored(client, await client.put(f"{location}?digest={Digest.of(content)}"), content)


async def test_skopeo_gives_up_the_session_of_a_failed_mount(client: Client) -> None:
    location = check_session(await client.post(f"{START}?mount={ABSENT}&from=x/y"), 202, 0)
    (await client.delete(location)).expect(204)


async def test_oras(client: Client) -> None:
    """POST without a trailing slash, PUT."""
    location = check_session(await client.post("/v2/a/b/blobs/uploads"), 202, 0)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}", CONTENT))


async def test_regclient_goes_on_after_a_refusal(client: Client) -> None:
    """An anonymous mount, then chunks; after 416 it reads Location and Range and goes on from there."""
    location = check_session(await client.post(f"{START}?mount={DIGEST}"), 202, 0)
    check_session(await client.patch(location, CONTENT[:4], Content_Range="0-3"), 202, 4)
    refused = await client.patch(location, CONTENT[8:12], Content_Range="8-11")
    assert refused.outcome == (416, "BLOB_UPLOAD_INVALID")
    assert (refused.headers["Location"], refused.headers["Range"]) == (location, "0-3")
    rest = f"4-{len(CONTENT) - 1}"
    check_session(await client.patch(location, CONTENT[4:], Content_Range=rest), 202, len(CONTENT))
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}"))


async def test_kaniko_asks_whether_it_may_push(client: Client) -> None:
    location = check_session(await client.post(START, Content_Type="application/json"), 202, 0)
    answer = (await client.delete(location)).expect(204)
    assert answer.body == b""
    for method in ("GET", "PATCH", "DELETE"):
        assert (await client.send(method, location)).outcome == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "no bytes"])
async def test_single_request(client: Client, content: bytes) -> None:
    await check_stored(client, await client.post(f"{START}?digest={Digest.of(content)}", content), content)


async def test_streamed_closing_put(client: Client) -> None:
    location = await client.start_upload("a/b")
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}", streamed([CONTENT])))


DIGEST_STANDS_ANYWHERE_IN_THE_QUERY: Final = [
    "?digest={digest}",
    "?digest={quoted}",
    "?digest={digest}&_state=abc%3D",
    "?_state=abc&digest={quoted}",
    "?&digest={digest}",
    "?a=b&a=c&digest={digest}&",
    "?%64igest={digest}",
]


async def test_digest_stands_anywhere_in_the_query(client: Client, subtests: pytest.Subtests) -> None:
    for query in DIGEST_STANDS_ANYWHERE_IN_THE_QUERY:
        with subtests.test(f"{query!r:.40}"):
            await _check_digest_stands_anywhere_in_the_query(client, query)


async def _check_digest_stands_anywhere_in_the_query(client: Client, query: str) -> None:
    location = await client.start_upload("a/b")
    query = query.format(digest=DIGEST, quoted=quote(DIGEST, safe=""))
    await check_stored(client, await client.put(location + query, CONTENT))


# -- chunks ----------------------------------------------------------------------------------------------


async def test_status_says_how_far_it_came(client: Client) -> None:
    location = await client.start_upload("a/b")
    check_session(await client.get(location), 204, 0)
    for end in (1, 2, len(CONTENT)):
        (await client.get(location)).expect(204)
        done = 0 if end == 1 else end - 1 if end == 2 else 2
        check_session(await client.patch(location, CONTENT[done:end]), 202, end)
        check_session(await client.get(location), 204, end)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}"))


async def test_last_chunk_comes_with_the_closing_put(client: Client) -> None:
    location = await client.start_upload("a/b")
    (await client.patch(location, CONTENT[:5], Content_Range="0-4")).expect(202)
    rest = f"5-{len(CONTENT) - 1}"
    await check_stored(
        client, await client.put(f"{location}?digest={DIGEST}", CONTENT[5:], Content_Range=rest)
    )


WRONG_RANGES: Final[Mapping[str, tuple[str, tuple[int, str]]]] = {
    "after a gap": ("7-11", (416, "BLOB_UPLOAD_INVALID")),
    "again": ("0-4", (416, "BLOB_UPLOAD_INVALID")),
    "far away": ("999999999999999990-999999999999999994", (416, "BLOB_UPLOAD_INVALID")),
    "with a unit": ("bytes 5-9/10", (400, "BLOB_UPLOAD_INVALID")),
    "with an equals sign": ("bytes=5-9", (400, "BLOB_UPLOAD_INVALID")),
    "backwards": ("9-5", (400, "BLOB_UPLOAD_INVALID")),
    "open": ("5-", (400, "BLOB_UPLOAD_INVALID")),
    "nothing": ("", (400, "BLOB_UPLOAD_INVALID")),
    "no number": ("a-b", (400, "BLOB_UPLOAD_INVALID")),
    "negative": ("-5-9", (400, "BLOB_UPLOAD_INVALID")),
    "too many digits": (f"5-{'9' * 30}", (400, "BLOB_UPLOAD_INVALID")),
    "shorter than the body": ("5-8", (400, "SIZE_INVALID")),
    "longer than the body": ("5-10", (400, "SIZE_INVALID")),
}


async def test_wrong_content_range(client: Client, subtests: pytest.Subtests) -> None:
    """Whatever is refused, nothing of it is kept and the upload goes on."""
    location = await client.start_upload("a/b")
    await client.patch(location, CONTENT[:5])
    for words, (value, outcome) in WRONG_RANGES.items():
        for method, target in (("PATCH", location), ("PUT", f"{location}?digest={DIGEST}")):
            with subtests.test(f"{method} {words}"):
                answer = await client.send(method, target, CONTENT[5:10], {"Content-Range": value})
                assert answer.outcome == outcome
                if answer.status == 416:
                    assert (answer.headers["Location"], answer.headers["Range"]) == (location, "0-4")
                check_session(await client.get(location), 204, 5)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}", CONTENT[5:]))


async def test_wrong_start_of_an_empty_upload(client: Client) -> None:
    location = await client.start_upload("a/b")
    answer = await client.patch(location, b"x", Content_Range="1-1")
    assert answer.outcome == (416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["Range"] == "0-0"


@pytest.mark.parametrize("content_range", ["5-8", "5-10"], ids=["too long", "too short"])
async def test_streamed_chunk_of_another_length(client: Client, content_range: str) -> None:
    location = await client.start_upload("a/b")
    await client.patch(location, CONTENT[:5])
    answer = await client.patch(
        location, streamed([CONTENT[5:7], CONTENT[7:10]]), Content_Range=content_range
    )
    assert answer.outcome == (400, "SIZE_INVALID")
    assert (answer.headers["Location"], answer.headers["Range"]) == (location, "0-4")
    check_session(await client.get(location), 204, 5)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}", CONTENT[5:]))


@PROPERTY
@given(cuts=st.lists(st.integers(0, 3000), max_size=6), seed=st.integers(0, 9), ranged=st.booleans())
async def test_any_chunks(client: Client, cuts: list[int], seed: int, ranged: bool) -> None:
    content = random.Random(seed).randbytes(3000)
    location = await client.start_upload("a/b")
    ends = sorted(cuts)
    for start, end in zip([0, *ends], [*ends, 3000], strict=True):
        header = {"Content-Range": f"{start}-{end - 1}"} if ranged and end > start else {}
        check_session(await client.send("PATCH", location, content[start:end], header), 202, end)
    await check_stored(client, await client.put(f"{location}?digest={Digest.of(content)}"), content)


# -- closing ---------------------------------------------------------------------------------------------


async def test_closing_without_a_digest_leaves_the_upload(client: Client) -> None:
    location = await client.start_upload("a/b")
    await client.patch(location, CONTENT)
    assert (await client.put(location, b"more")).outcome == (400, "DIGEST_INVALID")
    check_session(await client.get(location), 204, len(CONTENT))
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}"))


async def test_closing_with_another_digest_ends_the_upload(client: Client) -> None:
    location = await client.start_upload("a/b")
    await client.patch(location, CONTENT)
    assert (await client.put(f"{location}?digest={ABSENT}")).outcome == (400, "DIGEST_INVALID")
    for target in (location, f"/v2/a/b/blobs/{DIGEST}", f"/v2/a/b/blobs/{ABSENT}"):
        assert (await client.get(target)).status == 404


async def test_single_request_with_another_digest_leaves_nothing(open_live: Live) -> None:
    answer = await open_live.client.post(f"{START}?digest={ABSENT}", CONTENT)
    assert answer.outcome == (400, "DIGEST_INVALID")
    assert list((open_live.data / "uploads").iterdir()) == []
    assert (await open_live.client.get("/v2/_catalog")).json() == {"repositories": []}


async def test_closed_upload_is_gone(client: Client) -> None:
    location = await client.start_upload("a/b")
    put = f"{location}?digest={DIGEST}"
    (await client.put(put, CONTENT)).expect(201)
    assert (await client.put(put, CONTENT)).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (await client.delete(location)).outcome == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_upload_belongs_to_its_repository(client: Client) -> None:
    location = await client.start_upload("a/b")
    elsewhere = location.replace("/a/b/", "/a/c/")
    assert (await client.patch(elsewhere, CONTENT)).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (await client.put(f"{elsewhere}?digest={DIGEST}", CONTENT)).outcome == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_location_keeps_the_name_that_was_asked_for(client: Client) -> None:
    location = check_session(await client.post("/v2/app/blobs/uploads/"), 202, 0, name="app")
    answer = (await client.put(f"{location}?digest={DIGEST}", CONTENT)).expect(201)
    assert answer.headers["Location"] == f"/v2/app/blobs/{DIGEST}"
    assert (await client.get(f"/v2/library/app/blobs/{DIGEST}")).body == CONTENT


EITHER_ALGORITHM_BY_EVERY_FLOW_PATCHED: Final = [0, 5, len(CONTENT)]

EITHER_ALGORITHM_BY_EVERY_FLOW_ALGORITHM: Final = ["sha256", "sha512"]

EITHER_ALGORITHM_BY_EVERY_FLOW_HINT: Final = ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"]


async def test_either_algorithm_by_every_flow(client: Client, subtests: pytest.Subtests) -> None:
    for patched in EITHER_ALGORITHM_BY_EVERY_FLOW_PATCHED:
        for algorithm in EITHER_ALGORITHM_BY_EVERY_FLOW_ALGORITHM:
            for hint in EITHER_ALGORITHM_BY_EVERY_FLOW_HINT:
                with subtests.test(f"{hint!r:.40} {algorithm!r:.40} {patched!r:.40}"):
                    await _check_either_algorithm_by_every_flow(client, hint, algorithm, patched)


async def _check_either_algorithm_by_every_flow(
    client: Client, hint: str, algorithm: str, patched: int
) -> None:
    location = check_session(await client.post(START + hint), 202, 0)
    if patched:
        check_session(await client.patch(location, CONTENT[:patched]), 202, patched)
    digest = Digest.of(CONTENT, algorithm)
    answer = await client.put(f"{location}?digest={digest}", CONTENT[patched:])
    await check_stored(client, answer, algorithm=algorithm)


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "no bytes"])
async def test_sha512_in_a_single_request(client: Client, content: bytes) -> None:
    answer = await client.post(f"{START}?digest={Digest.of(content, 'sha512')}", content)
    await check_stored(client, answer, content, "sha512")


async def test_content_encoding_changes_no_byte(client: Client) -> None:
    """Layers are compressed files: what a header says of the way there is none of the registry's business."""
    for encoding in ("gzip", "deflate", "br", "zstd"):
        content = f"not {encoding}".encode()
        location = await client.start_upload("a/b")
        (await client.patch(location, content[:4], Content_Encoding=encoding)).expect(202)
        put = f"{location}?digest={Digest.of(content)}"
        await check_stored(client, await client.put(put, content[4:], Content_Encoding=encoding), content)


async def test_upgrade_that_java_asks_for_keeps_the_body(open_live: Live) -> None:
    head = (
        f"POST {START}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
    )
    assert (await exchange(open_live, head.encode() + CONTENT))[0] == 201
    assert (await open_live.client.get(f"/v2/a/b/blobs/{DIGEST}")).body == CONTENT


# -- mounts ----------------------------------------------------------------------------------------------


async def test_mount(client: Client) -> None:
    await client.push_blob("x/y", CONTENT)
    for query in (f"?mount={DIGEST}&from=x/y", f"?mount={DIGEST}", f"?mount={DIGEST}&from="):
        await check_stored(client, await client.post(START + query))
        (await client.delete(f"/v2/a/b/blobs/{DIGEST}")).expect(202)


MOUNT_THAT_CANNOT_BE_IS_A_FRESH_UPLOAD: Final = [
    f"?mount={ABSENT}&from=x/y",
    f"?mount={DIGEST}&from=x/z",
    f"?mount={DIGEST}&from=nowhere/z",
    f"?mount={ABSENT}",
    f"?from=x/y&mount={Digest.of(CONTENT, 'sha512')}",
    f"?mount={DIGEST}&from=..%2Fx",
    f"?mount={DIGEST}&from=UPPER",
    "?from=x/y",
]


async def test_mount_that_cannot_be_is_a_fresh_upload(client: Client, subtests: pytest.Subtests) -> None:
    for query in MOUNT_THAT_CANNOT_BE_IS_A_FRESH_UPLOAD:
        with subtests.test(f"{query!r:.40}"):
            await _check_mount_that_cannot_be_is_a_fresh_upload(client, query)


async def _check_mount_that_cannot_be_is_a_fresh_upload(client: Client, query: str) -> None:
    await client.push_blob("x/y", CONTENT)
    location = check_session(await client.post(START + query), 202, 0)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}", CONTENT))


async def test_mount_from_the_short_name_of_a_library_repository(client: Client) -> None:
    await client.push_blob("library/app", CONTENT)
    await check_stored(client, await client.post(f"{START}?mount={DIGEST}&from=app"))


# -- interruptions ---------------------------------------------------------------------------------------


LARGE: Final = random.Random(1).randbytes(4 * 1024 * 1024)

CUTS: Final = {
    "length": ("PATCH", f"Content-Length: {len(LARGE)}", LARGE[:-1]),
    "chunks": ("PATCH", "Transfer-Encoding: chunked", b"%x\r\n" % len(LARGE) + LARGE[:-1]),
    "range": ("PATCH", f"Content-Range: 0-{len(LARGE) - 1}\r\nContent-Length: {len(LARGE)}", LARGE[:-1]),
    "closing": ("PUT", f"Content-Length: {len(LARGE)}", LARGE[:-1]),
}


@pytest.mark.parametrize("half", [False, True], ids=["closed", "half-closed"])
@pytest.mark.parametrize("cut", CUTS)
async def test_cut_chunk_is_kept_as_far_as_it_came(
    open_live: Live, cut: str, half: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client, (method, header, body) = open_live.client, CUTS[cut]
    location = await client.start_upload("a/b")
    put = f"{location}?digest={Digest.of(LARGE)}"
    file = open_live.data / "uploads" / location.rpartition("/")[2]
    async with connect(open_live) as raw:
        await raw.write(f"{method} {put if method == 'PUT' else location} HTTP/1.1\r\nHost: x\r\n".encode())
        await raw.write(f"{header}\r\n\r\n".encode() + body)
        await until(lambda: _has_bytes(file))
        seen = file.stat().st_size
        if half:
            raw.writer.write_eof()
            assert await raw.read_rest() == b""
    await until(lambda: _is_free(client, location))
    kept = int((await client.get(location)).headers["Range"].removeprefix("0-")) + 1
    assert seen <= kept < len(LARGE)
    assert not caplog.get_records("call")  # a client that goes away is no failure of the server
    rest = f"{kept}-{len(LARGE) - 1}"
    await check_stored(client, await client.put(put, LARGE[kept:], Content_Range=rest), LARGE)


async def _has_bytes(file: Path) -> bool:
    return (await asyncio.to_thread(file.stat)).st_size > 0


async def _is_free(client: Client, location: str) -> bool:
    return (await client.patch(location, b"x", Content_Range="99-99")).status == 416


async def _is_held(live: Live, location: str) -> bool:
    """Tell whether a request holds the upload, without another request, which could come first."""
    return _is_locked(live.data / "uploads" / location.rpartition("/")[2])


def _is_locked(file: Path) -> bool:
    return f":{file.stat().st_ino} " in Path("/proc/locks").read_text()


async def test_second_writer_is_told_to_wait(open_live: Live) -> None:
    client = open_live.client
    location = await client.start_upload("a/b")
    async with connect(open_live) as raw:
        await raw.write(
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n".encode() + CONTENT[:7]
        )
        await until(lambda: _is_held(open_live, location))
        for method, target in (
            ("PATCH", location),
            ("PUT", f"{location}?digest={DIGEST}"),
            ("DELETE", location),
        ):
            answer = await client.send(method, target, b"")
            assert answer.outcome == (409, "BLOB_UPLOAD_INVALID")
            assert (answer.headers["Location"], answer.headers["Range"]) == (location, "0-0")
        await raw.write(CONTENT[7:])
        assert (await raw.read_answer())[:1] == (202,)
    await check_stored(client, await client.put(f"{location}?digest={DIGEST}"))


async def test_upload_goes_on_after_a_restart(serving: Serving) -> None:
    """The running hash is lost: bytes are read again."""
    async with serving(auth="off") as live:
        locations = [await live.client.start_upload("a/b") for _ in range(2)]
        for location in locations:
            await live.client.patch(location, CONTENT[:7])
    async with serving(auth="off") as live:
        check_session(await live.client.get(locations[0]), 204, 7)
        await live.client.patch(locations[0], CONTENT[7:])
        await check_stored(live.client, await live.client.put(f"{locations[0]}?digest={DIGEST}"))
        await check_stored(live.client, await live.client.put(f"{locations[1]}?digest={DIGEST}", CONTENT[7:]))


async def test_upload_whose_file_is_gone_starts_anew(open_live: Live) -> None:
    location = await open_live.client.start_upload("a/b")
    await open_live.client.patch(location, CONTENT)
    (open_live.data / "uploads" / location.rpartition("/")[2]).unlink()
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={DIGEST}"), ("DELETE", location)):
        answer = await open_live.client.send(method, target, b"")
        assert answer.outcome == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_too_many_uploads_are_refused_until_one_ends(serving: Serving) -> None:
    async with serving(auth="off", uploads_per_account=1) as live:
        location = await live.client.start_upload("a/b")
        for target in ("/v2/a/b/blobs/uploads/", f"/v2/c/d/blobs/uploads/?digest={Digest.of(b'')}"):
            answer = await live.client.post(target)
            assert answer.outcome == (429, "TOOMANYREQUESTS")
            assert answer.headers["Retry-After"] == "30"
        (await live.client.delete(location)).expect(204)
        await live.client.start_upload("a/b")
