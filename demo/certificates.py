"""A certificate authority of the demo, so that certificates are only refused for their dates."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME, HOST = "Demo authority", "127.0.0.1"
LIFE = timedelta(days=90)


@dataclass
class Authority:
    """A certificate authority, whose certificate the portal reads from `folder`."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(NAME, self.key.public_key(), datetime.now(UTC) + LIFE, is_authority=True)
        self.path = self.folder / "authority.pem"
        self.path.write_bytes(certificate)

    def context(self, name: str, until: datetime) -> ssl.SSLContext:
        """Return the TLS context of a server on this machine whose certificate expires at `until`."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.folder / f"{name}.pem"
        path.write_bytes(pem + self.sign(HOST, key.public_key(), until))
        path.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def sign(self, name: str, key: ec.EllipticCurvePublicKey, until: datetime, *, is_authority: bool = False) -> bytes:
        address = x509.IPAddress(ipaddress.ip_address(HOST))
        builder = (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(common_name(NAME))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 2 * LIFE)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
