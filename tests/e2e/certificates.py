"""Certificates of authorities that nobody trusts who is not told to."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .clients import debian


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate for one address, and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


def make_certificate(folder: Path, address: str) -> Tls:
    """Make an authority and a certificate of it for an IP address."""
    folder.mkdir()
    tls = Tls(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    (folder / "extensions").write_text(f"subjectAltName=IP:{address}\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    request, authority_key = folder / "server.csr", folder / "ca.key"
    authority = ("-keyout", authority_key, "-out", tls.authority, "-subj", "/CN=tests")
    signing = ("-CA", tls.authority, "-CAkey", authority_key, "-CAcreateserial")
    for words in (
        ("req", "-x509", *key, *authority, "-days", "2"),
        ("req", *key, "-keyout", tls.key, "-out", request, "-subj", f"/CN={address}"),
        (
            *("x509", "-req", "-in", request, *signing),
            *("-out", tls.certificate, "-days", "2", "-extfile", folder / "extensions"),
        ),
    ):
        subprocess.run([debian("openssl"), *words], check=True, capture_output=True)
    return tls
