"""Lists that are read page by page: where a page ends is a key, so what is added meanwhile shifts nothing."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from registry.errors import Problem, RegistryError

T = TypeVar("T")

MAX_PAGE: Final = 100
"""Entries in one page at most."""

_MAX_CURSOR: Final = 1024


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page; `next` is the cursor of the page behind it, None on the last one."""

    items: Sequence[T]
    next: str | None = None


def page(found: Sequence[T], limit: int, key: Callable[[T], tuple[Any, ...]]) -> Listing[T]:
    """Return the first `limit` of `found`, one more was asked for; `key` says where a page ends."""
    if len(found) <= limit:
        return Listing(found)
    items = found[:limit]
    return Listing(items, encode(key(items[-1])) if items else None)


def encode(key: tuple[Any, ...]) -> str:
    """Return a key of numbers, strings and None as a cursor: opaque to clients, safe in a URL."""
    text = json.dumps(key, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str | None, *kinds: type | tuple[type, ...]) -> tuple[Any, ...] | None:
    """Return the key that a cursor holds, one value of each of `kinds`; None for the first page.

    Raises:
        RegistryError: PAGE_INVALID.
    """
    if not cursor:
        return None
    invalid = RegistryError(Problem.PAGE_INVALID, "the cursor is not one of this list")
    if len(cursor) > _MAX_CURSOR:
        raise invalid
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise invalid from error
    if not isinstance(key, list) or len(key) != len(kinds):
        raise invalid
    if not all(_is(value, kind) for value, kind in zip(key, kinds, strict=True)):
        raise invalid
    return tuple(key)


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    # A number that a database cannot hold, or text that it cannot, is none of ours.
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) >= 2**63):
        return False
    if isinstance(value, str) and ("\0" in value or not value.isprintable()):
        return False
    return isinstance(value, kind)
