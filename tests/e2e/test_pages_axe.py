"""Every page of the map shuts nobody out, is neither too wide nor too heavy, and works without scripts."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import pytest

from registry.app import make_app
from registry.config import Settings
from registry.installation import keys_of, prepare_database
from tests.test_documentation import plain

from .browser import Look, Visitors, axe, first_view, scrolls_sideways
from .seed import Hub
from .sitemap import MAP, NO_PAGES, Stop, stops

pytestmark = pytest.mark.e2e

FIRST_VIEW_BYTES = 100 * 1024
SCHEMES: Final[Sequence[Literal["light", "dark"]]] = ("light", "dark")

everywhere = pytest.mark.parametrize("stop", [*stops()], ids=str)


def routes_of_pages(data: Path) -> set[str]:
    """The GET routes whose handlers are among the pages, as the router has them."""
    settings = Settings.model_validate({"data": data})
    prepare_database(settings)
    keys_of(settings).ensure("ES256")

    async def read() -> set[str]:
        app = await make_app(settings)
        return {
            plain(route.resource.canonical) or "/"
            for route in app.router.routes()
            if route.method == "GET" and route.resource and "web.pages" in route.handler.__module__
        }

    # In a thread of its own: Playwright has the loop of this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, read()).result()


def test_every_page_is_on_the_map(tmp_path: Path) -> None:
    routes = routes_of_pages(tmp_path / "data")
    assert routes - NO_PAGES - set(MAP) == set(), "pages that nobody looks at"
    assert {*NO_PAGES, *MAP} - routes == set(), "on the map and not there"


@everywhere
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_nobody_is_shut_out(visitors: Visitors, hub: Hub, stop: Stop, phone: bool) -> None:
    visitor = visitors.visit(Look(phone=phone), hub.account(stop.who))
    traffic = first_view(visitor, stop.address(hub), stop.status)
    assert not scrolls_sideways(visitor.page)
    assert traffic.bytes < FIRST_VIEW_BYTES, traffic
    for scheme in SCHEMES:
        visitor.page.emulate_media(color_scheme=scheme)
        violations = axe(visitor.page)
        assert not violations, "\n\n".join([scheme, *violations])


@everywhere
def test_scripts_are_a_comfort(visitors: Visitors, hub: Hub, stop: Stop) -> None:
    visitor = visitors.visit(Look(scripts=False), hub.account(stop.who))
    assert visitor.open(stop.address(hub)) == stop.status
    assert visitor.page.inner_text("h1").strip()
    assert visitor.page.locator("main").locator("a, button").count() > 0
