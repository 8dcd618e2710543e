"""Every refusal in the table of `registry.errors` that a client can bring about, and bad input of all kinds.

The table comes first; then wrong names, digests, tags, pages and manifests; then the bytes of HTTP.
"""

import contextlib
import fcntl
import json
import os
import re
import string
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import pytest
from aiohttp import web

from auth import throttle
from auth.policy import Role
from registry.errors import Problem, RegistryError, UploadError
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from storage.digest import Digest
from storage.metadata import login_failures
from tests.registry.web.api.refusals import BY_API
from tests.registry.web.conftest import Serving
from tests.registry.web.content import ABSENT, OCI_INDEX, OCI_MANIFEST, image, index, push_image
from tests.registry.web.live import Answer, Client, Live, connect, exchange, streamed

LIMIT: Final = 64 * 1024
"""The largest manifest here, the smallest setting that there is."""

# The codes of the distribution specification.
CODES: Final = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}

# What no single request brings about: a full disk, a failure; and what is none yet (see test_connections).
NOT_BY_REQUEST: Final = {
    Problem.STORE_FULL,
    Problem.READ_ONLY,
    Problem.UNAVAILABLE,
    Problem.INTERNAL,
    Problem.REQUEST_TIMEOUT,
    Problem.HEAD_TOO_LARGE,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is refused, in the world of `_furnish`: `{words}` in the target are its names."""

    problem: Problem
    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, str] = field(default_factory=dict)
    """Headers of the response."""


FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
IMAGE: Final = {"Content-Type": OCI_MANIFEST}
INDEX: Final = {"Content-Type": OCI_INDEX}
GUESS: Final = b"grant_type=password&username=ann&password=guess"
TAGS: Final = "&".join(f"tag=v{number}" for number in range(101))

REFUSED: Final = [
    Refused(Problem.BLOB_UNKNOWN, "GET", f"/v2/ann/app/blobs/{ABSENT}"),
    Refused(Problem.BLOB_UNKNOWN, "DELETE", f"/v2/ann/app/blobs/{ABSENT}"),
    Refused(Problem.BLOB_IN_USE, "DELETE", "/v2/ann/app/blobs/{blob}"),
    Refused(Problem.UPLOAD_UNKNOWN, "GET", "/v2/ann/app/blobs/uploads/none"),
    Refused(Problem.UPLOAD_UNKNOWN, "PATCH", "/v2/ann/app/blobs/uploads/none", b"x"),
    Refused(Problem.UPLOAD_UNKNOWN, "PUT", f"/v2/ann/app/blobs/uploads/none?digest={ABSENT}"),
    Refused(Problem.UPLOAD_UNKNOWN, "DELETE", "/v2/ann/app/blobs/uploads/none"),
    Refused(Problem.UPLOAD_INVALID, "PATCH", "{upload}", b"x", {"Content-Range": "bytes 0-0/1"}),
    Refused(
        Problem.UPLOAD_RANGE_INVALID,
        "PATCH",
        "{upload}",
        b"x",
        {"Content-Range": "7-7"},
        {"Location": "{upload}", "Range": "0-0"},
    ),
    Refused(Problem.UPLOAD_BUSY, "PATCH", "{held}", b"x", {}, {"Location": "{held}", "Range": "0-0"}),
    Refused(Problem.DIGEST_INVALID, "GET", "/v2/ann/app/blobs/sha256:abc"),
    Refused(Problem.DIGEST_INVALID, "PUT", "{upload}", b""),
    Refused(
        Problem.RANGE_INVALID,
        "GET",
        "/v2/ann/app/blobs/{blob}",
        b"",
        {"Range": "bytes=9-"},
        {"Content-Range": "bytes */5"},
    ),
    Refused(Problem.SIZE_INVALID, "PATCH", "{upload}", b"xy", {"Content-Range": "0-0"}),
    Refused(Problem.MANIFEST_UNKNOWN, "GET", "/v2/ann/app/manifests/none"),
    Refused(Problem.MANIFEST_UNKNOWN, "DELETE", f"/v2/ann/app/manifests/{ABSENT}"),
    Refused(Problem.MANIFEST_INVALID, "PUT", "/v2/ann/app/manifests/v1", b"{", IMAGE),
    Refused(Problem.BODY_TOO_LARGE, "PUT", "/v2/ann/app/manifests/v1", b" " * (LIMIT + 1), IMAGE),
    Refused(
        Problem.MANIFEST_BLOB_UNKNOWN, "PUT", "/v2/ann/app/manifests/v1", image(b"absent").content, IMAGE
    ),
    Refused(
        Problem.TOO_MANY_TAGS, "PUT", f"/v2/ann/app/manifests/{index().digest}?{TAGS}", index().content, INDEX
    ),
    Refused(
        Problem.PRECONDITION_FAILED,
        "PUT",
        "/v2/ann/app/manifests/v1",
        index().content,
        {**INDEX, "If-None-Match": "*"},
    ),
    Refused(Problem.NAME_INVALID, "GET", "/v2/ann/App/tags/list"),
    Refused(Problem.NAME_UNKNOWN, "GET", "/v2/ann/none/tags/list"),
    Refused(Problem.NAME_UNKNOWN, "GET", "/v2/ann/none/manifests/v1"),
    Refused(Problem.PAGE_INVALID, "GET", "/v2/ann/app/tags/list?n=-1"),
    Refused(
        Problem.UNAUTHORIZED,
        "GET",
        "/v2/bob/app/tags/list",
        b"",
        {},
        {
            "WWW-Authenticate": 'Bearer realm="http://{host}/token",service="longshore",'
            'scope="repository:bob/app:pull",error="insufficient_scope"'
        },
    ),
    Refused(Problem.DENIED, "GET", "/v2/bob/withdrawn/tags/list"),
    Refused(Problem.REQUEST_INVALID, "POST", "/token", b"grant_type=none", FORM),
    Refused(Problem.NOT_FOUND, "GET", "/v2/ann/app"),
    Refused(Problem.METHOD_NOT_ALLOWED, "POST", "/v2/", b"", {}, {"Allow": "GET,HEAD"}),
    Refused(Problem.TOO_MANY_REQUESTS, "POST", "/token", GUESS, FORM, {"Retry-After": "900"}),
]


@dataclass(frozen=True, slots=True)
class World:
    client: Client
    words: Mapping[str, str]


@contextlib.asynccontextmanager
async def _furnish(live: Live) -> AsyncIterator[World]:
    """ann has pushed v1 to ann/app and begun two uploads, one of them busy; bob has withdrawn a right."""
    for name in ("ann", "bob"):
        live.add_account(name)
    live.grant(Role.READ, "bob", "ann")
    bob = await live.login("bob", "repository:bob/withdrawn:pull,push")
    await push_image(bob, "bob/withdrawn", "v1")
    await push_image(await live.login("ann", "repository:ann/app:pull,push"), "ann/app", "v1")
    names = ("ann/app", "ann/none", "ann/App", "bob/withdrawn")
    ann = await live.login("ann", *(f"repository:{name}:*" for name in names))
    live.grant(None, "bob", "ann")
    upload, held = [await ann.start_upload("ann/app") for _ in range(2)]
    _guess_often(live, "ann")
    blob = Digest.of(b"layer")
    with _hold(live, held):
        yield World(ann, {"blob": blob, "upload": upload, "held": held, "host": live.host})


@contextlib.contextmanager
def _hold(live: Live, upload: str) -> Iterator[None]:
    """Be another request that writes to the upload."""
    fd = os.open(live.data / "uploads" / upload.rpartition("/")[2], os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _guess_often(live: Live, account: str) -> None:
    keys = [key.text for key in throttle.keys(account, "127.0.0.1") if key.forgiven]
    now = datetime.now(UTC)
    for _ in range(30):
        live.change(lambda db: login_failures.record(db, keys, forget_before=now, now=now))


def check_form(answer: Answer, problem: Problem) -> None:
    """Check that a refusal has the form of the distribution specification."""
    assert (answer.status, answer.code) == (problem.status, problem.code)
    (entry,) = answer.json()["errors"]
    assert list(answer.json()) == ["errors"]
    assert set(entry) - {"detail"} == {"code", "message"}
    assert isinstance(entry["message"], str)
    assert entry["message"]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_every_error(serving: Serving, subtests: pytest.Subtests) -> None:
    async with serving(manifest_limit=LIMIT) as live, _furnish(live) as world:
        for row in REFUSED:
            with subtests.test(f"{row.problem.name} {row.method} {row.target[:60]}"):
                target = row.target.format_map(world.words)
                answer = await world.client.send(row.method, target, row.body, row.headers)
                check_form(answer, row.problem)
                for name, value in row.answer.items():
                    assert answer.headers[name] == value.format_map(world.words)
                if target.startswith("/v2"):
                    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
                assert answer.headers["X-Request-ID"]


def test_table_covers_every_problem() -> None:
    by_request = {row.problem for row in REFUSED} | {row.problem for row in BY_API}
    assert by_request == set(Problem) - NOT_BY_REQUEST


def test_codes_are_those_of_the_specification() -> None:
    assert {row.problem.code for row in REFUSED} == CODES
    # These two say that the fault is ours; the specification has no code for that.
    assert {problem.code for problem in Problem} - CODES == {"UNAVAILABLE", "UNKNOWN"}


async def test_head_is_refused_without_a_body(live: Live) -> None:
    async with _furnish(live) as world:
        answer = await world.client.head("/v2/ann/app/manifests/none")
        assert (answer.status, answer.body) == (404, b"")
        assert int(answer.headers["Content-Length"]) > 0
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


# -- rendering -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _raising(error: Exception, *, begun: bool = False) -> AsyncIterator[int]:
    """An application whose one handler raises the error, before or after it has sent something."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if begun:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"begun")
        raise error

    app = web.Application(middlewares=[error_middleware(Origins(None, ()), "longshore")])
    app.router.add_get("/v2/x", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


REQUEST: Final = b"GET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("problem", Problem, ids=lambda problem: problem.name)
async def test_every_row_is_rendered(problem: Problem) -> None:
    async with _raising(RegistryError(problem, detail={"a": 1}, retry_after=7)) as port, connect(port) as raw:
        await raw.write(REQUEST)
        status, headers, body = await raw.read_answer()
    assert status == problem.status
    assert headers["retry-after"] == "7"
    entry = {"code": problem.code, "message": problem.message, "detail": {"a": 1}}
    assert json.loads(body) == {"errors": [entry]}


async def test_unforeseen_failure_tells_nothing_of_itself() -> None:
    async with _raising(ZeroDivisionError("secret")) as port, connect(port) as raw:
        await raw.write(REQUEST)
        status, _, body = await raw.read_answer()
    assert (status, json.loads(body)["errors"][0]["code"]) == (500, "UNKNOWN")
    assert b"secret" not in body


async def test_upload_error_says_where_to_go_on() -> None:
    error = UploadError(Problem.UPLOAD_BUSY, "id", 10)
    async with _raising(error) as port, connect(port) as raw:
        await raw.write(REQUEST)
        _, headers, body = await raw.read_answer()
    assert (headers["location"], headers["range"]) == ("/v2/x", "0-9")
    assert json.loads(body)["errors"][0]["detail"] == {"offset": 10}


@pytest.mark.parametrize("error", [ValueError("x"), RegistryError(Problem.INTERNAL), OSError("x")])
async def test_error_after_the_response_began_breaks_the_connection(error: Exception) -> None:
    async with _raising(error, begun=True) as port, connect(port) as raw:
        await raw.write(REQUEST + REQUEST)
        received = await raw.read_rest()
    assert received.endswith(b"\r\n\r\nbegun")


# -- names, digests, references --------------------------------------------------------------------------

LONG: Final = "a" * 256

BAD_NAMES: Final = [
    "A", "a/B", "a//b", "a/", "-a", "a-", "a..b", "a___b", ".a", "_catalog", "a/_b", "a%20b", "a%2f",
    "a%2f%2fb", "%2e%2e", "a/%2e%2e/b", "a/../b", "..", "a%00", "%c3%a9", "%ff", "a%25", "a:b", "a@b", "a%3f",
    "a'b", "a%22b", "a%5cb", "a%3cb", LONG, "a/" * 200 + "a",
]  # fmt: skip

BAD_DIGESTS: Final = [
    "sha256:", "sha256:abc", "sha256", ":", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 65,
    "sha512:" + "0" * 64, "md5:" + "0" * 32, "sha384:" + "0" * 96, "SHA256:" + "0" * 64,
    "sha256:" + "0" * 63 + "%0a", "sha256%3a" + "g" * 64, "sha256:%2e%2e%2fetc", "sha256:..%2f..%2fkeys",
    "%00", "sha256:" + "0" * 64 + "%00", "sha256:" + "0" * 4096, "latest",
]  # fmt: skip

BAD_TAGS: Final = [
    "-a",
    ".a",
    "a%20b",
    "a%2fb",
    "a%00",
    "%0d%0a",
    "%c3%a9",
    "%ff",
    "a%2bb",
    "a" * 129,
    "%2e%2e",
]


async def test_bad_names(open_live: Live, subtests: pytest.Subtests) -> None:
    upload = f"blobs/uploads/?digest={Digest.of(b'')}"
    for name in BAD_NAMES:
        for method, rest in (
            ("GET", "tags/list"),
            ("GET", "manifests/v1"),
            ("POST", upload),
            ("PUT", "manifests/v1"),
        ):
            with subtests.test(f"{method} {name[:40]} {rest[:20]}"):
                answer = await open_live.client.send(method, f"/v2/{name}/{rest}", b"")
                check_form(answer, Problem.NAME_INVALID)
                assert not answer.headers.keys() & {"X", "Location"}


async def test_bad_digests(open_live: Live, subtests: pytest.Subtests) -> None:
    upload = await open_live.client.start_upload("a/b")
    for digest in BAD_DIGESTS:
        for method, target in (
            ("GET", f"/v2/a/b/blobs/{digest}"),
            ("DELETE", f"/v2/a/b/blobs/{digest}"),
            ("GET", f"/v2/a/b/referrers/{digest}"),
            ("POST", f"/v2/a/b/blobs/uploads/?digest={digest}"),
            ("POST", f"/v2/a/b/blobs/uploads/?mount={digest}"),
            ("PUT", f"{upload}?digest={digest}"),
        ):
            with subtests.test(f"{method} {target[:50]}"):
                check_form(await open_live.client.send(method, target, b""), Problem.DIGEST_INVALID)
    assert (await open_live.client.get(upload)).status == 204


async def test_bad_tags(open_live: Live, subtests: pytest.Subtests) -> None:
    await open_live.client.push_manifest("a/b", "v1", index())
    for tag in BAD_TAGS:
        with subtests.test(tag[:40]):
            target = f"/v2/a/b/manifests/{tag}"
            # What cannot be a tag is none of the repository's: the conformance suite has it so.
            check_form(await open_live.client.get(target), Problem.MANIFEST_UNKNOWN)
            check_form(await open_live.client.delete(target), Problem.MANIFEST_UNKNOWN)
            check_form(await open_live.client.put(target, index().content), Problem.MANIFEST_INVALID)
            query = f"/v2/a/b/manifests/{index().digest}?tag={tag}"
            answer = await open_live.client.put(query, index().content, Content_Type=OCI_INDEX)
            check_form(answer, Problem.MANIFEST_INVALID)


BAD_PAGE_SIZES: Final = ["", "-1", "x", "1.5", "1e3", "%201", "+1", "0x1", "1" * 20, "%d9%a1", "1%00", "None"]


async def test_bad_page_sizes(open_live: Live, subtests: pytest.Subtests) -> None:
    for n in BAD_PAGE_SIZES:
        with subtests.test(f"{n!r:.40}"):
            await _check_bad_page_sizes(open_live, n)


async def _check_bad_page_sizes(open_live: Live, n: str) -> None:
    await open_live.client.push_manifest("a/b", "v1", index())
    for path in ("/v2/a/b/tags/list", "/v2/_catalog", f"/v2/a/b/referrers/{ABSENT}"):
        check_form(await open_live.client.get(f"{path}?n={n}"), Problem.PAGE_INVALID)


ODD_LAST: Final = ["", "%00", "%ff", "%ed%a0%80", "%0d%0aX:y", "a" * 5000, "%F0%9F%90%B3", "'", "%25"]


async def test_odd_last(open_live: Live, subtests: pytest.Subtests) -> None:
    for last in ODD_LAST:
        with subtests.test(f"{last!r:.40}"):
            await _check_odd_last(open_live, last)


async def _check_odd_last(open_live: Live, last: str) -> None:
    await open_live.client.push_manifest("a/b", "v1", index())
    for path in ("/v2/a/b/tags/list", "/v2/_catalog", f"/v2/a/b/referrers/{ABSENT}"):
        answer = await open_live.client.get(f"{path}?n=1&last={last}")
        assert answer.status == 200
        assert "X" not in answer.headers


# -- manifests that are none -----------------------------------------------------------------------------

ZEROS: Final = "sha256:" + "0" * 64


def _sized(size: str) -> bytes:
    return (
        f'{{"schemaVersion":2,"manifests":[{{"mediaType":"x","digest":"{ZEROS}","size":{size}}}]}}'.encode()
    )


BAD_MANIFESTS: Final = {
    "nothing": b"",
    "no JSON": b"{",
    "two documents": b"{}{}",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "not UTF-8": b'{"schemaVersion":2,"manifests":[],"x":"\xff"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "half a surrogate pair": b'{"annotations":{"\\ud800":"x"}}',
    "deep lists": b"[" * 50_000,
    "deep lists in a field": b'{"schemaVersion":' + b"[" * 50_000,
    "deep objects": b'{"a":' * 10_000,
    "a number of many digits": b'{"schemaVersion":' + b"9" * 60_000 + b"}",
    "a huge size": _sized("1e400"),
    "a negative size": _sized("-1"),
    "a size above 63 bits": _sized("9223372036854775808"),
    "a bad digest": b'{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:..","size":1}]}',
    "no manifests": b'{"schemaVersion":2}',
    "another schema": b'{"schemaVersion":3,"manifests":[]}',
    "schema 1": b'{"schemaVersion":1,"name":"a/b","tag":"v1","fsLayers":[]}',
    "an image as well": b'{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}',
    "a number for an annotation": b'{"schemaVersion":2,"manifests":[],"annotations":{"a":1}}',
    "a bad subject": b'{"schemaVersion":2,"manifests":[],"subject":{}}',
    "a number for a media type": b'{"schemaVersion":2,"mediaType":5,"manifests":[]}',
    "another media type": b'{"schemaVersion":2,"mediaType":"%b","manifests":[]}' % OCI_MANIFEST.encode(),
}


async def test_bad_manifests(open_live: Live, subtests: pytest.Subtests) -> None:
    for words, content in BAD_MANIFESTS.items():
        with subtests.test(words):
            answer = await open_live.client.put("/v2/a/b/manifests/v1", content, Content_Type=OCI_INDEX)
            check_form(answer, Problem.MANIFEST_INVALID)
    check_form(await open_live.client.get("/v2/a/b/manifests/v1"), Problem.NAME_UNKNOWN)


@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "in chunks"])
async def test_manifest_of_four_mebibytes_and_not_a_byte_more(open_live: Live, announced: bool) -> None:
    largest = 4 * 1024 * 1024
    manifest = index()
    for more, expected in ((0, (201, "")), (1, (413, "SIZE_INVALID"))):
        content = manifest.content.ljust(largest + more)
        body = content if announced else streamed([content[:largest], content[largest:]])
        answer = await open_live.client.put("/v2/a/b/manifests/v1", body, Content_Type=OCI_INDEX)
        assert answer.outcome == expected
    assert (await open_live.client.head("/v2/a/b/manifests/v1")).headers["Content-Length"] == str(largest)


MEDIA_TYPE_THAT_IS_NO_MANIFEST_S: Final = [
    "",
    ";",
    "x",
    "application/json",
    "text/html",
    "application/vnd.docker.distribution.manifest.v1+json",
    "a" * 9000,
]


async def test_media_type_that_is_no_manifest_s(open_live: Live, subtests: pytest.Subtests) -> None:
    for media_type in MEDIA_TYPE_THAT_IS_NO_MANIFEST_S:
        with subtests.test(f"{media_type!r:.40}"):
            await _check_media_type_that_is_no_manifest_s(open_live, media_type)


async def _check_media_type_that_is_no_manifest_s(open_live: Live, media_type: str) -> None:
    answer = await open_live.client.put("/v2/a/b/manifests/v1", index().content, Content_Type=media_type)
    check_form(answer, Problem.MANIFEST_INVALID)


# -- requests in bytes -----------------------------------------------------------------------------------


def _request(line: str, *headers: str, body: bytes = b"", host: str | None = "example.org") -> bytes:
    lines = [line, *([] if host is None else [f"Host: {host}"]), *headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


# Requests that are no HTTP: refused before there is a request to answer, with the connection.
NOT_HTTP: Final = {
    "an unknown method": _request("FOO /v2/ HTTP/1.1"),
    "a method in lower case": _request("get /v2/ HTTP/1.1"),
    "no host": _request("GET /v2/ HTTP/1.1", host=None),
    "two hosts": _request("GET /v2/ HTTP/1.1", "Host: other"),
    "bytes in the path": _request("GET /v2/\xff/tags/list HTTP/1.1"),
    "bytes in the query": _request("GET /v2/_catalog?last=\xff HTTP/1.1"),
    "a NUL in a header": _request("GET /v2/ HTTP/1.1", "X-Request-ID: a\x00b"),
    "a space before the colon": _request("GET /v2/ HTTP/1.1", "Accept : a"),
    "a folded header": _request("GET /v2/ HTTP/1.1", "Accept: a", " b"),
    "a path that is too long": _request(f"GET /v2/{'a/' * 20_000}tags/list HTTP/1.1"),
    "a header that is too long": _request("GET /v2/ HTTP/1.1", f"Accept: {'a' * 40_000}"),
    "length and chunks": _request(
        "PUT /v2/a/b/manifests/x HTTP/1.1",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        body=b"0\r\n\r\n",
    ),
    "two lengths": _request(
        "PUT /v2/a/b/manifests/x HTTP/1.1", "Content-Length: 1", "Content-Length: 2", body=b"ab"
    ),
    "a list of lengths": _request("PUT /v2/a/b/manifests/x HTTP/1.1", "Content-Length: 1, 1", body=b"a"),
    "a negative length": _request("PUT /v2/a/b/manifests/x HTTP/1.1", "Content-Length: -1"),
    "an endless length": _request("PUT /v2/a/b/manifests/x HTTP/1.1", f"Content-Length: {'9' * 30}"),
    "an unknown coding": _request(
        "PUT /v2/a/b/manifests/x HTTP/1.1", "Transfer-Encoding: identity", body=b"x"
    ),
    "a chunk of no size": _request(
        "PUT /v2/a/b/manifests/x HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n"
    ),
    "a chunk that goes on": _request(
        "PUT /v2/a/b/manifests/x HTTP/1.1", "Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"
    ),
}


async def test_what_is_no_http(open_live: Live, subtests: pytest.Subtests) -> None:
    for words, request in NOT_HTTP.items():
        with subtests.test(words):
            async with connect(open_live) as raw:
                await raw.write(request + _request("GET /v2/ HTTP/1.1"))
                received = await raw.read_rest()
            status = 431 if "too long" in words else 400
            assert re.match(rb"HTTP/1\.[01] %d " % status, received)
            assert json.loads(received.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "UNSUPPORTED"
            # Nothing behind it on the connection is believed.
            assert b" 200 OK" not in received
    assert (await open_live.client.get("/v2/_catalog")).json() == {"repositories": []}


# Where a refusal is a page for people, without a code.
PAGE: Final = "a page"

# Requests that are odd and yet HTTP: (request, status, code).
ODD: Final[Mapping[str, tuple[bytes, int, str]]] = {
    "HTTP/1.0": (_request("GET /v2/ HTTP/1.0"), 200, ""),
    "HTTP/1.0 without host": (_request("GET /v2/ HTTP/1.0", host=None), 200, ""),
    "an absolute target": (_request("GET http://other/v2/ HTTP/1.1"), 200, ""),
    "no trailing slash": (_request("GET /v2 HTTP/1.1"), 200, ""),
    "a fragment": (_request("GET /v2/#x HTTP/1.1"), 200, ""),
    "empty lines first": (b"\r\n\r\n" + _request("GET /v2/ HTTP/1.1"), 200, ""),
    "an upgrade": (_request("GET /v2/ HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c"), 200, ""),
    "a double slash first": (_request("GET //v2/ HTTP/1.1"), 404, PAGE),
    "a double slash": (_request("GET /v2//a/b/tags/list HTTP/1.1"), 400, "NAME_INVALID"),
    "dots": (_request("GET /v2/../v2/ HTTP/1.1"), 404, "UNSUPPORTED"),
    "a newline in a name": (_request("GET /v2/a%0ab/tags/list HTTP/1.1"), 404, "UNSUPPORTED"),
    "encoded dots": (_request("GET /v2/%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), 404, "UNSUPPORTED"),
    "dots in an upload": (
        _request("GET /v2/a/b/blobs/uploads/..%2f..%2flongshore.db HTTP/1.1"),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    ),
    "an absolute path in an upload": (
        _request("PATCH /v2/a/b/blobs/uploads/%2fetc%2fpasswd HTTP/1.1", "Content-Length: 0"),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    ),
    "a NUL in an upload": (_request("DELETE /v2/a/b/blobs/uploads/%00 HTTP/1.1"), 404, "BLOB_UPLOAD_UNKNOWN"),
    "a surrogate in an upload": (
        _request("GET /v2/a/b/blobs/uploads/%ed%a0%80 HTTP/1.1"),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    ),
    "an asterisk": (_request("OPTIONS * HTTP/1.1"), 404, PAGE),
    "CONNECT": (_request("CONNECT a:80 HTTP/1.1"), 404, PAGE),
    "TRACE": (_request("TRACE /v2/ HTTP/1.1"), 405, "UNSUPPORTED"),
    "OPTIONS": (_request("OPTIONS /v2/a/b/tags/list HTTP/1.1"), 405, "UNSUPPORTED"),
    "PROPFIND": (_request("PROPFIND /v2/a/b/manifests/x HTTP/1.1"), 405, "UNSUPPORTED"),
    "PUT on a blob": (
        _request(f"PUT /v2/a/b/blobs/{ZEROS} HTTP/1.1", "Content-Length: 0"),
        405,
        "UNSUPPORTED",
    ),
    "a host that is too long": (
        _request("GET /v2/a/b/tags/list HTTP/1.1", host="a" * 300),
        400,
        "NAME_INVALID",
    ),
    "a long path": (_request(f"GET /v2/{'a/' * 12_000}tags/list HTTP/1.1"), 400, "NAME_INVALID"),
    "a length that is never meant": (
        _request("PUT /v2/a/b/manifests/x HTTP/1.1", "Content-Length: 9999999999999999"),
        413,
        "SIZE_INVALID",
    ),
}


def _code_of(headers: Mapping[str, str], body: bytes) -> str:
    if headers["content-type"] == "text/html; charset=utf-8":
        return PAGE
    code: str = json.loads(body)["errors"][0]["code"]
    return code


async def test_odd_requests(open_live: Live, subtests: pytest.Subtests) -> None:
    for words, (request, status, code) in ODD.items():
        with subtests.test(words):
            found, headers, body = await exchange(open_live, request)
            assert (found, _code_of(headers, body) if found >= 400 else "") == (status, code)
            assert headers["x-request-id"]


async def test_name_and_host_have_255_characters_together(open_live: Live) -> None:
    room = 255 - len(open_live.host) - 1
    for length, outcome in ((room, (404, "NAME_UNKNOWN")), (room + 1, (400, "NAME_INVALID"))):
        assert (await open_live.client.get(f"/v2/{'a' * length}/tags/list")).outcome == outcome


async def test_crlf_goes_nowhere(open_live: Live) -> None:
    await open_live.client.push_manifest("a/b", "v1", index())
    await open_live.client.push_manifest("a/b", "v2", index())
    evil = "%0d%0aX-Evil:%201"
    for target in (
        f"/v2/a/b/tags/list?n=1&x={evil}",
        f"/v2/a/b/manifests/{evil}",
        f"/v2/a/b/blobs/uploads/{evil}",
        f"/v2/{evil}/tags/list",
        f"/v2/a/b/referrers/{ZEROS}?artifactType={evil}",
        f"/{evil}",
    ):
        answer = await open_live.client.get(target)
        assert "X-Evil" not in answer.headers
    link = (await open_live.client.get(f"/v2/a/b/tags/list?n=1&x={evil}")).headers["Link"]
    assert link == '</v2/a/b/tags/list?n=1&x=%0D%0AX-Evil%3A+1&last=v1>; rel="next"'


REQUEST_ID: Final = [
    ("abc-123._X", True),
    ("a" * 64, True),
    ("a" * 65, False),
    ("", False),
    ("a b", False),
    ("a\tb", False),
    ('"', False),
    ("a;b", False),
    ("\xe9", False),
]


async def test_request_id(open_live: Live, subtests: pytest.Subtests) -> None:
    for sent, kept in REQUEST_ID:
        with subtests.test(f"{sent!r:.40} {kept!r:.40}"):
            await _check_request_id(open_live, sent, kept)


async def _check_request_id(open_live: Live, sent: str, kept: bool) -> None:
    _, headers, _ = await exchange(open_live, _request("GET /v2/ HTTP/1.1", f"X-Request-ID: {sent}"))
    assert (headers["x-request-id"] == sent) is kept
    assert set(headers["x-request-id"]) <= set(string.ascii_letters + string.digits + "._-")


ODD_HOST_NEVER_BREAKS_THE_CHALLENGE: Final = [
    'a"b',
    "a,b",
    "a b",
    "a\\b",
    "a/b",
    "a\xffb",
    "[::1",
    "a:b",
    "a:1:2",
    "x" * 9000,
    "",
]


async def test_odd_host_never_breaks_the_challenge(live: Live, subtests: pytest.Subtests) -> None:
    for host in ODD_HOST_NEVER_BREAKS_THE_CHALLENGE:
        with subtests.test(f"{host!r:.40}"):
            await _check_odd_host_never_breaks_the_challenge(live, host)


async def _check_odd_host_never_breaks_the_challenge(live: Live, host: str) -> None:
    status, headers, _ = await exchange(live, _request("GET /v2/ HTTP/1.1", host=host))
    assert status == 401
    expected = f'Bearer realm="http://{live.host}/token",service="longshore"'
    if host == "x" * 9000:
        expected = expected.replace(live.host, host)
    assert headers["www-authenticate"] == expected


async def test_expect_100_continue(open_live: Live) -> None:
    """curl and Go ask like this before they send a large body."""
    content = b"hello"
    request = _request(
        f"POST /v2/a/b/blobs/uploads/?digest={Digest.of(content)} HTTP/1.1",
        "Expect: 100-continue",
        f"Content-Length: {len(content)}",
    )
    async with connect(open_live) as raw:
        await raw.write(request)
        assert (await raw.read_head())[0] == 100
        await raw.write(content)
        assert (await raw.read_answer())[0] == 201


async def test_pipelined_requests_are_answered_in_order(open_live: Live) -> None:
    digest = await open_live.client.push_blob("a/b", b"hello")
    async with connect(open_live) as raw:
        await raw.write(
            _request("GET /v2/a/b/tags/list HTTP/1.1")
            + _request(f"GET /v2/a/b/blobs/{digest} HTTP/1.1")
            + _request(f"HEAD /v2/a/b/blobs/{digest} HTTP/1.1")
            + _request("GET /v2/_catalog HTTP/1.1")
        )
        assert (await raw.read_answer())[2] == b'{"name": "a/b", "tags": []}'
        assert (await raw.read_answer())[2] == b"hello"
        assert (await raw.read_answer(head=True))[0] == 200
        assert (await raw.read_answer())[2] == b'{"repositories": ["a/b"]}'


async def test_refused_body_does_not_pass_for_the_next_request(open_live: Live) -> None:
    body = _request("GET /v2/_catalog HTTP/1.1")
    async with connect(open_live) as raw:
        await raw.write(
            _request("PUT /v2/A/manifests/x HTTP/1.1", f"Content-Length: {len(body)}", body=body)
            + _request("GET /v2/ HTTP/1.1")
        )
        assert (await raw.read_answer())[0] == 400
        assert (await raw.read_answer())[2] == b"{}"


ODD_QUERIES_OF_AN_UPLOAD: Final = [
    ("?digest={digest}&digest=x", 201),
    ("?digest=x&digest={digest}", 400),
    ("?digest=", 400),
    ("?mount=", 400),
    ("?mount=&digest={digest}", 400),
    ("?mount={absent}&from=", 202),
    ("?mount={absent}&from=..%2Fx", 202),
    ("?mount={absent}&from=%00", 202),
    ("?mount={absent}&digest={digest}", 202),
    ("?digest-algorithm=", 400),
    ("?digest-algorithm=md5", 400),
    ("?digest-algorithm=sha512", 202),
    ("?tag=&n=&last=", 202),
    ("?", 202),
    ("?&&=&;", 202),
    ("?%ff=%00", 202),
]


async def test_odd_queries_of_an_upload(open_live: Live, subtests: pytest.Subtests) -> None:
    for query, status in ODD_QUERIES_OF_AN_UPLOAD:
        with subtests.test(f"{query!r:.40} {status!r:.40}"):
            await _check_odd_queries_of_an_upload(open_live, query, status)


async def _check_odd_queries_of_an_upload(open_live: Live, query: str, status: int) -> None:
    target = "/v2/a/b/blobs/uploads/" + query.format(digest=Digest.of(b""), absent=ABSENT)
    assert (await open_live.client.post(target)).status == status
