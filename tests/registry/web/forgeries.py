"""Bearer tokens that must not be believed: one right token, and what can be wrong with it."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.jwk import SigningKey
from auth.tokens import LEEWAY


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def segment(value: object) -> str:
    """One of the three parts of a token."""
    return _base64url(json.dumps(value).encode())


def sign(key: SigningKey, claims: Mapping[str, Any], **header: object) -> str:
    """A token of these claims, signed by a key that is ours or not."""
    return jwt.encode(dict(claims), key.private_key, key.algorithm, headers={"kid": key.kid, **header})


@dataclass(frozen=True, slots=True)
class Forger:
    """Somebody who even has the server's key, for the forgeries that are signed right.

    The claims are those of an administrator, with every right to `repository`; `subject` and `account` are.
    """

    key: SigningKey
    subject: str
    account: int
    repository: str

    def claims(self, **changes: object) -> dict[str, Any]:
        """The claims of a right token; None leaves one out."""
        moment = now()
        claims: dict[str, Any] = {
            "iss": "longshore",
            "aud": "longshore",
            "sub": self.subject,
            "account": self.account,
            "admin": True,
            "iat": moment,
            "nbf": moment,
            "exp": moment + 300,
            "access": self.access("*"),
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def access(self, action: str) -> list[dict[str, Any]]:
        """The claim that grants an action."""
        return [{"type": "repository", "name": self.repository, "actions": [action]}]

    def sign(self, claims: Mapping[str, Any], **header: object) -> str:
        """A token signed by the server's key."""
        return sign(self.key, claims, **header)

    def of(self, **changes: object) -> str:
        """A token signed by the server's key, with other claims than a right one."""
        return self.sign(self.claims(**changes))

    def headed(self, **header: object) -> str:
        """A token signed by the server's key, with more in its header."""
        return self.sign(self.claims(), **header)

    def unsigned(self, algorithm: str) -> str:
        """A token without a signature."""
        return f"{segment({'alg': algorithm, 'kid': self.key.kid})}.{segment(self.claims())}."

    def with_secret(self, secret: bytes) -> str:
        """A token whose signature takes the public key for the secret of an HMAC."""
        signed = f"{segment({'alg': 'HS256', 'kid': self.key.kid})}.{segment(self.claims())}"
        return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def pem(self) -> bytes:
        """The public key as a file."""
        public = self.key.private_key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def by_stranger(self, kid: str | None = None, header: Callable[[SigningKey], Any] | None = None) -> str:
        """A token signed by a key of the forger's, called `kid`; `header` may bring that key along."""
        key = SigningKey.generate("ES256", 0)
        more = {} if header is None else header(key)
        return sign(replace(key, kid=key.kid if kid is None else kid), self.claims(), **more)

    def respoken(self) -> str:
        """A token with the signature of another one."""
        header, _, signature = self.of().split(".")
        return ".".join((header, segment(self.claims(jti="x")), signature))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


_ELSEWHERE: Final = "http://127.0.0.1/jwks.json"

Forgery = Callable[[Forger], str]

FORGERIES: Final[Mapping[str, Forgery]] = {
    "no signature": lambda by: by.unsigned("none"),
    "no signature, in capitals": lambda by: by.unsigned("NONE"),
    "an empty signature": lambda by: by.of().rpartition(".")[0] + ".",
    "a signature of other claims": Forger.respoken,
    "another key of the same name": lambda by: by.by_stranger(by.key.kid),
    "an unknown key": Forger.by_stranger,
    "the public key as a secret": lambda by: by.with_secret(json.dumps(by.key.to_public_jwk()).encode()),
    "the file of the public key as a secret": lambda by: by.with_secret(by.pem()),
    "the name of the key as a secret": lambda by: by.with_secret(by.key.kid.encode()),
    "an empty secret": lambda by: by.with_secret(b""),
    "a key that it brings along": lambda by: by.headed(jwk=by.key.to_public_jwk()),
    "a key of the forger's that it brings along": partial(
        Forger.by_stranger, header=lambda key: {"jwk": key.to_public_jwk()}
    ),
    "an address of keys": lambda by: by.by_stranger(header=lambda _: {"jku": _ELSEWHERE}),
    "an address of a certificate": lambda by: by.by_stranger(header=lambda _: {"x5u": _ELSEWHERE}),
    "a certificate that it brings along": lambda by: by.by_stranger(header=lambda _: {"x5c": ["MIIB"]}),
    "a path as a key": lambda by: by.by_stranger("../../../../../../dev/null"),
    "an address as a key": lambda by: by.by_stranger(_ELSEWHERE),
    "a query as a key": lambda by: by.by_stranger("x' UNION SELECT 'AA=='--"),
    "no name of a key": lambda by: by.by_stranger(""),
    "an endless name of a key": lambda by: by.by_stranger("k" * 4000),
    "a critical header": lambda by: by.headed(crit=["x"], x=1),
    "another type": lambda by: by.headed(typ="refresh+jwt"),
    "another issuer": lambda by: by.of(iss="other"),
    "no issuer": lambda by: by.of(iss=None),
    "another audience": lambda by: by.of(aud="other"),
    "no audience": lambda by: by.of(aud=None),
    "other audiences": lambda by: by.of(aud=["other", "another"]),
    "expired": lambda by: by.of(exp=now() - LEEWAY - 1),
    "no end": lambda by: by.of(exp=None),
    "an end that is text": lambda by: by.of(exp=str(now() + 300)),
    "not valid yet": lambda by: by.of(nbf=now() + 3600),
    "made in the future": lambda by: by.of(iat=now() + 3600),
    "no account of that number": lambda by: by.of(account=999),
    "an account of another name": lambda by: by.of(sub="somebody"),
    "access that is no list": lambda by: by.of(access="*"),
    "an action that is no word": lambda by: by.of(access=by.access("pull,push")),
    "too long": lambda by: by.of(x="x" * 20_000),
    "two tokens": lambda by: f"{by.of()}.{by.of()}",
    "no token": lambda _: "lsr_" + "x" * 43,
}
