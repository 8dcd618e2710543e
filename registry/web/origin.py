"""Where a request comes from and how the client reached the server: through trusted proxies, or directly."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from aiohttp import web

# What may stand in a URL that is sent back: a Host header may hold anything.
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Origins:
    """Reads `X-Forwarded-*` headers where, and only where, a trusted proxy has set them."""

    external_url: str | None
    trusted: Sequence[IPv4Network | IPv6Network]

    def client_address(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the last one in the chain that is no trusted proxy."""
        chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        address = request.remote or ""
        while chain and self._trusts(address):
            before = chain.pop()
            if not _is_address(before):
                break
            address = before
        return address

    def base_url(self, request: web.BaseRequest) -> str:
        """Return the URL, without a trailing slash, under which the client knows this server."""
        if self.external_url is not None:
            return self.external_url
        scheme, host = request.scheme, request.host
        if self._trusts(request.remote or ""):
            scheme = _first(request.headers.get("X-Forwarded-Proto")) or scheme
            host = _first(request.headers.get("X-Forwarded-Host")) or host
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            scheme, host = request.scheme, _own_address(request)
        return f"{scheme}://{host}"

    def is_local(self, request: web.BaseRequest) -> bool:
        """Tell whether the client is on this machine, and not behind a proxy on it."""
        if request.headers.keys() & {"X-Forwarded-For", "Forwarded"} and not self.trusted:
            return False
        address = self.client_address(request)
        return _is_address(address) and ip_address(address).is_loopback

    def _trusts(self, address: str) -> bool:
        if not self.trusted or not _is_address(address):
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self.trusted)


def _first(header: str | None) -> str | None:
    return header.split(",")[0].strip() if header else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _own_address(request: web.BaseRequest) -> str:
    host, port = request.get_extra_info("sockname", ("localhost", 80))[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
