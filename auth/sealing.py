"""Signing keys under a secret, so that they may lie where others read: Fernet, its key derived by HKDF."""

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from auth.jwk import SigningKey

# What the derived key is for: the same secret gives another key for anything else.
_PURPOSE: Final = b"longshore signing keys"


class WrongSecret(Exception):
    """The key was sealed with another secret, or is damaged."""


class Seal:
    """Seals and opens keys. The secret is long and random, so that no slow derivation is needed."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, key: SigningKey) -> str:
        """Return the key as text that says nothing without the secret."""
        return self._fernet.encrypt(key.to_pem()).decode()

    def open(self, sealed: str) -> SigningKey:
        """Return the key again.

        Raises:
            WrongSecret: it is not ours to open.
        """
        try:
            return SigningKey.from_pem(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise WrongSecret("a signing key in the database was sealed with another secret") from None
