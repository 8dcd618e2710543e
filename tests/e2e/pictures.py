"""The pictures in README, of a catalog as a team may have it:

python -m tests.e2e.pictures docs/screenshots

writes them anew after the pages have changed.
"""

import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .api import Api
from .browser import Look, Visitors, chromium
from .images import Image, Index
from .process import running
from .server import ADMIN, Server
from .showcase import OVERVIEW, app_image, app_index, bill_of_materials, chart, signature
from .wire import Wire

# As in commands that people would copy; nobody signs in, which takes the server's own address.
ADDRESS: Final = {"LONGSHORE_EXTERNAL_URL": "https://registry.example.com"}

# What each repository of official images is for, and one of its categories.
CATALOG: Final[Mapping[str, tuple[str, str]]] = {
    "python": ("An interpreted, interactive, object-oriented language", "languages"),
    "golang": ("Tools and standard library of the Go language", "languages"),
    "node": ("JavaScript outside of the browser", "languages"),
    "debian": ("The universal operating system", "operating-systems"),
    "alpine": ("A small Linux distribution around musl and BusyBox", "operating-systems"),
    "postgres": ("An object-relational database that keeps what it is given", "databases"),
    "redis": ("Data structures in memory, for caches and queues", "databases"),
    "nginx": ("Web server and reverse proxy", "web-servers"),
    "prometheus": ("Monitoring with time series and alerts", "monitoring"),
}

SHOTS: Final[Mapping[str, tuple[str, Look]]] = {
    "explore": ("/explore", Look()),
    "repository": ("/r/library/python", Look()),
    "image": ("/r/library/python/-/tags/3.12", Look(dark=True)),
    "phone": ("/r/library/python/-/tags", Look(phone=True)),
}


def main(folder: Path) -> None:
    """Take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, running(Server(Path(data), ADDRESS)) as server:
        fill(server)
        # What was counted is written by now.
        server.restart()
        with chromium() as browser:
            visitors = Visitors(browser, server.url)
            for name, (path, look) in SHOTS.items():
                visitor = visitors.visit(look)
                visitor.open(path)
                visitor.page.screenshot(path=folder / f"{name}.png")


def fill(server: Server) -> None:
    """Push the catalog, describe it and pull from it."""
    chance = random.Random(1)
    for name, (summary, category) in CATALOG.items():
        repository = f"library/{name}"
        with Wire(server.host, repository, ADMIN) as wire:
            for tag, content in contents(name):
                wire.push(tag, content)
            for _ in range(chance.randrange(20, 300)):
                wire.manifest("latest")
        with Api(server.host, ADMIN) as admin:
            edit = {"summary": summary, "categories": [category], "public": True}
            overview = {"overview": OVERVIEW} if name == "python" else {}
            admin.patch(f"/repositories/{repository}", edit | overview)
    with Wire(server.host, "library/site", ADMIN) as wire:
        wire.push("1.2.3", chart("site", "1.2.3"))
    with Api(server.host, ADMIN) as admin:
        admin.patch("/repositories/library/site", {"summary": "The chart of our site", "public": True})
        for repository in ("python", "postgres"):
            admin.put(f"/repositories/library/{repository}/-/star")


def contents(name: str) -> list[tuple[str, Image | Index]]:
    """What is pushed into an official repository; of one of them everything that can be shown."""
    if name != "python":
        return [("latest", app_image(name))]
    latest = app_index("python-3.12")
    signed = [(each.manifest.digest, each) for each in (signature(latest), bill_of_materials(latest))]
    older = [(f"3.{minor}", app_index(f"python-3.{minor}", ["amd64", "arm64/v8"])) for minor in range(9, 12)]
    return [*older, ("3.12", latest), ("latest", latest), *signed]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
