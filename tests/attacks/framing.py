"""Requests whose end two servers would see in two places, so that one smuggles another past a proxy."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.attacks.attack import Attack, Refusal
from tests.attacks.town import Town
from tests.e2e.wire import Answer

SMUGGLED: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""What nobody may ever answer: the request in the request."""

_CHUNK: Final = b"%x\r\n%b\r\n0\r\n\r\n"
_REFUSED: Final = Refusal(400, never='"status": "ok"')
_ONE_ANSWER: Final = Refusal(404, never='"status": "ok"')


def _request(*lines: bytes, body: bytes = SMUGGLED, line: bytes = b"POST /nowhere HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: x", *lines, b"", body))


def _send(request: bytes, town: Town) -> Sequence[Answer]:
    return town.send(request)


def _refused(name: str, request: bytes) -> Attack:
    return Attack(f"framing: {name}", partial(_send, request), _REFUSED)


def _with_length(value: bytes) -> bytes:
    return _request(b"Content-Length: " + value)


def _with_coding(value: bytes) -> bytes:
    return _request(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n" + SMUGGLED)


def _in_chunks(body: bytes) -> bytes:
    return _request(b"Transfer-Encoding: chunked", body=body, line=b"POST /token HTTP/1.1")


_LENGTH: Final = b"Content-Length: %d" % len(SMUGGLED)

ATTACKS: Final[Sequence[Attack]] = [
    _refused(
        "a length and chunks",
        _request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    _refused(
        "chunks and a length", _request(b"Transfer-Encoding: chunked", _LENGTH, body=b"0\r\n\r\n" + SMUGGLED)
    ),
    _refused("two lengths", _request(b"Content-Length: 0", _LENGTH)),
    _refused("a list of lengths", _with_length(b"0, 5")),
    _refused("a length with a sign", _with_length(b"+5")),
    _refused("a length below zero", _with_length(b"-1")),
    _refused("a length in hexadecimal", _with_length(b"0x5")),
    _refused("a length with a space in it", _with_length(b"0 5")),
    _refused("a length beyond all numbers", _with_length(b"9" * 40)),
    _refused("a length in other digits", _with_length("\u0665".encode())),
    _refused("chunks behind something else", _with_coding(b"chunked, identity")),
    _refused("a coding nobody knows", _with_coding(b"xchunked")),
    _refused("chunks twice", _with_coding(b"chunked, chunked")),
    _refused("chunks behind a control character", _with_coding(b"\x0bchunked")),
    _refused(
        "a space before the colon", _request(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED)
    ),
    _refused("a header without a name", _request(b": chunked", body=SMUGGLED)),
    _refused(
        "a header folded into the next line", _request(b"X: a", b" Transfer-Encoding: chunked", body=SMUGGLED)
    ),
    _refused("a NUL in a header", _request(b"X: a\0b", body=SMUGGLED)),
    _refused("a return in a header", _request(b"X: a\rContent-Length: 5", body=SMUGGLED)),
    _refused(
        "a line that ends without a return",
        b"POST /nowhere HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + SMUGGLED,
    ),
    _refused(
        "a header that ends without a return",
        b"POST /nowhere HTTP/1.1\r\nHost: x\nContent-Length: 5\r\n\r\n" + SMUGGLED,
    ),
    _refused("two hosts", b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + SMUGGLED),
    _refused("no host", b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED),
    _refused("a version that is none", _request(line=b"GET / HTTP/9.9")),
    _refused(
        "an older protocol with chunks",
        _request(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED, line=b"POST / HTTP/1.0"),
    ),
    _refused("the preface of another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _refused("a chunk of hexadecimal with a prefix", _in_chunks(b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("a chunk below zero", _in_chunks(b"-5\r\nhello\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("a chunk beyond all numbers", _in_chunks(b"f" * 20 + b"\r\n" + SMUGGLED)),
    _refused("a chunk longer than it says", _in_chunks(b"2\r\nhello\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("a chunk whose line ends without a return", _in_chunks(b"5\nhello\n0\n\n" + SMUGGLED)),
    _refused("a line end in the extension of a chunk", _in_chunks(b"5;\nx\r\nhello\r\n0\r\n\r\n" + SMUGGLED)),
    Attack(
        "framing: a request in the body of a GET",
        partial(_send, _request(_LENGTH, b"Connection: close", line=b"GET /nowhere HTTP/1.1")),
        _ONE_ANSWER,
    ),
    Attack(
        "framing: a request in a chunk",
        partial(
            _send,
            _request(
                b"Transfer-Encoding: chunked", b"Connection: close", body=_CHUNK % (len(SMUGGLED), SMUGGLED)
            ),
        ),
        _ONE_ANSWER,
    ),
    Attack(
        "framing: a request in the trailers",
        partial(
            _send,
            _request(
                b"Transfer-Encoding: chunked",
                b"Connection: close",
                body=b"0\r\nX: GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
            ),
        ),
        _ONE_ANSWER,
    ),
    Attack(
        "framing: an upgrade to clear HTTP/2",
        partial(
            _send,
            _request(
                b"Connection: close, Upgrade, HTTP2-Settings",
                b"Upgrade: h2c",
                b"HTTP2-Settings: AAMAAABkAAQAAP__",
                line=b"GET /nowhere HTTP/1.1",
                body=b"",
            ),
        ),
        _ONE_ANSWER,
    ),
]
