import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from auth.jwk import ALGORITHMS, Algorithm, InvalidKey, KeyRing, SigningKey, read_jwks

BOTH = pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])

# RFC 8037, appendix A: a private key and its thumbprint.
RFC_8037_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_jwk(key: Any, algorithm: str, **members: object) -> dict[str, Any]:
    """The JSON Web Key of a public key, as another implementation writes it."""
    return {**jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True), "kid": "k", **members}


RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA = public_jwk(RSA_KEY.public_key(), "RS256")
P256 = public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "ES256")
P384 = public_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384")
P521 = public_jwk(ec.generate_private_key(ec.SECP521R1()).public_key(), "ES512")
ED25519 = public_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), "EdDSA")


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    key = SigningKey.of(ed25519.Ed25519PrivateKey.from_private_bytes(decode(RFC_8037_D)), 0)
    assert key.kid == RFC_8037_THUMBPRINT
    assert key.to_public_jwk()["x"] == RFC_8037_X


def test_the_thumbprint_of_a_curve_point_hashes_its_required_members() -> None:
    key = SigningKey.generate("ES256", 0)
    jwk = public_jwk(key.private_key.public_key(), "ES256")
    text = json.dumps({m: jwk[m] for m in ("crv", "kty", "x", "y")}, separators=(",", ":"), sort_keys=True)
    assert decode(key.kid) == hashlib.sha256(text.encode()).digest()


@BOTH
def test_pem_round_trip(algorithm: Algorithm) -> None:
    key = SigningKey.generate(algorithm, 1_700_000_000)
    pem = key.to_pem()
    assert pem.startswith(b"Created: 2023-11-14T22:13:20Z\nKey-ID: " + key.kid.encode())
    assert SigningKey.from_pem(pem) == key
    assert SigningKey.from_pem(pem, created=5).created == 1_700_000_000
    bare = pem[pem.index(b"-----BEGIN") :]
    assert SigningKey.from_pem(bare, created=5) == SigningKey(key.private_key, algorithm, key.kid, 5)


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"Created: 2023-11-14T22:13:20Z\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(RSA_KEY),
        pem_of(ec.generate_private_key(ec.SECP256R1()), b"password"),
        b"Created: 2023-99-14T22:13:20Z\n" + pem_of(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "no key", "damaged", "P-384", "RSA", "encrypted", "no such day"],
)
def test_other_files_are_no_signing_keys(pem: bytes) -> None:
    with pytest.raises(InvalidKey):
        SigningKey.from_pem(pem)


def test_a_private_key_is_not_printed() -> None:
    key = SigningKey.generate("ES256", 0)
    assert "private" not in repr(key)


def test_the_newest_key_signs_and_all_verify() -> None:
    old, new, middle = (SigningKey.generate("ES256", created) for created in (1, 3, 2))
    ring = KeyRing([old, new, middle])
    assert ring.keys == (new, middle, old)
    assert ring.signing is new
    assert set(ring.verifying_keys()) == {old.kid, new.kid, middle.kid}
    with pytest.raises(InvalidKey):
        KeyRing([])


@BOTH
def test_the_key_set_is_public_and_readable(algorithm: Algorithm) -> None:
    ring = KeyRing([SigningKey.generate(algorithm, 1), SigningKey.generate("ES256", 2)])
    document = json.loads(json.dumps(ring.jwks()))
    assert [jwk["kid"] for jwk in document["keys"]] == [key.kid for key in ring.keys]
    for jwk, key in zip(document["keys"], ring.keys, strict=True):
        assert jwk.keys() <= {"kty", "crv", "x", "y", "use", "alg", "kid"}
        assert (jwk["use"], jwk["alg"]) == ("sig", key.algorithm)
    assert read_jwks(document) == ring.verifying_keys()
    assert len(jwt.PyJWKSet.from_dict(document).keys) == 2


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA, {"RS256", "RS384", "RS512"}),
        ({**RSA, "alg": "RS384"}, {"RS384"}),
        ({**RSA, "use": "sig"}, {"RS256", "RS384", "RS512"}),
        (P256, {"ES256"}),
        ({**P384, "alg": "ES384"}, {"ES384"}),
        (P521, {"ES512"}),
        (ED25519, {"EdDSA"}),
        ({**ED25519, "x5c": ["whatever"], "unknown": {}}, {"EdDSA"}),
    ],
)
def test_algorithms_follow_from_the_key(jwk: dict[str, Any], algorithms: set[str]) -> None:
    assert read_jwks({"keys": [jwk]})["k"].algorithms == algorithms
    assert algorithms <= ALGORITHMS


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"},
        {**RSA, "alg": "HS256"},
        {**RSA, "alg": "none"},
        {**RSA, "alg": "PS256"},
        {**RSA, "alg": "ES256"},
        {**RSA, "alg": ["RS256"]},
        {**RSA, "use": "enc"},
        {**RSA, "key_ops": ["encrypt"]},
        {**RSA, "key_ops": "verify"},
        {**RSA, "d": "AQAB"},
        {**RSA, "kid": 1},
        {**RSA, "kid": ""},
        {**RSA, "kid": "k" * 257},
        {**RSA, "n": 5},
        {**RSA, "n": "!"},
        {**RSA, "e": None},
        {**RSA, "crv": ["P-256"]},
        {**RSA, "kty": ["RSA"]},
        {**P256, "alg": "ES384"},
        {**P256, "crv": "P-384"},
        {**P256, "crv": "secp256k1"},
        {**P256, "y": P256["x"]},
        {**P256, "x": ""},
        {**ED25519, "crv": "Ed448"},
        {**ED25519, "x": "AAAA"},
        public_jwk(rsa.generate_private_key(65537, 1024).public_key(), "RS256"),
        {m: v for m, v in RSA.items() if m != "kid"},
        None,
        [],
        "k",
    ],
)
def test_keys_that_may_not_verify_are_left_out(jwk: object) -> None:
    assert set(read_jwks({"keys": [jwk, {**P256, "kid": "good"}]})) == {"good"}


def test_the_first_of_two_keys_with_one_id_counts() -> None:
    assert read_jwks({"keys": [P256, RSA]}) == read_jwks({"keys": [P256]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = st.sampled_from(["kid", "kty", "crv", "alg", "use", "key_ops", "n", "e", "x", "y"])


@pytest.mark.parametrize("document", [None, [], "x", {}, {"keys": None}, {"keys": {}}, {"keys": "k"}])
def test_another_shape_holds_no_keys(document: object) -> None:
    assert read_jwks(document) == {}


@given(st.sampled_from([RSA, P256, ED25519]), st.dictionaries(MEMBERS, JSON, max_size=3))
def test_a_key_of_any_shape_is_read_or_left_out(jwk: dict[str, Any], change: dict[str, Any]) -> None:
    for key in read_jwks({"keys": [{**jwk, **change}]}).values():
        assert key.algorithms
        assert key.algorithms <= ALGORITHMS
