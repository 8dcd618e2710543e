"""Images as people look at them: what is told, to whom, and at what price."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from registry import images as module
from registry.errors import Problem
from registry.images import Facts, Image, Images
from registry.names import Tag
from storage.blobs import BlobReader
from storage.digest import Digest
from storage.metadata import aliases, repositories
from tests.registry.accounts import NOW, add_account
from tests.registry.content import Content, describe, image, index, name, push, refused
from tests.registry.registries import Stores
from tests.registry.stores import WrappedStore

APP: Final = name("owner/app")
ABSENT: Final = Digest.of(b"absent")


def configured(architecture: str, **fields: object) -> bytes:
    return json.dumps({"os": "linux", "architecture": architecture, **fields}).encode()


def built(architecture: str, *layers: bytes, **fields: Any) -> Content:
    """An image of a platform; its history tells of each layer."""
    history = [{"created_by": f"COPY {number} / # buildkit"} for number in range(len(layers))]
    return image(layers=layers, config=configured(architecture, history=history), **fields)


def digest(content: Content) -> Digest:
    return Digest.of(content.content)


AMD: Final = built("amd64", b"layer", b"of amd")
ARM: Final = built("arm64", b"a layer of arm64")
PROVENANCE: Final = image(layers=[describe(b"{}", "application/vnd.in-toto+json")], config=b'{"a": 1}')


def listed(content: Content, architecture: str) -> dict[str, object]:
    return {**content.descriptor, "platform": {"os": "linux", "architecture": architecture}}


def of_both(tags: Sequence[str] = ()) -> Content:
    """An index as BuildKit makes it: two platforms, and what attests the first."""
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(AMD),
    }
    unknown = {"architecture": "unknown", "os": "unknown"}
    attesting = {**PROVENANCE.descriptor, "platform": unknown, "annotations": annotations}
    manifests = [listed(ARM, "arm64"), listed(AMD, "amd64"), attesting]
    return index(ARM, AMD, PROVENANCE, tags=tags, manifests=manifests)


class WatchedStore(WrappedStore):
    """A store that counts what is opened, and how much of it at once."""

    opened = 0
    open_now = 0
    most = 0

    async def open(self, location: str) -> BlobReader:
        self.opened += 1
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        return _WatchedReader(await self.store.open(location), self)


class _WatchedReader:
    def __init__(self, reader: BlobReader, store: WatchedStore) -> None:
        self._reader = reader
        self._store = store
        self.file = reader.file

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        async for part in self._reader.read(start, stop):
            await asyncio.sleep(0)
            yield part

    async def close(self) -> None:
        self._store.open_now -= 1
        await self._reader.close()


@dataclass(frozen=True, slots=True)
class World:
    """The private repository `owner/app`, and the service over a store that is watched."""

    stores: Stores
    store: WatchedStore
    images: Images

    async def push(self, *contents: Content, repository: str = APP) -> None:
        await push(self.stores.registry(), {repository: [*self._with_layers(contents)]})

    def _with_layers(self, contents: Sequence[Content]) -> Sequence[Content]:
        return [
            Content(each.content, each.media_type, each.tags, (*each.blobs, b"{}"), each.children)
            for each in contents
        ]


@pytest.fixture
async def world(stores: Stores) -> World:
    await add_account(stores, "owner")
    store = WatchedStore(stores.store)
    return World(stores, store, Images(stores.metadata, store))


# What an image tells


async def test_image(world: World) -> None:
    await world.push(built("arm64", b"one", b"three", tags=["v1", "latest"], annotations={"a": "b"}))
    found = await world.images.image(SYSTEM, APP, Tag("v1"))
    assert (found.name, found.reference, sorted(found.tags)) == (APP, "v1", ["latest", "v1"])
    assert found.configuration is not None
    assert found.configuration.platform == "linux/arm64"
    assert found.outline.annotations.items == (("a", "b"),)
    assert [(each.size, each.share) for each in found.layers.items] == [(3, 3 / 8), (5, 5 / 8)]
    assert [each.instruction for each in found.steps.items] == ["COPY 0 /", "COPY 1 /"]
    assert (found.selected, found.raw_is_cut, found.size) == (None, False, len(found.raw))
    again = await world.images.image(SYSTEM, APP, Digest(found.digest))
    assert again == replace(found, reference=found.digest)


@pytest.mark.parametrize(
    ("platform", "selected"),
    [(None, AMD), ("linux/arm64", ARM), (digest(ARM), ARM), ("plan9/mips", AMD), (digest(PROVENANCE), AMD)],
)
async def test_index_shows_one_of_its_platforms(
    world: World, platform: str | None, selected: Content
) -> None:
    await world.push(of_both(tags=["v1"]))
    found = await world.images.image(SYSTEM, APP, Tag("v1"), platform)
    assert found.selected is not None
    assert found.selected.digest == digest(selected)
    assert [each.platform for each in found.outline.children.items] == ["linux/arm64", "linux/amd64", ""]
    assert found.configuration is not None
    assert found.configuration.platform == found.selected.platform
    assert len(found.steps.items) == len(found.layers.items) == len(selected.blobs) - 1


async def test_long_manifest_is_cut(world: World) -> None:
    await world.push(built("amd64", tags=["v1"], annotations={"a": "ü" * 100_000}))
    found = await world.images.image(SYSTEM, APP, Tag("v1"))
    assert found.raw_is_cut
    assert len(found.raw) <= 64 * 1024 < found.size
    assert len(found.outline.annotations.items[0][1]) < 5000


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"{" * 10**5, b"\xff", b" " * (4 * 1024 * 1024 + 1), b'{"history": 7}']
)
async def test_any_configuration_will_do(world: World, config: bytes) -> None:
    await world.push(image(layers=[b"layer"], config=config, tags=["v1"]))
    found = await world.images.image(SYSTEM, APP, Tag("v1"))
    assert [each.size for each in found.layers.items] == [5]
    assert all(each.layer for each in found.steps.items)
    facts = await world.images.facts(SYSTEM, APP, [found.digest])
    assert facts == {found.digest: Facts(len(config) + 5, (), "image")}
    assert world.store.open_now == 0


@pytest.mark.parametrize("reference", [Tag("v2"), ABSENT])
async def test_image_that_is_not_there(world: World, reference: Tag | Digest) -> None:
    await world.push(built("amd64", tags=["v1"]))
    with refused(Problem.NOT_HERE):
        await world.images.image(SYSTEM, APP, reference)


# Facts


async def test_facts(world: World) -> None:
    both, chart = of_both(), image(config=b"{}", artifactType="application/x.own", tags=["chart"])
    await world.push(both, chart)
    wanted = [digest(both), digest(ARM), digest(chart), digest(ARM), ABSENT]
    facts = await world.images.facts(SYSTEM, APP, wanted)
    of_arm = sum(len(each) for each in ARM.blobs)
    assert facts == {
        digest(both): Facts(max(of_arm, sum(map(len, AMD.blobs))), ("linux/arm64", "linux/amd64"), "image"),
        digest(ARM): Facts(of_arm, ("linux/arm64",), "image"),
        digest(chart): Facts(2, (), "artifact"),
    }
    assert list(facts) == [digest(both), digest(ARM), digest(chart)]


async def test_facts_are_remembered(world: World) -> None:
    await world.push(AMD, of_both())
    wanted = [digest(AMD), digest(of_both())]
    facts = await world.images.facts(SYSTEM, APP, wanted)
    assert world.store.opened == 1
    assert await world.images.facts(SYSTEM, APP, wanted) == facts
    await world.images.image(SYSTEM, APP, digest(AMD))
    assert world.store.opened == 1


async def test_facts_of_another_repository_are_not_told(world: World) -> None:
    await world.push(AMD)
    await world.push(ARM, repository="owner/other")
    assert await world.images.facts(SYSTEM, APP, [digest(AMD)]) != {}
    assert await world.images.facts(SYSTEM, name("owner/other"), [digest(AMD)]) == {}


async def test_facts_of_many_read_little_at_once(world: World) -> None:
    many = [built(f"a{number}") for number in range(120)]
    await world.push(*many)
    facts = await world.images.facts(SYSTEM, APP, [digest(each) for each in many])
    assert [each.platforms for each in facts.values()] == [(f"linux/a{number}",) for number in range(100)]
    assert 1 < world.store.most <= 4


async def test_facts_of_large_manifests_have_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 3000)
    small = [built(f"a{number}") for number in range(2)]
    large = [built(f"b{number}", annotations={"a": "x" * 2000}) for number in range(2)]
    await world.push(*large, *small)
    facts = await world.images.facts(SYSTEM, APP, [digest(each) for each in [*large, *small]])
    assert list(facts) == [digest(each) for each in [large[0], *small]]


# Referrers


async def test_referrers(world: World) -> None:
    sbom = image(artifactType="application/spdx+json", subject=AMD.descriptor, annotations={"a": "b"})
    tag = f"sha256-{digest(AMD).hex}.sig"
    signature = image(
        layers=[describe(b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")], tags=[tag]
    )
    await world.push(of_both(), sbom, signature)
    found = await world.images.referrers(SYSTEM, APP, digest(AMD))
    assert [(each.digest, each.words, each.annotations) for each in found] == [
        (digest(sbom), "SBOM", {"a": "b"}),
        (digest(signature), "signature", {}),
    ]


@pytest.mark.parametrize(
    ("subject", "attested"), [(AMD, True), (ARM, False), (of_both(), True), (PROVENANCE, False)]
)
async def test_attestations_of_an_index(world: World, subject: Content, attested: bool) -> None:
    await world.push(of_both())
    found = await world.images.referrers(SYSTEM, APP, digest(subject), attestations=True)
    assert [(each.digest, each.words) for each in found] == [(digest(PROVENANCE), "attestation")] * attested
    assert await world.images.referrers(SYSTEM, APP, digest(subject)) == []


async def test_what_refers_twice_is_told_once(world: World) -> None:
    tag = f"sha256-{digest(AMD).hex}.sig"
    signature = image(
        subject=AMD.descriptor, artifactType="application/vnd.dev.cosign.artifact.sig.v1+json", tags=[tag]
    )
    await world.push(AMD, signature)
    found = await world.images.referrers(SYSTEM, APP, digest(AMD))
    assert [(each.digest, each.words) for each in found] == [(digest(signature), "signature")]


# Who is told


Ask = Callable[[Images, Identity], Awaitable[object]]

QUESTIONS: Final[dict[str, Ask]] = {
    "facts": lambda images, caller: images.facts(caller, APP, [digest(AMD)]),
    "image": lambda images, caller: images.image(caller, APP, digest(AMD)),
    "referrers": lambda images, caller: images.referrers(caller, APP, digest(AMD), attestations=True),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
async def test_only_who_may_pull_is_told(world: World, ask: Ask) -> None:
    stranger = await add_account(world.stores, "stranger")
    reader = await add_account(world.stores, "reader")
    elsewhere = Identity(reader.account_id, "reader", limit=Limit(1, Permission.READ, frozenset({0})))
    await world.push(AMD)
    await world.stores.metadata.write(repositories.grant, APP, "reader", 1)
    await ask(world.images, SYSTEM)  # what is remembered now is not told to others
    await ask(world.images, reader)
    for caller in (ANONYMOUS, stranger, elsewhere):
        with refused(Problem.NOT_HERE):
            await ask(world.images, caller)
    await world.stores.metadata.write(repositories.set_public, APP, public=True)
    await ask(world.images, ANONYMOUS)
    await ask(world.images, stranger)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
async def test_former_name_means_the_repository(world: World, ask: Ask) -> None:
    await world.push(AMD)
    asked = await ask(world.images, SYSTEM)
    number = (await world.stores.metadata.lookup(repositories.rights, APP, None)).repository_id
    assert number is not None
    await world.stores.metadata.write(aliases.rename, number, "owner/new", make_namespace=False, now=NOW)
    again = await ask(world.images, SYSTEM)
    assert again == (replace(asked, name="owner/new") if isinstance(asked, Image) else asked)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
async def test_repository_that_is_not_there(world: World, ask: Ask) -> None:
    with refused(Problem.NOT_HERE):
        await ask(world.images, SYSTEM)
