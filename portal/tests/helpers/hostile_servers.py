"""Servers on plain sockets that answer as no server should, and certificates as no server should have."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portal.egress.tls import verifying_context

DRIP_SECONDS = 0.02


class Visit:
    """One connection, once its request has been read. `is_over` comes when the server ends."""

    def __init__(self, connection: socket.socket, head: bytes, is_over: threading.Event) -> None:
        self.connection = connection
        self.head = head
        self.is_over = is_over
        self.send = connection.sendall

    @property
    def path(self) -> str:
        return self.head.split(b" ")[1].decode()


Behaviour = Callable[[Visit], None]


class Server:
    """Listens on a port of 127.0.0.1; each connection has a thread. `requests` holds the heads that came."""

    def __init__(self, behave: Behaviour, *, context: ssl.SSLContext | None = None, reads: bool = True) -> None:
        self.behave, self.context, self.reads = behave, context, reads
        self.requests: list[bytes] = []
        self.connections = 0
        self.is_over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self.visit, args=(connection,), daemon=True).start()

    def visit(self, connection: socket.socket) -> None:
        """A caller that hangs up is nothing to report."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self.context:
                connection = stack.enter_context(self.context.wrap_socket(connection, server_side=True))
            head = b""
            while self.reads and b"\r\n\r\n" not in head:
                head += connection.recv(65536) or b"\r\n\r\n"
            self.requests.append(head)
            self.behave(Visit(connection, head, self.is_over))

    @property
    def methods(self) -> list[str]:
        return [head.split(b" ")[0].decode() for head in self.requests]


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def says(raw: bytes) -> Behaviour:
    return lambda visit: visit.send(raw)


def redirects(location: str, status: str = "302 Found") -> Behaviour:
    return says(answer(b"", status, f"Location: {location}"))


def routes(**behaviours: Behaviour) -> Behaviour:
    """By the path without its slash; `root` for none."""
    return lambda visit: behaviours[visit.path.partition("?")[0].strip("/") or "root"](visit)


def hang(visit: Visit) -> None:
    visit.is_over.wait()


def reset(visit: Visit) -> None:
    visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drips(start: bytes, drop: bytes) -> Behaviour:
    """A drop now and then: each keeps a socket's timeout from coming."""

    def behave(visit: Visit) -> None:
        visit.send(start)
        while not visit.is_over.wait(DRIP_SECONDS):
            visit.send(drop)

    return behave


def floods(start: bytes, chunk: bytes) -> Behaviour:
    def behave(visit: Visit) -> None:
        visit.send(start)
        while not visit.is_over.is_set():
            visit.send(chunk)

    return behave


# --- Names -----------------------------------------------------------------------------------------------------------


class Names:
    """A resolver whose answers change: one list of addresses after the other, the last for good."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [list(each) for each in answers]
        self.asked: list[str] = []

    def __call__(self, host: str, deadline: float) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


# --- Certificates ----------------------------------------------------------------------------------------------------

Key = ec.EllipticCurvePrivateKey


class Authority:
    """A CA of the test's own. `trusting` is a client's context that believes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = certificate("Test CA", self.key, None, self.key, is_ca=True)
        (folder / "ca.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.trusting = verifying_context(str(folder / "ca.pem"))

    def server(
        self, name: str = "127.0.0.1", *, days: int = 30, is_self_signed: bool = False, above: Sequence[int] = ()
    ) -> ssl.SSLContext:
        """A server's context, of a certificate that ends in so many days. It also sends an intermediate certificate for
        each of `above`, which ends in that many days; the first has signed the server's.
        """
        key, middle = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer, signer = (None, key) if is_self_signed else (self.certificate.subject, self.key)
        sent = [
            certificate(f"Test CA {place}", middle, issuer, signer, days=end, is_ca=True)
            for place, end in enumerate(above)
        ]
        made = certificate(name, key, sent[0].subject if sent else issuer, middle if sent else signer, days=days)
        file = self.folder / f"{made.serial_number}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (made, *sent))
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def certificate(
    name: str, key: Key, issuer: x509.Name | None, signer: Key, *, days: int = 30, is_ca: bool = False
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([alternative(name)]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())


def alternative(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
