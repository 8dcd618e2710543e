"""What a request says: its body, its query, its condition, the names in its path."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from registry.errors import Problem, RegistryError
from registry.names import RepositoryName, parse_digest, parse_name
from registry.web.body import read_body as read_bytes
from storage.digest import Digest

M = TypeVar("M", bound=BaseModel)

MAX_BODY: Final = 256 * 1024

_MAX_NAME: Final = 256
# To list the errors of a body that is made for it takes seconds.
_MAX_ERRORS: Final = 100

_MAX_ID: Final = 2**31 - 1

# What nothing is ever the version of: for tags that are not ours.
_NO_VERSION: Final = 0

_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


async def read_body(request: web.Request, model: type[M]) -> M:
    """Return the JSON document in the body.

    Raises:
        RegistryError: MEDIA_TYPE_UNSUPPORTED, BODY_TOO_LARGE, REQUEST_INVALID for what is no JSON, INVALID.
    """
    if request.content_type != "application/json":
        raise RegistryError(Problem.MEDIA_TYPE_UNSUPPORTED, "the body is application/json")
    content = await read_bytes(request, MAX_BODY)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _refusal(error) from error


def read_query(request: web.Request, model: type[M]) -> M:
    """Return the parameters that the model knows; others are nobody's business.

    Raises:
        RegistryError: INVALID, for one that has a wrong value or several.
    """
    repeated = [name for name in model.model_fields if len(request.query.getall(name, [])) > 1]
    if repeated:
        raise _invalid(dict.fromkeys(repeated, "may be said once"))
    known = {name: request.query[name] for name in model.model_fields if name in request.query}
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise _refusal(error) from error


def version_in(request: web.Request) -> int | None:
    """Return the version that If-Match names; None for any (RFC 9110, section 13.1.1).

    Raises:
        RegistryError: REQUEST_INVALID.
    """
    values = request.headers.getall("If-Match", [])
    if not values or values == ["*"]:
        return None
    found = _ENTITY_TAG.fullmatch(values[0].strip())
    if found is None or len(values) > 1:
        raise RegistryError(Problem.REQUEST_INVALID, "If-Match is one entity tag in quotes, or *")
    if found[1] or not re.fullmatch("[1-9][0-9]{0,8}", found[2]):
        return _NO_VERSION
    return int(found[2])


def name_in(request: web.Request, key: str) -> str:
    """Return a name in the path. What nothing can be called is not here."""
    text = request.match_info[key]
    if not text.isprintable() or len(text) > _MAX_NAME:
        raise RegistryError(Problem.NOT_HERE)
    return text


def repository_in(request: web.Request) -> RepositoryName:
    """Return the repository name in the path. What no repository can be called is not here."""
    try:
        return parse_name(request.match_info["name"])
    except RegistryError as error:
        raise RegistryError(Problem.NOT_HERE) from error


def digest_in(request: web.Request) -> Digest:
    """Return the digest in the path."""
    return parse_digest(request.match_info["digest"])


def id_in(request: web.Request) -> int:
    """Return the number in the path."""
    text = request.match_info["id"]
    if not re.fullmatch("[1-9][0-9]{0,9}", text) or int(text) > _MAX_ID:
        raise RegistryError(Problem.NOT_HERE)
    return int(text)


def _refusal(error: ValidationError) -> RegistryError:
    if error.error_count() > _MAX_ERRORS:
        return _invalid({"body": "too much of it is wrong to say all of it"})
    fields: dict[str, str] = {}
    for each in error.errors(include_url=False, include_context=False):
        if each["type"] == "json_invalid":
            return RegistryError(Problem.REQUEST_INVALID, "the body is not a JSON document in UTF-8")
        where = ".".join(str(part) for part in each["loc"]) or "body"
        fields.setdefault(where[:_MAX_NAME], _words(each))
    return _invalid(fields)


def _words(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch":
        return "it is not of the form that this has"  # not the pattern, that is for programs
    return error["msg"].removeprefix("Value error, ")


def _invalid(fields: Mapping[str, Any]) -> RegistryError:
    return RegistryError(Problem.INVALID, detail={"fields": fields})
