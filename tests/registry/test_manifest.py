"""What is read of a manifest, and what is refused. Whatever comes, nothing but a RegistryError is raised."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import Problem, RegistryError
from registry.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Child,
    parse_manifest,
)
from storage.digest import Digest
from tests.registry.content import CONFIG, LAYER, describe, image, index, refused
from tests.storage.properties import PROPERTY

IMAGES: Final = [OCI_MANIFEST, DOCKER_MANIFEST]
INDEXES: Final = [OCI_INDEX, DOCKER_LIST]
TYPES: Final = [*IMAGES, *INDEXES, OCI_ARTIFACT]

SHA256, SHA512 = Digest.of(b"x"), Digest.of(b"x", "sha512")

IMAGE: Final = {"schemaVersion": 2, "config": describe(b"c", CONFIG), "layers": [describe(b"a")]}
INDEX: Final = {"schemaVersion": 2, "manifests": [describe(b"m", OCI_MANIFEST)]}
ARTIFACT: Final = {"blobs": [describe(b"a")]}
DOCUMENTS: Final[Mapping[str, dict[str, Any]]] = {
    OCI_MANIFEST: IMAGE,
    DOCKER_MANIFEST: IMAGE,
    OCI_INDEX: INDEX,
    DOCKER_LIST: INDEX,
    OCI_ARTIFACT: ARTIFACT,
}


def encode(document: object) -> bytes:
    return json.dumps(document).encode()


def without(document: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != field}


def reason(content: bytes | object, media_type: str | None = OCI_MANIFEST) -> str:
    """Return the words with which the manifest is refused."""
    with refused(Problem.MANIFEST_INVALID) as caught:
        parse_manifest(content if isinstance(content, bytes) else encode(content), media_type)
    return caught.value.message


# What it names


@pytest.mark.parametrize("media_type", IMAGES)
def test_image_names_its_config_and_layers(media_type: str) -> None:
    parsed = parse_manifest(image(media_type=media_type, layers=[b"a", b"b"]).content, media_type)
    assert parsed.blobs == tuple(Digest.of(each) for each in (b"{}", b"a", b"b"))
    assert (parsed.media_type, parsed.is_index) == (media_type, False)
    assert (parsed.optional_blobs, parsed.children, parsed.subject) == ((), (), None)
    assert parsed.artifact_type == CONFIG


@pytest.mark.parametrize("media_type", INDEXES)
def test_index_names_its_children(media_type: str) -> None:
    child = image()
    entry = {
        **child.descriptor,
        "artifactType": "x/y",
        "annotations": {"k": "v"},
        "platform": {"os": "linux"},
    }
    parsed = parse_manifest(encode({"schemaVersion": 2, "manifests": [entry]}), media_type)
    assert parsed.children == (Child(OCI_MANIFEST, child.digest, len(child.content), "x/y", {"k": "v"}),)
    assert (parsed.media_type, parsed.is_index) == (media_type, True)
    assert (parsed.blobs, parsed.optional_blobs, parsed.artifact_type) == ((), (), None)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({**IMAGE, "layers": None}, OCI_MANIFEST),
        ({"schemaVersion": 2, "manifests": None}, OCI_INDEX),
        ({"blobs": None}, OCI_ARTIFACT),
    ],
)
def test_empty_list_may_be_written_as_null(document: dict[str, Any], media_type: str) -> None:
    parsed = parse_manifest(encode(document), media_type)
    assert parsed.children == ()
    assert len(parsed.blobs) == (1 if media_type == OCI_MANIFEST else 0)


def test_artifact_names_its_blobs() -> None:
    document = {"blobs": [describe(b"a")], "artifactType": "x/y", "subject": describe(b"s", OCI_MANIFEST)}
    parsed = parse_manifest(encode(document), OCI_ARTIFACT)
    assert parsed.blobs == (Digest.of(b"a"),)
    assert (parsed.is_index, parsed.artifact_type, parsed.subject) == (False, "x/y", Digest.of(b"s"))


@pytest.mark.parametrize(
    ("media_type", "is_child"),
    [
        *((each, True) for each in TYPES),
        (LAYER, False),
        (CONFIG, False),
        ("application/vnd.buildkit.cacheconfig.v0", False),
        ("application/vnd.oci.empty.v1+json", False),
        ("application/vnd.docker.distribution.manifest.v1+json", False),
    ],
)
def test_entry_of_an_index_is_a_manifest_by_its_type(media_type: str, is_child: bool) -> None:
    entry = describe(b"e", media_type)
    parsed = parse_manifest(encode({"schemaVersion": 2, "manifests": [entry]}), OCI_INDEX)
    assert [each.digest for each in parsed.children] == ([Digest.of(b"e")] if is_child else [])
    assert list(parsed.blobs) == ([] if is_child else [Digest.of(b"e")])


@pytest.mark.parametrize(
    ("layer", "pushed"),
    [
        (describe(b"l"), True),
        (describe(b"l", urls=[]), True),
        (describe(b"l", urls=["https://elsewhere/"]), False),
        (describe(b"l", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"), False),
        (describe(b"l", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), False),
        (describe(b"l", "application/vnd.docker.image.rootfs.diff.tar.gzip"), True),
        (describe(b"l", "application/foreign"), True),
    ],
)
def test_layer_that_clients_do_not_push_is_optional(layer: dict[str, Any], pushed: bool) -> None:
    parsed = parse_manifest(encode({**IMAGE, "layers": [layer]}), OCI_MANIFEST)
    expected = (Digest.of(b"l"),)
    assert parsed.optional_blobs == (() if pushed else expected)
    assert parsed.blobs == (Digest.of(b"c"), *(expected if pushed else ()))


@pytest.mark.parametrize(
    ("media_type", "fields", "artifact_type"),
    [
        (OCI_MANIFEST, {}, CONFIG),
        (OCI_MANIFEST, {"artifactType": "x/y"}, "x/y"),
        (OCI_MANIFEST, {"artifactType": ""}, CONFIG),
        (OCI_MANIFEST, {"artifactType": None}, CONFIG),
        (DOCKER_MANIFEST, {}, CONFIG),
        (OCI_INDEX, {}, None),
        (OCI_INDEX, {"artifactType": "x/y"}, "x/y"),
        (OCI_INDEX, {"artifactType": ""}, None),
        (OCI_ARTIFACT, {}, None),
        (OCI_ARTIFACT, {"artifactType": "x/y"}, "x/y"),
    ],
)
def test_artifact_type(media_type: str, fields: dict[str, Any], artifact_type: str | None) -> None:
    parsed = parse_manifest(encode({**DOCUMENTS[media_type], **fields}), media_type)
    assert parsed.artifact_type == artifact_type


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize("digest", [SHA256, SHA512])
def test_subject_and_annotations(media_type: str, digest: Digest) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
    more = {"subject": subject, "annotations": {"k": "v", "é": "\u0000"}, "anything": [1, {}]}
    parsed = parse_manifest(encode({**DOCUMENTS[media_type], **more}), media_type)
    assert (parsed.subject, parsed.annotations) == (digest, {"k": "v", "é": "\u0000"})


# Its media type


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_media_type_is_said_by_the_push_or_by_the_document(
    media_type: str, said: bool, written: bool
) -> None:
    document = {**DOCUMENTS[media_type], **({"mediaType": media_type} if written else {})}
    if said or written:
        parsed = parse_manifest(encode(document), media_type if said else None)
        assert parsed.media_type == media_type
    else:
        assert "no mediaType" in reason(document, None)


@pytest.mark.parametrize("written", TYPES)
@pytest.mark.parametrize("said", TYPES)
def test_media_types_must_agree(said: str, written: str) -> None:
    document = {**DOCUMENTS[said], "mediaType": written}
    if said == written:
        assert parse_manifest(encode(document), said).media_type == said
    else:
        assert "differs" in reason(document, said)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/json",
        "application/octet-stream",
        CONFIG,
        OCI_MANIFEST.upper(),
        OCI_MANIFEST + " ",
        # Parameters are taken off before, where the header is read.
        OCI_MANIFEST + "; charset=utf-8",
    ],
)
def test_other_media_types_are_refused(media_type: str) -> None:
    assert reason(IMAGE, media_type).startswith(("the media type is none of", "the push says no"))


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+json"),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({"schemaVersion": 1, "fsLayers": []}, DOCKER_MANIFEST),
        ({**IMAGE, "schemaVersion": 1}, OCI_MANIFEST),
        ({**INDEX, "schemaVersion": 1}, OCI_INDEX),
    ],
)
def test_schema_1_is_refused_in_words(document: dict[str, Any], media_type: str) -> None:
    assert "schema 1 are not supported" in reason(document, media_type)


# What is not a manifest


@pytest.mark.parametrize("media_type", IMAGES)
@pytest.mark.parametrize("manifests", [[], [describe(b"m", OCI_MANIFEST)]])
def test_image_that_is_an_index_too_is_refused(media_type: str, manifests: list[Any]) -> None:
    assert reason({**IMAGE, "manifests": manifests}, media_type).startswith("manifests: ")


@pytest.mark.parametrize("media_type", INDEXES)
@pytest.mark.parametrize("more", [{"layers": []}, {"layers": IMAGE["layers"]}, {"config": IMAGE["config"]}])
def test_index_that_is_an_image_too_is_refused(media_type: str, more: dict[str, Any]) -> None:
    assert reason({**INDEX, **more}, media_type).startswith(f"{next(iter(more))}: ")


@pytest.mark.parametrize("more", [{"layers": []}, {"config": IMAGE["config"]}, {"manifests": []}])
def test_artifact_that_is_something_else_too_is_refused(more: dict[str, Any]) -> None:
    assert reason({**ARTIFACT, **more}, OCI_ARTIFACT).startswith(f"{next(iter(more))}: ")


@pytest.mark.parametrize(
    ("document", "media_type", "where"),
    [
        *((without(IMAGE, field), OCI_MANIFEST, field) for field in IMAGE),
        *((without(INDEX, field), OCI_INDEX, field) for field in INDEX),
        (INDEX, OCI_MANIFEST, "config"),
        (IMAGE, OCI_INDEX, "manifests"),
        ({**IMAGE, "schemaVersion": 3}, OCI_MANIFEST, "schemaVersion"),
        ({**IMAGE, "schemaVersion": "2"}, OCI_MANIFEST, "schemaVersion"),
        ({**IMAGE, "schemaVersion": None}, OCI_MANIFEST, "schemaVersion"),
        ({**IMAGE, "layers": {}}, OCI_MANIFEST, "layers"),
        ({**IMAGE, "layers": [None]}, OCI_MANIFEST, "layers.0"),
        ({**IMAGE, "layers": [describe(b"a"), {}]}, OCI_MANIFEST, "layers.1.mediaType"),
        ({**IMAGE, "config": []}, OCI_MANIFEST, "config"),
        ({**IMAGE, "mediaType": 1}, OCI_MANIFEST, "mediaType"),
        ({**IMAGE, "artifactType": 1}, OCI_MANIFEST, "artifactType"),
        ({**IMAGE, "artifactType": "x" * 256}, OCI_MANIFEST, "artifactType"),
        ({**IMAGE, "annotations": []}, OCI_MANIFEST, "annotations"),
        ({**IMAGE, "annotations": {"k": 1}}, OCI_MANIFEST, "annotations.k"),
        ({**IMAGE, "subject": "x"}, OCI_MANIFEST, "subject"),
        ({**IMAGE, "subject": {"digest": SHA256}}, OCI_MANIFEST, "subject.mediaType"),
        ({**INDEX, "manifests": [{"mediaType": OCI_MANIFEST}]}, OCI_INDEX, "manifests.0.digest"),
        ({"blobs": [1]}, OCI_ARTIFACT, "blobs.0"),
    ],
)
def test_reason_says_where(document: dict[str, Any], media_type: str, where: str) -> None:
    assert reason(document, media_type).startswith(f"{where}: ")


@pytest.mark.parametrize("field", ["config", "subject", "layer"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", ""),
        ("digest", "sha256:"),
        ("digest", SHA256[:-1]),
        ("digest", SHA256.upper()),
        ("digest", "sha1:" + "0" * 40),
        ("digest", "../../etc/passwd"),
        ("digest", SHA256 + "\n"),
        ("digest", None),
        ("digest", 1),
        ("size", -1),
        ("size", 2**63),
        ("size", 1.5),
        ("size", "x"),
        ("size", None),
        ("mediaType", ""),
        ("mediaType", "x" * 256),
        ("mediaType", None),
        ("urls", "https://elsewhere/"),
        ("urls", [1]),
        ("annotations", {"k": None}),
    ],
)
def test_wrong_descriptor(field: str, key: str, value: object) -> None:
    wrong = {**describe(b"d"), key: value}
    document = {**IMAGE, "layers": [wrong]} if field == "layer" else {**IMAGE, field: wrong}
    where = "layers.0" if field == "layer" else field
    assert reason(document).startswith(f"{where}.{key}")


@pytest.mark.parametrize("size", [0, 1, 2**32, 2**63 - 1])
def test_any_size_fits(size: int) -> None:
    parse_manifest(encode({**IMAGE, "layers": [{**describe(b"a"), "size": size}]}), OCI_MANIFEST)


BROKEN: Final = {
    "nothing": b"",
    "spaces": b" \n",
    "half": encode(IMAGE)[:-1],
    "more behind": encode(IMAGE) + b"{}",
    "not UTF-8": encode(IMAGE).replace(b'"size"', b'"s\xffze"', 1),
    "UTF-16": json.dumps(IMAGE).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + encode(IMAGE),
    "a list": encode([IMAGE]),
    "a string": b'"x"',
    "a number": b"2",
    "null": b"null",
    "comments": b"/* */" + encode(IMAGE),
    "zeros": b"\0" * 100,
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep field": b'{"schemaVersion":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "lone surrogate": b'{"schemaVersion":2,"mediaType":"\\ud800"}',
    "huge version": b'{"schemaVersion":' + b"9" * 10_000 + b"}",
    "huge exponent": encode(IMAGE).replace(b'"size": 1', b'"size": 1e999999'),
    "huge size": encode(IMAGE).replace(b'"size": 1', b'"size": ' + b"9" * 10_000),
    "endless string": b'{"mediaType":"' + b"a" * 100_000,
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, None])
def test_broken_content_is_refused_in_few_words(case: str, media_type: str | None) -> None:
    assert len(reason(BROKEN[case], media_type)) < 300


def test_unknown_fields_may_be_deep() -> None:
    deep: object = []
    for _ in range(50):
        deep = [deep]
    parse_manifest(encode({**IMAGE, "deep": deep}), OCI_MANIFEST)


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        (b',"schemaVersion":1}', False),
        (b',"layers":[]}', True),
        (b',"layers":{}}', False),
        (b',"mediaType":"a/b","mediaType":"%s"}' % OCI_MANIFEST.encode(), True),
        (b',"mediaType":"%s","mediaType":"a/b"}' % OCI_MANIFEST.encode(), False),
        (b',"manifests":[],"manifests":null}', True),
        (b',"manifests":null,"manifests":[]}', False),
    ],
)
def test_last_of_several_keys_counts_as_it_does_for_clients(more: bytes, allowed: bool) -> None:
    content = encode(IMAGE)[:-1] + more
    if allowed:
        assert parse_manifest(content, OCI_MANIFEST).media_type == OCI_MANIFEST
    else:
        reason(content)


# Whatever comes

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(SHA256),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS: Final = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
]
VALUES: Final = (
    JSON
    | st.sampled_from([1, 2, *TYPES, [], {}, describe(b"d"), [describe(b"d")]])
    | st.lists(
        st.fixed_dictionaries(
            {"mediaType": st.sampled_from(TYPES) | JSON, "digest": st.just(SHA512) | JSON, "size": JSON}
        )
    )
)
TYPE_SAID: Final = st.sampled_from([*TYPES, None, "a/b"])


@PROPERTY
@given(
    content=st.binary(max_size=50) | JSON.map(encode),
    media_type=TYPE_SAID,
)
def test_any_content_is_read_or_refused(content: bytes, media_type: str | None) -> None:
    _read_or_refuse(content, media_type)


@PROPERTY
@given(
    kind=st.sampled_from(TYPES),
    changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
    media_type=TYPE_SAID,
)
def test_any_document_is_read_or_refused(kind: str, changes: dict[str, Any], media_type: str | None) -> None:
    _read_or_refuse(encode({**DOCUMENTS[kind], **changes}), media_type)


def _read_or_refuse(content: bytes, media_type: str | None) -> None:
    try:
        parsed = parse_manifest(content, media_type)
    except RegistryError as error:
        assert error.problem is Problem.MANIFEST_INVALID
        return
    children = (each.digest for each in parsed.children)
    for digest in (*parsed.blobs, *parsed.optional_blobs, *children):
        assert Digest.parse(digest) == digest
    assert parsed.media_type in TYPES
    assert media_type in {None, parsed.media_type}


DESCRIPTORS: Final = st.builds(
    describe, st.binary(max_size=3), st.sampled_from([*TYPES, LAYER, CONFIG, "a/b"])
)


@PROPERTY
@given(config=st.binary(max_size=3), layers=st.lists(DESCRIPTORS, max_size=4), subject=DESCRIPTORS)
def test_every_digest_of_an_image_is_kept(
    config: bytes, layers: list[dict[str, Any]], subject: dict[str, Any]
) -> None:
    parsed = parse_manifest(image(config=config, layers=layers, subject=subject).content, OCI_MANIFEST)
    found = [*parsed.blobs, *(child.digest for child in parsed.children)]
    assert sorted(found) == sorted([Digest.of(config), *(layer["digest"] for layer in layers)])
    assert parsed.subject == subject["digest"]


@PROPERTY
@given(entries=st.lists(DESCRIPTORS, max_size=5))
def test_every_digest_of_an_index_is_kept(entries: list[dict[str, Any]]) -> None:
    parsed = parse_manifest(index(manifests=entries).content, OCI_INDEX)
    found = [*parsed.blobs, *(child.digest for child in parsed.children)]
    assert sorted(found) == sorted(entry["digest"] for entry in entries)


def test_reason_does_not_grow_with_what_was_sent() -> None:
    assert len(reason({**IMAGE, "annotations": {"k" * 100_000: 1}})) < 300


HELM: Final = "application/vnd.cncf.helm.config.v1+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"


@pytest.mark.parametrize(
    ("media_type", "document", "kind"),
    [
        (OCI_MANIFEST, IMAGE, "image"),
        (DOCKER_MANIFEST, {**IMAGE, "config": describe(b"c", DOCKER_CONFIG)}, "image"),
        (
            DOCKER_MANIFEST,
            {**IMAGE, "config": describe(b"c", "application/vnd.docker.plugin.v1+json")},
            "artifact",
        ),
        (OCI_MANIFEST, {**IMAGE, "config": describe(b"c", HELM)}, "chart"),
        (OCI_MANIFEST, {**IMAGE, "config": describe(b"{}", "application/vnd.oci.empty.v1+json")}, "artifact"),
        (OCI_MANIFEST, {**IMAGE, "artifactType": "text/spdx"}, "artifact"),
        (OCI_INDEX, INDEX, "image"),
        (DOCKER_LIST, {**INDEX, "manifests": [describe(b"m", DOCKER_MANIFEST)]}, "image"),
        (OCI_INDEX, {**INDEX, "artifactType": "text/spdx"}, "artifact"),
        (OCI_INDEX, {**INDEX, "manifests": [describe(b"m", OCI_MANIFEST, artifactType="a/b")]}, "artifact"),
        (OCI_INDEX, {**INDEX, "manifests": [describe(b"m", "text/plain")]}, "artifact"),
        (OCI_INDEX, {**INDEX, "manifests": []}, "artifact"),
        (OCI_ARTIFACT, ARTIFACT, "artifact"),
    ],
)
def test_kind(media_type: str, document: dict[str, Any], kind: str) -> None:
    assert parse_manifest(encode(document), media_type).kind == kind
