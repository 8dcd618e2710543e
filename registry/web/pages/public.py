"""The pages that everybody can look at, as far as what is in them is theirs to see."""

from collections.abc import Iterable

from aiohttp import web

from registry.catalog import Catalog
from registry.images import Images
from registry.people import People
from registry.search import Search
from registry.statistics import Statistics
from registry.watch import Watch
from registry.web.events import EventStreams
from registry.web.origin import Origins
from registry.web.pages.assets import Assets
from registry.web.pages.home import Home
from registry.web.pages.image import ImagePages
from registry.web.pages.live import Live
from registry.web.pages.profiles import Profiles
from registry.web.pages.repository import Repositories
from registry.web.pages.search import Finder
from registry.web.pages.shell import Shell
from registry.web.pages.theme import Theme


class PublicPages:
    """The pages for looking around, the static files, and the choice of a theme."""

    def __init__(
        self,
        shell: Shell,
        assets: Assets,
        origins: Origins,
        *,
        catalog: Catalog,
        search: Search,
        images: Images,
        statistics: Statistics,
        people: People,
        watch: Watch,
    ) -> None:
        self._streams = EventStreams()
        self._handlers = (
            assets,
            Theme(shell, origins),
            Home(shell, catalog, people),
            Finder(shell, search),
            Profiles(shell, people, catalog),
            Live(shell, watch, self._streams),
            ImagePages(shell, catalog, images),
        )
        self._repositories = Repositories(shell, catalog, images, statistics)

    def add_to(self, app: web.Application, further: Iterable[web.RouteDef] = ()) -> None:
        """Add the routes; `further` are those of other pages behind `/r/{name}/-/`."""
        for each in self._handlers:
            app.add_routes(each.routes())
        app.add_routes(further)
        app.add_routes(self._repositories.routes())
        app.on_shutdown.append(self._streams.close)
