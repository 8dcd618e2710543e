"""Static files: read once, compressed once, served under a path that names their content."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from registry.errors import Problem, RegistryError

_FOLDER: Final = Path(__file__).parent.parent / "static"

_FOREVER: Final = "public, max-age=31536000, immutable"

# What the platform's table may not know, or calls by another name.
_TYPES: Final = {".js": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css"}
_TEXT: Final = frozenset(_TYPES.values())


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    content: bytes
    compressed: bytes | None
    """None where compression gains nothing."""


class Assets:
    """The files of a folder without subfolders; `version` is a hash of all of them.

    One hash for all: a module that imports another by a relative path finds it in the same version.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files = _read(folder)
        self.version = _hash(self._files)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/static/{version}/{file}", self.get_file),
            web.get("/favicon.ico", self.get_icon),
        ]

    def url(self, file: str) -> str:
        """Return the path of a file, which must exist. Raises KeyError."""
        if file not in self._files:
            raise KeyError(file)
        return f"/static/{self.version}/{file}"

    async def get_file(self, request: web.Request) -> web.Response:
        """Serve a file. One that another version of the server linked is served as it is here, uncached."""
        file = self._files.get(request.match_info["file"])
        if file is None:
            raise RegistryError(Problem.NOT_FOUND)
        current = request.match_info["version"] == self.version
        headers = {"Cache-Control": _FOREVER if current else "no-cache", "Vary": "Accept-Encoding"}
        content = file.content
        if file.compressed is not None and accepts_gzip(request):
            content = file.compressed
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=content, headers=headers)
        response.content_type = file.media_type
        if file.media_type in _TEXT:
            response.charset = "utf-8"
        return response

    async def get_icon(self, _: web.Request) -> web.Response:
        """Send those who look where icons used to be to where it is."""
        return web.Response(status=303, headers={"Location": self.url("favicon.svg")})


def accepts_gzip(request: web.Request) -> bool:
    """Tell whether the client takes gzip (RFC 9110, section 12.5.3)."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _read(folder: Path) -> Mapping[str, _File]:
    found: dict[str, _File] = {}
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        content = path.read_bytes()
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        small = gzip.compress(content, 9, mtime=0)
        found[path.name] = _File(
            media_type or "application/octet-stream", content, small if len(small) < len(content) else None
        )
    return found


def _hash(files: Mapping[str, _File]) -> str:
    running = hashlib.sha256()
    for name, file in files.items():
        running.update(f"{name}\0{len(file.content)}\0".encode())
        running.update(file.content)
    return running.hexdigest()[:16]
