"""Overviews: somebody else's Markdown → HTML that does nothing but show.

Rendered as CommonMark with tables and strikethrough, with no HTML of its own; then sanitized by an
allow-list, so that a fault in the first is caught by the second.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

MAX_SOURCE: Final = 64 * 1024

_TAGS: Final = frozenset(
    ["a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"]
) | frozenset(["pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"])

# A page has one heading of the first level: its own.
_HEADING_SHIFT: Final = 1

# What reorders or hides text (Unicode Standard Annex 9).
_BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _Renderer(RendererHTML):
    """Renders images as links: a page loads nothing from where its text wants it to."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Return a link to the image with its description."""
        token = tokens[idx]
        text = self.renderInlineAsText(token.children or [], options, env) or "image"
        source = str(token.attrGet("src") or "")
        return f'<a href="{_escape(source)}">{_escape(text)}</a>'


def _escape(text: str) -> str:
    return str(Markup.escape(text))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    return parser


_PARSER: Final = _parser()


@lru_cache(maxsize=256)
def render(source: str) -> Markup:
    """Return the HTML of an overview; of one that is too long, of its beginning."""
    tokens = _PARSER.parse(_tame(source[:MAX_SOURCE]))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _HEADING_SHIFT)}"
    env: dict[str, Any] = {}
    html = _PARSER.renderer.render(tokens, _PARSER.options, env)
    return Markup(_sanitize(html))  # noqa: S704 - this is what the sanitizer is for


def _sanitize(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
        strip_comments=True,
    )


def _tame(source: str) -> str:
    """Show characters that would reorder or hide the text around them as a sign."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if each in _BIDIRECTIONAL or (unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\r\t")
        else each
        for each in source
    )
