"""Refusals and failures → responses, in the form of the distribution specification ("Error codes")."""

from collections.abc import Mapping
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

_log = structlog.stdlib.get_logger("longshore.web")


def error_middleware(origins: Origins, service: str) -> Middleware:
    """Return the middleware that renders every exception; handlers hold no `try`."""

    @web.middleware
    async def render(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Challenge as error:
            challenge = error.header(origins.base_url(request), service)
            return _respond(request, error, {"WWW-Authenticate": challenge})
        except WrongCredentials as error:
            basic = {"WWW-Authenticate": f'Basic realm="{service}", charset="UTF-8"'}
            return _respond(request, RegistryError(Problem.UNAUTHORIZED, str(error)), basic)
        except web.HTTPException as error:
            return error if error.status < 400 else _respond_to_http(request, error)
        except Exception as error:  # noqa: BLE001 - the one place where the unforeseen becomes an answer
            if _is_over(request, error):
                return _break_off(request)  # the client went away: there is nobody to tell
            refusal = _refusal_of(error)
            if refusal.problem.status >= 500:
                _log.error("request failed", exc_info=error)
            return _respond(request, refusal, _headers_of(request, refusal))

    return render


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
        case TooManyAttempts():
            return RegistryError(Problem.TOO_MANY_REQUESTS, str(error), retry_after=error.retry_after)
        case InvalidScope():
            return RegistryError(Problem.REQUEST_INVALID, str(error))
    return of_storage(error) or RegistryError(Problem.INTERNAL)


def _body_of(error: RegistryError) -> dict[str, Any]:
    """Return the error document of a refusal."""
    entry: dict[str, Any] = {"code": error.problem.code, "message": error.message}
    if error.detail is not None:
        entry["detail"] = error.detail
    return {"errors": [entry]}


def _respond(request: web.Request, error: RegistryError, headers: Mapping[str, str]) -> web.StreamResponse:
    if request.writer.output_size > 0:
        # The response has begun. Text appended to it would pass for content.
        return _break_off(request)
    return web.json_response(_body_of(error), status=error.problem.status, headers=headers)


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


def _respond_to_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    problem = _OF_STATUS.get(error.status, Problem.REQUEST_INVALID)
    kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return _respond(request, RegistryError(problem), kept)
