"""TLS of outgoing calls, verified as browsers and curl do."""

import socket
import ssl
import sys
import threading
from _ssl import ENCODING_DER
from contextlib import suppress
from datetime import UTC, datetime

import certifi
from cryptography.x509 import load_der_x509_certificate

from portal.egress.connection import time_left

LATEST_EXPIRY = datetime(9999, 1, 1, tzinfo=UTC)
_context_lock = threading.Lock()
_context: ssl.SSLContext | None = None


def verifying_context(cafile: str | None = None) -> ssl.SSLContext:
    """Return the context of a client that verifies as browsers and curl do.

    Python 3.13 turned on VERIFY_X509_STRICT, which refuses certificates of private authorities that all others accept.
    """
    made = ssl.create_default_context(cafile=cafile)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


def shared_context() -> ssl.SSLContext:
    """Return one context for the process: reading the certificates takes longer than a check."""
    global _context
    with _context_lock:
        if _context is None:
            made = verifying_context()
            made.load_verify_locations(certifi.where())
            made.minimum_version = ssl.TLSVersion.TLSv1_2
            made.set_alpn_protocols(["http/1.1"])
            _context = made
        return _context


def start_tls(plain: socket.socket, context: ssl.SSLContext, host: str, deadline: float) -> ssl.SSLSocket:
    """Take over the plain socket, and close it on failure. Raises OSError, of which ssl.SSLError is one."""
    secure = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        secure.settimeout(time_left(deadline))
        secure.do_handshake()
    except BaseException:
        secure.close()
        raise
    return secure


def certificate_end(secure: ssl.SSLSocket) -> datetime | None:
    """Return the earliest end in the chain that was sent, at most LATEST_EXPIRY: later ones overflow in some zones.

    A certificate that was sent but not used for the verification, such as an expired cross-signature, does not count.
    """
    used = certificate_chain(secure, "get_verified_chain")
    ends = []
    for certificate in certificate_chain(secure, "get_unverified_chain"):
        with suppress(ValueError):
            if certificate in used:
                ends.append(load_der_x509_certificate(certificate).not_valid_after_utc)
    return min([*ends, LATEST_EXPIRY]) if ends else None


def certificate_chain(secure: ssl.SSLSocket, method: str) -> list[bytes]:
    """Return the certificates as DER. Before Python 3.13 the methods exist on the inner object only."""
    if sys.version_info >= (3, 13):
        chain: list[bytes] = getattr(secure, method)()
        return chain
    inner = secure._sslobj  # type: ignore[attr-defined]
    return [certificate.public_bytes(ENCODING_DER) for certificate in getattr(inner, method)() or []]
