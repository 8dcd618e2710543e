"""Addresses that stand in Markdown as they are → links, as readers of GitHub's dialect expect.

Only whole ones, with http:// or https:// before them: "setup.py" is a file, and no host in Paraguay. In time
that grows with the text: the usual library for this takes seconds for texts that are made to be slow.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# A host begins like a word or is a number in brackets (RFC 3986, section 3.2.2).
_ADDRESS: Final = re.compile(r'(?<![\w/])https?://[\w\[][^\s<>"\\^`{|}\ufffd]{0,2000}', re.IGNORECASE)

# What ends a sentence rather than an address.
_NOT_LAST: Final = ".,:;!?'*_~"


def link_addresses(state: StateCore) -> None:
    """Make links of the addresses in text that is in none (a rule of markdown-it, behind all others)."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = list(_linked(block.children))


def _linked(tokens: Sequence[Token]) -> Iterator[Token]:
    depth = 0
    for token in tokens:
        depth += token.nesting if token.type in ("link_open", "link_close") else 0
        if token.type == "text" and not depth and "://" in token.content:
            yield from _split(token)
        else:
            yield token


def _split(token: Token) -> Iterator[Token]:
    start = 0
    for found in _ADDRESS.finditer(token.content):
        address = _without_end(found[0])
        yield _text(token.content[start : found.start()], token.level)
        yield Token("link_open", "a", 1, attrs={"href": address}, level=token.level)
        yield _text(address, token.level + 1)
        yield Token("link_close", "a", -1, level=token.level)
        start = found.start() + len(address)
    yield _text(token.content[start:], token.level)


def _without_end(address: str) -> str:
    """Return the address without the end of the sentence, or of the brackets, that it stands in."""
    end = len(address)
    surplus = address.count(")") - address.count("(")
    while end:
        closes = surplus > 0 and address[end - 1] == ")"
        if not closes and address[end - 1] not in _NOT_LAST:
            break
        surplus -= closes
        end -= 1
    return address[:end]


def _text(content: str, level: int) -> Token:
    return Token("text", "", 0, content=content, level=level)
