"""What others say on pages does nothing but show, whatever it is, and takes no more room than there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest

from .api import Api
from .browser import Look, Visitor, Visitors, scrolls_sideways
from .clients import Account
from .hostile import (
    ELSEWHERE,
    FLOOD,
    LINE,
    OVERVIEW,
    PRINTABLE,
    REORDERING,
    SCRIPTS,
    SHORT_FLOOD,
    TAGS,
    choice,
    deep,
    large_texts,
    many_layers,
    many_lines,
    many_steps,
    many_texts,
    referring,
    trap,
)
from .images import Image, Index
from .server import ADMIN, Server
from .wire import Wire

pytestmark = pytest.mark.e2e

MALLORY: Final = Account("mallory", "the one in the middle")

TRAP: Final = trap()
CHOICE: Final = choice()
HEAVY: Final = {
    "large-texts": large_texts(),
    "many-texts": many_texts(),
    "many-layers": many_layers(),
    "many-steps": many_steps(),
    "many-lines": many_lines(),
    "deep": deep(),
}
SIGNED: Final = referring(TRAP, SCRIPTS[0], {each: each for each in (*SCRIPTS, LINE)})

# Of HTML, before compression.
PAGE_BYTES: Final = 3 * 1024 * 1024
ELEMENTS: Final = 15_000

# Everything in the document that could do something, and every text in it that is not as it looks.
# Fields of forms have what somebody wrote as they wrote it.
INSPECT: Final = r"""
() => {
  const found = [];
  const say = (element, words) => found.push(`${words}: ${element.outerHTML.slice(0, 300)}`);
  const active = "iframe, object, embed, base, style, frame, applet, portal, math, meta[http-equiv]";
  const address = /^(href|src|action|formaction|xlink:href|poster|data|background|cite|ping)$/;
  const bidi = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069";
  const unseen = new RegExp(`[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f${bidi}]`, "u");
  const fine = /^(https?:\/\/|mailto:|\/(?!\/)|#|\?|$)/;
  const flood = /\p{M}{10}/u;
  if ("canary" in window) found.push("a script ran");
  for (const element of document.querySelectorAll(active)) say(element, "active element");
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (/^on|^style$|^srcdoc$/i.test(name)) say(element, `attribute ${name}`);
      if (address.test(name) && !fine.test(value)) say(element, "address");
      if (name !== "value" && (unseen.test(value) || flood.test(value))) say(element, `text in ${name}`);
    }
  }
  for (const script of document.scripts) if (!script.src.startsWith(location.origin)) say(script, "script");
  for (const link of document.querySelectorAll("link, img, source, use"))
    for (const name of ["href", "src"])
      if (link.hasAttribute(name) && !link.getAttribute(name).startsWith("/")) say(link, "loads");
  for (const form of document.forms)
    if (new URL(form.getAttribute("action") ?? "", location).origin !== location.origin) say(form, "form");
  const parts = ":is(form, input, button, img, svg, [class], [name])";
  for (const element of document.querySelectorAll(`.prose ${parts}`)) say(element, "part of an overview");
  for (const anchor of document.querySelectorAll("a[href]"))
    if (anchor.origin !== location.origin && !anchor.rel.includes("noopener")) say(anchor, "no rel");
  const walker = document.createTreeWalker(document, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (parentElement.closest("textarea, option")) continue;
    if (unseen.test(data)) say(parentElement, "unseen characters");
    if (flood.test(data)) say(parentElement, "flood of marks");
  }
  return found;
}
"""
OPEN_ALL: Final = "() => { for (const each of document.querySelectorAll('main details')) each.open = true }"


@dataclass
class Watch:
    """What pages did that they were not to do."""

    visitor: Visitor
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen from now on."""
        self.visitor.page.on("dialog", self._note_dialog)
        self.visitor.page.on("popup", lambda page: self.seen.append(f"opened {page.url}"))
        self.visitor.page.on("download", lambda download: self.seen.append(f"loaded {download.url}"))
        self.visitor.context.on("request", lambda request: self._note_request(request.url))

    def check(self) -> None:
        """Fail if something was done, or could be by a click."""
        found = self.visitor.page.evaluate(INSPECT)
        assert [*self.seen, *found] == []

    def _note_dialog(self, dialog: Any) -> None:
        self.seen.append(f"asked {dialog.message}")
        dialog.dismiss()

    def _note_request(self, url: str) -> None:
        if not url.startswith(self.visitor.url + "/"):
            self.seen.append(f"requested {url[:200]}")


@pytest.fixture(scope="module")
def world(server: Server) -> Server:
    """A server on which Mallory has said all that one may say."""
    with Api(server.host, ADMIN) as admin:
        admin.post("/users", {"name": MALLORY.name, "password": MALLORY.password})
    with Api(server.host, MALLORY) as mallory:
        mallory.patch(
            "/me",
            {"full_name": SHORT_FLOOD, "about": say(1000), "website": "https://evil.invalid/'onclick='x"},
        )
        found(mallory)
        for repository, content in contents().items():
            with Wire(server.host, repository, MALLORY) as wire:
                for reference, each in content:
                    wire.push(reference, each)
            mallory.patch(
                f"/repositories/{repository}",
                {
                    "public": True,
                    "summary": say(200),
                    "overview": OVERVIEW,
                    "deprecation": say(300),
                    "categories": ["games"],
                },
            )
        mallory.patch("/repositories/mallory/trap/-/tags/latest", {"deprecation": say(300)})
    return server


def say(limit: int) -> str:
    """As much of the hostile texts as fits into the limit."""
    text = SHORT_FLOOD
    for each in PRINTABLE:
        text = f"{text} {each}" if len(text) + len(each) < limit else text
    return text


def found(mallory: Api) -> None:
    """Make an organization with everything that is named or described in one."""
    mallory.post("/organizations", {"name": "evil", "full_name": PRINTABLE[0], "about": say(1000)})
    for number, each in enumerate(PRINTABLE):
        mallory.post("/organizations/evil/teams", {"name": f"team-{number}", "about": each})
        mallory.post("/organizations/evil/robots", {"name": f"robot-{number}", "about": each})
        mallory.post("/organizations/evil/invitations", {"note": each, "days": 7})
        mallory.post("/me/tokens", {"name": each, "permission": "read"})
    mallory.post("/organizations/evil/robots/robot-0/tokens", {"name": SHORT_FLOOD, "permission": "read"})


def contents() -> dict[str, list[tuple[str, Image | Index]]]:
    """What is pushed where, in order."""
    heavy: list[tuple[str, Image | Index]] = list(HEAVY.items())
    notes = {f"note-{number}": LINE[:4000] for number in range(20)}
    referrers = [referring(TRAP, f"application/x.{number}", notes) for number in range(60)]
    return {
        "mallory/trap": [
            *((tag, TRAP) for tag in TAGS),
            ("index", CHOICE),
            *((each.manifest.digest, each) for each in (SIGNED, *referrers)),
        ],
        "mallory/heavy": heavy,
        "evil/trap": [("latest", TRAP)],
    }


HOSTILE_QUERY: Final = quote("\"'><script>window.canary=1</script>\u202e\x00" + "Z" + "\u0338" * 50)
PAGES: Final[Sequence[str]] = (
    "/",
    "/explore",
    "/explore?category=games",
    "/search?q=trap",
    "/u/mallory",
    "/u/evil",
    "/r/mallory/trap",
    "/r/mallory/trap/-/tags",
    "/r/mallory/trap/-/statistics",
    *(f"/r/mallory/trap/-/tags/{each}" for each in TAGS),
    "/r/mallory/trap/-/tags/index",
    f"/r/mallory/trap/-/tags/index?platform={quote(SCRIPTS[0][:64])}",
    f"/r/mallory/trap/-/digests/{TRAP.manifest.digest}",
    f"/r/mallory/trap/-/digests/{SIGNED.manifest.digest}",
    "/r/mallory/heavy",
    "/r/mallory/heavy/-/tags",
    *(f"/r/mallory/heavy/-/tags/{each}" for each in HEAVY),
    "/docs",
)
MALLORYS: Final[Sequence[str]] = (
    "/",
    "/account",
    "/account/tokens",
    "/account/sessions",
    "/organizations",
    "/organizations/evil",
    "/organizations/evil/teams",
    "/organizations/evil/teams/team-0",
    "/organizations/evil/invitations",
    "/organizations/evil/robots",
    "/organizations/evil/robots/robot-0",
    "/organizations/evil/settings",
    "/organizations/evil/delete",
    "/r/mallory/trap/-/settings",
    "/r/mallory/trap/-/delete",
    f"/r/mallory/trap/-/tags/{TAGS[1]}/-/settings",
    "/repositories/new?namespace=evil",
)
ADMINISTRATION: Final = tuple(
    f"/administration{each}" for each in ("", "/people", "/namespaces", "/jobs", "/settings")
)
ASKED: Final[Sequence[str]] = (
    f"/search?q={HOSTILE_QUERY}",
    f"/search?q=trap&kind={HOSTILE_QUERY}&sort={HOSTILE_QUERY}&category={HOSTILE_QUERY}",
    f"/search?q={'W' * 3000}",
    f"/explore?category={HOSTILE_QUERY}&sort={HOSTILE_QUERY}&cursor={HOSTILE_QUERY}",
    f"/u/mallory?show={HOSTILE_QUERY}&notice={HOSTILE_QUERY}",
    f"/u/{HOSTILE_QUERY}",
    f"/r/{HOSTILE_QUERY}/x",
    f"/r/mallory/trap/-/tags/{HOSTILE_QUERY}",
    f"/r/mallory/trap/-/digests/{HOSTILE_QUERY}",
    f"/r/mallory/trap/-/tags?q={HOSTILE_QUERY}&sort={HOSTILE_QUERY}",
    f"/r/mallory/trap/-/tags/index?platform={HOSTILE_QUERY}",
    f"/invitations/{HOSTILE_QUERY}",
    f"/sign-in?next={HOSTILE_QUERY}",
    f"/sign-in?next={quote('javascript:window.canary=1')}",
    f"/sign-in?next={quote(ELSEWHERE)}",
    f"/no/such/{HOSTILE_QUERY}",
)


def look_at(visitor: Visitor, watch: Watch, path: str) -> None:
    """Open the page, on a phone and wide, with all that folds open."""
    page = visitor.page
    response = page.goto(visitor.url + path)
    assert response is not None
    assert response.status < 500
    assert len(response.body()) < PAGE_BYTES
    assert page.evaluate("() => document.querySelectorAll('*').length") < ELEMENTS
    page.evaluate(OPEN_ALL)
    watch.check()
    assert not scrolls_sideways(page), f"{path} is wider than a phone"
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not scrolls_sideways(page), f"{path} is wider than a window"
    page.set_viewport_size({"width": 390, "height": 844})


@pytest.fixture
def watch(world: Server, visitors: Visitors, request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Somebody with a phone, signed in as the parameter says, and what the pages do to them."""
    yield Watch(visitors.visit(Look(phone=True), getattr(request, "param", None)))


@pytest.mark.parametrize("path", PAGES)
def test_what_others_said_is_inert(watch: Watch, path: str) -> None:
    look_at(watch.visitor, watch, path)


@pytest.mark.parametrize("watch", [MALLORY], indirect=True, ids=["mallory"])
@pytest.mark.parametrize("path", MALLORYS)
def test_what_one_keeps_is_inert(watch: Watch, path: str) -> None:
    look_at(watch.visitor, watch, path)


@pytest.mark.parametrize("watch", [ADMIN], indirect=True, ids=["admin"])
@pytest.mark.parametrize("path", ADMINISTRATION)
def test_what_administrators_see_is_inert(watch: Watch, path: str) -> None:
    look_at(watch.visitor, watch, path)


@pytest.mark.parametrize("path", ASKED)
def test_what_an_address_asks_for_is_inert(watch: Watch, path: str) -> None:
    look_at(watch.visitor, watch, path)


def test_suggestions_are_inert(watch: Watch) -> None:
    page = watch.visitor.page
    watch.visitor.open("/explore")
    page.fill("main input[type=search], #finder-q", "trap")
    page.wait_for_selector("[role=option]")
    assert "<script>" in (page.text_content("[role=listbox]") or "")
    watch.check()


def test_a_push_that_lands_is_inert(watch: Watch) -> None:
    page, server = watch.visitor.page, urlsplit(watch.visitor.url).netloc
    watch.visitor.open("/r/mallory/trap")
    with Wire(server, "mallory/trap", MALLORY) as wire:
        wire.push("__proto__", TRAP)
    page.wait_for_selector("[data-live-list] a")
    watch.check()


@pytest.mark.parametrize("text", [*SCRIPTS, REORDERING, FLOOD, LINE[:2000]])
def test_what_a_form_says_again_is_inert(watch: Watch, text: str) -> None:
    page = watch.visitor.page
    watch.visitor.open("/sign-in")
    page.evaluate("() => { for (const each of document.querySelectorAll('input')) each.maxLength = 9999 }")
    page.fill("main [name=name]", text)
    page.fill("main [name=password]", text)
    page.click("main form:has([name=password]) button")
    assert urlsplit(page.url).path == "/sign-in"
    watch.check()
    assert not scrolls_sideways(page)


def test_a_link_of_an_overview_leaves_nothing_behind(watch: Watch) -> None:
    page = watch.visitor.page
    watch.visitor.open("/r/mallory/trap")
    link = page.locator(".prose a[href^='https://evil.invalid']").first
    assert link.get_attribute("rel") == "nofollow noopener noreferrer"
