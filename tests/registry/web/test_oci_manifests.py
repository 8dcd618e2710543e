"""Manifests: exact bytes, exact headers, conditions, tags."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST
from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.content import ABSENT, CONFIG, LAYER, image, index, push_image, pushable
from tests.registry.web.live import Client, Live, Pushable, descriptor

INDEX: Final = index()
OTHER: Final = index(annotations={"a": "b"})

V1: Final = "/v2/a/b/manifests/v1"


@pytest.fixture
def client(open_live: Live) -> Client:
    return open_live.client


# -- what comes back -------------------------------------------------------------------------------------

BYTES: Final = {
    "spaces and order": b' {\n\t"manifests" : [ ] , "schemaVersion":2}\r\n ',
    "repeated members": b'{"schemaVersion":2,"manifests":[],"a":1,"a":2}',
    "escapes": b'{"schemaVersion":2,"manifests":[],"annotations":{"\\u0061":"\\ud83d\\ude00\\u0000"}}',
    "an empty list of Go": b'{"schemaVersion":2,"manifests":null}',
    "UTF-8": '{"schemaVersion":2,"manifests":[],"annotations":{"a":"é🐳"}}'.encode(),
    "unknown members": b'{"schemaVersion":2,"manifests":[],"x":{"y":[1.50,-0,1e5,null]}}',
}


async def test_bytes_come_back_as_they_were_pushed(client: Client, subtests: pytest.Subtests) -> None:
    for words in BYTES:
        with subtests.test(f"{words!r:.40}"):
            await _check_bytes_come_back_as_they_were_pushed(client, words)


async def _check_bytes_come_back_as_they_were_pushed(client: Client, words: str) -> None:
    content = BYTES[words]
    pushed = (await client.put(V1, content, Content_Type=OCI_INDEX)).expect(201)
    assert pushed.headers["Docker-Content-Digest"] == Digest.of(content)
    for reference in ("v1", Digest.of(content)):
        assert (await client.get(f"/v2/a/b/manifests/{reference}")).body == content


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST])
async def test_headers_of_get_and_head(client: Client, media_type: str, algorithm: str) -> None:
    is_index = media_type in (OCI_INDEX, DOCKER_LIST)
    await client.push_blob("a/b", b"{}")
    manifest = index(media_type=media_type) if is_index else image(media_type=media_type)
    digest = Digest.of(manifest.content, algorithm)
    target = f"/v2/a/b/manifests/{digest}"
    (await client.put(f"{target}?tag=v1", manifest.content, Content_Type=media_type)).expect(201)
    for reference, caching in (("v1", "no-cache"), (digest, "max-age=31536000, immutable")):
        for method, body in (("GET", manifest.content), ("HEAD", b"")):
            answer = (await client.send(method, f"/v2/a/b/manifests/{reference}")).expect(200)
            assert answer.body == body
            expected = {
                "Content-Length": str(len(manifest.content)),
                "Content-Type": media_type,
                "Docker-Content-Digest": digest,
                "ETag": f'"{digest}"',
                "Cache-Control": caching,
                "Docker-Distribution-Api-Version": "registry/2.0",
            }
            assert {name: answer.headers.get(name) for name in expected} == expected


async def test_what_was_authorized_is_cached_in_private(client: Client) -> None:
    await client.push_manifest("a/b", "v1", INDEX)
    by_tag = await client.get(V1, Authorization="Bearer x")
    by_digest = await client.head(f"/v2/a/b/manifests/{INDEX.digest}", Authorization="Bearer x")
    assert by_tag.headers["Cache-Control"] == "private, no-cache"
    assert by_digest.headers["Cache-Control"] == "private, max-age=31536000, immutable"


STORED_MANIFEST_IS_SENT_WHATEVER_IS_ACCEPTED: Final = [
    "*/*",
    "",
    "text/html",
    OCI_MANIFEST,
    f"{OCI_MANIFEST}, {OCI_INDEX};q=0",
    f"{DOCKER_MANIFEST}, */*;q=0.1",
    ";;,",
]


async def test_stored_manifest_is_sent_whatever_is_accepted(
    client: Client, subtests: pytest.Subtests
) -> None:
    for accept in STORED_MANIFEST_IS_SENT_WHATEVER_IS_ACCEPTED:
        with subtests.test(f"{accept!r:.40}"):
            await _check_stored_manifest_is_sent_whatever_is_accepted(client, accept)


async def _check_stored_manifest_is_sent_whatever_is_accepted(client: Client, accept: str) -> None:
    await client.push_manifest("a/b", "v1", INDEX)
    for method in ("GET", "HEAD"):
        answer = (await client.send(method, V1, None, {"Accept": accept})).expect(200)
        assert answer.headers["Content-Type"] == OCI_INDEX
        assert answer.headers["Docker-Content-Digest"] == INDEX.digest


IF_NONE_MATCH_SENT_STATUS: Final = [
    ('"{digest}"', 304),
    ("{digest}", 304),
    ('W/"{digest}"', 304),
    ('"x", "{digest}"', 304),
    ("x,{digest}", 304),
    ("*", 304),
    ('"{other}"', 200),
    ("", 200),
    (",", 200),
]

IF_NONE_MATCH_BY_TAG: Final = [True, False]


async def test_if_none_match(client: Client, subtests: pytest.Subtests) -> None:
    for sent, status in IF_NONE_MATCH_SENT_STATUS:
        for by_tag in IF_NONE_MATCH_BY_TAG:
            with subtests.test(f"{sent!r:.40} {status!r:.40} {by_tag!r:.40}"):
                await _check_if_none_match(client, sent, status, by_tag)


async def _check_if_none_match(client: Client, sent: str, status: int, by_tag: bool) -> None:
    await client.push_manifest("a/b", "v1", INDEX)
    target = V1 if by_tag else f"/v2/a/b/manifests/{INDEX.digest}"
    value = sent.format(digest=INDEX.digest, other=OTHER.digest)
    for method in ("GET", "HEAD"):
        answer = (await client.send(method, target, None, {"If-None-Match": value})).expect(status)
        assert answer.headers["ETag"] == f'"{INDEX.digest}"'
        assert answer.headers["Docker-Content-Digest"] == INDEX.digest
        assert "no-cache" in answer.headers["Cache-Control"] or not by_tag
        assert answer.body == (INDEX.content if (status, method) == (200, "GET") else b"")


# -- media types -----------------------------------------------------------------------------------------


CONTENT_TYPE_COUNTS_WITHOUT_ITS_PARAMETERS_CONTENT_TYPE_STORED: Final = [
    (OCI_INDEX, OCI_INDEX),
    (f"{OCI_INDEX}; charset=utf-8", OCI_INDEX),
    (f"{OCI_INDEX};a=b;c", OCI_INDEX),
    (f" {OCI_INDEX} ", OCI_INDEX),
]

CONTENT_TYPE_COUNTS_WITHOUT_ITS_PARAMETERS_SAID: Final = [None, OCI_INDEX]


async def test_content_type_counts_without_its_parameters(client: Client, subtests: pytest.Subtests) -> None:
    for content_type, stored in CONTENT_TYPE_COUNTS_WITHOUT_ITS_PARAMETERS_CONTENT_TYPE_STORED:
        for said in CONTENT_TYPE_COUNTS_WITHOUT_ITS_PARAMETERS_SAID:
            with subtests.test(f"{content_type!r:.40} {stored!r:.40} {said!r:.40}"):
                await _check_content_type_counts_without_its_parameters(client, content_type, stored, said)


async def _check_content_type_counts_without_its_parameters(
    client: Client, content_type: str, stored: str, said: str | None
) -> None:
    content = json.dumps(
        {"schemaVersion": 2, "manifests": []} | ({"mediaType": said} if said else {})
    ).encode()
    (await client.put(V1, content, Content_Type=content_type)).expect(201)
    assert (await client.head(V1)).headers["Content-Type"] == stored


async def test_content_type_decides_where_the_manifest_says_nothing(client: Client) -> None:
    content = b'{"schemaVersion":2,"manifests":[]}'
    for media_type in (OCI_INDEX, DOCKER_LIST, OCI_INDEX):
        (await client.put(V1, content, Content_Type=media_type)).expect(201)
        assert (await client.get(V1)).headers["Content-Type"] == media_type


@pytest.mark.parametrize("content_type", [OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST])
async def test_content_type_that_the_manifest_contradicts(client: Client, content_type: str) -> None:
    assert (await client.put(V1, INDEX.content, Content_Type=content_type)).outcome == (
        400,
        "MANIFEST_INVALID",
    )


@pytest.mark.parametrize(("said", "status"), [(OCI_INDEX, 201), (None, 400), ("text/plain", 400)])
async def test_push_without_content_type(client: Client, said: str | None, status: int) -> None:
    content = json.dumps(
        {"schemaVersion": 2, "manifests": []} | ({"mediaType": said} if said else {})
    ).encode()
    async with client.session.put(
        client.base + V1, data=content, skip_auto_headers=["Content-Type"]
    ) as response:
        assert response.status == status
    if status == 201:
        assert (await client.head(V1)).headers["Content-Type"] == said


@pytest.mark.parametrize("suffix", ["json", "prettyjws"])
async def test_schema_1_is_refused_in_words(client: Client, suffix: str) -> None:
    media_type = f"application/vnd.docker.distribution.manifest.v1+{suffix}"
    answer = await client.put(V1, b'{"schemaVersion":1,"name":"a/b","tag":"v1"}', Content_Type=media_type)
    assert answer.outcome == (400, "MANIFEST_INVALID")
    assert "schema 1" in answer.json()["errors"][0]["message"]


# -- pushing ---------------------------------------------------------------------------------------------


async def test_push_by_tag(client: Client) -> None:
    answer = (await client.put(V1, INDEX.content, Content_Type=OCI_INDEX)).expect(201)
    assert answer.headers["Location"] == f"/v2/a/b/manifests/{INDEX.digest}"
    assert answer.headers["Docker-Content-Digest"] == INDEX.digest
    assert answer.body == b""
    assert not answer.headers.keys() & {"OCI-Tag", "OCI-Subject"}


async def test_push_by_tag_knows_no_other_tags(client: Client) -> None:
    answer = await client.put(f"{V1}?tag=v2&tag=.", INDEX.content, Content_Type=OCI_INDEX)
    assert "OCI-Tag" not in answer.expect(201).headers
    assert (await client.get("/v2/a/b/tags/list")).json()["tags"] == ["v1"]


@pytest.mark.parametrize(
    "tags", [[], ["a"], ["b", "a"], ["a", "b", "a"], [f"t{each}" for each in range(100)]], ids=len
)
async def test_push_by_digest_with_tags(client: Client, tags: list[str]) -> None:
    query = "&".join(f"tag={tag}" for tag in tags)
    target = f"/v2/a/b/manifests/{INDEX.digest}?{query}"
    answer = (await client.put(target, INDEX.content, Content_Type=OCI_INDEX)).expect(201)
    assert answer.headers["Location"] == f"/v2/a/b/manifests/{INDEX.digest}"
    assert answer.headers.getall("OCI-Tag", []) == list(dict.fromkeys(tags))
    assert (await client.get("/v2/a/b/tags/list")).json()["tags"] == sorted(set(tags))


async def test_too_many_tags_are_refused_as_a_whole(client: Client) -> None:
    query = "&".join(f"tag=t{each}" for each in range(101))
    target = f"/v2/a/b/manifests/{INDEX.digest}?{query}"
    answer = await client.put(target, INDEX.content, Content_Type=OCI_INDEX)
    assert answer.outcome == (414, "UNSUPPORTED")
    assert (await client.get("/v2/a/b/tags/list")).outcome == (404, "NAME_UNKNOWN")


async def test_push_by_another_digest(client: Client) -> None:
    answer = await client.put(f"/v2/a/b/manifests/{ABSENT}", INDEX.content, Content_Type=OCI_INDEX)
    assert answer.outcome == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("subject", [ABSENT, Digest.of(b"", "sha512")])
async def test_subject_that_is_not_there_is_accepted(client: Client, subject: Digest) -> None:
    manifest = index(subject={"mediaType": OCI_MANIFEST, "digest": subject, "size": 1})
    for reference in ("v1", manifest.digest):
        answer = await client.put(f"/v2/a/b/manifests/{reference}", manifest.content, Content_Type=OCI_INDEX)
        assert answer.expect(201).headers["OCI-Subject"] == subject


async def test_tag_moves(client: Client) -> None:
    for manifest in (INDEX, OTHER, INDEX):
        await client.push_manifest("a/b", "v1", manifest)
        assert (await client.get(V1)).body == manifest.content
    assert (await client.get(f"/v2/a/b/manifests/{OTHER.digest}")).body == OTHER.content


URLS: Final = ["https://example.org/layer"]

SPARSE: Final[Mapping[str, tuple[Pushable, bool]]] = {
    "an image without its layer": (image(b"absent"), False),
    "an image without its config": (image(config=b"absent"), False),
    "an index without its children": (index(INDEX.descriptor()), True),
    "an attestation in an index": (
        index(image().descriptor(platform={"architecture": "unknown", "os": "unknown"})),
        True,
    ),
    "a build cache, whose index names layers": (
        index(
            descriptor(LAYER, b"absent"),
            descriptor("application/vnd.buildkit.cacheconfig.v0", b"absent"),
        ),
        True,
    ),
    "a layer with a URL": (
        pushable(
            OCI_MANIFEST, config=descriptor(CONFIG, b"{}"), layers=[descriptor(LAYER, b"absent", urls=URLS)]
        ),
        True,
    ),
    "a layer that is not distributed": (
        pushable(
            DOCKER_MANIFEST,
            config=descriptor(CONFIG, b"{}"),
            layers=[descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"absent")],
        ),
        True,
    ),
    "an artifact with an empty config": (
        pushable(OCI_MANIFEST, config=descriptor("application/vnd.oci.empty.v1+json", b"{}"), layers=[]),
        True,
    ),
    "an artifact manifest": (
        pushable(OCI_ARTIFACT, blobs=[descriptor("a/b", b"{}")], artifactType="a/b"),
        True,
    ),
}


async def test_what_may_name_content_that_is_not_here(client: Client, subtests: pytest.Subtests) -> None:
    await client.push_blob("a/b", b"{}")
    for words, (manifest, accepted) in SPARSE.items():
        with subtests.test(words):
            answer = await client.put(V1, manifest.content, Content_Type=manifest.media_type)
            assert answer.outcome == ((201, "") if accepted else (404, "MANIFEST_BLOB_UNKNOWN"))
            if not accepted:
                absent = {"digest": Digest.of(b"absent")}
                assert answer.json()["errors"][0]["detail"] == [absent]


@pytest.mark.parametrize(("sparse", "status"), [("none", 404), ("index", 201), ("all", 201)])
async def test_sparse_setting(serving: Serving, sparse: str, status: int) -> None:
    async with serving(auth="off", sparse=sparse) as live:
        answer = await live.client.put(V1, index(INDEX.descriptor()).content, Content_Type=OCI_INDEX)
        assert answer.status == status


# -- conditions ------------------------------------------------------------------------------------------

CONDITIONS: Final[list[tuple[str | None, dict[str, str], int]]] = [
    # what v1 is now, the headers, the status
    (None, {"If-None-Match": "*"}, 201),
    (None, {"If-None-Match": '"{index}"'}, 201),
    (None, {"If-Match": "*"}, 412),
    (None, {"If-Match": '"{index}"'}, 412),
    (None, {"If-Match": ""}, 412),
    ("index", {"If-None-Match": "*"}, 412),
    ("index", {"If-None-Match": '"{index}"'}, 412),
    ("index", {"If-None-Match": "{index}"}, 412),
    ("index", {"If-None-Match": '"{other}", W/"{index}"'}, 412),
    ("index", {"If-None-Match": '"{other}"'}, 201),
    ("index", {"If-Match": "*"}, 201),
    ("index", {"If-Match": '"{index}"'}, 201),
    ("index", {"If-Match": "{index}"}, 201),
    ("index", {"If-Match": '"{other}", "{index}"'}, 201),
    ("index", {"If-Match": '"{other}"'}, 412),
    ("index", {"If-Match": '"{index}"', "If-None-Match": '"{other}"'}, 201),
    ("index", {"If-Match": '"{index}"', "If-None-Match": "*"}, 412),
]


@pytest.mark.parametrize(("now", "headers", "status"), CONDITIONS)
async def test_conditions_of_a_push_by_tag(
    client: Client, now: str | None, headers: dict[str, str], status: int
) -> None:
    await client.push_manifest("a/b", "elsewhere", INDEX)
    if now is not None:
        await client.push_manifest("a/b", "v1", INDEX)
    words = {"index": INDEX.digest, "other": OTHER.digest}
    sent = {name: value.format_map(words) for name, value in headers.items()}
    answer = await client.send("PUT", V1, OTHER.content, {**sent, "Content-Type": OCI_INDEX})
    assert answer.outcome == ((201, "") if status == 201 else (412, "DENIED"))
    after = OTHER.digest if status == 201 else INDEX.digest if now else None
    assert (await client.head(V1)).headers.get("Docker-Content-Digest") == after
    # A push that is refused leaves nothing.
    assert (await client.head(f"/v2/a/b/manifests/{OTHER.digest}")).status == (200 if status == 201 else 404)


async def test_condition_holds_for_each_tag_of_a_push_by_digest(client: Client) -> None:
    await client.push_manifest("a/b", "taken", INDEX)
    target = f"/v2/a/b/manifests/{OTHER.digest}?tag=free&tag=taken"
    answer = await client.put(target, OTHER.content, Content_Type=OCI_INDEX, If_None_Match="*")
    assert answer.outcome == (412, "DENIED")
    assert answer.json()["errors"][0]["detail"] == {"tag": "taken"}
    assert (await client.get("/v2/a/b/tags/list")).json()["tags"] == ["taken"]


# -- deleting --------------------------------------------------------------------------------------------


async def test_delete_a_tag(client: Client) -> None:
    for tag in ("v1", "v2"):
        await client.push_manifest("a/b", tag, INDEX)
    assert (await client.delete(V1)).expect(202).body == b""
    assert (await client.get(V1)).outcome == (404, "MANIFEST_UNKNOWN")
    assert (await client.delete(V1)).outcome == (404, "MANIFEST_UNKNOWN")
    for reference in ("v2", INDEX.digest):
        assert (await client.get(f"/v2/a/b/manifests/{reference}")).body == INDEX.content


async def test_delete_a_manifest_with_its_tags(client: Client) -> None:
    for tag in ("v1", "v2"):
        await client.push_manifest("a/b", tag, INDEX)
    await client.push_manifest("a/b", "v3", OTHER)
    (await client.delete(f"/v2/a/b/manifests/{INDEX.digest}")).expect(202)
    for reference in ("v1", "v2", INDEX.digest):
        assert (await client.get(f"/v2/a/b/manifests/{reference}")).outcome == (404, "MANIFEST_UNKNOWN")
    assert (await client.get("/v2/a/b/tags/list")).json()["tags"] == ["v3"]


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pushed", "other"), [("app", "library/app"), ("library/app", "app")])
async def test_library_is_the_namespace_of_names_without_one(client: Client, pushed: str, other: str) -> None:
    await push_image(client, pushed, "v1")
    for name in (pushed, other):
        assert (await client.get(f"/v2/{name}/manifests/v1")).body == image(b"layer").content
        assert (await client.get(f"/v2/{name}/blobs/{Digest.of(b'layer')}")).body == b"layer"
        assert (await client.get(f"/v2/{name}/tags/list")).json() == {"name": name, "tags": ["v1"]}
    for name in (pushed, other):
        answer = await client.put(
            f"/v2/{name}/manifests/v1", image(b"layer").content, Content_Type=OCI_MANIFEST
        )
        assert answer.headers["Location"] == f"/v2/{name}/manifests/{image(b'layer').digest}"
    assert (await client.get("/v2/_catalog")).json() == {"repositories": ["library/app"]}
    assert (await client.get("/v2/library/library/app/tags/list")).status == 404


NAMES_OF_ALL_KINDS: Final = [
    "a/b/c/d/e/f/g",
    "0/0",
    "a__b/c-d/e.f/g---h",
    "manifests/manifests/manifests",
    "blobs/uploads",
    "a/blobs/uploads",
    "tags/list",
    "a/referrers",
    "v2/v2",
]


async def test_names_of_all_kinds(client: Client, subtests: pytest.Subtests) -> None:
    for name in NAMES_OF_ALL_KINDS:
        with subtests.test(f"{name!r:.40}"):
            await _check_names_of_all_kinds(client, name)


async def _check_names_of_all_kinds(client: Client, name: str) -> None:
    manifest = await push_image(client, name, "v1")
    assert (await client.get(f"/v2/{name}/manifests/v1")).body == manifest.content
    assert (await client.get(f"/v2/{name}/tags/list")).json() == {"name": name, "tags": ["v1"]}
    location = await client.start_upload(name)
    (await client.put(f"{location}?digest={Digest.of(b'')}")).expect(201)
    (await client.get(f"/v2/{name}/referrers/{manifest.digest}")).expect(200)
    (await client.delete(f"/v2/{name}/manifests/{manifest.digest}")).expect(202)


@pytest.mark.parametrize(
    "tag",
    [
        "a",
        "_",
        "0",
        "A.b-c_d",
        "a" * 128,
        "1.0.0_build.5",
        "sha256-" + "a" * 64,
        "sha256-" + "a" * 64 + ".sig",
        "a" * 64,
    ],
)
async def test_tags_of_all_kinds(client: Client, tag: str) -> None:
    """Among them those of helm ("+" as "_"), of cosign and of kaniko's cache."""
    await client.push_manifest("a/b", tag, INDEX)
    assert (await client.get(f"/v2/a/b/manifests/{tag}")).body == INDEX.content
    assert (await client.get("/v2/a/b/tags/list")).json()["tags"] == [tag]


async def test_escaped_path_is_the_same(client: Client) -> None:
    await client.push_manifest("a/b", "v1", INDEX)
    escaped: list[Any] = [
        "/v2/a%2Fb/manifests/v1",
        "/v2/%61/b/manifests/v%31",
        f"/v2/a/b/manifests/sha256%3A{INDEX.digest.hex}",
    ]
    for target in escaped:
        assert (await client.get(target)).body == INDEX.content
