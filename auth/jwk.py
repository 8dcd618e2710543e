"""Keys of tokens: those we sign with, those we verify with, and their public form.

JSON Web Keys are RFC 7517, their algorithms RFC 7518 and RFC 8037, the thumbprint RFC 7638.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Algorithm = Literal["ES256", "EdDSA"]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MAX_KEYS: Final = 100
MAX_KID: Final = 256
_MIN_RSA_BITS: Final = 2048

# What a key may verify follows from the key: (kty, crv) → algorithms. Nothing symmetric is here.
_ALGORITHMS: Final[Mapping[tuple[object, object], frozenset[str]]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
ALGORITHMS: Final = frozenset[str]().union(*_ALGORITHMS.values())

# RFC 7468 allows explanatory text before the first boundary; OpenSSL skips it as well.
_CREATED: Final = re.compile(rb"^Created: ([0-9T:-]{19})Z$", re.MULTILINE)


class InvalidKey(ValueError):
    """A key that cannot be read, or one of a kind that is not used here."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key and the algorithms it may verify, whatever a token's header says."""

    kid: str
    algorithms: frozenset[str]
    key: PublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key of ours. `kid` is its thumbprint, `created` in seconds since the epoch."""

    private_key: PrivateKey = field(repr=False, compare=False)
    algorithm: Algorithm
    kid: str
    created: int

    @classmethod
    def generate(cls, algorithm: Algorithm, created: int) -> "SigningKey":
        """Make a new key: P-256 for ES256, Ed25519 for EdDSA."""
        if algorithm == "ES256":
            return cls.of(ec.generate_private_key(ec.SECP256R1()), created)
        return cls.of(ed25519.Ed25519PrivateKey.generate(), created)

    @classmethod
    def of(cls, private_key: object, created: int) -> "SigningKey":
        """Wrap a private key; the algorithm follows from its kind. Raises InvalidKey for other kinds."""
        if isinstance(private_key, ed25519.Ed25519PrivateKey):
            return cls(private_key, "EdDSA", _thumbprint(_members(private_key.public_key())), created)
        if isinstance(private_key, ec.EllipticCurvePrivateKey) and isinstance(
            private_key.curve, ec.SECP256R1
        ):
            return cls(private_key, "ES256", _thumbprint(_members(private_key.public_key())), created)
        raise InvalidKey("a signing key must be a P-256 or an Ed25519 key")

    @classmethod
    def from_pem(cls, pem: bytes, created: int = 0) -> "SigningKey":
        """Read an unencrypted private key. `created` counts where the text says no time of its own.

        Raises InvalidKey.
        """
        try:
            private_key = load_pem_private_key(pem, password=None)
            stamp = _CREATED.search(pem)
            if stamp is not None:
                created = int(datetime.fromisoformat(stamp[1].decode()).replace(tzinfo=UTC).timestamp())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The cause is left out: it might quote the key.
            raise InvalidKey("this is no unencrypted private key in PEM form") from None
        return cls.of(private_key, created)

    def to_pem(self) -> bytes:
        """Return PKCS #8 in PEM form, with the time of creation and the key id as text before it."""
        created = datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        pem = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return f"Created: {created}\nKey-ID: {self.kid}\n\n".encode() + pem

    def to_public_jwk(self) -> dict[str, str]:
        """Return the public half as a JSON Web Key with use, alg and kid."""
        members = _members(self.private_key.public_key())
        return {**members, "use": "sig", "alg": self.algorithm, "kid": self.kid}

    def to_verifying_key(self) -> VerifyingKey:
        """Return the public half for a verifier."""
        return VerifyingKey(self.kid, frozenset((self.algorithm,)), self.private_key.public_key())


@final
class KeyRing:
    """An immutable set of keys: the newest signs, all of them verify. Raises InvalidKey when empty.

    With `now`, in seconds since the epoch, a key that is created later does not sign yet.
    """

    __slots__ = ("keys", "signing")

    keys: tuple[SigningKey, ...]
    signing: SigningKey

    def __init__(self, keys: Iterable[SigningKey], now: int | None = None) -> None:
        self.keys = tuple(sorted(keys, key=lambda key: (-key.created, key.kid)))
        if not self.keys:
            raise InvalidKey("a key ring needs a key")
        signs = (key for key in self.keys if now is None or key.created <= now)
        # Where the clock is behind all of them, the oldest one is most widely known.
        self.signing = next(signs, self.keys[-1])

    def verifying_keys(self) -> dict[str, VerifyingKey]:
        """Return the public halves by key id."""
        return {key.kid: key.to_verifying_key() for key in self.keys}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the JSON Web Key Set for /.well-known/jwks.json: public halves only, newest first."""
        return {"keys": [key.to_public_jwk() for key in self.keys]}


def read_jwks(document: object) -> dict[str, VerifyingKey]:
    """Read somebody else's JSON Web Key Set: the keys that may verify tokens, by key id.

    As RFC 7517 section 5 asks, keys that are not understood are left out rather than refused: other key
    types and uses, private and symmetric keys, RSA below 2048 bits, keys without an id. Of two keys with one
    id the first counts. A document of another shape holds no keys.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    found: dict[str, VerifyingKey] = {}
    for jwk in listed[:MAX_KEYS] if isinstance(listed, list) else []:
        key = _read_jwk(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            found.setdefault(key.kid, key)
    return found


def _read_jwk(jwk: dict[object, object]) -> VerifyingKey | None:
    kid, kty, crv, algorithm = (jwk.get(member) for member in ("kid", "kty", "crv", "alg"))
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID or not _may_verify(jwk):
        return None
    if not isinstance(kty, str) or not isinstance(crv, str | None):
        return None
    algorithms = _ALGORITHMS.get((kty, crv), frozenset())
    if algorithm is not None:
        algorithms &= {algorithm} if isinstance(algorithm, str) else set()
    public = _load_public(jwk, min(algorithms)) if algorithms else None
    return None if public is None else VerifyingKey(kid, algorithms, public)


def _may_verify(jwk: Mapping[object, object]) -> bool:
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return False
    return jwk.get("use") in (None, "sig") and "d" not in jwk


def _load_public(jwk: Mapping[object, object], algorithm: str) -> PublicKey | None:
    try:
        key = jwt.PyJWK({str(member): value for member, value in jwk.items()}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size >= _MIN_RSA_BITS else None
    return key if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) else None


def _members(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> dict[str, str]:
    """Return the members that make the key, in the order that RFC 7638 hashes them in."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    point = key.public_numbers()
    x, y = (_base64url(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(members: Mapping[str, str]) -> str:
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(text.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
