"""Pictures of every page of the map, to look at:

python -m tests.e2e.screenshots FOLDER [WORD …]

takes those whose name has one of the words in it, on a desktop and a phone, light and dark.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .browser import Look, Visitors, chromium
from .process import running
from .seed import Hub, seed
from .server import Server
from .sitemap import Stop, stops

LOOKS = [Look(phone=phone, dark=dark) for phone in (False, True) for dark in (False, True)]


def take(visitors: Visitors, hub: Hub, stop: Stop, look: Look, folder: Path) -> None:
    """Take one picture, of the whole page."""
    visitor = visitors.visit(look, hub.account(stop.who))
    visitor.open(stop.address(hub))
    name = re.sub(r"[^a-z0-9.]+", "-", str(stop)).strip("-")
    visitor.page.screenshot(path=folder / f"{name}.{look}.png", full_page=True)
    visitor.context.close()


def main(folder: Path, words: Sequence[str]) -> None:
    """Take the pictures of a server of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [stop for stop in stops() if not words or any(word in str(stop) for word in words)]
    with tempfile.TemporaryDirectory() as data, running(Server(Path(data))) as server, chromium() as browser:
        hub, visitors = seed(server), Visitors(browser, server.url)
        for stop in chosen:
            for look in LOOKS:
                take(visitors, hub, stop, look, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
