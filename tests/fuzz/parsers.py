"""Every function that reads what somebody else wrote, in one table: what it is fed, and what it may raise.

`test_parsers.py` tries each with hypothesis and holds the table complete; `python -m tests.fuzz` lets atheris
look for inputs that reach further, led by the code that they run through.
"""

import asyncio
import io
import ipaddress
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote_from_bytes

from aiohttp import web
from multidict import CIMultiDict, MultiDict, MultiMapping
from pydantic import BaseModel
from yarl import URL

from auth.identity import WrongCredentials
from auth.jwk import InvalidKey, KeyRing, SigningKey, read_jwks
from auth.scope import InvalidScope, Scope
from auth.tokens import InvalidToken, TokenVerifier
from registry import listing
from registry.errors import RegistryError
from registry.image import configuration, outline, steps
from registry.instructions import instruction
from registry.layout.reading import LayoutError, TarLayout
from registry.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse_manifest
from registry.names import parse_digest, parse_name, parse_reference, parse_tag
from registry.web.access import read_login
from registry.web.api import bodies
from registry.web.api.requests import read_body, read_query, version_in
from registry.web.blob import parse_content_range, parse_ranges
from registry.web.body import parse_form
from registry.web.bulk import Chunked
from registry.web.markdown import render
from registry.web.origin import Origins
from registry.web.pages.assets import accepts_gzip
from registry.web.pages.shell import local_path
from registry.web.words import plain
from storage.blobs import StagedMissing
from storage.digest import Digest, InvalidDigest
from storage.metadata.documents import words_in
from storage.s3_parts import UploadState

M = TypeVar("M", bound=BaseModel)

_BLOB_SIZE: Final = 1000
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Parser:
    """`feed` hands bytes over as the parser takes them, and checks what comes of them."""

    feed: Callable[[bytes], object]
    documented: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = ()
    """Inputs that are right, to begin from."""
    alphabet: str = ""
    """What most of its right inputs are made of."""
    slow: bool = False
    """It takes a millisecond and more: a tenth of the inputs has to do."""

    def try_on(self, data: bytes) -> bool:
        """Feed it; return whether it took the input. Raises what is not documented."""
        try:
            self.feed(data)
        except self.documented:
            return False
        return True


def text_of(data: bytes) -> str:
    """The text that a server makes of bytes in a path or a header."""
    return data.decode("utf-8", "surrogateescape")


def _line(data: bytes) -> str:
    """The text of a header: HTTP's parser lets no line ends and no NUL through."""
    return text_of(data).translate({0: None, 10: None, 13: None})


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return text_of(data)


@dataclass(slots=True)
class _Request:
    """As much of a request as the parsers look at: a real one takes longer to make than to read."""

    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    query: MultiMapping[str] = field(default_factory=MultiDict)
    content: "_Request | None" = None
    data: bytes = b""
    content_type: str = "application/json"
    content_length: int | None = None
    remote: str = "127.0.0.1"
    scheme: str = "http"

    @property
    def host(self) -> str:
        """As aiohttp has it."""
        return self.headers.get("Host", "")

    def get_extra_info(self, *_: object) -> tuple[str, int]:
        """The address that the server listens on."""
        return "127.0.0.1", 5000

    def exception(self) -> None:
        """Nothing broke off."""

    async def readany(self) -> bytes:
        """What has not been read of the body."""
        data, self.data = self.data, b""
        return data


def _headed(**headers: str) -> web.Request:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return cast(web.Request, _Request(named))


def _again(parse: Callable[[str], Any]) -> Callable[[bytes], object]:
    """Feed text to a parser whose values print as what they were read from."""

    def feed(data: bytes) -> object:
        value = parse(text_of(data))
        assert parse(str(value)) == value
        return value

    return feed


def _scope(data: bytes) -> object:
    scope = Scope.parse(text_of(data).split("\n"))
    assert Scope.parse([str(scope)]) == scope
    return scope


def _claims(data: bytes) -> object:
    scope = Scope.from_claims(_document(data))
    assert Scope.from_claims(scope.to_claims()) == scope
    return scope


def _manifest(data: bytes) -> object:
    kinds = (None, OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST)
    return parse_manifest(data[1:], kinds[data[0] % len(kinds)] if data else None)


def _image(data: bytes) -> object:
    part = outline(data, OCI_MANIFEST)
    return outline(data, OCI_INDEX), configuration(data), steps(data, part.layers.items)


def _ranges(data: bytes) -> object:
    ranges = parse_ranges(_line(data), _BLOB_SIZE)
    for each in ranges or ():
        assert 0 <= each.start < each.stop <= _BLOB_SIZE
    return ranges


def _content_range(data: bytes) -> object:
    said = parse_content_range(_line(data))
    assert parse_content_range(f"{said.start}-{said.stop - 1}") == said
    return said


def _cursor(data: bytes) -> object:
    key = listing.decode(text_of(data), (str, int), (int, type(None)))
    assert key is None or listing.decode(listing.encode(key), (str, int), (int, type(None))) == key
    return key


def _key_pem(data: bytes) -> object:
    return SigningKey.from_pem(data)


_KEY: Final = SigningKey.generate("ES256", 0)


def _token(data: bytes) -> object:
    verifier = TokenVerifier(lambda: KeyRing([_KEY]), "longshore", "longshore")
    return verifier.verify(text_of(data))


def _html(data: bytes) -> object:
    html = str(render(text_of(data).encode("utf-8", "replace").decode()))
    assert "<script" not in html.lower()
    return html


def _local(data: bytes) -> object:
    path = local_path(text_of(data))
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isprintable()
    return path


def _address(data: bytes) -> object:
    origins = Origins(None, (ipaddress.ip_network("0.0.0.0/0"),))
    request = _headed(X_Forwarded_For=_line(data), Host=_line(data)[:200], Origin=_line(data))
    origins.is_foreign(request)
    return origins.client_address(request), origins.base_url(request)


def _chunks(data: bytes) -> object:
    whole, piecewise, buffer = Chunked(), Chunked(), bytearray(data)
    whole.scan(buffer, len(data))
    for stop in range(len(data) + 1):
        if not piecewise.ended:
            piecewise.scan(buffer, stop)
    assert (piecewise.at, piecewise.ended) == (whole.at, whole.ended)
    body = whole.take(buffer)
    assert body == piecewise.take(buffer)
    assert len(body) <= len(data)
    return body


def _form(data: bytes) -> object:
    fields = parse_form(data, 100)
    assert len(fields) <= 100
    return fields


def _models(kind: type[M]) -> list[type[M]]:
    found = [each for each in vars(bodies).values() if isinstance(each, type) and issubclass(each, kind)]
    return [each for each in found if each.model_fields]


_QUERIES: Final = _models(bodies.Query)
_BODIES: Final = _models(bodies.Body)


def _for(models: list[type[M]], model: type[M], content: bytes) -> bytes:
    """What is fed to hand this content to this model."""
    return bytes([models.index(model)]) + content


def _query(data: bytes) -> object:
    model = _QUERIES[data[0] % len(_QUERIES)] if data else _QUERIES[0]
    query = "&".join(f"{name}={quote_from_bytes(data[1:])}" for name in model.model_fields)
    return read_query(cast(web.Request, _Request(query=URL(f"/?{query}", encoded=True).query)), model)


def _body(data: bytes) -> object:
    model = _BODIES[data[0] % len(_BODIES)] if data else _BODIES[0]
    request = _Request(content=_Request(data=data[1:]))
    return asyncio.run(read_body(cast(web.Request, request), model))


def _words(data: bytes) -> object:
    words = words_in(text_of(data))
    assert all(words)
    return words


def _archive(data: bytes) -> object:
    descriptor = os.memfd_create("layout")
    try:
        os.write(descriptor, data)
        with closing(TarLayout(Path(f"/proc/self/fd/{descriptor}"))) as layout:
            assert (layout.size("index.json") or 0) <= len(data)
    finally:
        os.close(descriptor)
    return layout


def _packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in ("index.json", f"blobs/sha512/{128 * 'a'}"):
            entry = tarfile.TarInfo(name)
            entry.size = 2
            file.addfile(entry, io.BytesIO(b"{}"))
    return buffer.getvalue()


def _shown(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    return instruction(text), plain(text)


_NAMES: Final = "ab09._-/"
_HEX: Final = "sha256512:0af"
_JSON: Final = '{}[]":,0e-\\u nul'
_SHA256: Final = b"sha256:" + b"0" * 64
_MANIFEST: Final = (
    b'0{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"'
    + _CONFIG.encode()
    + b'","digest":"'
    + _SHA256
    + b'","size":2},"layers":[],"annotations":{"a":"b"}}'
)
_JWK: Final = json.dumps({"keys": [_KEY.to_public_jwk()]}).encode()
_ACCESS: Final = b'[{"type":"repository","name":"a/b","actions":["pull"]}]'

PARSERS: Final[Mapping[str, Parser]] = {
    "registry.names.parse_name": Parser(_again(parse_name), (RegistryError,), (b"team/app",), _NAMES),
    "registry.names.parse_tag": Parser(_again(parse_tag), (RegistryError,), (b"v1.0",), _NAMES),
    "registry.names.parse_digest": Parser(_again(parse_digest), (RegistryError,), (_SHA256,), _HEX),
    "registry.names.parse_reference": Parser(
        _again(parse_reference), (RegistryError,), (_SHA256, b"v1"), _HEX
    ),
    "storage.digest.Digest.parse": Parser(_again(Digest.parse), (InvalidDigest,), (_SHA256,), _HEX),
    "registry.manifest.parse_manifest": Parser(_manifest, (RegistryError,), (_MANIFEST,), _JSON),
    "registry.image.outline": Parser(_image, (), (_MANIFEST[1:],), _JSON),
    "registry.instructions.instruction": Parser(
        _shown,
        (),
        (b"/bin/sh -c #(nop)  EXPOSE 80", b"RUN |1 A=b /bin/sh -c make # buildkit"),
        "/bin sh-c#RUN|1 ",
    ),
    "registry.listing.decode": Parser(
        _cursor, (RegistryError,), (b"WyJhIixudWxsXQ", b"WzEsMl0"), "Wyj0=-_AQ"
    ),
    "registry.web.blob.parse_ranges": Parser(
        _ranges, (RegistryError,), (b"bytes=0-4,7-", b"bytes=-5"), "bytes=0123456789-, "
    ),
    "registry.web.blob.parse_content_range": Parser(
        _content_range, (RegistryError,), (b"0-4",), "0123456789- "
    ),
    "registry.web.body.parse_form": Parser(_form, (RegistryError,), (b"a=b&c=%20+",), "ab=&%20+;"),
    "registry.web.access.read_login": Parser(
        lambda data: read_login(_line(data)), (WrongCredentials,), (b"Basic YTpi",), "Basic YTpi="
    ),
    "registry.web.api.requests.read_query": Parser(
        _query, (RegistryError,), (_for(_QUERIES, bodies.StatisticsQuery, b"7"),), "01true-"
    ),
    "registry.web.api.requests.read_body": Parser(
        _body,
        (RegistryError,),
        (_for(_BODIES, bodies.ProfileChanges, b'{"about":"x"}'),),
        _JSON,
        slow=True,
    ),
    "registry.web.api.requests.version_in": Parser(
        lambda data: version_in(_headed(If_Match=_line(data))), (RegistryError,), (b'"1"', b"*"), '"W/*1 ,'
    ),
    "registry.layout.reading.TarLayout": Parser(_archive, (LayoutError,), (_packed(),)),
    "registry.web.bulk.Chunked": Parser(
        _chunks, (), (b"5\r\nhello\r\n00a\r\n0123456789\r\n0\r\n\r\n",), "0123aF\r\n;x"
    ),
    "registry.web.markdown.render": Parser(
        _html,
        (),
        (b"# a\n\n[b](https://c.example) `d` <script>x</script>",),
        "#*_[]()<>`-|:!\n\\ http/&;a",
        slow=True,
    ),
    "registry.web.origin.Origins.client_address": Parser(
        _address, (), (b"192.0.2.1, ::1", b"[::1]:80"), "0129.:af[], %"
    ),
    "registry.web.pages.assets.accepts_gzip": Parser(
        lambda data: accepts_gzip(_headed(Accept_Encoding=_line(data))),
        (),
        (b"gzip;q=0.5, *",),
        "gzip;q=0.5*, ",
    ),
    "registry.web.pages.shell.local_path": Parser(_local, (), (b"/r/a/b?c=d",), "/\\.a:%\t"),
    "auth.scope.Scope.parse": Parser(
        _scope, (InvalidScope,), (b"repository:a/b:pull,push registry:catalog:*",), "repository:ab/,pul* ()\n"
    ),
    "auth.scope.Scope.from_claims": Parser(_claims, (InvalidScope,), (_ACCESS,), _JSON),
    "auth.tokens.TokenVerifier.verify": Parser(
        _token,
        (InvalidToken,),
        (b"eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJsb25nc2hvcmUifQ.AA",),
        "eyJAQ.-_",
    ),
    "auth.jwk.read_jwks": Parser(lambda data: read_jwks(_document(data)), (), (_JWK,), _JSON),
    "auth.jwk.SigningKey.from_pem": Parser(_key_pem, (InvalidKey,), (_KEY.to_pem(),)),
    "storage.metadata.documents.words_in": Parser(_words, (), (b"my-app v2",), "ab 0-_'\"*"),
    "storage.s3_parts.UploadState.parse": Parser(
        lambda data: UploadState.parse(text_of(data)),
        (StagedMissing,),
        (b'{"key":"a","etags":["b"]}',),
        _JSON,
    ),
}

EXPOSED: Final = (
    "registry.names.parse_reference",
    "registry.manifest.parse_manifest",
    "registry.image.outline",
    "registry.web.blob.parse_ranges",
    "registry.web.body.parse_form",
    "registry.web.access.read_login",
    "registry.web.markdown.render",
    "auth.scope.Scope.parse",
    "auth.tokens.TokenVerifier.verify",
)
"""What the bytes of strangers meet first, or what is most to read: fuzzed in every run of the tests."""
