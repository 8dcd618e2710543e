"""Responses: a document, a page of a list, what was made."""

from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

from aiohttp import web
from pydantic import BaseModel, ConfigDict

ROOT: Final = "/api/v1"

T = TypeVar("T")

# What is shown depends on who asks, and changes under its address.
CACHING: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}


class Page(BaseModel, Generic[T]):
    """One page of a list; `next` is the cursor of the one behind it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    items: list[T]
    next: str | None = None


class Listed(Protocol):
    """What a service returns of a list: `registry.listing.Listing`, or one that says more."""

    @property
    def items(self) -> Sequence[Any]:
        """The entries."""

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""


def respond(model: BaseModel, *, status: int = 200, version: int | None = None) -> web.Response:
    """Return a document, with its version as an entity tag."""
    headers = dict(CACHING)
    if version is not None:
        headers["ETag"] = f'"{version}"'
    return web.Response(
        text=model.model_dump_json(), status=status, headers=headers, content_type="application/json"
    )


def respond_created(model: BaseModel, *path: str, version: int | None = None) -> web.Response:
    """Return what was made, and where it is: `path` below the root."""
    response = respond(model, status=201, version=version)
    response.headers["Location"] = locate(*path)
    return response


def respond_secret(model: BaseModel, *path: str) -> web.Response:
    """Return what was made with a secret, that is shown this once."""
    response = respond_created(model, *path)
    response.headers["Cache-Control"] = "no-store"
    return response


def respond_page(request: web.Request, page: BaseModel, following: str | None) -> web.Response:
    """Return a page, with a link to the next one (RFC 8288)."""
    response = respond(page)
    if following is not None:
        query = urlencode({**request.query, "cursor": following})
        response.headers["Link"] = f'<{request.rel_url.raw_path}?{query}>; rel="next"'
    return response


def respond_list(request: web.Request, model: type[Page[T]], listing: Listed | Sequence[Any]) -> web.Response:
    """Return a page of a list, or a list that has one page."""
    if isinstance(listing, Sequence):
        return respond(model.model_validate({"items": list(listing)}))
    page = model.model_validate({"items": list(listing.items), "next": listing.next})
    return respond_page(request, page, listing.next)


def respond_nothing() -> web.Response:
    """Say that it is done, and that there is nothing more to say."""
    return web.Response(status=204)


def locate(*path: str) -> str:
    """Return a path on this server; names of repositories keep their slashes."""
    return "/".join((ROOT, *(quote(part, safe="/:+") for part in path)))
