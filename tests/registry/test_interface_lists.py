"""The contract of Registry for its lists, over every registry in `REGISTRIES`."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity
from registry.errors import Problem
from registry.interface import Descriptor, Page, Registry
from registry.local import Rules
from registry.manifest import DOCKER_LIST, OCI_ARTIFACT, OCI_INDEX
from registry.names import Tag
from storage.digest import Digest
from storage.metadata import repositories
from tests.registry.accounts import add_account
from tests.registry.conftest import OpenRegistry
from tests.registry.content import (
    CONFIG,
    Content,
    describe,
    image,
    index,
    manifest,
    name,
    push,
    push_blob,
    put,
    refused,
    repositories_of,
)
from tests.registry.registries import Stores

APP: Final = "team/app"

# In byte order, which is no locale's.
TAGS: Final = ["0", "00", "1.0", "A", "Z", "_", "a", "a-", "a.", "a0", "aA", "a_", "aa", "b"]
NAMES: Final = ["a-b/c", "a.b/c", "a/a-b", "a/a.b", "a/a/b", "a/a0", "a/a_b", "aa/a", "library/a", "z/a"]


# Tags


async def test_tags_are_listed_in_byte_order(registry: Registry) -> None:
    await push(registry, {APP: image(tags=TAGS[::-1]), "team/other": image(tags=["other"])})
    assert await registry.list_tags(name(APP), last="", limit=100) == Page(TAGS, more=False)


@pytest.mark.parametrize("limit", [1, 2, 5, 13, 14, 15])
async def test_pages_of_tags_are_the_list(registry: Registry, limit: int) -> None:
    await push(registry, {APP: image(tags=TAGS)})
    found: list[str] = []
    for _ in range(len(TAGS)):
        page = await registry.list_tags(name(APP), last=found[-1] if found else "", limit=limit)
        found += page.items
        assert len(page.items) <= limit
        assert page.more is (found != TAGS)
        if not page.more:
            break
    assert found == TAGS


@pytest.mark.parametrize("last", ["", "!", "0", "000", "9", "Zz", "a", "a!", "aB", "b", "zzz", "é", "a b/%'"])
async def test_last_need_not_exist(registry: Registry, last: str) -> None:
    await push(registry, {APP: image(tags=TAGS)})
    expected = [tag for tag in TAGS if tag.encode() > last.encode()]
    assert await registry.list_tags(name(APP), last=last, limit=100) == Page(expected, more=False)


async def test_no_tags(registry: Registry) -> None:
    await push(registry, {APP: image()})
    assert await registry.list_tags(name(APP), last="", limit=9) == Page([], more=False)
    with refused(Problem.NAME_UNKNOWN) as caught:
        await registry.list_tags(name("team/other"), last="", limit=9)
    assert caught.value.detail == {"name": "team/other"}


async def test_limit_of_nothing(registry: Registry) -> None:
    await push(registry, {APP: image(tags=TAGS)})
    assert (await registry.list_tags(name(APP), last="", limit=0)).items == []
    assert (await registry.list_repositories(last="", limit=0)).items == []


# Repositories


async def test_repositories_are_listed_in_byte_order(registry: Registry) -> None:
    for each in NAMES[::-1]:
        await push_blob(registry, each, b"")
    assert await repositories_of(registry) == NAMES
    for position, each in enumerate(NAMES):
        page = await registry.list_repositories(last=each, limit=3)
        rest = NAMES[position + 1 :]
        assert page == Page(rest[:3], more=len(rest) > 3)


@pytest.mark.parametrize(
    ("caller", "listed"),
    [
        ("anonymous", ["library/a", "team/public"]),
        ("outsider", ["library/a", "team/public"]),
        ("stranger", ["library/a", "team/public"]),
        ("member", ["library/a", "own/a", "own/b", "team/granted", "team/public"]),
        ("administrator", ["library/a", "own/a", "own/b", "team/granted", "team/private", "team/public"]),
        ("system", ["library/a", "own/a", "own/b", "team/granted", "team/private", "team/public"]),
    ],
)
async def test_repositories_are_listed_for_whom_they_are_visible(
    open_registry: OpenRegistry, stores: Stores, caller: str, listed: Sequence[str]
) -> None:
    owner = await open_registry()
    for each in ("library/a", "own/a", "own/b", "team/granted", "team/private"):
        await push_blob(owner, each, b"")
    await push_blob(await open_registry(rules=Rules(public=True)), "team/public", b"")
    callers = {
        "anonymous": ANONYMOUS,
        "outsider": Identity(None, "member", external=True),
        "stranger": await add_account(stores, "stranger"),
        "member": await add_account(stores, "member"),
        "administrator": await add_account(stores, "root", is_admin=True),
        "system": SYSTEM,
    }
    for target in ("own", "team/granted"):
        assert await stores.metadata.write(repositories.grant, target, "member", 1) is None
    registry = await open_registry(caller=callers[caller])
    assert await repositories_of(registry) == listed
    pages = [await registry.list_repositories(last=last, limit=1) for last in ["", *listed]]
    assert [page.items for page in pages] == [[each] for each in listed] + [[]]
    assert [page.more for page in pages] == [True] * (len(listed) - 1) + [False, False]


# Referrers

SUBJECT: Final = image(tags=["v1"], layers=[b"subject"])


def referrer(number: int, artifact_type: str | None = None, config: bytes = b"{}") -> Content:
    """Return an image whose subject is SUBJECT."""
    return image(
        config=config,
        subject=SUBJECT.descriptor,
        annotations={"number": str(number)},
        artifactType=artifact_type,
    )


async def referrers_of(
    registry: Registry, subject: Content = SUBJECT, artifact_type: str | None = None
) -> Sequence[Descriptor]:
    page = await registry.list_referrers(
        name(APP), subject.digest, artifact_type=artifact_type, last="", limit=1000
    )
    assert not page.more
    return page.items


def digests(descriptors: Sequence[Descriptor]) -> list[Digest]:
    return [each.digest for each in descriptors]


async def test_nothing_refers_to_what_is_unknown(registry: Registry) -> None:
    assert await referrers_of(registry) == []
    await push(registry, {APP: [SUBJECT, image(layers=[b"x"])], "team/other": referrer(1)})
    assert await referrers_of(registry) == []


@pytest.mark.parametrize(
    ("content", "artifact_type"),
    [
        (referrer(1, "x/y"), "x/y"),
        (referrer(1), CONFIG),
        (referrer(1, config=b"c"), CONFIG),
        (image(subject=SUBJECT.descriptor, config=b"c", artifactType=""), CONFIG),
        (index(image(), subject=SUBJECT.descriptor, artifactType="x/y"), "x/y"),
        (index(image(), subject=SUBJECT.descriptor), None),
        (index(subject=SUBJECT.descriptor, media_type=DOCKER_LIST), None),
        (manifest(OCI_ARTIFACT, artifactType="x/y", subject=SUBJECT.descriptor), "x/y"),
        (manifest(OCI_ARTIFACT, subject=SUBJECT.descriptor), None),
    ],
)
async def test_referrer_is_described(registry: Registry, content: Content, artifact_type: str | None) -> None:
    await push(registry, {APP: content})
    described: dict[str, Any] = {} if artifact_type is None else {"artifactType": artifact_type}
    if b"annotations" in content.content:
        described["annotations"] = {"number": "1"}
    assert [each.to_json() for each in await referrers_of(registry)] == [{**content.descriptor, **described}]


@pytest.mark.parametrize("first", ["subject", "referrer", "never"])
async def test_subject_may_come_later_or_never(registry: Registry, first: str) -> None:
    order = {"subject": [SUBJECT, referrer(1)], "referrer": [referrer(1), SUBJECT], "never": [referrer(1)]}
    await push(registry, {APP: order[first]})
    assert digests(await referrers_of(registry)) == [referrer(1).digest]


async def test_referrers_outlive_their_subject(registry: Registry) -> None:
    await push(registry, {APP: [SUBJECT, referrer(1), referrer(2)]})
    await registry.delete_manifest(name(APP), SUBJECT.digest)
    assert len(await referrers_of(registry)) == 2
    await registry.delete_manifest(name(APP), referrer(1).digest)
    assert digests(await referrers_of(registry)) == [referrer(2).digest]


async def test_referrers_are_of_one_repository(registry: Registry) -> None:
    await push(registry, {APP: [SUBJECT, referrer(1)], "team/other": [SUBJECT, referrer(2)]})
    assert digests(await referrers_of(registry)) == [referrer(1).digest]


async def test_referrer_may_have_referrers(registry: Registry) -> None:
    above = image(subject=referrer(1).descriptor)
    await push(registry, {APP: [SUBJECT, referrer(1), above]})
    assert digests(await referrers_of(registry)) == [referrer(1).digest]
    assert digests(await referrers_of(registry, referrer(1))) == [above.digest]


@pytest.mark.parametrize(
    ("artifact_type", "found"), [(None, {1, 2, 3}), ("x/y", {1, 2}), (CONFIG, {3}), ("x", set()), ("", set())]
)
async def test_referrers_of_one_type(registry: Registry, artifact_type: str | None, found: set[int]) -> None:
    await push(registry, {APP: [referrer(1, "x/y"), referrer(2, "x/y"), referrer(3), _plain_index()]})
    listed = await referrers_of(registry, artifact_type=artifact_type)
    numbers = {int(each.annotations["number"]) for each in listed if each.annotations}
    assert numbers == found


def _plain_index() -> Content:
    return index(subject=SUBJECT.descriptor)


# The tag by which clients list referrers that do not know the API


def listing(*entries: dict[str, Any], algorithm: str = "sha256") -> Content:
    """Return the index that such a client keeps."""
    subject = Digest.of(SUBJECT.content, algorithm)
    tag = f"{algorithm}-{subject.hex[:64]}"
    return manifest(OCI_INDEX, tags=[tag], schemaVersion=2, manifests=list(entries))


def entry(content: Content, artifact_type: str = "x/y") -> dict[str, Any]:
    return {**content.descriptor, "artifactType": artifact_type, "annotations": {"by": "tag"}}


OLD: Final = [image(layers=[b"old"], annotations={"number": str(number)}) for number in range(5)]


async def test_referrers_listed_by_a_tag_are_found(registry: Registry) -> None:
    await push(registry, {APP: [SUBJECT, *OLD, listing(*map(entry, OLD))]})
    found = await referrers_of(registry)
    assert digests(found) == sorted(each.digest for each in OLD)
    assert sorted((each.to_json() for each in found), key=lambda each: str(each["digest"])) == sorted(
        map(entry, OLD), key=lambda each: str(each["digest"])
    )


async def test_referrer_known_both_ways_is_listed_once(registry: Registry) -> None:
    known = referrer(1, "x/y")
    await push(registry, {APP: [known, OLD[0], listing(*map(entry, (known, OLD[0], OLD[0])))]})
    found = {each.digest: each for each in await referrers_of(registry)}
    assert sorted(found) == sorted([known.digest, OLD[0].digest])
    assert found[known.digest].annotations == {"number": "1"}


async def test_referrers_listed_by_a_tag_that_are_gone_are_left_out(registry: Registry) -> None:
    await push(registry, {APP: OLD[:2], "team/other": OLD[2]})
    await put(registry, APP, listing(*map(entry, OLD)))
    await registry.delete_manifest(name(APP), OLD[1].digest)
    assert digests(await referrers_of(registry)) == [OLD[0].digest]


@pytest.mark.parametrize(("artifact_type", "count"), [("x/y", 2), ("a/b", 1), ("b/a", 0)])
async def test_referrers_listed_by_a_tag_are_filtered(
    registry: Registry, artifact_type: str, count: int
) -> None:
    await push(registry, {APP: [referrer(1, "x/y"), *OLD[:2]]})
    await put(registry, APP, listing(entry(OLD[0]), entry(OLD[1], "a/b")))
    assert len(await referrers_of(registry, artifact_type=artifact_type)) == count


@pytest.mark.parametrize(
    "content",
    [
        image(tags=listing().tags),
        manifest(OCI_ARTIFACT, tags=listing().tags, blobs=[]),
        manifest(OCI_INDEX, tags=listing().tags, schemaVersion=2, manifests=[describe(b"{}")]),
    ],
)
async def test_whatever_else_has_the_tag_lists_nothing(registry: Registry, content: Content) -> None:
    await push(registry, {APP: [referrer(1), content]})
    assert digests(await referrers_of(registry)) == [referrer(1).digest]


async def test_tag_of_a_long_digest_is_cut(registry: Registry) -> None:
    # "<alg>-<ref>", the latter cut to 64 characters (distribution specification, "Referrers Tag Schema").
    await push(registry, {APP: OLD[0]})
    await put(registry, APP, listing(entry(OLD[0]), algorithm="sha512"))
    subject = Digest.of(SUBJECT.content, "sha512")
    page = await registry.list_referrers(name(APP), subject, artifact_type=None, last="", limit=9)
    assert digests(page.items) == [OLD[0].digest]


@pytest.mark.parametrize("limit", range(1, 12))
async def test_pages_of_referrers_are_the_list(registry: Registry, limit: int) -> None:
    known = [referrer(number, "x/y") for number in range(5)]
    other = [referrer(number, "a/b") for number in range(5, 8)]
    listed = listing(*map(entry, [*OLD, *known[:2]]))
    await push(registry, {APP: [*known, *other, *OLD, listed]})
    expected = sorted(each.digest for each in (*known, *OLD))
    found: list[Digest] = []
    for _ in itertools.repeat(None, len(expected) + 1):
        page = await registry.list_referrers(
            name(APP), SUBJECT.digest, artifact_type="x/y", last=found[-1] if found else "", limit=limit
        )
        found += digests(page.items)
        assert len(page.items) <= limit
        assert page.more is (found != expected)
        if not page.more:
            break
    assert found == expected


@pytest.mark.parametrize("tagged", [False, True])
async def test_limit_of_no_referrers(registry: Registry, tagged: bool) -> None:
    await push(registry, {APP: [referrer(1), OLD[0]]})
    if tagged:
        await put(registry, APP, listing(entry(OLD[0])))
    page = await registry.list_referrers(name(APP), SUBJECT.digest, artifact_type=None, last="", limit=0)
    assert page.items == []


async def test_last_referrer_need_not_exist(registry: Registry) -> None:
    await push(registry, {APP: [referrer(number) for number in range(4)]})
    everything = digests(await referrers_of(registry))
    for last in ("sha256:", "sha256:8", "sha256:zzz", "sha512:0", "é"):
        page = await registry.list_referrers(
            name(APP), SUBJECT.digest, artifact_type=None, last=last, limit=9
        )
        assert digests(page.items) == [each for each in everything if each > last]


async def test_tag_of_a_listing_is_a_tag_like_others(registry: Registry) -> None:
    await push(registry, {APP: [OLD[0], listing(entry(OLD[0]))]})
    found = await registry.get_manifest(name(APP), Tag(listing().tags[0]))
    assert found.descriptor.media_type == OCI_INDEX
    await registry.delete_tag(name(APP), Tag(listing().tags[0]))
    assert await referrers_of(registry) == []
