"""Generated requests against the live application: no failure, and one form of refusal, whatever comes."""

import json
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.manifest import OCI_INDEX, OCI_MANIFEST
from storage.digest import Digest
from tests.registry.web.content import ABSENT, image, index, push_image
from tests.registry.web.live import Live, Raw, connect
from tests.storage.properties import PROPERTY

LAYER: Final = Digest.of(b"layer")

# The pieces of a request line are joined, so most of the paths lead somewhere and some to the edge of it.
METHODS: Final = st.sampled_from(
    ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK"]
)
ODD: Final = st.text(alphabet="aA0_.-:/%@ +~*'\"<>\\\0\n\xe9\U0001f433", max_size=12).map(
    lambda text: "".join(c if c in "aA0_.-:/" else "".join(f"%{b:02x}" for b in c.encode()) for c in text)
)
NAMES: Final = (
    st.sampled_from(["a/b", "a%2Fb", "none/none", "app", "A", "a//b", "..", "%2e%2e", "a" * 256]) | ODD
)
DIGESTS: Final = (
    st.sampled_from([str(LAYER), str(ABSENT), "sha256%3A" + LAYER.hex, "sha512:00", "sha256:", "x:y"]) | ODD
)
REFERENCES: Final = st.sampled_from(["v1", "none", str(image(b"layer").digest), "-", "a" * 129]) | DIGESTS
PARAMETERS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "n",
                "last",
                "digest",
                "mount",
                "from",
                "tag",
                "artifactType",
                "digest-algorithm",
                "ns",
                "scope",
                "x",
            ]
        ),
        st.sampled_from(["", "0", "1", "-1", "9" * 20, "v1", "a/b", str(LAYER), str(ABSENT), "sha512", "%00"])
        | ODD,
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


def _under(rest: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(NAMES, rest).map("/v2/{0[0]}/{0[1]}".format)


PATHS: Final = st.one_of(
    st.sampled_from(["/v2", "/v2/", "/v2/_catalog", "/v2/x", "/v2/a/b", "/v2/a/b/tags", "//v2/", "/V2/"]),
    _under(REFERENCES.map("manifests/".__add__)),
    _under(DIGESTS.map("blobs/".__add__)),
    _under(
        st.sampled_from(
            ["blobs/uploads", "blobs/uploads/", "tags/list", "manifests", "blobs/uploads/{upload}"]
        )
    ),
    _under(ODD.map("blobs/uploads/".__add__)),
    _under(DIGESTS.map("referrers/".__add__)),
    ODD.map("/v2/".__add__),
)

VALUES: Final = st.sampled_from(
    [
        "",
        "*",
        "0-0",
        "0-4",
        "5-9",
        "bytes=0-0",
        "bytes=9-",
        "bytes=0-0,2-3",
        "bytes=-1",
        f'"{LAYER}"',
        str(LAYER),
        "gzip",
        OCI_INDEX,
        OCI_MANIFEST,
        "text/plain; charset=x",
        "Bearer x",
        "Basic Og==",
        "100-continue",
        "9" * 30,
        "\xff",
        "a,b",
    ]
) | st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20
)

HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            "Range",
            "If-Range",
            "If-Match",
            "If-None-Match",
            "Content-Range",
            "Content-Type",
            "Content-Encoding",
            "Accept",
            "Accept-Encoding",
            "Authorization",
            "X-Request-ID",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Cookie",
            "Origin",
        ]
    ),
    VALUES,
    max_size=3,
)

BODIES: Final = st.sampled_from(
    [
        b"",
        b"layer",
        b"{}",
        b"null",
        index().content,
        image(b"layer").content,
        image(b"absent").content,
        b"[" * 2000,
    ]
) | st.binary(max_size=40)


async def _send(
    raw: Raw, method: str, target: str, headers: dict[str, str], body: bytes, *, chunked: bool
) -> tuple[int, dict[str, str], bytes]:
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: example.org",
        *(f"{name}: {text}" for name, text in headers.items()),
    ]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    framed = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if chunked else body
    await raw.write("\r\n".join((*lines, "", "")).encode("latin-1") + framed)
    return await raw.read_answer(head=method == "HEAD")


@settings(PROPERTY, max_examples=250)
@given(
    method=METHODS,
    path=PATHS,
    query=PARAMETERS,
    headers=HEADERS,
    body=BODIES,
    chunked=st.booleans(),
    closed=st.booleans(),
)
async def test_any_request(
    live: Live,
    open_live: Live,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    chunked: bool,
    closed: bool,
) -> None:
    server = live if closed else open_live
    await push_image(open_live.client, "a/b", "v1")
    upload = (await open_live.client.start_upload("a/b")).rpartition("/")[2]
    target = path.replace("{upload}", upload) + (f"?{query}" if query else "")
    async with connect(server) as raw:
        status, sent, content = await _send(raw, method, target, headers, body, chunked=chunked)
        check(path, method, status, sent, content)
        # The connection is in order for the next one.
        if sent.get("connection") != "close":
            assert (await _send(raw, "GET", "/healthz", {}, b"", chunked=False))[0] == 200


def check(path: str, method: str, status: int, headers: dict[str, str], body: bytes) -> None:
    assert status < 500
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    if not path.startswith("/v2"):
        return
    assert headers["docker-distribution-api-version"] == "registry/2.0"
    if status < 400:
        return
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert int(headers["content-length"]) > 0
    if method != "HEAD":
        (entry,) = json.loads(body)["errors"]
        assert set(entry) - {"detail"} == {"code", "message"}
    if status == 401:
        assert headers["www-authenticate"].startswith("Bearer realm=")
    if status == 416:
        assert "range" in headers or headers["content-range"].startswith("bytes */")


FIELDS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "grant_type",
                "username",
                "password",
                "refresh_token",
                "scope",
                "access_type",
                "client_id",
                "service",
                "x",
            ]
        ),
        st.sampled_from(
            ["password", "refresh_token", "offline", "ann", "repository:a/b:pull", "%00", "%ff", "+", ""]
        )
        | ODD,
    ),
    max_size=6,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode())

FORM_TYPES: Final = st.sampled_from(
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/json",
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=",
    ]
)


@PROPERTY
@given(body=FIELDS | BODIES, content_type=FORM_TYPES, query=PARAMETERS, authorization=st.none() | VALUES)
async def test_any_request_for_a_token(
    live: Live, body: bytes, content_type: str, query: str, authorization: str | None
) -> None:
    more = {} if authorization is None else {"Authorization": authorization}
    async with connect(live) as raw:
        for method, headers in (("POST", {"Content-Type": content_type}), ("GET", more)):
            status, sent, content = await _send(raw, method, f"/token?{query}", headers, body, chunked=False)
            assert status < 500
            assert sent["x-request-id"]
            assert ("errors" in json.loads(content)) == (status >= 400)
