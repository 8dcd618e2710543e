"""Overviews: somebody else's Markdown → HTML that does nothing but show.

Rendered as CommonMark with tables and strikethrough, with no HTML of its own; then sanitized by an
allow-list, so that a fault in the first is caught by the second.
"""

import asyncio
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from registry.recent import Recent
from registry.web.addresses import link_addresses
from registry.web.words import thin

MAX_SOURCE: Final = 64 * 1024

# One definition of a link may be used many times: what the addresses and titles of all links take at most.
_MAX_LINKS: Final = 4 * MAX_SOURCE

# Bytes of HTML that are remembered.
_ROOM: Final = 16 * 1024 * 1024

_TAGS: Final = frozenset(
    ["a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"]
) | frozenset(["pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"])
_HEADINGS: Final = ("h2", "h3", "h4", "h5", "h6")

# A page has one heading of the first level: its own.
_HEADING_SHIFT: Final = 1

# Ids of headings begin with it, as ids of the page's own parts do not.
_ID: Final = "overview-"
_MAX_ID: Final = 64

_LINK: Final = re.compile(r"https?://|mailto:", re.IGNORECASE)
_NO_WORD: Final = re.compile(r"[^\w -]+")

# Control characters, and those that reorder text (Unicode Standard Annex 9).
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class _Renderer(RendererHTML):
    """Renders images as links: a page loads nothing from where its text wants it to."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Return a link to the image with its description; within a link only the description."""
        token = tokens[idx]
        text = _escape(self.renderInlineAsText(token.children or [], options, env) or "image")
        source = token.attrGet("src")
        return f'<a href="{_escape(str(source))}">{text}</a>' if source else text


def _escape(text: str) -> str:
    return str(Markup.escape(text))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.core.ruler.push("addresses", link_addresses)
    return parser


_PARSER: Final = _parser()
_KNOWN: Final[Recent[bytes, Markup]] = Recent(_ROOM)

# One at a time: who waits for the same overview finds it rendered, and other threads are left to others.
_RENDERING: Final = ThreadPoolExecutor(1, "markdown")


async def show(source: str) -> Markup:
    """Return the HTML of an overview. A hostile one takes seconds: only those who look at it wait."""
    known = _KNOWN.get(_key(source))
    if known is not None:
        return known
    return await asyncio.get_running_loop().run_in_executor(_RENDERING, render, source)


def render(source: str) -> Markup:
    """Return the HTML of an overview; of one that is too long, of its beginning."""
    key = _key(source)
    known = _KNOWN.get(key)
    if known is None:
        known = _render(source[:MAX_SOURCE])
        _KNOWN.keep(key, known, sys.getsizeof(known))
    return known


def _key(source: str) -> bytes:
    return hashlib.sha256(source[:MAX_SOURCE].encode(errors="surrogatepass")).digest()


def _render(source: str) -> Markup:
    tokens = _PARSER.parse(_tame(source))
    _settle_headings(tokens)
    _settle_links(tokens)
    env: dict[str, Any] = {}
    html = _PARSER.renderer.render(tokens, _PARSER.options, env)
    # Once more: the source may have written a character as an entity.
    return Markup(_tame(_sanitize(html)))  # noqa: S704 - this is what the sanitizer is for


def _settle_headings(tokens: Sequence[Token]) -> None:
    """Put headings below that of the page, and name them."""
    used: Counter[str] = Counter()
    for position, token in enumerate(tokens):
        if token.type not in ("heading_open", "heading_close"):
            continue
        token.tag = f"h{min(6, int(token.tag[1]) + _HEADING_SHIFT)}"
        if token.type == "heading_open":
            name = _name_of(tokens[position + 1])
            used[name] += 1
            token.attrSet("id", name if used[name] == 1 else f"{name}-{used[name] - 1}")


def _name_of(heading: Token) -> str:
    text = "".join(each.content for each in heading.children or [] if each.type in ("text", "code_inline"))
    return _ID + (_NO_WORD.sub("", text.lower()).strip().replace(" ", "-")[:_MAX_ID] or "section")


def _settle_links(tokens: Sequence[Token]) -> None:
    """Take their address from links that lead where they must not, that are too many or within others."""
    room = _MAX_LINKS
    for token, is_within in _links(tokens):
        name = "src" if token.type == "image" else "href"
        address = str(token.attrs.get(name, ""))
        if address.startswith("#"):
            token.attrs[name] = f"#{_ID}{address[1:]}"
        elif not _LINK.match(address):
            token.attrs = {}
        room -= sum(len(str(value)) for value in token.attrs.values())
        if is_within or room < 0:
            token.attrs = {}


def _links(tokens: Sequence[Token]) -> Iterator[tuple[Token, bool]]:
    """Yield links and images, and whether they are within a link."""
    for block in tokens:
        is_within = False
        for token in block.children or []:
            if token.type in ("link_open", "image"):
                yield token, is_within
            if token.type in ("link_open", "link_close"):
                is_within = token.type == "link_open"


def _sanitize(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}} | {each: {"id"} for each in _HEADINGS},
        attribute_filter=_permit,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
        strip_comments=True,
    )


def _permit(_: str, name: str, value: str) -> str | None:
    """Return the value of an attribute, or None where the attribute must not have it."""
    match name:
        case "href":
            return value if _LINK.match(value) or value.startswith(f"#{_ID}") else None
        case "id":
            return value if value.startswith(_ID) else None
    return value


def _tame(source: str) -> str:
    """Show characters that would reorder, hide or cover the text around them as a sign."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", thin(source))
