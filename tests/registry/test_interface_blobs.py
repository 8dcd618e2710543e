"""The contract of Registry for blobs and mounts, over every registry in `REGISTRIES`."""

from collections.abc import Mapping
from typing import Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity
from registry.errors import Problem
from registry.interface import Registry
from registry.local import Rules
from registry.manifest import OCTET_STREAM
from registry.names import Tag
from storage.digest import Digest
from storage.metadata import repositories
from tests.registry.accounts import add_account
from tests.registry.conftest import WITH_S3, OpenRegistry
from tests.registry.content import (
    describe,
    image,
    index,
    name,
    push,
    push_blob,
    put,
    read_blob,
    refused,
    repositories_of,
    tags_of,
)
from tests.registry.registries import Stores

APP: Final = "team/app"
OTHER: Final = "team/other"

CONTENT: Final = b"content"
DIGEST: Final = Digest.of(CONTENT)

# Longer than what a store reads at once, and of no round length.
LONG: Final = bytes(range(256)) * 10_007


@pytest.fixture(params=WITH_S3)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Finding and reading


@pytest.mark.parametrize("content", [b"", b"\0", CONTENT, LONG], ids=["empty", "zero", "short", "long"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_was_uploaded_is_read(registry: Registry, content: bytes, algorithm: str) -> None:
    digest = await push_blob(registry, APP, content, algorithm)
    assert await read_blob(registry, APP, digest) == content
    found = await registry.find_blob(name(APP), digest)
    assert found.to_json() == {"mediaType": OCTET_STREAM, "digest": digest, "size": len(content)}


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (6, 7), (2, 5), (1_048_570, 1_048_580), (0, len(LONG))]
)
async def test_any_part_is_read(registry: Registry, start: int, stop: int) -> None:
    digest = await push_blob(registry, APP, LONG)
    blob = await registry.open_blob(name(APP), digest)
    read = b"".join([data async for data in blob.reader.read(start, stop)])
    await blob.reader.close()
    assert read == LONG[start:stop]


async def test_blob_is_unknown_where_it_is_not(registry: Registry) -> None:
    await push_blob(registry, APP, CONTENT)
    for repository, digest in ((APP, Digest.of(b"?")), (OTHER, DIGEST)):
        with refused(Problem.BLOB_UNKNOWN) as caught:
            await registry.find_blob(name(repository), digest)
        assert caught.value.detail == {"digest": digest}
        with refused(Problem.BLOB_UNKNOWN):
            await registry.open_blob(name(repository), digest)


async def test_digests_of_one_content_are_apart(registry: Registry) -> None:
    await push_blob(registry, APP, CONTENT, "sha512")
    with refused(Problem.BLOB_UNKNOWN):
        await registry.find_blob(name(APP), DIGEST)


async def test_manifest_is_served_as_a_blob_by_its_digest(registry: Registry) -> None:
    content = image(layers=[b"a"])
    await push(registry, {APP: index(content, tags=["v1"])})
    for each in (content, index(content)):
        assert await read_blob(registry, APP, each.digest) == each.content
        assert (await registry.find_blob(name(APP), each.digest)).to_json() == each.descriptor
        blob = await registry.open_blob(name(APP), each.digest)
        assert b"".join([data async for data in blob.reader.read(3, 8)]) == each.content[3:8]
        assert blob.reader.file is None
        await blob.reader.close()


async def test_manifest_of_another_repository_is_not_served_as_a_blob(registry: Registry) -> None:
    await push(registry, {APP: image(), OTHER: image(layers=[b"x"])})
    with refused(Problem.BLOB_UNKNOWN):
        await registry.open_blob(name(OTHER), image().digest)


async def test_open_blob_stays_readable_when_it_is_deleted(registry: Registry) -> None:
    await push_blob(registry, APP, CONTENT)
    blob = await registry.open_blob(name(APP), DIGEST)
    await registry.delete_blob(name(APP), DIGEST)
    assert b"".join([data async for data in blob.reader.read(0, len(CONTENT))]) == CONTENT
    await blob.reader.close()


# Deleting


async def test_deleted_blob_is_gone_from_this_repository_only(registry: Registry) -> None:
    for repository in (APP, OTHER):
        await push_blob(registry, repository, CONTENT)
    await registry.delete_blob(name(APP), DIGEST)
    for call in (registry.find_blob, registry.open_blob, registry.delete_blob):
        with refused(Problem.BLOB_UNKNOWN):
            await call(name(APP), DIGEST)
    assert await read_blob(registry, OTHER, DIGEST) == CONTENT


async def test_deleted_blob_can_be_uploaded_again(registry: Registry) -> None:
    await push_blob(registry, APP, CONTENT)
    await registry.delete_blob(name(APP), DIGEST)
    await push_blob(registry, APP, CONTENT)
    assert await read_blob(registry, APP, DIGEST) == CONTENT


@pytest.mark.parametrize(("repository", "digest"), [("no/where", DIGEST), (APP, Digest.of(b"?"))])
async def test_deleting_what_is_not_there_is_refused(
    registry: Registry, repository: str, digest: Digest
) -> None:
    await push_blob(registry, APP, CONTENT)
    with refused(Problem.BLOB_UNKNOWN):
        await registry.delete_blob(name(repository), digest)


@pytest.mark.parametrize("blob", [b"{}", b"layer"])
async def test_blob_in_use_stays_until_its_last_manifest_goes(registry: Registry, blob: bytes) -> None:
    first, second = image(layers=[b"layer"]), image(layers=[b"layer"], annotations={"k": "v"})
    await push(registry, {APP: [first, second]})
    for manifest in (first, second):
        with refused(Problem.BLOB_IN_USE) as caught:
            await registry.delete_blob(name(APP), Digest.of(blob))
        assert caught.value.detail["digest"] == Digest.of(blob)
        await registry.delete_manifest(name(APP), manifest.digest)
    await registry.delete_blob(name(APP), Digest.of(blob))


async def test_blob_that_clients_need_not_push_is_in_use_where_they_did(registry: Registry) -> None:
    layer = describe(CONTENT, urls=["https://elsewhere/"])
    await push_blob(registry, APP, CONTENT)
    await push(registry, {APP: image(layers=[layer])})
    with refused(Problem.BLOB_IN_USE):
        await registry.delete_blob(name(APP), DIGEST)


async def test_blob_in_use_elsewhere_may_be_deleted(registry: Registry) -> None:
    await push(registry, {APP: image(layers=[b"layer"])})
    await push_blob(registry, OTHER, b"layer")
    await registry.delete_blob(name(OTHER), Digest.of(b"layer"))


async def test_blob_that_a_sparse_manifest_names_is_unknown_not_in_use(open_registry: OpenRegistry) -> None:
    registry = await open_registry(rules=Rules(sparse="all"))
    await put(registry, APP, image(layers=[CONTENT]))
    with refused(Problem.BLOB_UNKNOWN):
        await registry.delete_blob(name(APP), DIGEST)


async def test_manifest_is_not_deleted_as_a_blob(registry: Registry) -> None:
    await push(registry, {APP: index(image())})
    with refused(Problem.BLOB_UNKNOWN):
        await registry.delete_blob(name(APP), image().digest)


# Mounting


async def test_mounted_blob_is_there(registry: Registry) -> None:
    await push_blob(registry, OTHER, CONTENT)
    mounted = await registry.mount_blob(name(APP), DIGEST, name(OTHER))
    assert mounted == await registry.find_blob(name(APP), DIGEST)
    assert await read_blob(registry, APP, DIGEST) == CONTENT
    await registry.delete_blob(name(OTHER), DIGEST)
    assert await read_blob(registry, APP, DIGEST) == CONTENT


async def test_mounted_blob_may_be_named_by_a_manifest(registry: Registry) -> None:
    content = image(tags=["v1"], layers=[CONTENT])
    await push(registry, {OTHER: content})
    for blob in content.blobs:
        assert await registry.mount_blob(name(APP), Digest.of(blob), name(OTHER)) is not None
    await put(registry, APP, content)
    await registry.get_manifest(name(APP), Tag("v1"))


async def test_mounting_twice_and_from_itself_changes_nothing(registry: Registry) -> None:
    await push_blob(registry, OTHER, CONTENT)
    for source in (OTHER, OTHER, APP):
        assert await registry.mount_blob(name(APP), DIGEST, name(source)) is not None


@pytest.mark.parametrize(
    ("source", "content"), [(OTHER, CONTENT), ("no/where", CONTENT), (APP, CONTENT), (None, b"?")]
)
async def test_mount_from_where_the_blob_is_not(
    registry: Registry, source: str | None, content: bytes
) -> None:
    await push_blob(registry, OTHER, b"other")
    await push_blob(registry, "team/third", CONTENT)
    from_ = None if source is None else name(source)
    assert await registry.mount_blob(name(APP), Digest.of(content), from_) is None
    assert await repositories_of(registry) == [OTHER, "team/third"]
    with refused(Problem.NAME_UNKNOWN):
        await tags_of(registry, APP)


async def test_manifest_is_not_mounted(registry: Registry) -> None:
    await push(registry, {OTHER: image()})
    for source in (name(OTHER), None):
        assert await registry.mount_blob(name(APP), image().digest, source) is None


@pytest.mark.parametrize(
    ("public", "role", "visible"),
    [
        (True, {}, {"anonymous", "stranger", "member", "administrator"}),
        (False, {}, {"administrator"}),
        (False, {OTHER: 1}, {"member", "administrator"}),
        (False, {"team": 1}, {"member", "administrator"}),
    ],
    ids=["public", "private", "role on the repository", "role on the namespace"],
)
async def test_mount_from_anywhere_takes_only_what_the_caller_may_see(
    open_registry: OpenRegistry, stores: Stores, public: bool, role: Mapping[str, int], visible: set[str]
) -> None:
    owner = await open_registry(rules=Rules(public=public))
    await push_blob(owner, OTHER, CONTENT)
    await push_blob(owner, APP, b"makes the repository")
    callers = {
        "anonymous": ANONYMOUS,
        "stranger": await add_account(stores, "stranger"),
        "member": await add_account(stores, "member"),
        "administrator": SYSTEM,
    }
    for target, granted in role.items():
        assert await stores.metadata.write(repositories.grant, target, "member", granted) is None
    for who, caller in callers.items():
        mounted = await (await open_registry(caller=caller)).mount_blob(name(APP), DIGEST, None)
        assert (mounted is not None) is (who in visible), who
        if mounted is not None:
            await owner.delete_blob(name(APP), DIGEST)


async def test_identity_of_an_outside_issuer_sees_what_is_public(open_registry: OpenRegistry) -> None:
    owner = await open_registry()
    await push_blob(owner, "app", CONTENT)
    await push_blob(owner, OTHER, b"secret")
    registry = await open_registry(caller=Identity(None, "robot", external=True))
    assert await registry.mount_blob(name(OTHER), DIGEST, None) is not None
    assert await registry.mount_blob(name("app"), Digest.of(b"secret"), None) is None
