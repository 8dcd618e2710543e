"""Refusals and failures → responses, each surface in its own form.

Without another it is the form of the distribution specification ("Error codes").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from auth.identity import TooManyAttempts, WrongCredentials
from auth.scope import InvalidScope
from registry.errors import Problem, RegistryError, UploadError, of_storage
from registry.web.access import Challenge
from registry.web.blob import RangeNotSatisfiable
from registry.web.origin import Origins

# What aiohttp itself refuses, in the words of the table.
_OF_STATUS: Final = {
    404: Problem.NOT_FOUND,
    405: Problem.METHOD_NOT_ALLOWED,
    413: Problem.BODY_TOO_LARGE,
}

# What access logs write where the client closed the connection; nobody receives it.
_CLIENT_CLOSED: Final = 499

Render = Callable[[web.Request, RegistryError, Mapping[str, str]], web.StreamResponse]
"""(request, refusal, headers that belong to it) → response."""

_log = structlog.stdlib.get_logger("longshore.web")


def error_middleware(
    origins: Origins, service: str, surfaces: Mapping[str, Render] | None = None
) -> Middleware:
    """Return the middleware that renders every exception; handlers hold no `try`.

    `surfaces`: how to render below a path, such as "/api/"; the first that fits decides, and for the rest
    it is `render_document`.
    """
    by_path = dict(surfaces or {})
    by_path.setdefault("", render_document)
    refusals = _Refusals(origins, service, by_path)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the one place where the unforeseen becomes an answer
            if isinstance(error, web.HTTPException) and error.status < 400:
                return error
            if _is_over(request, error):
                return _break_off(request)  # the client went away: there is nobody to tell
            response = refusals.render(request, error)
            if request.content.exception() is not None:
                response.force_close()  # the rest of the body will not come, nor anything behind it
            return response

    return answer


def render_document(_: web.Request, error: RegistryError, headers: Mapping[str, str]) -> web.StreamResponse:
    """Return the error document of the specification."""
    entry: dict[str, Any] = {"code": error.problem.code, "message": error.message}
    if error.detail is not None:
        entry["detail"] = error.detail
    return web.json_response({"errors": [entry]}, status=error.problem.status, headers=headers)


@dataclass(frozen=True, slots=True)
class _Refusals:
    """An exception → the response that says so."""

    origins: Origins
    service: str
    surfaces: Mapping[str, Render]

    def render(self, request: web.Request, error: Exception) -> web.StreamResponse:
        refusal = _refusal_of(error)
        if refusal.problem.status >= 500:
            _log.error("request failed", exc_info=error)
        if request.writer.output_size > 0:
            return _break_off(request)  # the response has begun: text appended to it would pass for content
        path = f"{request.path}/"
        render = next(each for prefix, each in self.surfaces.items() if path.startswith(prefix))
        return render(request, refusal, self._headers(request, error, refusal))

    def _headers(self, request: web.Request, error: Exception, refusal: RegistryError) -> Mapping[str, str]:
        match error:
            case Challenge():
                return {"WWW-Authenticate": error.header(self.origins.base_url(request), self.service)}
            case WrongCredentials():
                return {"WWW-Authenticate": f'Basic realm="{self.service}", charset="UTF-8"'}
            case web.HTTPException():
                return {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _headers_of(request, refusal)


def _is_over(request: web.Request, error: Exception) -> bool:
    """Tell whether the error says no more than that the client went away."""
    transport = request.transport
    gone = transport is None or transport.is_closing() or request.writer.output_size > 0
    return gone and isinstance(error, ConnectionError)


def _break_off(request: web.Request) -> web.StreamResponse:
    """Close the connection. To raise would do so as well, but aiohttp would log a failure of ours."""
    if request.transport is not None:
        request.transport.close()
    return web.StreamResponse(status=_CLIENT_CLOSED)


def _refusal_of(error: Exception) -> RegistryError:
    match error:
        case RegistryError():
            return error
        case WrongCredentials():
            return RegistryError(Problem.UNAUTHORIZED, str(error))
        case web.HTTPException():
            return RegistryError(_OF_STATUS.get(error.status, Problem.REQUEST_INVALID))
        case TooManyAttempts():
            return RegistryError(Problem.TOO_MANY_REQUESTS, str(error), retry_after=error.retry_after)
        case InvalidScope():
            return RegistryError(Problem.REQUEST_INVALID, str(error))
    return of_storage(error) or RegistryError(Problem.INTERNAL)


def _headers_of(request: web.Request, error: RegistryError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, UploadError):
        # With both of these a client goes on from where the upload is (regclient does on any 4xx).
        headers["Location"] = request.path
        headers["Range"] = f"0-{max(error.offset - 1, 0)}"
    return headers
