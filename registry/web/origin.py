"""Where a request comes from and how the client reached the server: through trusted proxies, or directly."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

# What may stand in a URL that is sent back: a Host header may hold anything.
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")

FORWARDED_FOR: Final = "X-Forwarded-For"

# With one of these a request came through a proxy.
_FORWARDING: Final = ("Forwarded", "Via", FORWARDED_FOR, "X-Forwarded-Host", "X-Forwarded-Proto")


@dataclass(frozen=True, slots=True)
class Origins:
    """Reads `X-Forwarded-*` headers where, and only where, a trusted proxy has set them."""

    external_url: str | None
    trusted: Sequence[IPv4Network | IPv6Network]

    def client_address(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the last one in the chain that is no trusted proxy."""
        return self.client_of(request.remote, request.headers.getall(FORWARDED_FOR, ()))

    def client_of(self, remote: str | None, forwarded: Sequence[str]) -> str:
        """Return the same for a request from the address `remote` with these lines of X-Forwarded-For."""
        # A proxy may add a line of its own below the client's instead of appending to it.
        chain = [part.strip() for line in forwarded for part in line.split(",")]
        address = parse_address(remote)
        while chain and self._trusts(address):
            before = parse_address(chain.pop())
            if before is None:
                break
            address = before
        return str(address or remote or "")

    def base_url(self, request: web.BaseRequest) -> str:
        """Return the URL, without a trailing slash, under which the client knows this server."""
        if self.external_url is not None:
            return self.external_url
        scheme, host = request.scheme, request.host
        if self._trusts(parse_address(request.remote)):
            scheme = _first(request.headers.get("X-Forwarded-Proto")) or scheme
            host = _first(request.headers.get("X-Forwarded-Host")) or host
        if scheme not in ("http", "https") or not _is_host(host):
            scheme, host = request.scheme, _own_address(request)
        return f"{scheme}://{host}"

    def is_local(self, request: web.BaseRequest) -> bool:
        """Tell whether the client is on this machine, and not behind a proxy on it."""
        if any(name in request.headers for name in _FORWARDING):
            return False
        address = parse_address(request.remote)
        return address is not None and address.is_loopback

    def is_foreign(self, request: web.BaseRequest) -> bool:
        """Tell whether a browser says that a page of another site sent the request; scripts say nothing."""
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site not in ("same-origin", "none")
        origin = request.headers.get("Origin")
        ours = {urlsplit(self.base_url(request)).netloc, request.host}
        return origin is not None and _host_of(origin) not in ours

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self.trusted)


def _first(header: str | None) -> str | None:
    return header.split(",")[0].strip() if header else None


def _is_host(text: str) -> bool:
    """Tell whether text may stand in a URL as host and port. What is in brackets is an address (RFC 3986)."""
    found = _HOST.fullmatch(text)
    return found is not None and (found[1] is None or parse_address(found[1]) is not None)


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""  # no browser writes that


def parse_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, IPv4 as such whatever the socket; None for other text."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    # A socket for both families shows a client that speaks IPv4 as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _own_address(request: web.BaseRequest) -> str:
    host, port = request.get_extra_info("sockname", ("localhost", 80))[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
