"""The pages for looking around: what they show, to whom, and what they are made of."""

import asyncio
import gzip
import json
import secrets
from collections.abc import AsyncIterator

import pytest
from aiohttp import StreamReader

from auth.identity import SYSTEM
from registry.catalog import RepositoryEdit
from registry.local import Rules
from registry.web.pages.assets import Assets
from tests.registry.content import image, push
from tests.registry.web.pages.site import APP, HOSTILE, MULTI, SIGNATURE, Site

PATIENCE = 20

# Bytes of a first view over the wire, everything that a page loads included.
FIRST_VIEW = 100 * 1024

PUBLIC = [
    "/",
    "/explore",
    "/search",
    "/search?q=app&kind=image&official=yes&stars=1&category=databases&sort=stars",
    "/search?q=nothing-like-that",
    "/u/alice",
    "/u/alice?show=stars",
    "/r/alice/app",
    "/r/library/tool",
    "/r/alice/app/-/tags",
    "/r/alice/app/-/tags?q=nothing-like-that&sort=-name",
    "/r/alice/app/-/statistics",
    "/r/alice/app/-/statistics?days=365",
    "/r/alice/app/-/tags/1.0",
    "/r/alice/app/-/tags/multi",
    "/r/alice/app/-/tags/multi?platform=linux/arm64",
    f"/r/alice/app/-/digests/{APP.digest}",
    f"/r/alice/app/-/digests/{SIGNATURE.digest}",
]
OWN = [
    "/r/alice/secret",
    "/r/alice/secret/-/tags",
    "/r/alice/secret/-/statistics",
    "/r/alice/secret/-/tags/v1",
]
NOWHERE = [
    "/r/alice/none",
    "/r/Alice/App",
    "/r/alice/app/-/nonsense",
    "/r/alice/app/-/tags/none",
    "/r/alice/app/-/tags/-none",
    f"/r/alice/app/-/digests/sha256:{'0' * 64}",
    "/r/alice/app/-/digests/sha256:nonsense",
    "/u/nobody",
    "/nonsense",
]


@pytest.mark.parametrize("who", ["", "alice"])
async def test_pages_are_sound(site: Site, who: str) -> None:
    for path in PUBLIC:
        page = await site.get(path, who)
        assert (page.status, page.faults) == (200, []), path
        assert page.headings.count("h1") == 1, path
        assert all(after - before <= 1 for before, after in page.levels), (path, page.headings)
        assert len(page.ids) == len(set(page.ids)), path
        assert {each for each in page.fields if each not in page.labelled} == set(), path


@pytest.mark.parametrize(("who", "status"), [("", 404), ("bob", 404), ("alice", 200)])
async def test_private_repositories(site: Site, who: str, status: int) -> None:
    assert {path: (await site.get(path, who)).status for path in OWN} == dict.fromkeys(OWN, status)
    lists = ["/", "/explore", "/search?q=secret", "/u/alice"]
    shown = [path for path in lists if "secret" in (await site.get(path, who)).text.replace("q=secret", "")]
    assert ("/u/alice" in shown) is (status == 200)


async def test_what_is_not_there_looks_like_what_may_not_be_seen(site: Site) -> None:
    hidden, missing = await site.get("/r/alice/secret"), await site.get("/r/alice/s-cret")
    assert hidden.text.replace("secret", "s-cret") == missing.text


@pytest.mark.parametrize("path", NOWHERE)
async def test_nothing_is_there(site: Site, path: str) -> None:
    assert (await site.get(path, "alice")).status == 404


async def test_hostile_text_is_inert(site: Site) -> None:
    for path in ["/r/alice/app", "/r/alice/app/-/tags/1.0", f"/r/alice/app/-/digests/{SIGNATURE.digest}"]:
        page = await site.get(path)
        assert "<script>alert" not in page.text, path
        assert "\u202e" not in page.text, path
        assert "alert(1)" in page.words, path
        assert "{{7*7}}" in page.words, path


async def test_a_search_term_is_inert(site: Site) -> None:
    page = await site.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE")
    assert (page.status, page.faults) == (200, [])
    assert HOSTILE[:25] in page.words


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/r/tool", "/r/library/tool"),
        ("/r/tool/-/tags?q=v1&sort=name", "/r/library/tool/-/tags?q=v1&sort=name"),
        ("/r/tool/-/tags/v1", "/r/library/tool/-/tags/v1"),
        ("/r/alice/greeter", "/r/alice/app?notice=moved"),
        ("/r/alice/greeter/-/statistics?days=90", "/r/alice/app/-/statistics?days=90&notice=moved"),
        ("/u/library", "/search?official=yes&sort=pulls"),
        ("/r/alice/app", None),
        ("/r/alice/secret", None),
        ("/r/secret", None),
    ],
)
async def test_names_in_full_and_of_now(site: Site, path: str, location: str | None) -> None:
    await site.catalog.rename(SYSTEM, "alice/app", "alice/greeter")
    await site.catalog.rename(SYSTEM, "alice/greeter", "alice/app")
    assert await site.location(path) == location


async def test_overview(site: Site) -> None:
    page = await site.get("/r/alice/app")
    assert "Hello" in page.words
    assert "docker pull 127.0.0.1:" in page.words
    assert "/alice/app:latest" in page.words
    assert "Databases and storage" in page.words
    assert "/r/alice/app/-/settings" not in page.links
    assert "/r/alice/app/-/settings" in (await site.get("/r/alice/app", "alice")).links


async def test_an_empty_repository_says_how_to_fill_it(site: Site) -> None:
    await site.catalog.create(SYSTEM, "alice/new")
    assert "docker push 127.0.0.1:" in (await site.get("/r/alice/new", "alice")).words


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (RepositoryEdit(deprecation="Use other/app"), "Use other/app"),
        (RepositoryEdit(archived=True), "Nothing can be pushed to it"),
    ],
)
async def test_states(site: Site, edit: RepositoryEdit, words: str) -> None:
    await site.catalog.edit(SYSTEM, "alice/app", edit)
    for path in ["/r/alice/app", "/r/alice/app/-/tags", "/r/alice/app/-/tags/1.0"]:
        assert words in (await site.get(path)).words


async def test_tags_come_in_pages(site: Site) -> None:
    path, seen = "/r/library/tool/-/tags?sort=name", set[str]()
    for _ in range(2):
        page = await site.get(path)
        seen |= {each for each in page.links if each.startswith("/r/library/tool/-/tags/")}
        path = next((each for each in page.links if "cursor=" in each), "")
    assert (len(seen), path) == (35, "")


@pytest.mark.parametrize(
    ("query", "first"),
    [("sort=name", "v0"), ("sort=-name", "v9"), ("q=3&sort=name", "v13"), ("sort=?", "v9")],
)
async def test_tags_are_filtered_and_sorted(site: Site, query: str, first: str) -> None:
    page = await site.get(f"/r/library/tool/-/tags?{query}")
    tags = [each.rpartition("/")[2] for each in page.links if each.startswith("/r/library/tool/-/tags/")]
    assert tags[0] == first


async def test_tags_tell_platforms_and_deprecation(site: Site) -> None:
    page = await site.get("/r/alice/app/-/tags")
    assert "linux/arm64" in page.words
    assert "Deprecated" in page.words


async def test_an_image_in_full(site: Site) -> None:
    page = await site.get("/r/alice/app/-/tags/1.0")
    for words in ("step 1", "LANG", "C.UTF-8", "8080/tcp", "Signature", "Use latest", "linux/amd64"):
        assert words in page.words, words
    assert f"/r/alice/app/-/digests/{SIGNATURE.digest}" in page.links
    assert "/r/alice/app/-/tags/latest" in page.links


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "amd64"),
        ("?platform=linux/arm64", "arm64"),
        (f"?platform={MULTI.children[1].digest}", "arm64"),
        ("?platform=plan9/mips", "amd64"),
    ],
)
async def test_a_platform_is_chosen(site: Site, query: str, words: str) -> None:
    assert f"ARCH{words}" in (await site.get(f"/r/alice/app/-/tags/multi{query}")).words.replace("\n", "")


async def test_stars(site: Site) -> None:
    assert await site.post("/r/alice/app/-/star", starred="yes") == (303, "/sign-in?next=%2F")
    assert await site.post("/r/alice/app/-/star", "bob", starred="yes") == (303, "/r/alice/app")
    assert "Starred" in (await site.get("/r/alice/app", "bob")).words
    assert "/r/alice/app" in (await site.get("/u/bob?show=stars", "alice")).links
    leads = await site.post("/r/alice/app/-/star", "bob", starred="no", next="/r/alice/app/-/tags")
    assert leads == (303, "/r/alice/app/-/tags")
    assert "Starred" not in (await site.get("/r/alice/app", "bob")).words
    assert (await site.post("/r/alice/secret/-/star", "bob", starred="yes"))[0] == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=hello", True),
        ("q=app&kind=image", True),
        ("q=app&kind=chart", False),
        ("category=databases", True),
        ("category=games", False),
        ("official=yes", False),
        ("stars=10", False),
        ("category=nonsense&kind=nonsense&stars=nonsense&sort=nonsense", True),
    ],
)
async def test_search(site: Site, query: str, found: bool) -> None:
    page = await site.get(f"/search?{query}")
    assert (page.status, "/r/alice/app" in page.links) == (200, found)


async def test_a_cursor_of_nothing_is_refused(site: Site) -> None:
    for path in ["/search?cursor=x", "/r/library/tool/-/tags?cursor=x", "/u/alice?cursor=x"]:
        assert (await site.get(path)).status == 400


@pytest.mark.parametrize(("who", "names"), [("", []), ("alice", ["alice/secret"])])
async def test_suggestions(site: Site, who: str, names: list[str]) -> None:
    answer = await site.client.get("/search/suggestions?q=secr", cookies={"who": who})
    assert [each["name"] for each in (await answer.json())["items"]] == names


async def test_home_is_one_s_own(site: Site) -> None:
    page = await site.get("/", "alice")
    assert {"/r/alice/app", "/r/alice/secret"} <= set(page.links)
    assert "/r/library/tool" not in page.links
    assert "docker login 127.0.0.1:" in page.words
    assert "-u alice" in page.words


async def test_a_first_view_is_light(site: Site) -> None:
    await push(
        site.stores.registry(Rules(public=True)),
        {"alice/large": image(tags=[f"2026.{number}" for number in range(30)], layers=[b"large"])},
    )
    overview = "\n".join(f"## Part {number}\n\n{secrets.token_hex(400)}" for number in range(60))
    await site.catalog.edit(SYSTEM, "alice/large", RepositoryEdit(overview=overview))
    assets = Assets()
    files = [
        "longshore.css",
        "icons.svg",
        "favicon.svg",
        "page.js",
        "copy.js",
        "suggest.js",
        "theme.js",
        "live.js",
    ]
    common = sum([await size_of(site, assets.url(file)) for file in files])
    for path in [*PUBLIC, "/r/alice/large", "/r/alice/large/-/tags"]:
        assert common + await size_of(site, path) < FIRST_VIEW, path


async def size_of(site: Site, path: str) -> int:
    answer = await site.client.get(path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    content = await answer.read()
    gzip.decompress(content)
    return len(content) + sum(len(name) + len(value) + 4 for name, value in answer.raw_headers)


async def test_everything_that_pages_load_is_there(site: Site) -> None:
    page = await site.get("/r/alice/app")
    for path in {each.partition("#")[0] for each in page.links if each.startswith("/static/")}:
        answer = await site.client.get(path)
        assert (answer.status, "immutable" in answer.headers["Cache-Control"]) == (200, True)


async def test_icons_are_there(site: Site) -> None:
    sprite = await (await site.client.get(Assets().url("icons.svg"))).text()
    for path in PUBLIC:
        page = await site.get(path, "alice")
        used = {each.partition("#")[2] for each in page.links if "icons.svg#" in each}
        assert {each for each in used if f'id="{each}"' not in sprite} == set(), path


async def test_pushes_show_as_they_land(site: Site) -> None:
    async with site.client.get("/r/alice/app/-/events") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = Events(answer.content)
        assert (await events.next())[0] == "uploads"
        registry = site.stores.registry(Rules(public=True))
        await push(registry, {"alice/app": image(tags=["fresh"], layers=[b"fresh"])})
        tags = [each async for each in events.until("tag", name="fresh")]
        assert tags[-1][1]["digest"].startswith("sha256:")


async def test_streams_end_with_the_server(site: Site) -> None:
    async with site.client.get("/r/alice/app/-/events") as answer:
        events = Events(answer.content)
        await events.next()
        await site.client.app.shutdown()
        async with asyncio.timeout(PATIENCE):
            await answer.content.read()


@pytest.mark.parametrize(("who", "status"), [("", 404), ("bob", 404), ("alice", 200)])
async def test_pushes_to_private_repositories(site: Site, who: str, status: int) -> None:
    async with site.client.get("/r/alice/secret/-/events", cookies={"who": who}) as answer:
        assert answer.status == status


class Events:
    """Server-sent events, one by one."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content

    async def next(self) -> tuple[str, dict[str, str]]:
        """Return the kind and the data of the next event."""
        kind = ""
        while line := (await self._content.readline()).decode().strip("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            if name == "data":
                await self._content.readline()
                return kind, json.loads(value)
        return await self.next()

    async def until(self, kind: str, **fields: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """Yield events up to the one of this kind with these fields."""
        while True:
            event = await self.next()
            yield event
            if event[0] == kind and fields.items() <= event[1].items():
                return
