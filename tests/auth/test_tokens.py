import base64
import hashlib
import hmac
import itertools
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from auth.jwk import Algorithm, KeyRing, SigningKey
from auth.scope import InvalidScope, Scope
from auth.tokens import (
    LEEWAY,
    MAX_TOKEN_BYTES,
    ExternalIssuer,
    InvalidToken,
    TokenIssuer,
    TokenVerifier,
    UnknownKey,
    new_secret,
    secret_hash,
)

OURS, THEIRS = "https://registry.example.com", "https://gitlab.example.com"
AUDIENCE, THEIR_AUDIENCE = "registry.example.com", "gitlab"
NOW = 1_800_000_000
ALICE = Identity(7, "alice")
PULL = Scope.parse(["repository:team/app:pull"])

KEY = SigningKey.generate("ES256", NOW - 100)
THEIR_KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
THEIR_JWKS = {
    "keys": [
        {**jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True), "kid": name}
        for name, key in THEIR_KEYS.items()
    ]
}


@dataclass(slots=True)
class World:
    """Our key ring, the outside issuer's keys and the clock, all of which a test may turn."""

    ring: KeyRing = field(default_factory=lambda: KeyRing([KEY]))
    jwks: dict[str, Any] = field(default_factory=lambda: THEIR_JWKS)
    now: float = NOW
    asked: int = 0

    def keyring(self) -> KeyRing:
        self.asked += 1
        return self.ring

    def clock(self) -> float:
        return self.now

    def issuer(self, lifetime: int = 300) -> TokenIssuer:
        return TokenIssuer(lambda: self.ring, OURS, AUDIENCE, lifetime, clock=self.clock)

    def verifier(self, cache_size: int = 4096) -> TokenVerifier:
        external = ExternalIssuer(THEIRS, THEIR_AUDIENCE, lambda: self.jwks)
        return TokenVerifier(
            self.keyring, OURS, AUDIENCE, [external], cache_size=cache_size, clock=self.clock
        )


@pytest.fixture
def world() -> World:
    return World()


def our_claims(**changes: object) -> dict[str, Any]:
    claims = {
        "iss": OURS,
        "sub": "alice",
        "aud": AUDIENCE,
        "exp": NOW + 300,
        "nbf": NOW,
        "iat": NOW,
        "jti": "1",
        "access": PULL.to_claims(),
        "account": 7,
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


def their_claims(**changes: object) -> dict[str, Any]:
    return our_claims(**{"iss": THEIRS, "aud": THEIR_AUDIENCE, "sub": "project:1", "account": ..., **changes})


def segment(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(claims: dict[str, Any] | bytes, key: Any = KEY.private_key, **header: object) -> str:
    """A token with any header and payload, signed by the algorithm of the key or the one in `by`."""
    by = str(header.pop("by", "ES256"))
    fields = {"typ": "JWT", "alg": by, "kid": KEY.kid, **header}
    head = segment({name: value for name, value in fields.items() if value is not ...})
    signed = f"{head}.{segment(claims)}"
    return f"{signed}.{segment(jwt.get_algorithm_by_name(by).sign(signed.encode(), key))}"


def theirs(claims: dict[str, Any], name: str = "ES256", **header: object) -> str:
    return sign(claims, THEIR_KEYS[name], **{"by": name, "kid": name, **header})


def reason(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    return str(caught.value)


# Issuing


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_an_issued_token_verifies(world: World, algorithm: Algorithm) -> None:
    world.ring = KeyRing([SigningKey.generate(algorithm, NOW)])
    issued = world.issuer().issue(ALICE, PULL)
    assert issued.expires_in == 300
    assert issued.issued_at == datetime.fromtimestamp(NOW, UTC)
    verified = world.verifier().verify(issued.token)
    assert (verified.subject, verified.scope, verified.expires_at) == ("alice", PULL, NOW + 300)
    assert verified.identity == ALICE
    assert not verified.external
    assert verified.issuer == OURS


def test_the_token_has_the_claims_of_the_specification(world: World) -> None:
    token = world.issuer(60).issue(ALICE, PULL).token
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "ES256", "kid": KEY.kid}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": OURS,
        "sub": "alice",
        "aud": AUDIENCE,
        "exp": NOW + 60,
        "nbf": NOW,
        "iat": NOW,
        "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}],
        "account": 7,
    }


@pytest.mark.parametrize("identity", [ANONYMOUS, SYSTEM, ALICE, Identity(1, "root", is_admin=True)])
def test_an_identity_survives_its_token(world: World, identity: Identity) -> None:
    verified = world.verifier().verify(world.issuer().issue(identity, Scope()).token)
    assert verified.identity == identity
    assert verified.scope == Scope()


def test_a_token_names_the_access_token_that_it_was_made_for(world: World) -> None:
    bounded = replace(ALICE, limit=Limit(9, Permission.READ, frozenset({1})))
    token = world.issuer().issue(bounded, PULL).token
    assert jwt.decode(token, options={"verify_signature": False})["token"] == 9
    verified = world.verifier().verify(token)
    assert (verified.identity, verified.access_token_id) == (ALICE, 9)
    # Nobody else can name one of ours.
    assert world.verifier().verify(theirs(their_claims(token=9))).access_token_id is None


def test_every_token_is_another(world: World) -> None:
    issuer = world.issuer()
    assert issuer.issue(ALICE, PULL).token != issuer.issue(ALICE, PULL).token


def test_what_is_not_issued(world: World) -> None:
    with pytest.raises(ValueError, match="60"):
        world.issuer(59)
    with pytest.raises(ValueError, match="external"):
        world.issuer().issue(Identity(None, "x", external=True), PULL)
    huge = Scope.parse([f"repository:{'a' * 200}{n}:pull" for n in range(100)])
    with pytest.raises(InvalidScope):
        world.issuer().issue(ALICE, huge)


# Attacks

PUBLIC_KEY = KEY.private_key.public_key()
PUBLIC_FORMS = [
    PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    PUBLIC_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    json.dumps(KEY.to_public_jwk()).encode(),
    b"",
]


def hmac_token(secret: bytes, algorithm: str) -> str:
    # By hand: libraries refuse to do this.
    signed = f"{segment({'typ': 'JWT', 'alg': algorithm, 'kid': KEY.kid})}.{segment(our_claims())}"
    digest = getattr(hashlib, algorithm.replace("HS", "sha"))
    return f"{signed}.{segment(hmac.new(secret, signed.encode(), digest).digest())}"


def unsigned(alg: str) -> str:
    return f"{segment({'typ': 'JWT', 'alg': alg, 'kid': KEY.kid})}.{segment(our_claims())}."


GOOD = sign(our_claims())
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
STRANGER = ec.generate_private_key(ec.SECP256R1())
STRANGER_JWK = SigningKey.of(STRANGER, 0).to_public_jwk()
TAMPERED = segment(our_claims(sub="root", admin=True))

# Why it is refused → what was done to the token → the token.
FORGERIES: dict[str, dict[str, str]] = {
    "not a signed": {
        "empty": "",
        "words": "not a token",
        "dots": "..",
        "two segments": f"{HEAD}.{PAYLOAD}",
        "four segments": f"{GOOD}.{SIGNATURE}",
        "short signature": f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-8]}",
        "padded": f"{HEAD}.{PAYLOAD}.{SIGNATURE}====",
        "not ascii": f"{GOOD}\u00e9",
        "surrogate": f"{GOOD}\ud800",
        "white space": f" {GOOD}",
        "newline": f"{GOOD}\n",
        "header no json": f"{segment(b'{')}.{PAYLOAD}.{SIGNATURE}",
        "header no object": f"{segment(b'[]')}.{PAYLOAD}.{SIGNATURE}",
        "header deep": f"{segment(b'[' * 9000)}.{PAYLOAD}.{SIGNATURE}",
        "kid null": sign(our_claims(), kid=None),
        "kid a list": sign(our_claims(), kid=[KEY.kid]),
        "crit": sign(our_claims(), crit=["exp"]),
        "b64": sign(our_claims(), b64=False, crit=["b64"]),
    },
    "signature is wrong": {
        "no signature": f"{HEAD}.{PAYLOAD}.",
        "zero signature": f"{HEAD}.{PAYLOAD}.{segment(bytes(64))}",
        "der signature": f"{HEAD}.{PAYLOAD}.{segment(bytes.fromhex('3006020101020101'))}",
        "payload swapped": f"{HEAD}.{TAMPERED}.{SIGNATURE}",
        "signed by a stranger": sign(our_claims(), STRANGER),
        "theirs as ours, our kid": theirs(our_claims(), kid=KEY.kid),
        "ours as theirs, their kid": sign(their_claims(), kid="ES256"),
    },
    "no JSON": {
        "payload no json": sign(b"{"),
        "payload deep": sign(b"[" * 9000),
        "payload not utf-8": sign(b'{"iss":"\xff"}'),
        "exp too many digits": sign(b'{"iss":"' + OURS.encode() + b'","exp":' + b"9" * 5000 + b"}"),
    },
    "no claims": {
        "payload no object": sign(b"[]"),
    },
    "algorithm that its key": {
        "alg none": unsigned("none"),
        "alg None": unsigned("None"),
        "alg empty": unsigned(""),
        "alg none, signed": sign(our_claims(), alg="none"),
        "alg of a larger curve": sign(our_claims(), alg="ES384"),
        "alg of another family": sign(our_claims(), THEIR_KEYS["RS256"], by="RS256"),
        "edwards curve": sign(our_claims(), THEIR_KEYS["EdDSA"], by="EdDSA"),
        "theirs, other key": theirs(their_claims(), kid="ES384"),
        "theirs, rsa as pss": theirs(their_claims(), "RS256", alg="PS256"),
        "theirs, rsa key as hmac": theirs(their_claims(), "RS256", alg="HS256"),
    },
    "no key or no algorithm": {
        "alg missing": sign(our_claims(), alg=...),
        "alg a number": sign(our_claims(), alg=1),
        "alg a list": sign(our_claims(), alg=["ES256"]),
        "kid missing": sign(our_claims(), kid=...),
        "kid empty": sign(our_claims(), kid=""),
        "kid huge": sign(our_claims(), kid="k" * 9000),
    },
    "key that its issuer": {
        "kid unknown": sign(our_claims(), STRANGER, kid=STRANGER_JWK["kid"]),
        "kid a path": sign(our_claims(), kid="../../../../dev/null"),
        "kid a file": sign(our_claims(), kid="key-000001.pem"),
        "kid sql": sign(our_claims(), kid="' OR 1=1 --"),
        "kid with a nul": sign(our_claims(), kid=KEY.kid + "\0"),
        "kid in other case": sign(our_claims(), kid=KEY.kid.swapcase()),
        "theirs as ours, their kid": theirs(our_claims()),
        "ours as theirs, our kid": sign(their_claims()),
        "theirs, key unknown": theirs(their_claims(), kid="other"),
    },
    "not accepted: jwk": {
        "jwk": sign(our_claims(), STRANGER, jwk=STRANGER_JWK),
        "jwk and its kid": sign(our_claims(), STRANGER, jwk=STRANGER_JWK, kid=STRANGER_JWK["kid"]),
    },
    "not accepted: jku": {
        "jku": sign(our_claims(), STRANGER, jku="https://attacker.example.com/jwks.json"),
        "jku, well signed": sign(our_claims(), jku="https://attacker.example.com/jwks.json"),
    },
    "not accepted: x5u": {
        "x5u": sign(our_claims(), x5u="https://attacker.example.com/chain.pem"),
    },
    "not accepted: x5c": {
        "x5c": sign(our_claims(), x5c=["AAAA"]),
    },
    "not accepted: b64": {
        "crit b64": sign(our_claims(), crit=["b64"], b64=True),
    },
    "not accepted: zip": {
        "zip": sign(our_claims(), zip="DEF"),
    },
    "another type": {
        "typ of another use": sign(our_claims(), typ="logout+jwt"),
        "typ a number": sign(our_claims(), typ=1),
    },
    "unknown issuer": {
        "iss missing": sign(our_claims(iss=...)),
        "iss null": sign(our_claims(iss=None)),
        "iss a list": sign(our_claims(iss=[OURS])),
        "iss of a stranger": sign(our_claims(iss="https://attacker.example.com")),
        "iss with a slash": sign(our_claims(iss=OURS + "/")),
    },
    "another audience": {
        "aud missing": sign(our_claims(aud=...)),
        "aud null": sign(our_claims(aud=None)),
        "aud empty": sign(our_claims(aud="")),
        "aud other": sign(our_claims(aud="other.example.com")),
        "aud others": sign(our_claims(aud=["other.example.com"])),
        "aud longer": sign(our_claims(aud=AUDIENCE + ".attacker.example.com")),
        "aud a part": sign(our_claims(aud=AUDIENCE[:-1])),
        "aud an object": sign(our_claims(aud={AUDIENCE: True})),
        "aud of the outside issuer": sign(our_claims(aud=THEIR_AUDIENCE)),
        "theirs for us": theirs(their_claims(aud=AUDIENCE)),
        "theirs for nobody": theirs(their_claims(aud=...)),
    },
    "malformed: sub": {
        "sub missing": sign(our_claims(sub=...)),
        "sub a number": sign(our_claims(sub=7)),
        "sub huge": sign(our_claims(sub="a" * 257)),
        "sub with a nul": sign(our_claims(sub="root\0")),
        "theirs about nobody": theirs(their_claims(sub="")),
    },
    "malformed: exp": {
        "exp missing": sign(our_claims(exp=...)),
        "exp null": sign(our_claims(exp=None)),
        "exp text": sign(our_claims(exp=str(NOW + 300))),
        "exp true": sign(our_claims(exp=True)),
        "exp infinite": sign(our_claims(exp=float("inf"))),
        "exp nan": sign(our_claims(exp=float("nan"))),
        "exp huge": sign(our_claims(exp=10**400)),
        "exp negative": sign(our_claims(exp=-1)),
        "theirs, no exp": theirs(their_claims(exp=...)),
    },
    "has expired": {
        "expired": sign(our_claims(exp=NOW - LEEWAY)),
        "theirs, expired": theirs(their_claims(exp=NOW - 3600)),
    },
    "malformed: iat": {
        "iat missing": sign(our_claims(iat=...)),
        "iat text": sign(our_claims(iat="now")),
        "theirs, no iat": theirs(their_claims(iat=...)),
    },
    "not valid yet": {
        "iat tomorrow": sign(our_claims(iat=NOW + 86400)),
        "not valid yet": sign(our_claims(nbf=NOW + LEEWAY + 1)),
    },
    "malformed: nbf": {
        "nbf null": sign(our_claims(nbf=None)),
        "nbf text": sign(our_claims(nbf="now")),
    },
    "malformed: jti, account or token": {
        "jti a number": sign(our_claims(jti=1)),
        "account text": sign(our_claims(account="7")),
        "account true": sign(our_claims(account=True)),
        "token text": sign(our_claims(token="9")),
        "token true": sign(our_claims(token=True)),
    },
    "malformed: access": {
        "access an object": sign(our_claims(access={})),
        "access text": sign(our_claims(access="repository:a:pull")),
        "access malformed": sign(our_claims(access=[{"type": "repository", "name": "a", "actions": "pull"}])),
    },
    "too long": {
        "too long": sign(our_claims(pad="x" * MAX_TOKEN_BYTES)),
    },
}


@pytest.mark.parametrize(
    ("why", "token"),
    [
        pytest.param(why, token, id=name)
        for why, forgeries in FORGERIES.items()
        for name, token in forgeries.items()
    ],
)
def test_forgeries_are_refused(world: World, why: str, token: str) -> None:
    verifier = world.verifier()
    text = reason(verifier, token)
    assert why in text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 120
    # Nothing of a refused token is remembered.
    assert reason(verifier, token) == text


@pytest.mark.parametrize("secret", PUBLIC_FORMS, ids=["pem", "der", "jwk", "empty"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_no_secret(world: World, secret: bytes, algorithm: str) -> None:
    assert "algorithm" in reason(world.verifier(), hmac_token(secret, algorithm))


def test_the_tokens_that_the_forgeries_are_made_from_are_good(world: World) -> None:
    verifier = world.verifier()
    assert verifier.verify(GOOD).identity == ALICE
    assert verifier.verify(theirs(their_claims())).external


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("ABCxyz019-_."))
def test_no_character_of_a_token_may_change(position: int, character: str) -> None:
    token = GOOD[:position] + character + GOOD[position + 1 :]
    verifier = World().verifier()
    if token == GOOD:
        verifier.verify(token)
    else:
        reason(verifier, token)


@given(
    st.text(st.characters(), max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
)
def test_any_text_is_refused(text: str) -> None:
    reason(World().verifier(), text)


HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64"])
CLAIM_NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access", "account", "admin"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(HEADER_NAMES, VALUES, max_size=2), st.dictionaries(CLAIM_NAMES, VALUES, max_size=2))
def test_values_of_any_shape_are_read_or_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    try:
        verified = World().verifier().verify(sign(our_claims(**claims), **header))
    except InvalidToken:
        return
    assert verified.expires_at > NOW - LEEWAY
    assert verified.scope <= PULL


# The clock


def test_a_few_seconds_between_clocks_are_forgiven(world: World) -> None:
    verifier = world.verifier()
    verifier.verify(sign(our_claims(exp=NOW - LEEWAY + 1)))
    verifier.verify(sign(our_claims(nbf=NOW + LEEWAY, iat=NOW + LEEWAY)))
    assert "expired" in reason(verifier, sign(our_claims(exp=NOW - LEEWAY)))
    assert "yet" in reason(verifier, sign(our_claims(nbf=NOW + LEEWAY + 1)))


def test_dates_may_have_fractions_and_nbf_may_be_missing(world: World) -> None:
    token = sign(our_claims(exp=NOW + 10.5, iat=NOW - 0.5, nbf=...))
    assert world.verifier().verify(token).expires_at == NOW + 10


def test_a_remembered_token_expires(world: World) -> None:
    verifier = world.verifier()
    first = verifier.verify(GOOD)
    assert verifier.verify(GOOD) is first
    world.now = NOW + 300 + LEEWAY
    assert "expired" in reason(verifier, GOOD)
    world.now = NOW - LEEWAY - 1
    assert "yet" in reason(verifier, GOOD)


# Keys that come and go


def test_a_rotation_is_picked_up_at_once(world: World) -> None:
    verifier = world.verifier()
    verifier.verify(GOOD)
    world.ring = KeyRing([KEY, SigningKey.generate("EdDSA", NOW)])
    token = world.issuer().issue(ALICE, PULL).token
    assert verifier.verify(token).identity == ALICE
    assert verifier.verify(GOOD).identity == ALICE


def test_unknown_keys_ask_again_once_in_a_while_only(world: World) -> None:
    verifier = world.verifier()
    for n in range(20):
        with pytest.raises(UnknownKey) as caught:
            verifier.verify(sign(our_claims(), kid=f"k{n}"))
        assert caught.value.issuer == OURS
    assert world.asked == 2
    world.now += 1
    for n in range(20):
        reason(verifier, sign(our_claims(), kid=f"k{n}"))
    assert world.asked == 4


def test_known_tokens_ask_once_in_a_while_only(world: World) -> None:
    verifier = world.verifier()
    for _ in range(20):
        verifier.verify(GOOD)
    assert world.asked == 1
    # A clock that was set back must not stop the asking.
    for now in (NOW + 1.0, NOW - 5.0):
        world.now = now
        verifier.verify(GOOD)
    assert world.asked == 3


def test_a_removed_key_takes_its_remembered_tokens_along(world: World) -> None:
    verifier = world.verifier()
    verifier.verify(GOOD)
    world.ring = KeyRing([SigningKey.generate("ES256", NOW)])
    world.now += 1
    assert "key" in reason(verifier, GOOD)


def test_a_key_removed_by_a_reload_for_another_token_is_gone_as_well(world: World) -> None:
    verifier = world.verifier()
    verifier.verify(GOOD)
    world.ring = KeyRing([SigningKey.generate("ES256", NOW)])
    verifier.verify(world.issuer().issue(ALICE, PULL).token)
    assert "key" in reason(verifier, GOOD)


def test_an_outside_key_replaced_under_its_id_is_noticed(world: World) -> None:
    verifier = world.verifier()
    token = theirs(their_claims())
    verifier.verify(token)
    other = {**SigningKey.of(STRANGER, 0).to_public_jwk(), "kid": "ES256"}
    world.jwks = {"keys": [other]}
    world.now += 1
    assert "signature" in reason(verifier, token)


def test_outside_keys_that_were_not_fetched_yet(world: World) -> None:
    world.jwks = {"keys": []}
    verifier = world.verifier()
    token = theirs(their_claims())
    with pytest.raises(UnknownKey) as caught:
        verifier.verify(token)
    assert caught.value.issuer == THEIRS
    world.jwks = THEIR_JWKS
    world.now += 1
    assert verifier.verify(token).subject == "project:1"


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    world = World()
    verifier = world.verifier(cache_size=2)
    a, b, c = (sign(our_claims(jti=name)) for name in "abc")
    first = {token: verifier.verify(token) for token in (a, b)}
    assert verifier.verify(a) is first[a]
    verifier.verify(c)
    assert verifier.verify(a) is first[a]
    assert verifier.verify(b) is not first[b]


# The outside issuer


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [(name, name) for name in THEIR_KEYS] + [("RS256", "RS384"), ("RS256", "RS512")],
)
def test_asymmetric_algorithms_are_accepted(world: World, name: str, algorithm: str) -> None:
    verified = world.verifier().verify(theirs(their_claims(), name, by=algorithm))
    assert verified.external
    assert verified.issuer == THEIRS
    assert verified.scope == PULL
    assert verified.identity == Identity(None, "project:1", external=True)


def test_an_outside_issuer_makes_no_accounts_and_no_administrators(world: World) -> None:
    verified = world.verifier().verify(theirs(their_claims(sub="root", account=1, admin=True)))
    assert verified.identity == Identity(None, "root", is_admin=False, external=True)


def test_outside_tokens_may_look_a_little_different(world: World) -> None:
    verifier = world.verifier()
    for token in (
        theirs(their_claims(aud=["other", THEIR_AUDIENCE])),
        theirs(their_claims(jti=...)),
        theirs(their_claims(), typ=...),
        theirs(their_claims(), typ="application/at+JWT"),
    ):
        assert verifier.verify(token).scope == PULL
    nothing: tuple[object, ...] = (None, [], ...)
    for access in nothing:
        assert verifier.verify(theirs(their_claims(access=access))).scope == Scope()


def test_an_issuer_is_configured_once() -> None:
    def keyring() -> KeyRing:
        return KeyRing([KEY])

    def no_keys() -> dict[str, Any]:
        return {"keys": []}

    for names in ([OURS], [THEIRS, THEIRS]):
        external = [ExternalIssuer(name, AUDIENCE, no_keys) for name in names]
        with pytest.raises(ValueError, match="twice"):
            TokenVerifier(keyring, OURS, AUDIENCE, external)


def test_while_the_keys_cannot_be_read_nothing_is_believed() -> None:
    world, broken = World(), False

    def keyring() -> KeyRing:
        if broken:
            raise OSError("disk")
        return world.ring

    verifier = TokenVerifier(keyring, OURS, AUDIENCE, clock=world.clock)
    verifier.verify(GOOD)
    broken, world.now = True, NOW + 1
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            verifier.verify(GOOD)
    broken = False
    verifier.verify(GOOD)


# Opaque secrets


def test_secrets_are_long_and_random() -> None:
    drawn = [new_secret("lsr_") for _ in range(100)]
    assert len(set(drawn)) == 100
    assert all(secret.startswith("lsr_") and len(secret) == 47 for secret in drawn)
    assert len(base64.urlsafe_b64decode(drawn[0][4:] + "=")) == 32


def test_the_hash_of_a_secret_is_sha_256() -> None:
    assert secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    hashes = [secret_hash(text) for text in ("", "a", "\ud800", "lsr_\0")]
    assert all(a != b for a, b in itertools.pairwise(hashes))
