"""Debian's Chromium as people use it: desktop or phone, light or dark, with scripts or without.

A `Visitor` remembers whatever goes wrong on the pages that it opens, and the fixture `visitors` fails the
test for it. The browser talks to loopback only: everything else goes to a proxy that is not there.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Response,
    StorageState,
    sync_playwright,
)

from .clients import Account, debian

# Nothing listens on the port "discard", and the rule of all proxies is that loopback needs none.
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=http://127.0.0.1:9",
)
BROWSER_SECONDS: Final = 30
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# What axe-core calls a violation that shuts people out.
GRAVE: Final = frozenset({"serious", "critical"})


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    phone: bool = False
    dark: bool = False
    scripts: bool = True

    def __str__(self) -> str:
        """As in the name of a test or a file."""
        words = ["phone" if self.phone else "desktop", "dark" if self.dark else "light"]
        return "-".join([*words, *([] if self.scripts else ["no-scripts"])])

    def options(self) -> dict[str, Any]:
        """The same in Playwright's words."""
        width, height = (390, 844) if self.phone else (1280, 800)
        return {
            "viewport": {"width": width, "height": height},
            "is_mobile": self.phone,
            "has_touch": self.phone,
            "device_scale_factor": 2 if self.phone else 1,
            "color_scheme": "dark" if self.dark else "light",
            "reduced_motion": "reduce",
            "java_script_enabled": self.scripts,
            "locale": "en-GB",
            "timezone_id": "UTC",
        }


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the first view of a page took over the wire, headers and compression included."""

    bytes: int
    requests: int


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium while it runs; a test without it fails."""
    executable = debian("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A person at a browser of their own: `page` is what they look at, `complaints` is what went wrong."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self._forgiven: list[re.Pattern[str]] = []
        context.set_default_timeout(BROWSER_SECONDS * 1000)
        context.on("page", self._watch)
        context.on("request", self._note_request)
        context.on("requestfailed", self._note_failure)
        context.on("response", self._note_response)
        self.page = context.new_page()

    def open(self, path: str) -> int:
        """Open a page of the server and return the status that it came with."""
        response = self.page.goto(self.url + path)
        assert response is not None, f"{path} is no page"
        return response.status

    def sign_in(self, account: Account) -> None:
        """Sign in with the form, as people do."""
        assert self.open("/sign-in") == 200
        self.page.fill("main [name=name]", account.name)
        self.page.fill("main [name=password]", account.password)
        self.page.click("main form:has([name=password]) button")
        assert urlsplit(self.page.url).path != "/sign-in", self.page.inner_text("main")

    def forgive(self, pattern: str) -> None:
        """Take complaints that match as what the test is about."""
        self._forgiven.append(re.compile(pattern))

    def fair_complaints(self) -> list[str]:
        """The complaints that nobody forgave."""
        return [each for each in self.complaints if not any(word.search(each) for word in self._forgiven)]

    def _watch(self, page: Page) -> None:
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self._complain(page.url, f"uncaught {error}"))

    def _note_console(self, message: ConsoleMessage) -> None:
        # A resource that was refused is noted where its status is known.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._complain(message.location["url"], message.text)

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.hostname not in LOOPBACK:
            self._complain(request.url, "is not on this machine")

    def _note_failure(self, request: Request) -> None:
        # Aborted is what becomes of a download, and of what was on its way when the page was left.
        if request.failure != "net::ERR_ABORTED":
            self._complain(request.url, f"{request.failure}")

    def _note_response(self, response: Response) -> None:
        limit = 500 if response.request.is_navigation_request() else 400
        if response.status >= limit:
            self._complain(response.url, f"answered {response.status}")

    def _complain(self, url: str, words: str) -> None:
        self.complaints.append(f"{url}: {words}")


class Visitors:
    """The visitors of one server, each with cookies and a cache of its own.

    `signed_in` keeps the cookies of accounts, so that each signs in once for all tests that share it.
    """

    def __init__(
        self, browser: Browser, url: str, signed_in: dict[Account, StorageState] | None = None
    ) -> None:
        self._browser = browser
        self._url = url
        self._all: list[Visitor] = []
        self._signed_in = {} if signed_in is None else signed_in

    def visit(self, look: Look | None = None, account: Account | None = None) -> Visitor:
        """Return a new visitor with an empty cache, signed in as `account` if there is one."""
        state = None if account is None else self._state_of(account)
        return self._enter(look or Look(), state)

    def finish(self) -> list[str]:
        """Send them all home and return what they complained about."""
        complaints = [each for visitor in self._all for each in visitor.fair_complaints()]
        for visitor in self._all:
            visitor.context.close()
        self._all.clear()
        return complaints

    def log_tail(self) -> str:
        """What each of them looks at, for the report of a failed test."""
        return "\n".join(_describe(visitor) for visitor in self._all)

    def _enter(self, look: Look, state: StorageState | None = None) -> Visitor:
        visitor = Visitor(self._browser.new_context(storage_state=state, **look.options()), self._url)
        self._all.append(visitor)
        return visitor

    def _state_of(self, account: Account) -> StorageState:
        if account not in self._signed_in:
            visitor = self._enter(Look(scripts=False))
            visitor.sign_in(account)
            self._signed_in[account] = visitor.context.storage_state()
        return self._signed_in[account]


def _describe(visitor: Visitor) -> str:
    try:
        text = visitor.page.inner_text("body", timeout=1000)
    except Error as error:
        text = str(error)
    return "\n".join([visitor.page.url, text[:2000], *visitor.complaints])


def axe(page: Page, *, grave: frozenset[str] = GRAVE) -> list[str]:
    """Run axe-core over the page and return its grave violations, a line for each rule.

    Over the debugging protocol, which no Content-Security-Policy stands in the way of.
    """
    devtools = page.context.new_cdp_session(page)
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    devtools.send("Runtime.evaluate", {"expression": source})
    run = (
        'axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => JSON.stringify(violations))'
    )
    answer = devtools.send(
        "Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True}
    )
    devtools.detach()
    assert "exceptionDetails" not in answer, answer
    violations = json.loads(answer["result"]["value"])
    return [_violation(each) for each in violations if each["impact"] in grave]


def _violation(violation: dict[str, Any]) -> str:
    nodes = [f"{node['target']}: {node['failureSummary']}" for node in violation["nodes"][:5]]
    return f"{violation['impact']} {violation['id']}: {violation['help']}\n" + "\n".join(nodes)


def first_view(visitor: Visitor, path: str, status: int = 200) -> Traffic:
    """Open a page as a visitor who has seen none yet and return what came until it was loaded."""
    lengths: list[float] = []
    devtools = visitor.context.new_cdp_session(visitor.page)
    devtools.on("Network.loadingFinished", lambda event: lengths.append(event["encodedDataLength"]))
    devtools.send("Network.enable")
    assert visitor.open(path) == status
    devtools.detach()
    return Traffic(bytes=round(sum(lengths)), requests=len(lengths))


def scrolls_sideways(page: Page) -> bool:
    """Tell whether the page is wider than its window."""
    root = "document.documentElement"
    return bool(page.evaluate(f"() => {root}.scrollWidth > {root}.clientWidth"))
