"""The template engine: what is not markup of ours is escaped and inert, and a value that is missing fails."""

import re
import zlib
from datetime import date, datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from registry.web import words
from registry.web.pages.assets import Assets

_FOLDER: Final = Path(__file__).parent.parent / "templates"

_TINTS: Final = 8

# A span of code, in the manner of Markdown.
_CODE: Final = re.compile(r"`([^`]+)`")

_TIME: Final = Markup('<time datetime="{0:%Y-%m-%dT%H:%M:%SZ}" title="{0:%Y-%m-%d %H:%M:%S} UTC">{1}</time>')


def make_environment(assets: Assets) -> Environment:
    """Return the engine; each template is read and compiled once."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_finish,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    sprite = assets.url("icons.svg")

    def icon(name: str, label: str = "") -> Markup:
        """An icon; without a label it is decoration."""
        words = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
        return Markup('<svg class="icon" {}><use href="{}#{}"></use></svg>').format(words, sprite, name)

    environment.globals.update(static=assets.url, icon=icon)
    environment.filters.update(
        block=block,
        breakable=breakable,
        browser=words.browser,
        count=words.count,
        as_written=escape,
        day=day,
        duration=words.duration,
        line=words.plain,
        marked=marked,
        noun=words.noun,
        short=short,
        size=words.size,
        tint=tint,
        when=when,
    )
    return environment


def _finish(value: object) -> object:
    """Return what goes into the page: of text that is no markup of ours nothing moves or covers the rest."""
    return words.inert(value) if type(value) is str else value


def tint(name: str) -> int:
    """Return which of the colours stands for a name: always the same."""
    return zlib.crc32(name.encode()) % _TINTS


def breakable(text: str) -> Markup:
    """Return a name that may be broken behind its separators."""
    return Markup("<wbr>").join(escape(part) for part in _pieces(text))


def when(moment: datetime) -> Markup:
    """Return how long ago a moment was, with the exact one behind it."""
    return Markup(
        '<time datetime="{0:%Y-%m-%dT%H:%M:%SZ}" title="{0:%Y-%m-%d %H:%M:%S} UTC">{1}</time>'
    ).format(moment, words.ago(moment))


def day(moment: date) -> str:
    """Return a day, or the day of a moment: "1 March 2026"."""
    return f"{moment.day} {moment:%B %Y}"


def marked(text: str) -> Markup:
    """Return a text of ours with its spans of code as such."""
    pieces = _CODE.split(" ".join(text.split()))
    parts = [
        Markup("<code>{}</code>").format(each) if at % 2 else escape(each) for at, each in enumerate(pieces)
    ]
    return Markup("").join(parts)


def short(digest: str) -> str:
    """Return a digest as people compare it: its algorithm and twelve digits."""
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:12]}"


def block(text: str, limit: int = 8192) -> str:
    """Return lines of somebody else's text, inert as `words.plain` makes them."""
    shown = "\n".join(words.plain(line, limit) for line in text[:limit].expandtabs(4).splitlines())
    return f"{shown}…" if len(text) > limit else shown


def _pieces(text: str) -> list[str]:
    pieces, start = [], 0
    for at, character in enumerate(text):
        if character in "/:-._@":
            pieces.append(text[start : at + 1])
            start = at + 1
    return [*pieces, text[start:]]
