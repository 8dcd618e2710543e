"""Settings that work and should be looked at all the same."""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from registry.cli.checks.findings import Finding, fault, ok, warning
from registry.config import Settings, is_s3

_CHECK: Final = "settings"

# What stands in examples, and is tried first by whoever tries.
_WELL_KNOWN: Final = frozenset(
    {"admin", "change-me", "changeme", "example", "longshore", "minioadmin", "password", "postgres", "secret"}
)
# A secret with fewer different characters was typed, not made.
_MIN_VARIETY: Final = 10


def check_settings(settings: Settings) -> Sequence[Finding]:
    """Look at what is open, and at secrets that are none."""
    found = list(_findings(settings))
    return found or [ok(_CHECK, "access control is on, metrics are closed, no secret is a well-known one")]


def is_well_known(secret: str) -> bool:
    """Tell whether a secret is one of those that examples have."""
    plain = secret.lower().rstrip("0123456789!")
    return plain in _WELL_KNOWN or secret.lower() in _WELL_KNOWN


def _findings(settings: Settings) -> Iterator[Finding]:
    if settings.auth == "off":
        found = "auth is off: whoever reaches the server may pull, push and delete everything"
        yield warning(_CHECK, found, "set auth = on")
    if settings.metrics == "open":
        found = "metrics is open: whoever reaches the server may read /metrics"
        yield warning(_CHECK, found, "set metrics = loopback, and metrics_token for who reads from elsewhere")
    if settings.s3_endpoint is not None and not is_s3(settings.storage):
        found = "s3_endpoint is set, and storage is no bucket: the server does not start so"
        yield fault(_CHECK, found, "set storage = s3://bucket/prefix")
    if _shares_its_host(settings):
        found = (
            "the store has the registry's own host name: clients send their token on to it, and it refuses"
        )
        advice = "give the store another name (another port is not enough) and set s3_public_endpoint to it; "
        yield fault(_CHECK, found, advice + "or set s3_redirect = false")
    for name in ("admin_password", "metrics_token", "keys_secret"):
        secret: SecretStr | None = getattr(settings, name)
        if secret is not None and _is_weak(name, secret.get_secret_value()):
            yield warning(
                _CHECK, f"{name} can be guessed", f"set {name} to a random one: openssl rand -hex 32"
            )
    if settings.database is not None and _has_weak_password(settings.database.get_secret_value()):
        found = "the password of the database can be guessed"
        yield warning(_CHECK, found, "change it with ALTER ROLE … PASSWORD, and in database")


def _shares_its_host(settings: Settings) -> bool:
    """Tell whether a redirect goes to the host that it comes from, to which clients repeat their headers."""
    store = settings.s3_public_endpoint or settings.s3_endpoint
    if store is None or settings.external_url is None or not settings.s3_redirect:
        return False
    return is_s3(settings.storage) and urlsplit(store).hostname == urlsplit(settings.external_url).hostname


def _is_weak(name: str, secret: str) -> bool:
    return is_well_known(secret) or (name == "keys_secret" and len(set(secret)) < _MIN_VARIETY)


def _has_weak_password(dsn: str) -> bool:
    parts = urlsplit(dsn)
    password = None if parts.password is None else unquote(parts.password)
    return password is not None and (is_well_known(password) or password == parts.username)
