"""What paths and queries of pages say."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from aiohttp import web

from registry.errors import Problem, RegistryError
from registry.names import RepositoryName, Tag, parse_digest, parse_name, parse_tag
from registry.web.pages.shell import see_other
from storage.digest import Digest

_MAX_NAME: Final = 256
_MAX_DIGITS: Final = 10


def repository_in(request: web.Request) -> RepositoryName:
    """Return the repository name in the path. What no repository can be called is not here."""
    try:
        return parse_name(request.match_info["name"])
    except RegistryError as error:
        raise RegistryError(Problem.NOT_HERE) from error


def reference_in(request: web.Request) -> Tag | Digest:
    """Return the tag or the digest in the path. What can be none is not here."""
    try:
        if "digest" in request.match_info:
            return parse_digest(request.match_info["digest"])
        return parse_tag(request.match_info["tag"])
    except RegistryError as error:
        raise RegistryError(Problem.NOT_HERE) from error


def name_in(request: web.Request) -> str:
    """Return the name of a person or an organization in the path. What nothing can be called is not here."""
    text = request.match_info["name"]
    if not text.isprintable() or len(text) > _MAX_NAME:
        raise RegistryError(Problem.NOT_HERE)
    return text


def moved(request: web.Request, name: str) -> web.Response | None:
    """Return the way to this page under the repository's name of now and in full; None where it is here."""
    asked = request.match_info["name"]
    if asked == name:
        return None
    rest = request.path.removeprefix(f"/r/{asked}")
    query = f"?{request.query_string}" if request.query_string else ""
    former = parse_name(asked) != name
    return see_other(f"/r/{name}{quote(rest)}{query}", notice="moved" if former else None)


def choice(request: web.Request, parameter: str, values: tuple[str, ...]) -> str:
    """Return what the query says, or the first of the values where it says none of them."""
    said = request.query.get(parameter, "")
    return said if said in values else values[0]


def id_in(request: web.Request) -> int:
    """Return the number in the path. What is none is not here."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
        raise RegistryError(Problem.NOT_HERE)
    return int(text)


def version_of(form: Mapping[str, str]) -> int | None:
    """Return which version a form is to replace; None where it says nothing of the kind.

    That is the one that it was made from, or else one that its sender has seen and chose to overwrite.
    """
    text = form.get("overwrite") or form.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else None
