"""Certificates of an authority that only the tests trust."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}


def certify(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signing, hashes.SHA256())


def write_certificate(
    folder: Path,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    password: bytes | None = None,
) -> Certificate:
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        lock = serialization.BestAvailableEncryption(password)
    pem = serialization.Encoding.PEM
    written = Certificate(folder / "certificate.pem", folder / "key.pem")
    written.certificate.write_bytes(certificate.public_bytes(pem))
    written.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, lock))
    return written


class Authority:
    """An authority, and what a client needs to trust it and nobody else."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = certify("test authority", self._key, self._key, issuer=None)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.client.load_verify_locations(cadata=pem)

    def certify(self, folder: Path) -> Certificate:
        """What the authority says of 127.0.0.1, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = certify("127.0.0.1", key, self._key, issuer=self._certificate)
        return write_certificate(folder, certificate, key)
