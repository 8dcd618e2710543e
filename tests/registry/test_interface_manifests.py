"""The contract of Registry for manifests and tags, over every registry in `REGISTRIES`."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from registry.errors import Problem, RegistryError
from registry.interface import Condition, Registry
from registry.local import Rules, Sparse
from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST
from registry.names import Tag
from storage.digest import Digest
from tests.registry.conftest import OpenRegistry
from tests.registry.content import (
    Content,
    body,
    broken,
    describe,
    image,
    index,
    manifest,
    name,
    pull,
    push,
    push_blob,
    put,
    read_blob,
    refused,
    repositories_of,
    tags_of,
)

APP = "team/app"
V1, V2 = Tag("v1"), Tag("v2")
NOWHERE = Digest.of(b"nowhere")

ONE = image(tags=["v1"], layers=[b"one"])
TWO = image(tags=["v1"], layers=[b"two"])

CACHE = "application/vnd.buildkit.cacheconfig.v0"
CACHE_INDEX = manifest(
    OCI_INDEX,
    tags=["cache"],
    schemaVersion=2,
    mediaType=OCI_INDEX,
    manifests=[describe(b"layer"), describe(b"{}", CACHE)],
)
FOREIGN = [
    describe(b"far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://far/"]),
    describe(b"far", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    describe(b"far", urls=["https://far/"]),
]


# Pushing and pulling


@pytest.mark.parametrize(
    "content",
    [
        image(tags=["v1"]),
        image(tags=["v1"], layers=[b"a", b"b", b"a"]),
        image(tags=["v1"], media_type=DOCKER_MANIFEST, layers=[b"a"]),
        image(tags=["v1"], mediaType=None),
        image(tags=["v1"], annotations={"k": "v"}, artifactType="x/y"),
        image(tags=["v1"], unknown={"field": [1, 2.5, None]}),
        index(tags=["v1"]),
        index(ONE, TWO, tags=["v1"]),
        index(ONE, tags=["v1"], media_type=DOCKER_LIST),
        index(index(ONE, TWO), tags=["v1"]),
        manifest(OCI_ARTIFACT, tags=["v1"], mediaType=OCI_ARTIFACT, artifactType="x/y"),
    ],
    ids=lambda content: str(content.media_type).removeprefix("application/vnd."),
)
async def test_what_was_pushed_is_pulled(registry: Registry, content: Content) -> None:
    await push(registry, {APP: content})
    by_tag = await registry.get_manifest(name(APP), V1)
    assert by_tag == await registry.get_manifest(name(APP), content.digest)
    assert by_tag.content == content.content
    assert by_tag.descriptor == await registry.find_manifest(name(APP), V1)
    assert by_tag.descriptor == await registry.find_manifest(name(APP), content.digest)
    assert by_tag.descriptor.to_json() == content.descriptor
    assert (await pull(registry, APP, V1))[content.digest] == content.content


@pytest.mark.parametrize("layout", [{"indent": 3}, {"sort_keys": True}, {"separators": (",", ":")}])
async def test_bytes_are_never_rewritten(registry: Registry, layout: dict[str, object]) -> None:
    text = json.dumps(json.loads(ONE.content), **layout)  # type: ignore[arg-type]
    content = replace(ONE, content=f"\n {text}\t\n".encode())
    await push(registry, {APP: content})
    assert (await registry.get_manifest(name(APP), V1)).content == content.content


async def test_push_says_what_it_came_to(registry: Registry) -> None:
    await push(registry, {APP: ONE})
    pushed = await put(registry, APP, image(layers=[b"one"], subject=ONE.descriptor, annotations={"k": "v"}))
    assert pushed.subject == ONE.digest
    assert pushed.descriptor.media_type == OCI_MANIFEST
    assert pushed.descriptor.annotations == {"k": "v"}
    assert (await put(registry, APP, ONE)).subject is None


async def test_media_type_of_the_document_counts_where_the_push_says_none(registry: Registry) -> None:
    await push(registry, {APP: replace(ONE, media_type=None)})
    assert (await registry.find_manifest(name(APP), V1)).media_type == OCI_MANIFEST


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_manifest_is_known_by_the_digest_it_was_pushed_by(registry: Registry, algorithm: str) -> None:
    await push(registry, {APP: replace(ONE, tags=())})
    digest, other = (
        Digest.of(TWO.content, each) for each in (algorithm, {"sha256": "sha512"}.get(algorithm, "sha256"))
    )
    await push_blob(registry, APP, b"two")
    pushed = await put(registry, APP, TWO, digest=digest)
    assert pushed.descriptor.digest == digest
    assert (await registry.find_manifest(name(APP), V1)).digest == digest
    assert (await registry.get_manifest(name(APP), digest)).content == TWO.content
    with refused(Problem.MANIFEST_UNKNOWN):
        await registry.find_manifest(name(APP), other)


async def test_push_by_digest_sets_every_tag(registry: Registry) -> None:
    tags = [f"v{number}" for number in range(12)]
    await push(registry, {APP: image(tags=tags)})
    assert await tags_of(registry, APP) == sorted(tags)
    digests = {(await registry.find_manifest(name(APP), Tag(tag))).digest for tag in tags}
    assert digests == {image().digest}


async def test_push_by_digest_alone_sets_no_tag(registry: Registry) -> None:
    await push(registry, {APP: image()})
    assert await tags_of(registry, APP) == []
    await registry.find_manifest(name(APP), image().digest)


async def test_tag_moves_and_what_it_meant_stays(registry: Registry) -> None:
    await push(registry, {APP: [ONE, TWO]})
    assert (await registry.find_manifest(name(APP), V1)).digest == TWO.digest
    await pull(registry, APP, ONE.digest)


async def test_repositories_are_apart(registry: Registry) -> None:
    await push(registry, {APP: ONE, "team/other": TWO})
    assert (await registry.find_manifest(name(APP), V1)).digest == ONE.digest
    with refused(Problem.MANIFEST_UNKNOWN):
        await registry.find_manifest(name(APP), TWO.digest)


async def test_media_type_is_each_repositorys_own(registry: Registry) -> None:
    oci = image(tags=["v1"], mediaType=None)
    docker = replace(oci, media_type=DOCKER_MANIFEST)
    await push(registry, {"team/a": oci, "team/b": docker})
    assert (await registry.find_manifest(name("team/a"), V1)).media_type == OCI_MANIFEST
    assert (await registry.find_manifest(name("team/b"), V1)).media_type == DOCKER_MANIFEST


async def test_media_type_of_the_latest_push_counts(registry: Registry) -> None:
    oci = image(tags=["v1"], mediaType=None)
    await push(registry, {APP: [oci, replace(oci, media_type=DOCKER_MANIFEST)]})
    assert (await registry.find_manifest(name(APP), V1)).media_type == DOCKER_MANIFEST


async def test_pushing_again_changes_nothing(registry: Registry) -> None:
    await push(registry, {APP: [ONE, ONE, index(ONE, tags=["i"]), index(ONE, tags=["i"])]})
    assert await tags_of(registry, APP) == ["i", "v1"]
    assert len(await pull(registry, APP, Tag("i"))) == 4


@pytest.mark.parametrize(("pushed", "pulled"), [("app", "library/app"), ("library/app", "app")])
async def test_name_without_a_namespace_is_in_library(registry: Registry, pushed: str, pulled: str) -> None:
    await push(registry, {pushed: ONE})
    await pull(registry, pulled, V1)
    assert await repositories_of(registry) == ["library/app"]


# What is not there

Call = Callable[[Registry, str], Awaitable[object]]

UNKNOWN: dict[str, Call] = {
    "find by tag": lambda registry, each: registry.find_manifest(name(each), V2),
    "find by digest": lambda registry, each: registry.find_manifest(name(each), NOWHERE),
    "get by tag": lambda registry, each: registry.get_manifest(name(each), V2),
    "get by digest": lambda registry, each: registry.get_manifest(name(each), NOWHERE),
    "delete manifest": lambda registry, each: registry.delete_manifest(name(each), NOWHERE),
    "delete tag": lambda registry, each: registry.delete_tag(name(each), V2),
}


@pytest.mark.parametrize("call", UNKNOWN)
async def test_unknown(registry: Registry, call: str) -> None:
    await push(registry, {APP: ONE})
    with refused(Problem.MANIFEST_UNKNOWN) as caught:
        await UNKNOWN[call](registry, APP)
    assert caught.value.detail == {"reference": V2 if "tag" in call else NOWHERE}
    with refused(Problem.NAME_UNKNOWN) as caught:
        await UNKNOWN[call](registry, "team/other")
    assert caught.value.detail == {"name": "team/other"}


async def test_blob_is_no_manifest(registry: Registry) -> None:
    await push(registry, {APP: ONE})
    with refused(Problem.MANIFEST_UNKNOWN):
        await registry.get_manifest(name(APP), Digest.of(b"one"))


# What is refused, and changes nothing

NEW = image(tags=["v1", "v2"], layers=[b"one"])
NONE_MATCH = Condition(none_match=frozenset({"*"}))

REFUSED: dict[str, tuple[Problem, Content, Digest | None, Condition]] = {
    "another digest": (Problem.DIGEST_INVALID, NEW, NOWHERE, Condition()),
    "another sha512": (Problem.DIGEST_INVALID, NEW, Digest.of(b"", "sha512"), Condition()),
    "no JSON": (Problem.MANIFEST_INVALID, replace(NEW, content=b"{"), None, Condition()),
    "no media type": (Problem.MANIFEST_INVALID, manifest(None, schemaVersion=2), None, Condition()),
    "other media type": (
        Problem.MANIFEST_INVALID,
        replace(NEW, media_type=DOCKER_MANIFEST),
        None,
        Condition(),
    ),
    "layer missing": (
        Problem.MANIFEST_BLOB_UNKNOWN,
        image(tags=["v1", "v2"], layers=[b"one", b"?"]),
        None,
        Condition(),
    ),
    "config missing": (
        Problem.MANIFEST_BLOB_UNKNOWN,
        image(tags=["v1", "v2"], config=b"?"),
        None,
        Condition(),
    ),
    "no match": (Problem.PRECONDITION_FAILED, NEW, None, Condition(match=frozenset({NOWHERE}))),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_push_makes_no_repository(registry: Registry, case: str) -> None:
    problem, content, digest, condition = REFUSED[case]
    with refused(problem):
        await put(registry, APP, content, digest=digest, condition=condition)
    assert await repositories_of(registry) == []
    with refused(Problem.NAME_UNKNOWN):
        await tags_of(registry, APP)


@pytest.mark.parametrize(
    "case", [*REFUSED, pytest.param("one of two tags is there", id="one of two tags is there")]
)
async def test_refused_push_changes_no_tag(registry: Registry, case: str) -> None:
    await push(registry, {APP: TWO})
    await push_blob(registry, APP, b"one")
    problem, content, digest, condition = REFUSED.get(
        case, (Problem.PRECONDITION_FAILED, NEW, None, NONE_MATCH)
    )
    with refused(problem):
        await put(registry, APP, content, digest=digest, condition=condition)
    assert await tags_of(registry, APP) == ["v1"]
    assert (await registry.find_manifest(name(APP), V1)).digest == TWO.digest
    with refused(Problem.MANIFEST_UNKNOWN):
        await registry.find_manifest(name(APP), content.digest)


async def test_push_whose_body_breaks_off_changes_nothing(registry: Registry) -> None:
    await push(registry, {APP: TWO})
    with pytest.raises(ConnectionResetError):
        await registry.put_manifest(
            name(APP), broken(TWO.content), OCI_MANIFEST, digest=None, tags=[V2], condition=Condition()
        )
    assert await tags_of(registry, APP) == ["v1"]


async def test_body_may_come_in_pieces(registry: Registry) -> None:
    await push(registry, {APP: replace(ONE, tags=())})
    pieces = [ONE.content[at : at + 7] for at in range(0, len(ONE.content), 7)]
    pushed = await registry.put_manifest(
        name(APP), body(*pieces), OCI_MANIFEST, digest=ONE.digest, tags=[V1], condition=Condition()
    )
    assert pushed.descriptor.digest == ONE.digest
    await pull(registry, APP, V1)


async def test_refusal_names_all_that_is_missing(registry: Registry) -> None:
    await push_blob(registry, APP, b"here")
    with refused(Problem.MANIFEST_BLOB_UNKNOWN) as caught:
        await put(registry, APP, image(config=b"c", layers=[b"here", b"a", b"b", b"a"]))
    assert caught.value.detail == [{"digest": Digest.of(each)} for each in (b"c", b"a", b"b")]


async def test_blob_of_another_repository_is_missing(registry: Registry) -> None:
    await push(registry, {"team/other": ONE})
    with refused(Problem.MANIFEST_BLOB_UNKNOWN):
        await put(registry, APP, ONE)


# Conditions


@pytest.mark.parametrize(
    ("tagged", "condition", "holds"),
    [
        (True, Condition(), True),
        (True, Condition(match=frozenset({ONE.digest})), True),
        (True, Condition(match=frozenset({NOWHERE, ONE.digest})), True),
        (True, Condition(match=frozenset({"*"})), True),
        (True, Condition(match=frozenset({TWO.digest})), False),
        (True, Condition(none_match=frozenset({"*"})), False),
        (True, Condition(none_match=frozenset({ONE.digest})), False),
        (True, Condition(none_match=frozenset({TWO.digest})), True),
        (False, Condition(), True),
        (False, Condition(match=frozenset({ONE.digest})), False),
        (False, Condition(match=frozenset({"*"})), False),
        (False, Condition(none_match=frozenset({"*"})), True),
        (False, Condition(none_match=frozenset({ONE.digest})), True),
    ],
)
async def test_condition_on_what_the_tag_means(
    registry: Registry, tagged: bool, condition: Condition, holds: bool
) -> None:
    await push(registry, {APP: [replace(each, tags=()) for each in (ONE, TWO)]})
    if tagged:
        await put(registry, APP, ONE)
    if holds:
        await put(registry, APP, TWO, condition=condition)
        assert (await registry.find_manifest(name(APP), V1)).digest == TWO.digest
        return
    with refused(Problem.PRECONDITION_FAILED) as caught:
        await put(registry, APP, TWO, condition=condition)
    assert caught.value.detail == {"tag": "v1"}
    assert await tags_of(registry, APP) == (["v1"] if tagged else [])


# What a manifest names and is not here

CASES: dict[str, Content] = {
    "image without its layer": image(tags=["v1"], layers=[b"?"]),
    "index without its child": index(image(), tags=["v1"]),
    "index without its index": index(index(), tags=["v1"]),
    "cache without its layers": replace(CACHE_INDEX, tags=("v1",)),
    "artifact without its blob": manifest(OCI_ARTIFACT, tags=["v1"], blobs=[describe(b"?")]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("sparse", "allowed"),
    [("none", ()), ("index", ("index", "cache")), ("all", ("image", "index", "cache", "artifact"))],
)
async def test_sparse(open_registry: OpenRegistry, sparse: Sparse, allowed: Sequence[str], case: str) -> None:
    registry = await open_registry(rules=Rules(sparse=sparse))
    await push_blob(registry, APP, b"{}")
    if case.startswith(tuple(allowed)):
        await put(registry, APP, CASES[case])
        assert (await registry.get_manifest(name(APP), V1)).content == CASES[case].content
        return
    with refused(Problem.MANIFEST_BLOB_UNKNOWN):
        await put(registry, APP, CASES[case])
    with refused(Problem.MANIFEST_UNKNOWN):
        await registry.find_manifest(name(APP), V1)


@pytest.mark.parametrize("sparse", ["none", "index", "all"])
@pytest.mark.parametrize(
    "content",
    [ONE, index(ONE, tags=["v1"]), index(index(ONE), TWO, tags=["v1"]), replace(CACHE_INDEX, tags=("v1",))],
)
async def test_whole_content_is_taken_whatever_the_rule(
    open_registry: OpenRegistry, sparse: Sparse, content: Content
) -> None:
    registry = await open_registry(rules=Rules(sparse=sparse))
    for blob in (b"layer", b"{}"):
        await push_blob(registry, APP, blob)
    await push(registry, {APP: content})
    await registry.get_manifest(name(APP), V1)


async def test_child_in_another_repository_is_missing(open_registry: OpenRegistry) -> None:
    registry = await open_registry(rules=Rules(sparse="none"))
    await push(registry, {"team/other": ONE})
    with refused(Problem.MANIFEST_BLOB_UNKNOWN):
        await put(registry, APP, index(ONE))


@pytest.mark.parametrize("layer", FOREIGN, ids=["docker", "oci", "urls"])
@pytest.mark.parametrize("sparse", ["none", "index", "all"])
async def test_layer_that_clients_do_not_push_is_not_asked_for(
    open_registry: OpenRegistry, sparse: Sparse, layer: dict[str, object]
) -> None:
    registry = await open_registry(rules=Rules(sparse=sparse))
    await push_blob(registry, APP, b"{}")
    await put(registry, APP, image(tags=["v1"], layers=[layer]))
    await registry.find_manifest(name(APP), V1)


@pytest.mark.parametrize("sparse", ["none", "index", "all"])
async def test_subject_need_not_be_there(open_registry: OpenRegistry, sparse: Sparse) -> None:
    registry = await open_registry(rules=Rules(sparse=sparse))
    await push_blob(registry, APP, b"{}")
    pushed = await put(registry, APP, image(subject=ONE.descriptor))
    assert pushed.subject == ONE.digest


async def test_manifest_with_very_many_layers(registry: Registry) -> None:
    layers = [b"%d" % number for number in range(1500)]
    with refused(Problem.MANIFEST_BLOB_UNKNOWN) as caught:
        await put(registry, APP, image(layers=layers))
    assert len(caught.value.detail) == 1501


# Deleting


async def test_deleting_a_tag_leaves_what_it_means(registry: Registry) -> None:
    await push(registry, {APP: image(tags=["v1", "v2"])})
    await registry.delete_tag(name(APP), V1)
    assert await tags_of(registry, APP) == ["v2"]
    await pull(registry, APP, image().digest)
    await registry.delete_tag(name(APP), V2)
    await pull(registry, APP, image().digest)
    assert await tags_of(registry, APP) == []


async def test_deleting_a_manifest_deletes_its_tags_and_no_others(registry: Registry) -> None:
    await push(registry, {APP: [replace(ONE, tags=("v1", "v2")), replace(TWO, tags=("v3",))]})
    await push(registry, {"team/other": ONE})
    await registry.delete_manifest(name(APP), ONE.digest)
    assert await tags_of(registry, APP) == ["v3"]
    for gone in (V1, V2, ONE.digest):
        with refused(Problem.MANIFEST_UNKNOWN):
            await registry.find_manifest(name(APP), gone)
    await pull(registry, "team/other", V1)


@pytest.mark.parametrize("delete", ["manifest", "tag"])
async def test_deleting_twice_is_refused(registry: Registry, delete: str) -> None:
    await push(registry, {APP: ONE})
    for attempt in range(2):
        try:
            if delete == "tag":
                await registry.delete_tag(name(APP), V1)
            else:
                await registry.delete_manifest(name(APP), ONE.digest)
        except RegistryError as error:
            assert (attempt, error.problem) == (1, Problem.MANIFEST_UNKNOWN)
        else:
            assert attempt == 0


async def test_deleted_manifest_can_be_pushed_again(registry: Registry) -> None:
    await push(registry, {APP: ONE})
    await registry.delete_manifest(name(APP), ONE.digest)
    await put(registry, APP, ONE)
    await pull(registry, APP, V1)


async def test_child_of_an_index_may_be_deleted(registry: Registry) -> None:
    await push(registry, {APP: index(ONE, TWO, tags=["i"])})
    await registry.delete_manifest(name(APP), ONE.digest)
    assert (await registry.get_manifest(name(APP), Tag("i"))).content == index(ONE, TWO).content
    await pull(registry, APP, TWO.digest)


async def test_repository_stays_when_its_last_manifest_goes(registry: Registry) -> None:
    await push(registry, {APP: ONE})
    await registry.delete_manifest(name(APP), ONE.digest)
    assert await tags_of(registry, APP) == []
    assert await read_blob(registry, APP, Digest.of(b"one")) == b"one"
