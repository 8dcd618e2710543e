"""Settings: one frozen model.

In the environment a list is separated by commas, and an empty value of an optional setting means that it is
not set. Each field carries a `Kind`: what it accepts in words, and the parser. The words serve three readers:
the error message, the settings table in the README and `longshore config`. Where the values come from is told
in `registry.setting_layers`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from registry.setting_kinds import (
    BEARER,
    DATABASE,
    DAY,
    FILE,
    GIB,
    HOST,
    HOUR,
    JWKS,
    KIB,
    MIB,
    MINUTE,
    NETWORKS,
    ORIGIN,
    PASSWORD,
    PATH,
    SECRET,
    SERVICE,
    STORAGE,
    TEXT,
    Kind,
    duration,
    is_loopback,
    size,
    whole,
)

PREFIX = "LONGSHORE_"
MASK = "********"
NOT_SET = "not set"

# Defaults that depend on the machine, for a table that must not.
COMPUTED_DEFAULTS = {"workers": "the number of cores, at most 4"}


# -- the model -------------------------------------------------------------------------------------------


def count_workers() -> int:
    """Return the number of cores that this process may use, at most 4."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(4, cores)


class Settings(BaseModel):
    """Everything that a person may set; see `registry.setting_layers` for where the values come from.

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
        description="Directory of the SQLite database, the keys and, without storage, the blobs.",
    )
    workers: Annotated[int, whole(1, 256)] = Field(
        default_factory=count_workers, description="Number of processes that serve requests."
    )

    database: Annotated[SecretStr | None, DATABASE] = Field(
        default=None, description="PostgreSQL database of the metadata, where none is SQLite in `data`."
    )
    database_pool: Annotated[int, whole(2, 200)] = Field(
        default=10, description="Connections to PostgreSQL that one worker process opens at most."
    )
    database_timeout: Annotated[int, duration(1, HOUR)] = Field(
        default=30, description="How long one statement may take on PostgreSQL."
    )
    keys_secret: Annotated[SecretStr | None, SECRET] = Field(
        default=None,
        description="Secret that encrypts signing keys kept in the database for all nodes, "
        "where without one they are files in `data`.",
    )

    # Where blobs are
    storage: Annotated[str | None, STORAGE] = Field(
        default=None, description="Where blobs are kept, if not in data: a directory, or a bucket."
    )
    s3_endpoint: Annotated[str | None, ORIGIN] = Field(
        default=None, description="Where the S3 store answers, if it is not Amazon's."
    )
    s3_region: Annotated[str | None, TEXT] = Field(
        default=None, description="Region of the bucket, if not as in the AWS configuration."
    )
    s3_redirect: bool = Field(
        default=True, description="Whether clients are sent to the store for the bytes of a blob."
    )
    s3_public_endpoint: Annotated[str | None, ORIGIN] = Field(
        default=None, description="Where clients reach the store, if not at s3_endpoint."
    )
    s3_url_lifetime: Annotated[int, duration(MINUTE, 7 * DAY)] = Field(
        default=20 * MINUTE,
        description="How long a client has to follow a redirect to the store; deleted bytes stay for longer.",
    )
    s3_part_size: Annotated[int, size(5 * MIB, 32 * MIB)] = Field(
        default=8 * MIB, description="Size of the parts of an upload, of which there are at most 10000."
    )
    s3_grow_parts: bool = Field(
        default=False,
        description="Whether parts become larger in very long uploads, which not every store takes.",
    )
    s3_path_style: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the bucket stands in the path of a URL, where auto means if s3_endpoint is set.",
    )
    s3_ca: Annotated[Path | None, FILE] = Field(
        default=None, description="Certificates in PEM that the store's is checked against."
    )
    s3_encryption: Literal["none", "s3", "kms"] = Field(
        default="none", description="Encryption that the store is asked for: none, SSE-S3 or SSE-KMS."
    )
    s3_kms_key: Annotated[str | None, TEXT] = Field(
        default=None, description="Key for s3_encryption = kms, if not the bucket's own."
    )
    s3_threads: Annotated[int, whole(2, 256)] = Field(
        default=16, description="Calls to the store that a worker makes at the same time."
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
    gc_interval: Annotated[int, duration(1, HOUR)] = Field(
        default=MINUTE, description="Time between two turns of garbage collection."
    )
    gc_grace: Annotated[int, duration(0, 365 * DAY)] = Field(
        default=DAY,
        description="How long blobs stay that no manifest names; a push may take this long.",
    )
    gc_quarantine: Annotated[int, duration(0, 365 * DAY)] = Field(
        default=DAY, description="How long what was collected can come back before its bytes are deleted."
    )
    gc_untagged: Annotated[int | None, duration(0, 3650 * DAY)] = Field(
        default=None,
        description="How long manifests stay that no tag leads to, where without it they stay for good.",
    )
    scrub_rate: Annotated[int, size(0, 64 * GIB)] = Field(
        default=4 * MIB,
        description="Bytes of stored blobs to read again per second, to find damage; 0 reads none.",
    )
    manifest_limit: Annotated[int, size(64 * KIB, 64 * MIB)] = Field(
        default=4 * MIB, description="Largest manifest that is accepted."
    )
    page_limit: Annotated[int, whole(1, 10000)] = Field(
        default=1000, description="Most entries in one page of tags, catalog or referrers."
    )
    uploads_per_account: Annotated[int, whole(1, 1_000_000)] = Field(
        default=1000, description="Uploads that one account may have begun and not finished."
    )
    head_timeout: Annotated[int, duration(1, HOUR)] = Field(
        default=30, description="How long a TLS handshake, or the head of a request, may take to arrive."
    )
    transfer_timeout: Annotated[int, duration(1, HOUR)] = Field(
        default=60,
        description="How long a body or an answer may stand still, or go more slowly than transfer_rate.",
    )
    transfer_rate: Annotated[int, size(1, MIB)] = Field(
        default=KIB, description="Bytes a second, averaged over transfer_timeout, that clients move at least."
    )
    connections: Annotated[int, whole(16, 1_000_000)] = Field(
        default=4096, description="Connections that one worker has open at most."
    )
    connections_per_address: Annotated[int, whole(0, 1_000_000)] = Field(
        default=256,
        description="Connections that one worker has open to one address at most, trusted proxies aside, "
        "where 0 is any number.",
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


def is_s3(storage: str | None) -> bool:
    """Tell whether blobs are in a bucket rather than in a directory."""
    return storage is not None and storage.startswith("s3://")


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
    Rule(
        ("s3_encryption", "s3_kms_key"),
        "set s3_encryption to kms where s3_kms_key is set",
        lambda settings: settings.s3_kms_key is None or settings.s3_encryption == "kms",
    ),
)


# -- telling ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each name the layer that its value came from.

    A source reads "default", "port in /etc/longshore.toml", "LONGSHORE_PORT in the environment" or "--port".
    """

    settings: Settings
    sources: dict[str, str]


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
        default = COMPUTED_DEFAULTS.get(name) or _show(name, default_of(name))
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


def default_of(name: str) -> object:
    """Return the value of a setting that nobody set."""
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
