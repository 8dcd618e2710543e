"""Bearer tokens: JSON Web Tokens (RFC 7519, hardened as RFC 8725 says) and opaque secrets.

The claims are those of the Docker token specification
(https://distribution.github.io/distribution/spec/auth/jwt/), with `account`, `admin` and `token` of our own.
"""

import hashlib
import json
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import jwt

from auth.identity import Identity
from auth.jwk import ALGORITHMS, MAX_KID, KeyRing, VerifyingKey, read_jwks
from auth.scope import InvalidScope, Scope

LEEWAY: Final = 10
MIN_LIFETIME: Final = 60
MAX_TOKEN_BYTES: Final = 16 * 1024

_MAX_SUBJECT: Final = 256
_LAST_SECOND: Final = 2**40
_TYPES: Final = frozenset({"jwt", "at+jwt"})
# A header that brings its own key, or changes the meaning of the rest, is refused rather than ignored.
_REFUSED_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})

Clock = Callable[[], float]


class InvalidToken(Exception):
    """A token that grants nothing. The message is the reason, safe to show to whoever sent it."""


class UnknownKey(InvalidToken):
    """The key is not among those of `issuer`: a caller that fetches keys may do so and try once more."""

    def __init__(self, issuer: str) -> None:
        super().__init__("the token names a key that its issuer does not have")
        self.issuer = issuer


class IssuedToken(NamedTuple):
    """What the token endpoint answers: the token, its lifetime in seconds, when it was made (UTC)."""

    token: str
    expires_in: int
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token says, once it is known to be true. Times are seconds since the epoch."""

    subject: str
    scope: Scope
    valid_from: int
    expires_at: int
    issuer: str
    external: bool
    account_id: int | None = None
    is_admin: bool = False
    token_id: str = ""
    access_token_id: int | None = None
    """Of the access token that was the password, which bounds this one and ends it."""

    @property
    def identity(self) -> Identity:
        """Who the token speaks for."""
        return Identity(self.account_id, self.subject, is_admin=self.is_admin, external=self.external)


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """An outside issuer that is believed about the scope of its tokens, and about nothing else.

    `jwks` returns the JSON Web Key Set as last fetched: it is called often, must not block, and returns
    {"keys": []} while there is none.
    """

    issuer: str
    audience: str
    jwks: Callable[[], Mapping[str, Any]]


class TokenIssuer:
    """Issue tokens that are signed by the newest key of `keyring()`. `lifetime` is in seconds, at least 60.

    The Docker token specification has clients assume 60 seconds; a shorter life would surprise them.
    """

    def __init__(
        self,
        keyring: Callable[[], KeyRing],
        issuer: str,
        audience: str,
        lifetime: int = 300,
        *,
        clock: Clock = time.time,
    ) -> None:
        if lifetime < MIN_LIFETIME:
            raise ValueError(f"a token must live for at least {MIN_LIFETIME} seconds")
        self._keyring = keyring
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._clock = clock

    def issue(self, identity: Identity, scope: Scope) -> IssuedToken:
        """Make a token. The subject of an anonymous caller is "".

        Raises InvalidScope where the scope would make the token larger than a verifier accepts, and
        ValueError for an external identity, whose tokens are not ours to make.
        """
        if identity.external:
            raise ValueError("no token is issued to an external identity")
        now = int(self._clock())
        key = self._keyring().signing
        claims = self._claims(identity, scope, now)
        token = jwt.encode(claims, key.private_key, key.algorithm, headers={"kid": key.kid, "typ": "JWT"})
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidScope("the scope is too large for one token")
        return IssuedToken(token, self._lifetime, datetime.fromtimestamp(now, UTC))

    def _claims(self, identity: Identity, scope: Scope, now: int) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": identity.name,
            "aud": self._audience,
            "exp": now + self._lifetime,
            "nbf": now,
            "iat": now,
            "jti": secrets.token_urlsafe(16),
            "access": scope.to_claims(),
        }
        if identity.account_id is not None:
            claims["account"] = identity.account_id
        if identity.is_admin:
            claims["admin"] = True
        if identity.limit is not None:
            claims["token"] = identity.limit.token_id
        return claims


class TokenVerifier:
    """Verify our own tokens and those of outside issuers. For one thread, usually the event loop's.

    Algorithms come from the key and never from the token. A verified token is remembered by its bytes, as
    a signature costs a hundred times the lookup; the clock is asked again each time. Keys are asked for
    again every `reload_seconds`, and once more in that time when a token names an unknown key; if
    they changed, everything remembered is forgotten.
    """

    def __init__(
        self,
        keyring: Callable[[], KeyRing],
        issuer: str,
        audience: str,
        external: Iterable[ExternalIssuer] = (),
        *,
        cache_size: int = 4096,
        reload_seconds: float = 1.0,
        clock: Clock = time.time,
    ) -> None:
        self._trusted = {issuer: _Trusted(issuer, audience, False, lambda: keyring().verifying_keys())}
        for other in external:
            if other.issuer in self._trusted:
                raise ValueError(f"the issuer {other.issuer!r} is configured twice")
            self._trusted[other.issuer] = _Trusted(other.issuer, other.audience, True, _reader(other))
        self._jws = jwt.PyJWS(algorithms=sorted(ALGORITHMS))
        self._cache: OrderedDict[str, VerifiedToken] = OrderedDict()
        self._cache_size = cache_size
        self._interval = reload_seconds
        self._clock = clock
        self._polled_at = -math.inf

    def verify(self, token: str) -> VerifiedToken:
        """Return what the token says. Raises InvalidToken, and what `keyring` raises."""
        now = self._clock()
        if _is_due(self._polled_at, self._interval, now):
            self._poll(now)
        # Taken out and put back at the end: the order is that of the last use, and what expired is gone.
        verified = self._cache.pop(token, None) or self._verify(token, now)
        _check_times(verified, now)
        self._cache[token] = verified
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return verified

    def _poll(self, now: float) -> None:
        changed = [trusted.reload() for trusted in self._trusted.values()]
        if any(changed):
            self._cache.clear()
        # Last: while the keys cannot be read, nothing is believed.
        self._polled_at = now

    def _verify(self, token: str, now: float) -> VerifiedToken:
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("the token is too long")
        unverified = self._decode(token)
        kid, algorithm = _read_header(unverified["header"])
        issuer = _read_claims(unverified["payload"]).get("iss")
        trusted = self._trusted.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise InvalidToken("the token is of an unknown issuer")
        key = self._find(trusted, kid, now)
        if algorithm not in key.algorithms:
            raise InvalidToken("the token is signed with an algorithm that its key does not have")
        # Read the claims from what was verified; the issuer in it chose the key, so it is checked again.
        verified = self._decode(token, key)
        return _read_token(_read_claims(verified["payload"]), trusted)

    def _find(self, trusted: "_Trusted", kid: str, now: float) -> VerifyingKey:
        key = trusted.keys.get(kid)
        if key is None and _is_due(trusted.missed_at, self._interval, now):
            # Another process may have rotated the keys a moment ago.
            trusted.missed_at = now
            if trusted.reload():
                self._cache.clear()
            key = trusted.keys.get(kid)
        if key is None:
            raise UnknownKey(trusted.issuer)
        return key

    def _decode(self, token: str, key: VerifyingKey | None = None) -> dict[str, Any]:
        try:
            if key is None:
                return self._jws.decode_complete(token, options={"verify_signature": False})
            return self._jws.decode_complete(token, key.key, algorithms=sorted(key.algorithms))
        except jwt.InvalidSignatureError:
            raise InvalidToken("the signature is wrong") from None
        except (jwt.PyJWTError, ValueError):
            raise InvalidToken("this is not a signed JSON Web Token") from None


class _Trusted:
    """One issuer with the keys last seen."""

    def __init__(
        self, issuer: str, audience: str, external: bool, read: Callable[[], Mapping[str, VerifyingKey]]
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.external = external
        self.keys: Mapping[str, VerifyingKey] = {}
        self.missed_at = -math.inf
        self._read = read

    def reload(self) -> bool:
        """Ask for the keys again; whether they changed."""
        before, self.keys = self.keys, self._read()
        return before != self.keys


def new_secret(prefix: str) -> str:
    """Return a random opaque secret of 256 bits: `prefix` ("lsr_" for refresh tokens) and 43 characters.

    The prefix lets scanners of leaked secrets recognise it.
    """
    return prefix + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """Return what is stored of a secret from `new_secret`, and what it is looked up by: SHA-256 in hex.

    A slow, salted hash protects secrets that can be guessed. 256 random bits cannot, so one fast round is
    enough; without a salt the row is found by index. The lookup leaks nothing useful by its
    timing either, as nobody can aim at the hash of a secret they do not have.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _reader(external: ExternalIssuer) -> Callable[[], Mapping[str, VerifyingKey]]:
    return lambda: read_jwks(external.jwks())


def _is_due(last: float, interval: float, now: float) -> bool:
    # Also when the clock was set back: otherwise nothing would be due for as long as it was.
    return not 0 <= now - last < interval


def _read_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key id and the algorithm that the header claims."""
    refused = sorted(_REFUSED_HEADERS & header.keys())
    if refused:
        raise InvalidToken(f"the token has a header that is not accepted: {refused[0]}")
    kid, algorithm, type_ = header.get("kid"), header.get("alg"), header.get("typ", "JWT")
    if not isinstance(type_, str) or type_.lower().removeprefix("application/") not in _TYPES:
        raise InvalidToken("the token is of another type than JWT")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID or not isinstance(algorithm, str):
        raise InvalidToken("the token names no key or no algorithm")
    return kid, algorithm


def _read_claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise InvalidToken("the token holds no JSON") from None
    if not isinstance(claims, dict):
        raise InvalidToken("the token holds no claims")
    return claims


def _read_token(claims: Mapping[str, Any], trusted: _Trusted) -> VerifiedToken:
    if claims.get("iss") != trusted.issuer:
        raise InvalidToken("the token is of an unknown issuer")
    audience = claims.get("aud")
    if trusted.audience not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidToken("the token is for another audience")
    issued, valid = _seconds(claims, "iat"), _seconds({"nbf": claims["iat"], **claims}, "nbf")
    # Only our own tokens speak of our accounts: an outside issuer must not make an administrator.
    account = None if trusted.external else claims.get("account")
    access_token = None if trusted.external else claims.get("token")
    token_id = claims.get("jti", "")
    if not isinstance(token_id, str) or not (_is_id(account) and _is_id(access_token)):
        raise InvalidToken("a claim of the token is malformed: jti, account or token")
    return VerifiedToken(
        subject=_subject(claims, trusted.external),
        scope=_scope(claims),
        valid_from=max(issued, valid),
        expires_at=_seconds(claims, "exp"),
        issuer=trusted.issuer,
        external=trusted.external,
        account_id=account,
        is_admin=not trusted.external and claims.get("admin") is True,
        token_id=token_id,
        access_token_id=access_token,
    )


def _is_id(value: object) -> bool:
    return value is None or type(value) is int


def _subject(claims: Mapping[str, Any], external: bool) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or len(subject) > _MAX_SUBJECT or not subject.isprintable():
        raise InvalidToken("a claim of the token is missing or malformed: sub")
    # "" is the anonymous caller, and only we may let that one in.
    if external and not subject:
        raise InvalidToken("a claim of the token is missing or malformed: sub")
    return subject


def _scope(claims: Mapping[str, Any]) -> Scope:
    access = claims.get("access")
    if access is None:
        # A token server in Go writes an empty list as null.
        return Scope()
    try:
        return Scope.from_claims(access)
    except InvalidScope:
        raise InvalidToken("a claim of the token is malformed: access") from None


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    # NumericDate may have a fraction. True is an int in Python, and JSON here may hold Infinity and NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:
        raise InvalidToken(f"a claim of the token is missing or malformed: {name}")
    return int(value)


def _check_times(token: VerifiedToken, now: float) -> None:
    if now >= token.expires_at + LEEWAY:
        raise InvalidToken("the token has expired")
    if now < token.valid_from - LEEWAY:
        raise InvalidToken("the token is not valid yet")
