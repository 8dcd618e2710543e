"""What an operator sees: health, metrics, and one log line for each request."""

import asyncio
import hmac
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final, Literal, Self

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from registry.errors import Problem, RegistryError
from registry.web.access import SUBJECT
from registry.web.background import BackgroundMetrics
from registry.web.origin import FORWARDED_FOR, Origins

_log = structlog.stdlib.get_logger("longshore.access")
_STANDARD_LOG: Final = logging.getLogger("longshore.access")

REQUEST_ID: Final = "X-Request-ID"

INERT: Final = "default-src 'none'; frame-ancestors 'none'"
"""The policy of what is no page."""

_ID: Final = web.RequestKey("id", str)

# An id that a proxy or a client sends is taken over; not if it could forge lines or fields of a log.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

# A secret in a path, as the link of an invitation has one.
_SECRET: Final = re.compile(r"(ls[a-z]_)[A-Za-z0-9_-]{8,}")

# Seconds: probes give up after some of their own.
_READY_WITHIN: Final = 3


class Endings(StrEnum):
    """Why a connection is ended, or not taken."""

    TOO_MANY = "too many connections"
    HEAD_TIMEOUT = "head timeout"
    HEAD_TOO_LARGE = "head too large"
    NOT_HTTP = "not http"
    SLOW_BODY = "slow body"
    STALLED_READER = "stalled reader"


_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


# Bytes for the numbers of one process, by the library's names for their files: several times what all routes,
# methods and statuses take.
_ROOM: Final = {
    "counter": 1024 * 1024,
    "histogram": 4 * 1024 * 1024,
    "gauge_livesum": 64 * 1024,
    "gauge_livemostrecent": 64 * 1024,
    "gauge_mostrecent": 64 * 1024,
}


class Metrics:
    """The numbers of this process, and of its siblings where they share them in `directory`."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        if directory is not None:
            _take_room(directory)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "longshore_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "longshore_http_request_duration_seconds",
            "Time from the request's headers to the end of the response.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "longshore_http_requests_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.received = Counter(
            "longshore_http_request_bytes",
            "Bytes of request bodies, where their length was announced.",
            registry=registry,
        )
        self.sent = Counter("longshore_http_response_bytes", "Bytes of response bodies.", registry=registry)
        self.ended = Counter(
            "longshore_connections_ended",
            "Connections that were ended or not taken, for what the client did or did not do.",
            ("reason",),
            registry=registry,
        )
        for why in Endings:
            self.ended.labels(why.value)  # there from the first, at nought
        self.background = BackgroundMetrics(registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        key = (method, route, status)
        known = self._children.get(key)
        if known is None:
            # Routes and statuses are few; to find the numbers of one by its labels costs more than to count.
            requests = self.requests.labels(method, route, str(status))
            known = self._children[key] = (requests, self.seconds.labels(method, route))
        known[0].inc()
        known[1].observe(seconds)

    def render(self) -> bytes:
        """Return the numbers in the Prometheus text format."""
        if self._directory is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _take_room(directory: Path) -> None:
    """Take room on the disk for this process's files before the library maps them into memory.

    It would make them sparse. To write to a hole in a file on a full disk is a SIGBUS: it ends the process.
    """
    for kind, size in _ROOM.items():
        try:
            with (directory / f"{kind}_{os.getpid()}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            _log.error("there is no room for metrics", error=str(error))


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request is counted and logged: `length` bytes of body were announced."""

    method: str
    path: str
    length: int
    agent: str | None
    forwarded: Sequence[str]

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Read a request."""
        headers = request.headers
        forwarded = headers.getall(FORWARDED_FOR, ())
        agent = headers.get("User-Agent")
        return cls(request.method, request.path, request.content_length or 0, agent, forwarded)


class Operation:
    """The handlers for those who run the server, and the middleware that watches it.

    `ready` returns when requests can be answered, and raises when they cannot.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[object]],
        metrics: Metrics,
        origins: Origins,
        *,
        expose: Literal["loopback", "open", "off"],
        metrics_token: str | None,
    ) -> None:
        self._ready = ready
        self._probe: asyncio.Future[object] | None = None
        self._metrics = metrics
        self._origins = origins
        self._expose = expose
        self._metrics_token = metrics_token
        # Nobody gains by guessing an id. Seeded here, after the fork: no two workers give the same ones.
        self._ids = Random()  # noqa: S311 - as above

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/healthz", self.get_health),
            web.get("/readyz", self.get_readiness),
            web.get("/metrics", self.get_metrics),
        ]

    async def get_health(self, _: web.Request) -> web.Response:
        """Say that the process lives."""
        return web.json_response({"status": "ok"})

    async def get_readiness(self, _: web.Request) -> web.Response:
        """Say that requests can be answered."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(self._ready())
        # Shared by the requests of a moment, each of which may find that another has begun the next one. Not
        # cancelled when it takes too long: it is what the next request waits for.
        probe = self._probe
        await asyncio.wait([probe], timeout=_READY_WITHIN)
        if not probe.done():
            raise RegistryError(Problem.UNAVAILABLE)
        await probe
        return web.json_response({"status": "ready"})

    async def get_metrics(self, request: web.Request) -> web.Response:
        """Show the metrics to whoever may see them; to others there are none."""
        if not self._may_see_metrics(request):
            raise RegistryError(Problem.NOT_FOUND)
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _may_see_metrics(self, request: web.Request) -> bool:
        if self._metrics_token is not None:
            sent = request.headers.get("Authorization", "").encode(errors="surrogateescape")
            if hmac.compare_digest(sent, f"Bearer {self._metrics_token}".encode()):
                return True
        match self._expose:
            case "open":
                return True
            case "loopback":
                return self._origins.is_local(request)
        return False

    def middleware(self) -> Middleware:
        """Return the outermost middleware: it gives each request an id, times, counts and logs it."""

        @web.middleware
        async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
            structlog.contextvars.bind_contextvars(request_id=self.identify(request))
            started = time.perf_counter()
            with self._metrics.in_flight.track_inprogress():
                response: web.StreamResponse | None = None
                try:
                    response = await handler(request)
                    return response
                finally:
                    self._record(request, response, time.perf_counter() - started)

        return observe

    def note_ended(self, why: Endings, address: str) -> None:
        """Count and log that a connection was ended, with the address at the other end of its socket."""
        self._metrics.ended.labels(why.value).inc()
        _log.info("connection ended", reason=why.value, client=address)

    def identify(self, request: web.Request) -> str:
        """Give the request an id, its own if it has a good one, and return it."""
        request[_ID] = request_id = self.accept_id(request.headers.get(REQUEST_ID, ""))
        return request_id

    def accept_id(self, sent: str) -> str:
        """Return the id that was sent with a request, if it is a good one, or else a new one."""
        return sent if sent and _REQUEST_ID.fullmatch(sent) else f"{self._ids.getrandbits(64):016x}"

    def _record(self, request: web.Request, response: web.StreamResponse | None, seconds: float) -> None:
        # Without a response the client went away before it had one.
        status = 499 if response is None else response.status
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        sent, subject = _size_of(request, response), request.get(SUBJECT, "")
        self.record(Asked.of(request), request.remote, route, status, sent, seconds, subject)

    def record(
        self,
        asked: Asked,
        remote: str | None,
        route: str,
        status: int,
        sent: int,
        seconds: float,
        subject: str,
        **more: str,
    ) -> None:
        """Count and log a request from the address `remote`: `sent` bytes of body, after `seconds`.

        `more` goes into the log.
        """
        self._metrics.count(asked.method, route, status, seconds)
        if asked.length:
            self._metrics.received.inc(asked.length)
        if sent:
            self._metrics.sent.inc(sent)
        if not _STANDARD_LOG.isEnabledFor(logging.INFO):
            return  # before the client's address is worked out
        _log.info(
            "request",
            method=asked.method,
            path=_SECRET.sub(r"\1…", asked.path),
            status=status,
            ms=round(seconds * 1000, 1),
            sent=sent,
            subject=subject or None,
            client=self._origins.client_of(remote, asked.forwarded),
            agent=asked.agent,
            **more,
        )


def _size_of(request: web.Request, response: web.StreamResponse | None) -> int:
    """Return how long the response's body was; where it broke off, what is known to have gone out."""
    if request.method == "HEAD":
        return 0
    announced = None if response is None else response.content_length
    return request.writer.output_size if announced is None else announced


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give every response what all of them carry."""
    write_headers(request, response.headers)


def write_headers(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Write what every response to the request carries; all but the id is the same for the same path."""
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Server"] = "longshore"
    if "Content-Security-Policy" not in headers:
        # No page: should a browser show it all the same, it may do nothing, nor be shown within another page.
        headers["Content-Security-Policy"] = INERT
    if _ID in request:
        headers[REQUEST_ID] = request[_ID]
    if request.path.startswith("/v2"):
        headers["Docker-Distribution-Api-Version"] = "registry/2.0"
