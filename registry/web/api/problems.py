"""Refusals in the form of RFC 9457, "Problem Details for HTTP APIs"."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from auth.scope import Access, Scope
from registry.errors import Problem, RegistryError
from registry.web.access import Challenge
from registry.web.origin import Origins

MEDIA_TYPE: Final = "application/problem+json"

SCOPE: Final = Scope([Access("registry", "api", frozenset({"*"}))])
"""What to ask the token endpoint for."""


@dataclass(frozen=True, slots=True)
class ProblemDocuments:
    """Renders what is refused below `/api/`."""

    origins: Origins
    service: str

    def render(
        self, request: web.Request, error: RegistryError, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Return the problem document; 401 names Bearer alone, as a browser asks its user about Basic."""
        status, own = error.problem.status, dict(headers)
        if status == HTTPStatus.UNAUTHORIZED:
            challenge = error if isinstance(error, Challenge) else Challenge(SCOPE)
            own["WWW-Authenticate"] = challenge.header(self.origins.base_url(request), self.service)
        own["Cache-Control"] = "no-store"
        text = json.dumps(document(error), ensure_ascii=False)
        return web.Response(text=text, status=status, headers=own, content_type=MEDIA_TYPE)


def document(error: RegistryError) -> dict[str, Any]:
    """Return what RFC 9457 says of an error, with the row's name as its code."""
    found: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.problem.status).phrase,
        "status": error.problem.status,
        "detail": error.message,
        "code": code_of(error.problem),
    }
    if isinstance(error.detail, Mapping) and "fields" in error.detail:
        found["fields"] = {str(name): str(words) for name, words in error.detail["fields"].items()}
    return found


def code_of(problem: Problem) -> str:
    """Return the name of a row in kebab-case."""
    return problem.name.lower().replace("_", "-")
