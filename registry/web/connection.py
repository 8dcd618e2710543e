"""One connection, held to what a stranger may cost: heads that end, bodies and answers that move on.

Nothing here has a timer of its own. The server looks at every connection once a second (`Connection.check`);
a request costs no more than what `data_received` counts. What is remembered is answered from here, before it
is parsed (`registry.web.recall`).
"""

import functools
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http import HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from registry.errors import Problem, RegistryError
from registry.web.bulk import WORTH, Bulk, Chunked, Framing, Sized
from registry.web.errors import render_document
from registry.web.observe import Endings, write_headers

if TYPE_CHECKING:
    from registry.web.runner import BoundedServer

# Bytes of a request line or of one field: a token may name many repositories, and a push many tags.
MAX_LINE: Final = 32 * 1024
MAX_FIELDS: Final = 128

# Bytes of a whole head. What is longer comes from nobody who means well: proxies end at a quarter of it.
_MAX_HEAD: Final = 128 * 1024

_HEAD_END: Final = b"\r\n\r\n"

# Where Linux tells in `struct tcp_info` what waits for the other end, and what that has acknowledged.
_TCP_INFO_SIZE: Final = 148
_UNACKNOWLEDGED: Final = struct.Struct("=24xI")
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")
_NOT_SENT: Final = struct.Struct("=144xI")

_log = structlog.stdlib.get_logger("longshore.connections")


@dataclass(frozen=True, slots=True)
class Pacing:
    """How slow a client may be: seconds for a head; bytes that a body or an answer moves in each window."""

    head_seconds: float
    window_seconds: float
    window_bytes: float


class Pace:
    """Whether something moves on. It is asked again and again, and looks at one window after the other."""

    __slots__ = ("_before", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._before = 0

    def reset(self) -> None:
        """Begin anew: just now it is not the client that is waited for."""
        self._since = None

    def is_slow(self, now: float, moved: int, pacing: Pacing) -> bool:
        """Tell whether a window has ended in which too little moved; `moved` counts bytes from the first."""
        if self._since is None:
            self._since, self._before = now, moved
        if now - self._since < pacing.window_seconds:
            return False
        slow = moved - self._before < pacing.window_bytes
        self._since, self._before = now, moved
        return slow


class Connection(RequestHandler):
    """aiohttp's connection, with an end to everything that it may be made to wait for."""

    __slots__ = (
        "_arriving",
        "_body",
        "_bounded",
        "_bulk",
        "_counted",
        "_counts",
        "_head_since",
        "_head_size",
        "_leaving",
        "_made_at",
        "_make_parser",
        "_received",
        "_wire",
        "address",
        "alone",
    )

    def __init__(self, manager: "BoundedServer", *, counts: bool, **options: Any) -> None:
        super().__init__(manager, **options)
        self._bounded = manager
        self._counts = counts  # unless what is below it does
        self._counted: str | None = None
        self._wire: Any = None
        self._made_at = 0.0
        self._received = 0
        self._head_size = 0  # bytes of a head that has begun and not ended
        self._head_since: tuple[int, float] | None = None  # for which request, seen when
        self._body: StreamReader | None = None  # of the newest request: no other can be incomplete
        self._arriving = Pace()
        self._leaving = Pace()
        self._bulk: Bulk | None = None
        self._make_parser = functools.partial(
            HttpRequestParser,
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=options.get("auto_decompress", True),
            max_msg_queue_size=self._max_msg_queue_size,
        )
        self.address = ""
        """That of the other end of the socket."""
        self.alone: bytes | None = None
        """The newest request as it was sent, where it came at once and alone, and is no more than a head."""

    # -- what arrives ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take the connection, unless there are too many."""
        self._wire = transport
        self.address = address_of(transport)
        self._made_at = self._loop.time()
        if self._counts:
            refusal = self._bounded.enter(self.address)
            if refusal is not None:
                self._force_close = True  # nothing that comes is read
                self._bounded.turn_away(transport, refusal)
                return
            self._counted = self.address
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let the connection go."""
        self._bulk = None
        if self._counted is not None:
            self._bounded.leave(self._counted)
            self._counted = None
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """End it, when the request that runs is answered.

        aiohttp would give the next request `timeout` seconds on a connection that was accepted so late that
        it was not yet waiting for one when all were told to close.
        """
        if self._waiter is not None and not self._messages:
            self._waiter.cancel()
        await super().shutdown(timeout)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and count it."""
        self._received += len(data)
        self.alone = None
        if not self._awaits_request():
            self._parse(data)
            return
        whole = not self._head_size and data.endswith(_HEAD_END)
        if whole and self._answer_at_once(data):
            return
        end = data.find(_HEAD_END) + len(_HEAD_END)
        if end < len(_HEAD_END) or _chunks_end(data[:end], data[end:]):
            self._parse(data)  # a piece of a head; or a whole request, to be refused as one for its chunks
            return
        self._parse(data[:end], alone=whole and end == len(data))
        if not self._begin_bulk(data[end:]) and end < len(data):
            self._parse(data[end:])

    def _parse(self, data: bytes, *, alone: bool = False) -> None:
        """Give `data` to the parser; `alone` says that it is the whole of what was sent for a request."""
        behind = self._body is None or self._body.is_eof()  # of a request is missing at most its head
        super().data_received(data)
        if self._messages:
            self._head_size = 0
            message, body = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._body = None if body is EMPTY_PAYLOAD else body
                if alone and self._body is None:
                    self.alone = data
            else:
                self._break_off()  # behind bytes that are no HTTP nothing else can be
        elif behind:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD and not self._force_close:
                self._end(Endings.HEAD_TOO_LARGE)

    def _awaits_request(self) -> bool:
        """Tell whether all requests have been answered, and what comes next is of a head."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            return False
        if self._close or self._force_close or self._upgraded:
            return False
        return (self._body is None or self._body.is_eof()) and not self._wire.get_write_buffer_size()

    def _answer_at_once(self, data: bytes) -> bool:
        """Answer from memory what just arrived, if it can be."""
        answer = self._bounded.recall.at_once(data, self.address)
        if answer is None:
            return False
        self._request_count += 1
        self._bounded.requests_count += 1
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._wire.write(answer)
        return True

    # -- large bodies ----------------------------------------------------------------------------------

    def _begin_bulk(self, data: bytes) -> bool:
        """Let a body, if it is large, arrive around the parser, which was just given the end of its head.

        `data` is what came of it so far.
        """
        body = self._body
        if body is None or body.is_eof() or body.total_bytes or len(self._messages) != 1:
            return False
        if self._upgraded or self._reading_paused or self._buffer_paused:
            return False
        framing = _framing_of(self._messages[0][0])
        if framing is None:
            return False
        if isinstance(framing, Chunked):
            body.begin_http_chunk_receiving()  # which the parser does with the first chunk that it sees
        self._bulk = Bulk(self, body, framing, self._count, self._end_bulk)
        self._wire.set_protocol(self._bulk)
        self._bulk.begin(data)
        return True

    def _count(self, size: int) -> None:
        self._received += size

    def _end_bulk(self, framing: Framing, rest: bytes) -> None:
        """Go on with the parser, behind the body or at that of its chunks which it is to read itself."""
        self._bulk = None
        self._wire.set_protocol(self)
        if isinstance(framing, Sized):
            # The old one would wait for the body that went around it.
            self._parser = self._make_parser()
            if self._body is not None:
                self._body.feed_eof()
        if rest:
            self._parse(rest)

    def pause_reading(self) -> None:
        """Let nothing arrive for a while. The parser, where it is gone around, need not know."""
        if self._bulk is None:
            super().pause_reading()
        else:
            self._reading_paused = True
            self._pause_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Let more arrive."""
        super().resume_reading(resume_parser and self._bulk is None)

    def _break_off(self) -> None:
        """Tell who reads a body that its rest will never come: the parser only tells the next request."""
        body = self._body
        if body is None or body.is_eof():
            return
        body.set_exception(RequestPayloadError("the body is not framed as HTTP says"))
        self._lingering_time = 0.0
        self.close()  # when the answer is out

    # -- what does not ---------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """End what has stood still for too long; `now` is the event loop's time."""
        if self._request_in_progress:
            self._check_body(now)
            self._check_answer(now)
        else:
            self._check_head(now)
            if self._wire.get_write_buffer_size():
                self._check_answer(now)  # closed, or idle, with the end of an answer that nobody takes

    def _check_head(self, now: float) -> None:
        if self._request_count and not self._head_size:
            self._head_since = None
            return  # between two requests: aiohttp closes it when it has been idle for long
        if not self._request_count:
            since = self._made_at
        else:
            if self._head_since is None or self._head_since[0] != self._request_count:
                self._head_since = (self._request_count, now)
            since = self._head_since[1]
        if now - since >= self._bounded.pacing.head_seconds and not self._messages:
            self._end(Endings.HEAD_TIMEOUT)

    def _check_body(self, now: float) -> None:
        body = self._body
        if body is None or body.is_eof() or self._reading_paused or body.exception() is not None:
            self._arriving.reset()
        elif self._arriving.is_slow(now, self._received, self._bounded.pacing):
            self._bounded.note(Endings.SLOW_BODY, self.address)
            if self._bulk is not None:
                self._bulk.flush()
            body.set_exception(TimeoutError("the body does not arrive"))

    def _check_answer(self, now: float) -> None:
        taken = self._taken()
        if taken is None:
            self._leaving.reset()
        elif self._leaving.is_slow(now, taken, self._bounded.pacing):
            if self._task_handler is not None:
                self._task_handler.cancel()  # sendfile does not notice that its connection is aborted
            self._end(Endings.STALLED_READER)

    def _taken(self) -> int | None:
        """Return how many bytes the client has taken; None where nothing waits for it, or nobody can tell."""
        if not hasattr(socket, "TCP_INFO"):
            return None  # elsewhere than on Linux
        try:
            found = self._wire.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE
            )
        except OSError:
            return None  # it has just been closed
        if len(found) < _TCP_INFO_SIZE:
            return None
        acknowledged = int(_ACKNOWLEDGED.unpack_from(found)[0])
        # Some kernels that pass for Linux fill in nothing.
        self._bounded.counts_acknowledged |= acknowledged > 0
        waits = _UNACKNOWLEDGED.unpack_from(found)[0] or _NOT_SENT.unpack_from(found)[0]
        if not self._bounded.counts_acknowledged or not (waits or self._wire.get_write_buffer_size()):
            return None
        return acknowledged

    def _end(self, why: Endings) -> None:
        """Close at once, whatever has not been sent."""
        self._bounded.note(why, self.address)
        self._wire.abort()

    # -- what is no request ----------------------------------------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request of HTTP, and close. A client's nonsense is not an error of ours."""
        if status >= 500:
            _log.error("request failed", exc_info=exc)
            problem = Problem.INTERNAL
        elif _is_too_large(exc):
            problem = Problem.HEAD_TOO_LARGE
        else:
            problem = Problem.REQUEST_INVALID
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun: another one would pass for its content")
        if status < 500:
            self._bounded.note(Endings.NOT_HTTP, self.address)
        response = render_document(cast(web.Request, request), RegistryError(problem), {})
        write_headers(cast(web.Request, request), response.headers)
        response.headers["Connection"] = "close"  # HTTP/1.0, as what is none counts, would leave it out
        response.force_close()
        return response


def _chunks_end(head: bytes, first: bytes) -> bool:
    """Tell whether a body in chunks ends in what came with its head, or is none there."""
    if not first or b"chunked" not in head.lower():
        return False
    framing = Chunked()
    framing.scan(first, len(first))
    return framing.ended


def _framing_of(message: Any) -> Framing | None:
    """Return how a body is framed; None where the parser is to read it."""
    if not isinstance(message, RawRequestMessage) or message.version != HttpVersion11:
        return None
    if message.compression is not None or message.upgrade:
        return None
    if message.chunked:
        return Chunked()
    length = int(message.headers.get("Content-Length", "0"))
    return Sized(length) if length >= WORTH else None


def address_of(transport: Any) -> str:
    """Return the address at the other end; "" where there is none to tell."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _is_too_large(error: BaseException | None) -> bool:
    """Tell whether the head was refused for its size; the parser says of too many fields only that."""
    if isinstance(error, LineTooLong):
        return True
    return isinstance(error, HttpProcessingError) and error.message == "Too many headers received"
