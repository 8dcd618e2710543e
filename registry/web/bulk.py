"""Large bodies on their way around the parser: from the socket into one buffer, and from there to the reader.

aiohttp's parser gets a quarter of a mebibyte at a time, copies it, and wakes the reader for each piece. Of a
large body it has nothing to tell but where it ends. So once the head is parsed, the connection hands its
socket to a `Bulk`, which has it read into a buffer of its own, and gets it back with the first byte that is
not plainly a part of this body. What is to be refused is left to the parser as well.

Measured for a push of 512 MiB, of the event loop: 740 ms of the processor by the parser, 510 ms around it.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import StreamReader

WORTH: Final = 256 * 1024
"""Bytes of a body from which on this way is the cheaper one."""

# Bytes of the buffer: of a body that comes fast, and of one that does not. A stranger may begin many bodies
# and send little of them.
_MOST: Final = 1024 * 1024
_LEAST: Final = 16 * 1024

# Seconds until the reader is given what there is, where the buffer is not full by then.
_LINGER: Final = 0.02

# A chunk's size and the end of its line (RFC 9112, section 7.1), in the only way that clients write it.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_HALF_SIZE_LINE: Final = re.compile(rb"[0-9A-Fa-f]{0,7}\r?")


class Framing(Protocol):
    """How a body is marked off in what arrives."""

    ended: bool
    """Whether the first byte behind `at` is no part of the body, or not plainly one."""

    at: int
    """How much of the buffer is understood."""

    def scan(self, buffer: bytes | bytearray, stop: int) -> None:
        """Go on from `at` up to `stop`, as far as can be."""

    def take(self, buffer: bytearray) -> bytes:
        """Return the body's bytes before `at`; those behind it are moved to the front by the caller."""

    def close(self, rest: bytes) -> bytes:
        """Return what the parser is to be given after the end: `rest` is behind `at`."""


class Sized:
    """A body of `left` bytes (RFC 9112, section 6.2)."""

    def __init__(self, left: int) -> None:
        self.ended = False
        self.at = 0
        self._left = left

    def scan(self, buffer: bytes | bytearray, stop: int) -> None:
        """All is the body's, up to its end."""
        self._left -= (taken := min(stop - self.at, self._left))
        self.at += taken
        self.ended = not self._left

    def take(self, buffer: bytearray) -> bytes:
        """Return it as it came."""
        with memoryview(buffer) as view:
            data = bytes(view[: self.at])
        self.at = 0
        return data

    def close(self, rest: bytes) -> bytes:
        """Return the rest: the parser is a new one, which has not begun to read a request."""
        return rest


class Chunked:
    """A body in chunks (RFC 9112, section 7.1), as far as nothing but their sizes stands between them.

    The parser has seen whole chunks or nothing of them, and goes on with the last one, or the first odd one.
    """

    def __init__(self) -> None:
        self.ended = False
        self.at = 0
        self._left = 0  # of the chunk that has begun, with the end of its line
        self._broken = False
        self._found: list[slice] = []

    def scan(self, buffer: bytes | bytearray, stop: int) -> None:
        """Find the data of chunks."""
        while self.at < stop and not self.ended:
            if self._left > 2:
                taken = min(self._left - 2, stop - self.at)
                self._found.append(slice(self.at, self.at + taken))
                self.at += taken
                self._left -= taken
            elif self._left:
                self._broken = self.ended = buffer[self.at] != b"\r\n"[-self._left]
                self.at += 1
                self._left -= 1
            elif not self._begin(buffer, stop):
                return

    def _begin(self, buffer: bytes | bytearray, stop: int) -> bool:
        """Read the size of the next chunk; tell whether it is all there."""
        found = _SIZE_LINE.match(buffer, self.at, stop)
        if found is not None and (size := int(found[1], 16)):
            self._left = size + 2
            self.at = found.end()
            return True
        self.ended = _HALF_SIZE_LINE.fullmatch(buffer, self.at, stop) is None
        return False

    def take(self, buffer: bytearray) -> bytes:
        """Return the data of all chunks."""
        with memoryview(buffer) as view:
            data = b"".join([view[each] for each in self._found])
        self._found.clear()
        self.at = 0
        return data

    def close(self, rest: bytes) -> bytes:
        """Return the rest; before it, where a chunk is longer than it says, what no chunk can begin with."""
        return b"!" + rest if self._broken else rest


class Bulk(asyncio.BufferedProtocol):
    """Takes a body in. `received` is told of bytes, `done` is given what comes after it."""

    def __init__(
        self,
        beneath: asyncio.Protocol,
        body: StreamReader,
        framing: Framing,
        received: Callable[[int], None],
        done: Callable[[Framing, bytes], None],
    ) -> None:
        self._beneath = beneath
        self._body = body
        self._framing = framing
        self._received = received
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_LEAST)
        self._filled = 0
        self._flushing: asyncio.TimerHandle | None = None

    def begin(self, data: bytes) -> None:
        """Take what of the body came with its head."""
        self._buffer[: len(data)] = data  # which may make it longer
        self._take(len(data))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Look at what was read; hand it over when there is no room for more."""
        self._received(nbytes)
        self._take(nbytes)

    def _take(self, count: int) -> None:
        self._filled += count
        self._framing.scan(self._buffer, self._filled)
        if self._framing.ended:
            self.flush()
            rest = bytes(self._buffer[: self._filled])
            self._done(self._framing, self._framing.close(rest))
        elif self._filled == len(self._buffer):
            self.flush()
            if len(self._buffer) < _MOST:
                self._resize(min(4 * len(self._buffer), _MOST))
        elif self._flushing is None:
            self._flushing = self._loop.call_later(_LINGER, self._linger)

    def _linger(self) -> None:
        self.flush()
        if len(self._buffer) > _LEAST:
            self._resize(_LEAST)

    def _resize(self, size: int) -> None:
        """Take another buffer, after a flush: what is kept then is less than the size of a chunk."""
        kept = self._buffer[: self._filled]
        self._buffer = bytearray(size)
        self._buffer[: len(kept)] = kept

    def flush(self) -> None:
        """Hand over what there is."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        understood = self._framing.at
        data = self._framing.take(self._buffer)
        left = self._buffer[understood : self._filled]
        self._buffer[: len(left)] = left
        self._filled = len(left)
        self._body.feed_data(data)

    def eof_received(self) -> bool | None:
        """Leave it to the connection."""
        return self._beneath.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over the last of it: what came counts, for an upload that is gone on with."""
        self.flush()
        self._beneath.connection_lost(exc)

    def pause_writing(self) -> None:
        """Leave it to the connection."""
        self._beneath.pause_writing()

    def resume_writing(self) -> None:
        """Leave it to the connection."""
        self._beneath.resume_writing()
