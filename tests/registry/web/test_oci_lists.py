"""Lists and their pages: tags, catalog, referrers."""

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.policy import Role
from registry.manifest import OCI_INDEX, OCI_MANIFEST
from storage.digest import Digest
from tests.registry.web.conftest import Serving
from tests.registry.web.content import ABSENT, CONFIG, image, index, pushable
from tests.registry.web.live import Client, Live, Pushable, descriptor
from tests.storage.properties import PROPERTY

TAGS: Final = ["v10", "v2", "v1", "V1", "_x", "1", "a.b", "a-b", "a_b", "ab", "Z", "a"]
SORTED: Final = ["1", "V1", "Z", "_x", "a", "a-b", "a.b", "a_b", "ab", "v1", "v10", "v2"]

MANIFEST: Final = index()

NEXT: Final = re.compile(r'<(/v2/[^>]*)>; rel="next"')


@pytest.fixture
def client(open_live: Live) -> Client:
    return open_live.client


async def _tag(client: Client, name: str, *tags: str) -> None:
    query = "&".join(f"tag={tag}" for tag in tags)
    target = f"/v2/{name}/manifests/{MANIFEST.digest}?{query}"
    (await client.put(target, MANIFEST.content, Content_Type=OCI_INDEX)).expect(201)


async def _pages(client: Client, target: str, member: str) -> list[list[Any]]:
    """Follow the links from page to page."""
    pages: list[list[Any]] = []
    while True:
        answer = (await client.get(target)).expect(200)
        pages.append(answer.json()[member])
        link = answer.headers.get("Link")
        if link is None:
            return pages
        found = NEXT.fullmatch(link)
        assert found is not None, link
        target = found[1]


# -- tags ------------------------------------------------------------------------------------------------


async def test_tags_in_the_order_of_their_bytes(client: Client) -> None:
    await _tag(client, "a/b", *TAGS)
    answer = (await client.get("/v2/a/b/tags/list")).expect(200)
    assert answer.json() == {"name": "a/b", "tags": SORTED}
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "Link" not in answer.headers


PAGES_OF_TAGS: Final = [
    ("n=0", [], None),
    ("n=0&last=a", [], None),
    ("n=1", ["1"], "n=1&last=1"),
    ("n=3", ["1", "V1", "Z"], "n=3&last=Z"),
    ("n=3&last=Z", ["_x", "a", "a-b"], "n=3&last=a-b"),
    ("last=ab", ["v1", "v10", "v2"], None),
    ("n=2&last=v1", ["v10", "v2"], None),
    ("n=3&last=ab", ["v1", "v10", "v2"], None),
    ("n=12", SORTED, None),
    ("n=11", SORTED[:-1], "n=11&last=v10"),
    ("n=999999999", SORTED, None),
    ("last=a0&n=1", ["a_b"], "last=a_b&n=1"),
    ("last=nothing", ["v1", "v10", "v2"], None),
    ("last=v2", [], None),
    ("last=zzz&n=5", [], None),
    ("last=", SORTED, None),
    ("n=1&foo=a%20b%26", ["1"], "n=1&foo=a+b%26&last=1"),
    ("n=1&ns=docker.io", ["1"], "n=1&ns=docker.io&last=1"),
]


async def test_pages_of_tags(client: Client, subtests: pytest.Subtests) -> None:
    for query, tags, link in PAGES_OF_TAGS:
        with subtests.test(f"{query!r:.40} {tags!r:.40} {link!r:.40}"):
            await _check_pages_of_tags(client, query, tags, link)


async def _check_pages_of_tags(client: Client, query: str, tags: list[str], link: str | None) -> None:
    await _tag(client, "a/b", *TAGS)
    answer = (await client.get(f"/v2/a/b/tags/list?{query}")).expect(200)
    assert answer.json()["tags"] == tags
    expected = None if link is None else f'</v2/a/b/tags/list?{link}>; rel="next"'
    assert answer.headers.get("Link") == expected


@PROPERTY
@given(size=st.integers(1, 15))
async def test_links_collect_every_tag_once(client: Client, size: int) -> None:
    await _tag(client, "a/b", *TAGS)
    pages = await _pages(client, f"/v2/a/b/tags/list?n={size}", "tags")
    assert [tag for page in pages for tag in page] == SORTED
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= size


async def test_page_limit_of_the_server(serving: Serving) -> None:
    async with serving(auth="off", page_limit=5) as live:
        await _tag(live.client, "a/b", *TAGS)
        for query in ("", "?n=6", "?n=999999999"):
            pages = await _pages(live.client, f"/v2/a/b/tags/list{query}", "tags")
            assert pages == [SORTED[:5], SORTED[5:10], SORTED[10:]]


async def test_tags_that_come_and_go_between_pages(client: Client) -> None:
    await _tag(client, "a/b", *SORTED)
    first = await client.get("/v2/a/b/tags/list?n=5")
    await client.delete("/v2/a/b/manifests/a-b")
    found = NEXT.fullmatch((await client.get("/v2/a/b/tags/list?n=5")).headers["Link"])
    assert first.json()["tags"][-1] == "a"
    assert found is not None
    assert (await client.get("/v2/a/b/tags/list?n=5&last=a-b")).json()["tags"] == SORTED[6:11]


async def test_no_tags_are_an_empty_list(client: Client) -> None:
    await client.push_blob("a/b", b"x")
    answer = (await client.get("/v2/a/b/tags/list")).expect(200)
    assert answer.body == b'{"name": "a/b", "tags": []}'
    assert (await client.get("/v2/a/none/tags/list")).outcome == (404, "NAME_UNKNOWN")


async def test_list_goes_by_the_name_that_was_asked_for(client: Client) -> None:
    await _tag(client, "library/app", "v1", "v2")
    for name in ("app", "library/app"):
        answer = await client.get(f"/v2/{name}/tags/list?n=1")
        assert answer.json() == {"name": name, "tags": ["v1"]}
        assert answer.headers["Link"] == f'</v2/{name}/tags/list?n=1&last=v1>; rel="next"'


# -- catalog ---------------------------------------------------------------------------------------------


async def test_catalog_in_pages(client: Client) -> None:
    names = ["a/b", "a/b-c", "a/b/c", "a/b_c", "a0/b", "library/app", "z/z"]
    for name in names:
        await client.push_blob(name, b"x")
    for size in (1, 3, 7, 100):
        pages = await _pages(client, f"/v2/_catalog?n={size}", "repositories")
        assert [name for page in pages for name in page] == names
        assert all(len(page) == size for page in pages[:-1])
    answer = await client.get("/v2/_catalog?n=2")
    assert answer.headers["Link"] == '</v2/_catalog?n=2&last=a%2Fb-c>; rel="next"'
    assert (await client.get("/v2/_catalog?n=0")).json() == {"repositories": []}
    assert (await client.get("/v2/_catalog?last=a/nothing")).json()["repositories"] == names[4:]


async def test_empty_catalog(client: Client) -> None:
    answer = (await client.get("/v2/_catalog")).expect(200)
    assert answer.body == b'{"repositories": []}'
    assert "Link" not in answer.headers


async def test_catalog_shows_what_the_viewer_may_see(live: Live) -> None:
    for name in ("ann", "bob", "eve"):
        live.add_account(name)
    live.add_account("root", is_admin=True)
    repositories = ["ann/one", "ann/three", "ann/two", "bob/one", "bob/two", "library/app"]
    root = await live.login("root", *(f"repository:{name}:pull,push" for name in repositories))
    for name in repositories:
        await root.push_blob(name, b"x")
    live.publish("bob/one")
    live.grant(Role.READ, "ann/two", "bob")
    public = ["bob/one", "library/app"]
    for account, names in {
        "root": repositories,
        "ann": ["ann/one", "ann/three", "ann/two", *public],
        "bob": ["ann/two", "bob/one", "bob/two", "library/app"],
        "eve": public,
        None: public,
    }.items():
        viewer = await live.login(account, "registry:catalog:*")
        pages = await _pages(viewer, "/v2/_catalog?n=2", "repositories")
        assert [name for page in pages for name in page] == names


# -- referrers -------------------------------------------------------------------------------------------

SUBJECT: Final = image(b"layer")


def _referrer(number: int, artifact_type: str | None = "a/b") -> Pushable:
    annotations = {"number": str(number)}
    return index(subject=SUBJECT.descriptor(), artifactType=artifact_type, annotations=annotations)


async def _push_all(client: Client, *manifests: Pushable) -> None:
    for manifest in manifests:
        await client.push_manifest("a/b", None, manifest)


REFERRERS: Final = f"/v2/a/b/referrers/{SUBJECT.digest}"


async def test_no_referrers(client: Client) -> None:
    """dockerd asks this of every attestation; after a 404 it would ask for a tag as well."""
    await client.push_manifest("a/b", "v1", MANIFEST)
    for digest in (ABSENT, MANIFEST.digest, Digest.of(b"", "sha512")):
        for query in ("", "?artifactType=a/b", "?n=1"):
            answer = (await client.get(f"/v2/a/b/referrers/{digest}{query}")).expect(200)
            assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
            # Clients compare the whole value.
            assert answer.headers.getall("Content-Type") == ["application/vnd.oci.image.index.v1+json"]
            assert "Link" not in answer.headers


async def test_referrers_of_an_unknown_repository(client: Client) -> None:
    assert (await client.get(f"/v2/a/none/referrers/{ABSENT}")).json()["manifests"] == []


async def test_what_is_told_of_a_referrer(client: Client) -> None:
    for blob in (b"{}", b"layer"):
        await client.push_blob("a/b", blob)
    of_type = image(artifactType="a/b", subject=SUBJECT.descriptor(), annotations={"x": "é"})
    of_config = image(subject=SUBJECT.descriptor())
    of_nothing = index(subject=SUBJECT.descriptor())
    await _push_all(client, of_type, of_config, of_nothing)
    expected = [
        of_type.descriptor(artifactType="a/b", annotations={"x": "é"}),
        of_config.descriptor(artifactType=CONFIG),
        of_nothing.descriptor(),
    ]
    answer = await client.get(REFERRERS)
    assert answer.json()["manifests"] == sorted(expected, key=lambda each: str(each["digest"]))


FILTER: Final = [
    ("", {1, 2, 3, 4}, None),
    ("?artifactType=", {1, 2, 3, 4}, None),
    ("?artifactType=a/b", {1, 2}, "artifactType"),
    ("?artifactType=a%2Fb", {1, 2}, "artifactType"),
    ("?artifactType=a/c%2Bjson", {3}, "artifactType"),
    ("?artifactType=a", set(), "artifactType"),
    ("?artifactType=%00", set(), "artifactType"),
]


async def test_filter(client: Client, subtests: pytest.Subtests) -> None:
    for query, numbers, applied in FILTER:
        with subtests.test(f"{query!r:.40} {numbers!r:.40} {applied!r:.40}"):
            await _check_filter(client, query, numbers, applied)


async def _check_filter(client: Client, query: str, numbers: set[int], applied: str | None) -> None:
    types = {1: "a/b", 2: "a/b", 3: "a/c+json", 4: None}
    await _push_all(client, *(_referrer(number, type_) for number, type_ in types.items()))
    answer = await client.get(REFERRERS + query)
    assert {int(each["annotations"]["number"]) for each in answer.json()["manifests"]} == numbers
    assert answer.headers.get("OCI-Filters-Applied") == applied


async def test_pages_of_referrers(client: Client) -> None:
    manifests = [_referrer(number, "a/b" if number % 2 else "a/c") for number in range(9)]
    await _push_all(client, *manifests)
    for query, expected in (("", manifests), ("&artifactType=a/b", manifests[1::2])):
        for size in (1, 2, 4, 9, 100):
            pages = await _pages(client, f"{REFERRERS}?n={size}{query}", "manifests")
            digests = [entry["digest"] for page in pages for entry in page]
            assert digests == sorted(each.digest for each in expected)
            assert all(len(page) == size for page in pages[:-1])
    assert (await client.get(f"{REFERRERS}?n=0")).json()["manifests"] == []


async def test_page_ends_before_the_document_grows_too_large(client: Client) -> None:
    """Clients refuse an index of more than 4 MiB, so not a byte more than that is sent."""
    limit = 4 * 1024 * 1024

    def entry(number: int, length: int) -> Pushable:
        annotations = {"number": str(number), "text": "x" * length}
        return index(subject=SUBJECT.descriptor(), annotations=annotations)

    def listed(manifest: Pushable) -> dict[str, Any]:
        return manifest.descriptor(annotations=json.loads(manifest.content)["annotations"])

    # Four entries whose document, with all that stands around them, is one byte too long.
    quarter = limit // 4 - 1000
    manifests = [entry(number, quarter) for number in range(4)]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed(each) for each in manifests]}
    missing = limit + 1 - len(json.dumps(document))
    manifests[3] = entry(3, quarter + missing)
    await _push_all(client, *manifests)
    target, sizes, digests = REFERRERS, [], []
    while target:
        answer = (await client.get(target)).expect(200)
        sizes.append(len(answer.body))
        digests += [each["digest"] for each in answer.json()["manifests"]]
        found = NEXT.fullmatch(answer.headers.get("Link", ""))
        target = "" if found is None else found[1]
    assert sorted(each.digest for each in manifests) == digests
    assert max(sizes) <= limit


async def test_one_entry_is_sent_however_large(client: Client) -> None:
    # Escaped in a list, it takes six bytes a letter.
    document = {"schemaVersion": 2, "manifests": [], "subject": SUBJECT.descriptor()}
    text = json.dumps({**document, "annotations": {"text": "é" * 900_000}}, ensure_ascii=False)
    manifest = Pushable(OCI_INDEX, text.encode())
    await _push_all(client, manifest, _referrer(1))
    pages = await _pages(client, REFERRERS, "manifests")
    assert sorted(each["digest"] for page in pages for each in page) == sorted(
        [manifest.digest, _referrer(1).digest]
    )
    assert len(pages) == 2


async def test_tag_of_a_client_that_does_not_know_the_api(client: Client) -> None:
    by_api, by_tag, absent = (
        _referrer(1),
        index(annotations={"number": "2"}),
        index(annotations={"number": "3"}),
    )
    await _push_all(client, by_api, by_tag)
    listed = [
        by_tag.descriptor(artifactType="a/b", annotations={"x": "y"}),
        by_api.descriptor(artifactType="a/b"),
        absent.descriptor(),
    ]
    await client.push_manifest("a/b", f"sha256-{SUBJECT.digest.hex}", index(*listed))
    found = {each["digest"]: each for each in (await client.get(REFERRERS)).json()["manifests"]}
    assert found == {
        by_api.digest: by_api.descriptor(artifactType="a/b", annotations={"number": "1"}),
        by_tag.digest: by_tag.descriptor(artifactType="a/b", annotations={"x": "y"}),
    }
    assert (await client.get(f"{REFERRERS}?n=0")).json()["manifests"] == []
    pages = await _pages(client, f"{REFERRERS}?n=1&artifactType=a/b", "manifests")
    assert [page[0]["digest"] for page in pages] == sorted([by_api.digest, by_tag.digest])


async def test_deleted_referrer_is_not_listed(client: Client) -> None:
    await _push_all(client, _referrer(1), _referrer(2))
    (await client.delete(f"/v2/a/b/manifests/{_referrer(1).digest}")).expect(202)
    entries = (await client.get(REFERRERS)).json()["manifests"]
    assert [each["digest"] for each in entries] == [_referrer(2).digest]


async def test_referrers_outlive_their_subject(client: Client) -> None:
    for blob in (b"{}", b"layer"):
        await client.push_blob("a/b", blob)
    await _push_all(client, SUBJECT, _referrer(1))
    (await client.delete(f"/v2/a/b/manifests/{SUBJECT.digest}")).expect(202)
    assert len((await client.get(REFERRERS)).json()["manifests"]) == 1
    assert (await client.get(REFERRERS.replace("a/b", "a/c"))).json()["manifests"] == []


async def test_docker_s_media_types_have_referrers_as_well(client: Client) -> None:
    await client.push_blob("a/b", b"{}")
    subject = image(media_type="application/vnd.docker.distribution.manifest.v2+json")
    await client.push_manifest("a/b", None, subject)
    signature = pushable(
        OCI_MANIFEST,
        config=descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        layers=[],
        subject=subject.descriptor(),
        artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
    )
    await client.push_manifest("a/b", None, signature)
    entries = (await client.get(f"/v2/a/b/referrers/{subject.digest}")).json()["manifests"]
    assert entries == [signature.descriptor(artifactType="application/vnd.dev.sigstore.bundle.v0.3+json")]
