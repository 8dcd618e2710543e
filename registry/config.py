"""Settings: one frozen model, four layers, and every problem told at once.

The layers, weakest first, are the defaults below, a flat TOML file, the environment (`LONGSHORE_<NAME>`) and
the command line. Only the value of the strongest layer counts and is checked. In the environment a list is
separated by commas, and an empty value of an optional setting means that it is not set.

Each field carries a `Kind`: what it accepts in words, and the parser. The words serve three readers: the
error message, the settings table in the README and `longshore config`.

Nothing here reads the process environment; the command line hands it over.
"""

import difflib
import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

PREFIX = "LONGSHORE_"
MASK = "********"
NOT_SET = "not set"

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Plain numbers are bytes and seconds; from the smallest unit to the largest.
SIZE_UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
DURATION_UNITS = {"": 1, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}

# Defaults that depend on the machine, for a table that must not.
COMPUTED_DEFAULTS = {"workers": "the number of cores, at most 4"}

_QUANTITY = re.compile(r"\s*([0-9]{1,18})\s*([A-Za-z]*)\s*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?/?")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER_INFO = re.compile(r"//.*@")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{8,}=*")  # RFC 6750: what an Authorization header can carry
_SERVICE_LINK = re.compile(PREFIX + r"(.*_)?(SERVICE_(HOST|PORT)|PORT_[0-9]+_(TCP|UDP|SCTP)).*")


class Unfit(ValueError):
    """A value that a setting does not accept; the message, if any, adds a detail and never holds a secret."""


class InvalidSettings(Exception):
    """Settings that cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(("the settings are wrong:", *(f"  {text}" for text in self.problems))))


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


# -- parsers ---------------------------------------------------------------------------------------------


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


def _parse_file(value: object) -> Path:
    path = _parse_path(value)
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfit("it is not a regular file")
        path.open("rb").close()
    except OSError as error:
        raise Unfit(_reason(error)) from None
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


def _reason(error: OSError) -> str:
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
JWKS = Kind(
    "an https:// URL, an http:// URL of a loopback host, or the path of a file that can be read", _parse_jwks
)
PASSWORD = Kind("printable text of at least 8 characters", _parse_password)
BEARER = Kind("at least 8 characters out of letters, digits and . _ ~ + / -", _parse_bearer)


# -- the model -------------------------------------------------------------------------------------------


def count_workers() -> int:
    """Return the number of cores that this process may use, at most 4."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(4, cores)


class Settings(BaseModel):
    """Everything that a person may set; see `load` for where the values come from.

    Raises `pydantic.ValidationError` when made directly, with no values in its text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Where it listens, where it keeps things
    host: Annotated[str, HOST] = Field(default="127.0.0.1", description="Address to listen on.")
    port: Annotated[int, whole(0, 65535)] = Field(
        default=5000, description="Port to listen on, where 0 takes any free one."
    )
    data: Annotated[Path, PATH] = Field(
        default=Path("data"),
        description="Directory of the file-system store, the SQLite database and the keys.",
    )
    workers: Annotated[int, whole(1, 256)] = Field(
        default_factory=count_workers, description="Number of processes that serve requests."
    )

    # How clients reach it
    external_url: Annotated[str | None, ORIGIN] = Field(
        default=None,
        description="How clients reach the registry, which is where they are sent for a token.",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NETWORKS] = Field(
        default=(), description="Reverse proxies whose X-Forwarded-* headers are believed."
    )
    tls_certificate: Annotated[Path | None, FILE] = Field(
        default=None, description="Certificate chain in PEM, which together with tls_key turns HTTPS on."
    )
    tls_key: Annotated[Path | None, FILE] = Field(
        default=None, description="Private key in PEM that belongs to tls_certificate."
    )

    # Who may do what
    auth: Literal["on", "off"] = Field(
        default="on", description="Whether callers need rights, or everybody may do everything."
    )
    auth_off_anywhere: bool = Field(
        default=False, description="Allow auth to be off on an address that is not loopback."
    )
    admin_password: Annotated[SecretStr | None, PASSWORD] = Field(
        default=None, description="Password of the first administrator, read at the first start only."
    )
    default_visibility: Literal["private", "public"] = Field(
        default="private", description="Visibility of a repository that a push creates."
    )
    sparse: Literal["none", "index", "all"] = Field(
        default="index",
        description="Which manifests may name content that is not here: none, an index, or all of them.",
    )

    # People
    signup: bool = Field(default=False, description="Whether people may make accounts without an invitation.")
    organizations: Literal["everybody", "administrators"] = Field(
        default="everybody", description="Who may make organizations."
    )
    session_lifetime: Annotated[int, duration(5 * MINUTE, 3650 * DAY)] = Field(
        default=30 * DAY, description="How long somebody stays signed in to the pages without a visit."
    )

    # Tokens of our own
    service: Annotated[str, SERVICE] = Field(
        default="longshore", description="Name of the service in challenges and the audience of tokens."
    )
    token_lifetime: Annotated[int, duration(MINUTE, DAY)] = Field(
        default=300, description="How long an access token is good for."
    )
    refresh_token_lifetime: Annotated[int, duration(HOUR, 3650 * DAY)] = Field(
        default=90 * DAY, description="How long a refresh token, which docker login keeps, is good for."
    )
    token_algorithm: Literal["ES256", "EdDSA"] = Field(
        default="ES256", description="Algorithm that signs tokens."
    )

    # Tokens of somebody else
    outside_issuer: Annotated[str | None, TEXT] = Field(
        default=None, description="Issuer (iss) whose tokens are accepted besides our own."
    )
    outside_audience: Annotated[str | None, TEXT] = Field(
        default=None, description="Audience (aud) that tokens of the outside issuer must carry."
    )
    outside_jwks: Annotated[str | None, JWKS] = Field(
        default=None, description="Where the public keys of the outside issuer are."
    )

    # Passwords
    password_scheme: Literal["argon2", "bcrypt"] = Field(
        default="argon2", description="How new passwords are hashed."
    )
    password_time_cost: Annotated[int, whole(1, 20)] = Field(
        default=3, description="Passes over memory of one argon2 hash."
    )
    password_memory_cost: Annotated[int, whole(1024, 4 * MIB)] = Field(
        default=65536, description="Memory of one argon2 hash in KiB."
    )
    password_parallelism: Annotated[int, whole(1, 64)] = Field(
        default=4, description="Threads of one argon2 hash."
    )
    password_rounds: Annotated[int, whole(4, 31)] = Field(
        default=12, description="Binary logarithm of the rounds of one bcrypt hash."
    )

    # Limits and housekeeping
    upload_ttl: Annotated[int, duration(MINUTE, 365 * DAY)] = Field(
        default=7 * DAY, description="How long an upload may lie idle before it is removed."
    )
    sweep_interval: Annotated[int, duration(1, 7 * DAY)] = Field(
        default=600, description="Time between two rounds of housekeeping."
    )
    manifest_limit: Annotated[int, size(64 * KIB, 64 * MIB)] = Field(
        default=4 * MIB, description="Largest manifest that is accepted."
    )
    page_limit: Annotated[int, whole(1, 10000)] = Field(
        default=1000, description="Most entries in one page of tags, catalog or referrers."
    )
    shutdown_timeout: Annotated[int, duration(0, HOUR)] = Field(
        default=30, description="How long running transfers may take to finish when the server stops."
    )

    # What operators see
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="Form of the log, where auto is console on a terminal and json elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe messages that are logged."
    )
    metrics: Literal["loopback", "open", "off"] = Field(
        default="loopback",
        description="Who may read /metrics: callers on this machine, everybody, or nobody.",
    )
    metrics_token: Annotated[SecretStr | None, BEARER] = Field(
        default=None, description="Bearer token that may read /metrics from anywhere."
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        broken = tuple(rule for rule in RULES if not rule.holds(self))
        if broken:
            raise RulesBroken(broken)
        return self


@dataclass(frozen=True)
class Rule:
    """What several settings must hold together; `words` say what to do when they do not."""

    names: tuple[str, ...]
    words: str
    holds: Callable[[Settings], bool]


class RulesBroken(ValueError):
    """Settings that are fine each by itself and wrong together."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        super().__init__("; ".join(rule.words for rule in rules))


def _all_or_none(*names: str) -> Callable[[Settings], bool]:
    return lambda settings: len({getattr(settings, name) is None for name in names}) == 1


RULES = (
    Rule(
        ("auth", "host", "auth_off_anywhere"),
        "anyone who reaches this address could push and delete; listen on a loopback address such as "
        "127.0.0.1, turn auth on, or set auth_off_anywhere to true if that is meant",
        lambda settings: settings.auth == "on" or settings.auth_off_anywhere or is_loopback(settings.host),
    ),
    Rule(
        ("tls_certificate", "tls_key"),
        "set both tls_certificate and tls_key, or neither",
        _all_or_none("tls_certificate", "tls_key"),
    ),
    Rule(
        ("outside_issuer", "outside_audience", "outside_jwks"),
        "set all of outside_issuer, outside_audience and outside_jwks, or none",
        _all_or_none("outside_issuer", "outside_audience", "outside_jwks"),
    ),
)


# -- loading ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each name the layer that its value came from.

    A source reads "default", "port in /etc/longshore.toml", "LONGSHORE_PORT in the environment" or "--port".
    """

    settings: Settings
    sources: dict[str, str]


def load(*, environ: Mapping[str, str], config_file: Path | None, flags: Mapping[str, object]) -> Loaded:
    """Put the layers on top of each other and check the result.

    `config_file` comes from `--config`; without it `LONGSHORE_CONFIG` in `environ` counts. `flags` go by the
    names of the fields; None and an empty tuple mean that a flag was not given.

    Raises `InvalidSettings` with every problem of every layer.
    """
    layers = _Layers()
    named = environ.get(environment_name("config"))
    if config_file is None and named:
        config_file = Path(named)
    if config_file is not None:
        layers.add_file(config_file)
    layers.add_environment(environ)
    layers.add_flags(flags)
    return layers.check()


@dataclass
class _Layers:
    """The strongest value so far for each name, and what was wrong on the way."""

    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=lambda: dict.fromkeys(Settings.model_fields, "default"))
    problems: list[str] = field(default_factory=list)
    # Without the file nobody can say what else was set, so rules about what is missing stay silent.
    file_failed: bool = False

    def add(self, name: str, value: object, source: str) -> None:
        self.values[name] = value
        self.sources[name] = source

    def add_file(self, path: Path) -> None:
        try:
            document = _read_toml(path)
        except Unfit as error:
            self.problems.append(f"{_printable(str(path))} {error}")
            self.file_failed = True
            return
        for key, value in document.items():
            source = f"{_printable(key)} in {_printable(str(path))}"
            if key in Settings.model_fields:
                self.add(key, value, source)
            elif isinstance(value, dict):
                self.problems.append(f"{source} is a table; settings stand in the file without tables")
            else:
                self.problems.append(f"{source} is not a setting{_suggest(key, str)}")

    def add_environment(self, environ: Mapping[str, str]) -> None:
        for variable, value in environ.items():
            name = variable.removeprefix(PREFIX).lower()
            source = f"{_printable(variable)} in the environment"
            if not variable.startswith(PREFIX) or variable == environment_name("config"):
                continue
            if name in Settings.model_fields and variable == environment_name(name):
                self.add(name, value, source)
            elif _SERVICE_LINK.fullmatch(variable):
                self.problems.append(
                    f"{source} is not a setting; Kubernetes adds it for a Service of that name, "
                    "set enableServiceLinks: false for the pod"
                )
            else:
                self.problems.append(f"{source} is not a setting{_suggest(name, environment_name)}")

    def add_flags(self, flags: Mapping[str, object]) -> None:
        for name, value in flags.items():
            if value is None or value == ():
                continue
            if name in Settings.model_fields:
                self.add(name, value, flag_name(name))
            else:
                self.problems.append(
                    f"{_printable(flag_name(name))} is not a setting{_suggest(name, flag_name)}"
                )

    def check(self) -> Loaded:
        settings, details, rules = _validate(self.values)
        for name, detail in details.items():
            self.problems.append(f"{self._told(name)} must be {words(name)}{detail}")
        if details:
            # Rules are checked only once every field is sound: so again, without the fields that are not.
            _, _, rules = _validate(
                {name: value for name, value in self.values.items() if name not in details}
            )
        for rule in rules:
            if not self._in_doubt(rule, details):
                self.problems.append(f"{', '.join(map(self._told, rule.names))}: {rule.words}")
        if settings is None or self.problems:
            raise InvalidSettings(self.problems)
        return Loaded(settings, self.sources)

    def _in_doubt(self, rule: Rule, wrong: Iterable[str]) -> bool:
        missing = any(name not in self.values for name in rule.names)
        return not set(rule.names).isdisjoint(wrong) or (self.file_failed and missing)

    def _told(self, name: str) -> str:
        value = self.values.get(name, _default(name))
        return f"{name} = {_quote(name, value)} ({self.sources[name]})"


def _validate(values: Mapping[str, object]) -> tuple[Settings | None, dict[str, str], tuple[Rule, ...]]:
    """Return the settings, or the fields that are wrong with a detail each, or the rules that are broken."""
    details: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    try:
        return Settings.model_validate(values), details, rules
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            cause = item.get("ctx", {}).get("error")
            if isinstance(cause, RulesBroken):
                rules = cause.rules
            else:
                told = str(cause) if isinstance(cause, Unfit) else ""
                details[str(item["loc"][0])] = f": {_tame(told)}" if told else ""
    return None, details, rules


def _read_toml(path: Path) -> dict[str, object]:
    """Return the document in the file; raises `Unfit` whose message goes on after the path."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unfit(f"cannot be read: {_reason(error)}") from None
    except ValueError:
        raise Unfit("is not a path") from None
    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unfit(f"is not valid TOML: line {line} is not UTF-8") from None
    except RecursionError:
        raise Unfit("is not valid TOML: it is nested too deeply") from None
    except ValueError as error:
        last = f"at line {len(text.splitlines())}, the end of the file"
        reason = str(error).replace("at end of document", last)
        raise Unfit(f"is not valid TOML: {_printable(reason)}") from None


def _suggest(name: str, spell: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
    return f"; did you mean {spell(near[0])}?" if near else ""


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _quote(name: str, value: object) -> str:
    """Write a value as it was given, for an error message."""
    if value is None:
        return NOT_SET
    if is_secret(name):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return _tame(repr(str(value) if isinstance(value, Path) else value))
    except ValueError:
        # TOML has hexadecimal numbers of any length; Python does not print what is longer than 4300 digits.
        return "a number of too many digits"


def _tame(text: str) -> str:
    """Cut to what fits on a line, without the password that a URL may carry."""
    text = _USER_INFO.sub(f"//{MASK}@", text)
    return text if len(text) <= 100 else f"{text[:99]}…"


# -- telling ---------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A setting as `longshore config` prints it; a secret value is masked."""

    name: str
    value: str
    source: str


class Description(NamedTuple):
    """A setting as the README's table prints it."""

    name: str
    variable: str
    words: str
    default: str
    description: str


def environment_name(name: str) -> str:
    """Return the variable of a setting: LONGSHORE_TOKEN_LIFETIME for token_lifetime."""
    return PREFIX + name.upper()


def flag_name(name: str) -> str:
    """Return the flag of a setting: --token-lifetime for token_lifetime."""
    return "--" + name.replace("_", "-")


def is_secret(name: str) -> bool:
    """Tell whether the value of a setting must not be shown."""
    return SecretStr in get_args(Settings.model_fields[name].annotation)


def words(name: str) -> str:
    """Say what a setting accepts: "a whole number from 0 to 65535", "one of none, index, all"."""
    kind = _kind(name)
    if kind is not None:
        return kind.words
    choices = get_args(Settings.model_fields[name].annotation)
    return f"one of {', '.join(choices)}" if choices else "true or false"


def rows(loaded: Loaded) -> Iterator[Row]:
    """Yield every setting with its value and where that came from, in the order of the model."""
    for name, source in loaded.sources.items():
        yield Row(name, _show(name, getattr(loaded.settings, name)), source)


def table() -> Iterator[Description]:
    """Yield every setting with what it accepts, in the order of the model; the same on every machine."""
    for name, info in Settings.model_fields.items():
        default = COMPUTED_DEFAULTS.get(name) or _show(name, _default(name))
        yield Description(name, environment_name(name), words(name), default, info.description or "")


def markdown_table() -> str:
    """Return the settings table of the README, with a newline at its end."""
    lines = ["| setting | environment | accepts | default | meaning |", "|---|---|---|---|---|"]
    for row in table():
        name, variable, accepts, default, meaning = (cell.replace("|", "\\|") for cell in row)
        lines.append(f"| `{name}` | `{variable}` | {accepts} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _kind(name: str) -> Kind | None:
    return next((item for item in Settings.model_fields[name].metadata if isinstance(item, Kind)), None)


def _default(name: str) -> object:
    return Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _show(name: str, value: object) -> str:
    """Write a checked value the way a person would set it."""
    if value is None:
        return NOT_SET
    if is_secret(name):
        return MASK
    kind = _kind(name)
    if kind is not None:
        return kind.show(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
