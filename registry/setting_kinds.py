"""What settings accept: each kind in words, with its parser and the way to show a value.

Parsers take what any layer of settings may hand over: text from the environment, or a value of TOML.
"""

import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from types import NoneType
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Plain numbers are bytes and seconds; from the smallest unit to the largest.
SIZE_UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
DURATION_UNITS = {"": 1, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}

_QUANTITY = re.compile(r"\s*([0-9]{1,18})\s*([A-Za-z]*)\s*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?/?")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
# A bucket's name as AWS allows it, and keys that mean the same in a URL as outside.
_S3_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9!_.*'()-]+)*)/?")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{8,}=*")  # RFC 6750: what an Authorization header can carry


class Unfit(ValueError):
    """A value that a setting does not accept; the message, if any, adds a detail and never holds a secret."""


@dataclass(frozen=True)
class Kind:
    """What a setting accepts, as metadata of its annotation.

    `words` completes the sentence "must be …". `parse` takes what any layer may hand over, and raises
    `ValueError`. `show` writes a parsed value the way a person would.
    """

    words: str
    parse: Callable[[object], object]
    show: Callable[[Any], str] = str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        optional = NoneType in get_args(source)

        def parse(value: object) -> object:
            return None if optional and value in (None, "") else self.parse(value)

        return core_schema.no_info_before_validator_function(parse, handler(source))


def is_loopback(host: str) -> bool:
    """Tell whether `host` is 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_quantity(value: object, units: dict[str, int], low: int, high: int) -> int:
    """Read 300, "300" or "5m" as a whole number of the smallest unit, from `low` to `high`."""
    # `true` is an int in Python and never a number of anything here.
    text = str(value) if type(value) is int else value
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[2] not in units:
        raise Unfit
    number = int(found[1]) * units[found[2]]
    if not low <= number <= high:
        raise Unfit
    return number


def show_quantity(number: int, units: dict[str, int]) -> str:
    """Write `number` in the largest unit that divides it: 300 as "5m"."""
    for name, unit in reversed(units.items()):
        if name and number >= unit and number % unit == 0:
            return f"{number // unit}{name}"
    return str(number)


def whole(low: int, high: int) -> Kind:
    """Accept a whole number from `low` to `high`."""
    return Kind(
        f"a whole number from {low} to {high}", lambda value: parse_quantity(value, {"": 1}, low, high)
    )


def size(low: int, high: int) -> Kind:
    """Accept bytes as a whole number or as text such as "4MiB"."""
    bounds = f"from {show_quantity(low, SIZE_UNITS)} to {show_quantity(high, SIZE_UNITS)}"
    return Kind(
        f"a size {bounds}, in bytes or such as 512KiB or 4MiB",
        lambda value: parse_quantity(value, SIZE_UNITS, low, high),
        lambda number: show_quantity(number, SIZE_UNITS),
    )


def duration(low: int, high: int) -> Kind:
    """Accept seconds as a whole number or as text such as "12h"."""
    bounds = f"from {show_quantity(low, DURATION_UNITS)} to {show_quantity(high, DURATION_UNITS)}"
    return Kind(
        f"a duration {bounds}, in seconds or such as 30s, 10m, 12h or 7d",
        lambda value: parse_quantity(value, DURATION_UNITS, low, high),
        lambda number: show_quantity(number, DURATION_UNITS),
    )


def _parse_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise Unfit
    return value


def _parse_service(value: object) -> str:
    # It stands between quotes in a WWW-Authenticate header.
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        raise Unfit
    return value


def _parse_host(value: object) -> str:
    text = _parse_text(value)
    try:
        ip_address(text)
    except ValueError:
        # Resolvers read a last label of digits as a short IPv4 address ("127.1"), which nobody means.
        if not _HOST_NAME.fullmatch(text) or text.rsplit(".", 1)[-1].isdigit():
            raise Unfit from None
    return text


def _parse_origin(value: object) -> str:
    found = _ORIGIN.fullmatch(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise Unfit
    scheme, host, port = found.groups()
    if host.startswith("["):
        IPv6Address(host[1:-1])
    else:
        _parse_host(host)
    if port is None:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{parse_quantity(port, {'': 1}, 1, 65535)}"


def _parse_networks(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    items = [item for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise Unfit
    return tuple(_parse_network(item) for item in items)


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise Unfit  # ip_network() would read a number as an address
    text = value.strip()
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Unfit(f"{text!r} is not one") from None
    if "/" in text and ip_address(text.split("/")[0]) != network.network_address:
        raise Unfit(f"the network around {text} is {network}")
    return network


def _parse_path(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text or "\0" in text or text.startswith("~"):
        raise Unfit
    return Path(text)


def _parse_storage(value: object) -> str:
    if not isinstance(value, str) or not _HAS_SCHEME.match(value):
        return str(_parse_path(value))
    found = _S3_URL.fullmatch(value)
    if found is None or {".", ".."} & set(found[2].split("/")):
        raise Unfit
    return f"s3://{found[1]}{found[2]}"


def _parse_file(value: object) -> Path:
    path = _parse_path(value)
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfit("it is not a regular file")
        path.open("rb").close()
    except OSError as error:
        raise Unfit(reason_of(error)) from None
    return path


def _parse_jwks(value: object) -> str:
    text = _parse_text(value)
    if not _HAS_SCHEME.match(text):
        return str(_parse_file(text))
    url = urlsplit(text)
    if " " in text or not url.hostname or "@" in url.netloc or url.port == 0:
        raise Unfit
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise Unfit
    return text


def _parse_password(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    # What is not printable cannot be typed at a login, and a NUL or a stray byte cannot be hashed.
    if not isinstance(text, str) or len(text) < 8 or not text.isprintable():
        raise Unfit
    return SecretStr(text)


def _parse_bearer(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not _BEARER.fullmatch(text):
        raise Unfit
    return SecretStr(text)


def _parse_secret(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or len(text) < 32 or not text.isprintable():
        raise Unfit
    return SecretStr(text)


def _parse_database(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.isprintable() or " " in text:
        raise Unfit
    url = urlsplit(text)
    # What may be wrong in detail is found when it connects; a name alone would be taken from the account.
    if url.scheme not in ("postgresql", "postgres") or len(url.path) < 2 or url.fragment:
        raise Unfit
    return SecretStr(text)


def reason_of(error: OSError) -> str:
    """Say why a file cannot be used, as the end of a sentence."""
    return (error.strerror or "it cannot be read").lower()


def _show_networks(networks: Iterable[IPv4Network | IPv6Network]) -> str:
    return ",".join(str(network) for network in networks) or "empty"


TEXT = Kind("text that is not empty", _parse_text)
SERVICE = Kind("a name of letters, digits and . _ : -", _parse_service)
HOST = Kind("an IP address or a host name, without a port", _parse_host)
ORIGIN = Kind("an http:// or https:// URL without user, path or query", _parse_origin)
NETWORKS = Kind(
    "a list of IP networks such as 10.0.0.0/8 or 192.168.1.7, separated by commas",
    _parse_networks,
    _show_networks,
)
PATH = Kind("a path, with ~ written out", _parse_path)
FILE = Kind("the path of a file that can be read, with ~ written out", _parse_file)
STORAGE = Kind("the path of a directory, with ~ written out, or s3://bucket/prefix", _parse_storage)
JWKS = Kind(
    "an https:// URL, an http:// URL of a loopback host, or the path of a file that can be read", _parse_jwks
)
SECRET = Kind("printable text of at least 32 characters", _parse_secret)
DATABASE = Kind("a URL such as postgresql://user:password@host:5432/database", _parse_database)
PASSWORD = Kind("printable text of at least 8 characters", _parse_password)
BEARER = Kind("at least 8 characters out of letters, digits and . _ ~ + / -", _parse_bearer)
