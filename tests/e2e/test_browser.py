"""The browser that tests use finds what they use it for."""

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser

from .browser import Look, Visitors, axe, first_view, scrolls_sideways
from .process import serving

pytestmark = pytest.mark.e2e

POLICY = "default-src 'self'; frame-src *; img-src * data:"
HEAD = (
    "<!doctype html><html lang=en><title>A page</title><meta name=viewport content='width=device-width'>"
    "<body><main><h1>A page</h1>"
)

PAGES: Mapping[str, str] = {
    "/good": '<p>All is well. <img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></p>',
    "/script": '<script src="/throws.js"></script>',
    "/console": '<script src="/console.js"></script>',
    "/inline": "<p onclick='alert(1)'>Inline</p><script>document.title = 'changed'</script>",
    "/style": "<p style='color: red'>Inline</p>",
    "/missing-part": '<img alt="" src="/nowhere.png">',
    "/broken-part": '<img alt="" src="/broken">',
    "/outside": '<img alt="" src="http://registry.example/logo.png">',
    "/outside-address": '<iframe title="outside" src="http://192.0.2.1/"></iframe>',
    "/unlabelled": "<form><input name=q><button></button></form>",
    "/wide": "<link rel=stylesheet href=/wide.css><p class=wide>Wide</p>",
    "/throws.js": "throw new Error('thrown here')",
    "/console.js": "console.error('written here')",
    "/wide.css": ".wide { width: 3000px }",
    "/pale.css": "p { color: #aaa; background: #fff }",
    "/pale": "<link rel=stylesheet href=/pale.css><p>Pale</p>",
}
TYPES = {"js": "text/javascript", "css": "text/css"}


class Site(BaseHTTPRequestHandler):
    """Serves `PAGES` with a policy; what is not among them is missing, or broken."""

    def do_GET(self) -> None:
        """Answer."""
        content = PAGES.get(self.path)
        kind = TYPES.get(self.path.rpartition(".")[2])
        self.send_response(200 if content else 500 if self.path == "/broken" else 404)
        self.send_header("Content-Type", kind or "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(((content or "") if kind else HEAD + (content or "nothing here")).encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def visitors(browser: Browser, site: str) -> Iterator[Visitors]:
    visitors = Visitors(browser, site)
    yield visitors
    visitors.finish()


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        pytest.param("/script", "thrown here", id="uncaught error"),
        pytest.param("/console", "written here", id="console"),
        pytest.param("/inline", "Content Security Policy", id="inline script"),
        pytest.param("/style", "Content Security Policy", id="inline style"),
        pytest.param("/missing-part", "answered 404", id="missing part"),
        pytest.param("/broken-part", "answered 500", id="broken part"),
        pytest.param("/broken", "answered 500", id="broken page"),
        pytest.param("/outside", "is not on this machine", id="outside"),
        pytest.param("/outside", "ERR_PROXY_CONNECTION_FAILED", id="outside is out of reach"),
        pytest.param("/outside-address", "ERR_PROXY_CONNECTION_FAILED", id="as are addresses"),
    ],
)
def test_visitors_complain(visitors: Visitors, path: str, complaint: str) -> None:
    visitor = visitors.visit()
    visitor.open(path)
    assert complaint in "\n".join(visitor.fair_complaints())
    visitor.forgive(".")
    assert visitors.finish() == []


@pytest.mark.parametrize("path", ["/good", "/no-such-page"])
@pytest.mark.parametrize("look", [Look(), Look(phone=True, dark=True), Look(scripts=False)], ids=str)
def test_nobody_complains_of_what_is_well(visitors: Visitors, path: str, look: Look) -> None:
    assert visitors.visit(look).open(path) == (200 if path == "/good" else 404)
    assert visitors.finish() == []


@pytest.mark.parametrize(
    ("path", "rule"), [("/unlabelled", "label"), ("/unlabelled", "button-name"), ("/pale", "color-contrast")]
)
def test_axe_finds_what_shuts_people_out(visitors: Visitors, path: str, rule: str) -> None:
    visitor = visitors.visit()
    visitor.open(path)
    assert any(f" {rule}: " in each for each in axe(visitor.page))


def test_axe_is_content_with_what_is_well(visitors: Visitors) -> None:
    visitor = visitors.visit()
    visitor.open("/good")
    assert axe(visitor.page) == []


def test_looks_differ(visitors: Visitors) -> None:
    dark, light = visitors.visit(Look(dark=True)), visitors.visit(Look(phone=True))
    for visitor in (dark, light):
        visitor.open("/good")
    query = "() => [matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]"
    assert dark.page.evaluate(query) == [True, 1280]
    assert light.page.evaluate(query) == [False, 390]


def test_bytes_on_the_wire_count_the_parts(visitors: Visitors) -> None:
    alone, whole = first_view(visitors.visit(), "/good"), first_view(visitors.visit(), "/wide")
    assert (alone.requests, whole.requests) == (1, 2)
    assert len(PAGES["/good"]) < alone.bytes < 1000
    assert whole.bytes > alone.bytes


@pytest.mark.parametrize("look", [Look(), Look(phone=True)], ids=str)
@pytest.mark.parametrize(("path", "wide"), [("/good", False), ("/wide", True)])
def test_what_is_too_wide_for_its_window_is_found(
    visitors: Visitors, path: str, wide: bool, look: Look
) -> None:
    visitor = visitors.visit(look)
    visitor.open(path)
    assert scrolls_sideways(visitor.page) is wide
