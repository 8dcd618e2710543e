from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from storage.filesystem import FileStore
from tests.registry.registries import opened
from tests.registry.web.pages.site import Site, fill, make_site


@pytest.fixture
async def site(data: Path) -> AsyncIterator[Site]:
    """The public pages, with something to look at."""
    await FileStore(data).prepare()
    async with opened(data) as stores:
        app, catalog, pages, people = await make_site(stores)
        async with TestClient(TestServer(app)) as client:
            site = Site(client, catalog, stores, pages, people)
            await fill(site)
            yield site
