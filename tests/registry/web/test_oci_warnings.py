"""What is deprecated, archived or called otherwise now, as clients meet it."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from auth.identity import SYSTEM
from auth.policy import Role
from registry.catalog import Catalog, RepositoryEdit
from registry.statistics import Statistics
from storage.metadata.sqlite import SqliteMetadata
from tests.registry.web.conftest import Serving
from tests.registry.web.content import image, push_image
from tests.registry.web.live import Client, Live

APP, OLD = "team/app", "team/old"

MANIFEST: Final = f"/v2/{APP}/manifests"


@pytest.fixture
async def catalog(live: Live) -> AsyncIterator[Catalog]:
    """The catalog, beside the server."""
    for name in ("team", "reader", "writer"):
        live.add_account(name)
    owner = await live.login("team", f"repository:{APP}:*")
    await push_image(owner, APP, "v1", "v2")
    live.grant(Role.READ, APP, "reader")
    live.grant(Role.WRITE, "team", "writer")
    metadata = SqliteMetadata(live.data / "longshore.db")
    yield Catalog(metadata)
    await metadata.close()


async def pusher(live: Live, name: str = APP) -> Client:
    return await live.login("writer", f"repository:{name}:pull,push")


# -- deprecation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("use v2", '299 - "use v2"'),
        ('say "v2" or \\', '299 - "say \\"v2\\" or \\\\"'),
        ("ältlich 🐳", '299 - "?ltlich ?"'),
    ],
)
async def test_warning_of_a_tag(live: Live, catalog: Catalog, text: str, warning: str) -> None:
    client = await pusher(live)
    await catalog.deprecate_tag(SYSTEM, APP, "v1", text)
    for answer in (
        await client.get(f"{MANIFEST}/v1"),
        await client.head(f"{MANIFEST}/v1"),
        await client.get(f"{MANIFEST}/v1", If_None_Match=f'"{image(b"layer").digest}"'),
    ):
        assert answer.headers.getall("Warning") == [warning]
    for reference in ("v2", image(b"layer").digest):
        assert "Warning" not in (await client.get(f"{MANIFEST}/{reference}")).expect(200).headers
    await catalog.deprecate_tag(SYSTEM, APP, "v1", None)
    assert "Warning" not in (await client.get(f"{MANIFEST}/v1")).headers


async def test_warning_of_a_repository(live: Live, catalog: Catalog) -> None:
    client = await pusher(live)
    await catalog.edit(SYSTEM, APP, RepositoryEdit(deprecation="moved"))
    await catalog.deprecate_tag(SYSTEM, APP, "v1", "old")
    digest = image(b"layer").digest
    for reference, text in (("v1", "old; moved"), ("v2", "moved"), (digest, "moved")):
        for answer in (
            await client.get(f"{MANIFEST}/{reference}"),
            await client.head(f"{MANIFEST}/{reference}"),
        ):
            assert answer.headers["Warning"] == f'299 - "{text}"'
    (await client.put(f"{MANIFEST}/v3", image(b"layer").content, Content_Type=image().media_type)).expect(201)
    assert "Warning" not in (await client.get(f"/v2/{APP}/tags/list")).headers


async def test_warning_stays_a_line(live: Live, catalog: Catalog) -> None:
    await catalog.deprecate_tag(SYSTEM, APP, "v1", "x" * 300)
    await catalog.edit(SYSTEM, APP, RepositoryEdit(deprecation='"' * 300))
    answer = await (await pusher(live)).get(f"{MANIFEST}/v1")
    assert len(answer.headers["Warning"]) <= 4096


# -- archived --------------------------------------------------------------------------------------------


async def test_archived_repository_takes_no_push_and_says_why(live: Live, catalog: Catalog) -> None:
    before = await pusher(live)
    await catalog.edit(SYSTEM, APP, RepositoryEdit(archived=True))
    # One token was made before that; with the other, pushing was asked for and not granted.
    for client in (before, await pusher(live)):
        (await client.get(f"{MANIFEST}/v1")).expect(200)
        for answer in (
            await client.post(f"/v2/{APP}/blobs/uploads/"),
            await client.put(f"{MANIFEST}/v9", image(b"layer").content, Content_Type=image().media_type),
        ):
            assert answer.outcome == (403, "DENIED")
            assert "archived" in answer.json()["errors"][0]["message"]
    await catalog.edit(SYSTEM, APP, RepositoryEdit(archived=False))
    (await (await pusher(live)).post(f"/v2/{APP}/blobs/uploads/")).expect(202)


async def test_strangers_do_not_hear_of_archives(live: Live, catalog: Catalog) -> None:
    live.add_account("stranger")
    stranger = await live.login("stranger", f"repository:{APP}:pull,push")
    absent = await live.login("stranger", "repository:team/absent:pull,push")
    before = await absent.post("/v2/team/absent/blobs/uploads/")
    await catalog.edit(SYSTEM, APP, RepositoryEdit(archived=True))
    answer = await stranger.post(f"/v2/{APP}/blobs/uploads/")
    assert answer.outcome == before.outcome == (401, "UNAUTHORIZED")
    assert (await live.client.post(f"/v2/{APP}/blobs/uploads/")).outcome == (401, "UNAUTHORIZED")


async def test_archived_without_access_control(serving: Serving) -> None:
    async with serving(auth="off") as live:
        await push_image(live.client, APP, "v1")
        metadata = SqliteMetadata(live.data / "longshore.db")
        await Catalog(metadata).edit(SYSTEM, APP, RepositoryEdit(archived=True))
        await metadata.close()
        answer = await live.client.post(f"/v2/{APP}/blobs/uploads/")
        assert answer.outcome == (403, "DENIED")
        assert "archived" in answer.json()["errors"][0]["message"]


# -- former names ----------------------------------------------------------------------------------------


async def test_former_name_pulls_and_does_not_push(live: Live, catalog: Catalog) -> None:
    await catalog.rename(SYSTEM, APP, "team/new")
    client = await pusher(live)
    (await client.get(f"{MANIFEST}/v1")).expect(200)
    assert (await client.get(f"/v2/{APP}/tags/list")).json() == {"name": APP, "tags": ["v1", "v2"]}
    for answer in (
        await client.post(f"/v2/{APP}/blobs/uploads/"),
        await client.put(f"{MANIFEST}/v9", image(b"layer").content, Content_Type=image().media_type),
    ):
        assert answer.outcome == (403, "DENIED")
        assert "team/new" in answer.json()["errors"][0]["message"]
    # No push by the old name has made a repository of it.
    details = await catalog.repository(SYSTEM, APP)
    assert (details.card.name, details.aliases) == ("team/new", (APP,))
    (await (await pusher(live, "team/new")).post("/v2/team/new/blobs/uploads/")).expect(202)


async def test_former_name_of_what_is_hidden(live: Live, catalog: Catalog) -> None:
    await catalog.rename(SYSTEM, APP, "team/new")
    live.add_account("stranger")
    for name in (APP, "team/absent"):
        stranger = await live.login("stranger", f"repository:{name}:pull,push")
        assert (await stranger.get(f"/v2/{name}/manifests/v1")).outcome == (401, "UNAUTHORIZED")
        assert (await stranger.post(f"/v2/{name}/blobs/uploads/")).outcome == (401, "UNAUTHORIZED")


async def test_new_repository_of_a_former_name_takes_pushes(live: Live, catalog: Catalog) -> None:
    await catalog.rename(SYSTEM, APP, "team/new")
    await catalog.create(SYSTEM, APP)
    await push_image(await pusher(live), APP, "fresh")
    tags = await (await pusher(live)).get(f"/v2/{APP}/tags/list")
    assert tags.json()["tags"] == ["fresh"]
    tags = await (await pusher(live, "team/new")).get("/v2/team/new/tags/list")
    assert tags.json()["tags"] == ["v1", "v2"]


# -- statistics ------------------------------------------------------------------------------------------


async def test_counts_are_written_when_the_server_stops(serving: Serving) -> None:
    async with serving(auth="off") as live:
        await push_image(live.client, APP, "v1")
        for _ in range(3):
            (await live.client.get(f"{MANIFEST}/v1")).expect(200)
        (await live.client.head(f"{MANIFEST}/v1")).expect(200)
        data = live.data
        await live.runner.cleanup()
        metadata = SqliteMetadata(data / "longshore.db")
        found: Any = await Statistics(metadata).by_tag(SYSTEM, APP)
        card = (await Catalog(metadata).repository(SYSTEM, APP)).card
        await metadata.close()
    assert [(each.tag, each.pulls, each.checks, each.pushes) for each in found] == [("v1", 3, 1, 1)]
    assert card.pulls == 3
    assert card.last_pulled_at is not None
