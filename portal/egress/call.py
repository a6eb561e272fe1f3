"""Outgoing HTTP calls: only to addresses that the guard allows, by one deadline, without redirects and proxies."""

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException, HTTPMessage
from urllib.parse import urldefrag, urlsplit

from portal.egress import guard, lookup
from portal.egress.connection import CHUNK, Answer, Wire, connect, send_request
from portal.egress.tls import LATEST_EXPIRY, certificate_end, shared_context, start_tls
from portal.egress.urls import ascii_host, clean_url, url_port


class AddressRefused(Exception):
    """The guard refuses every address of the host; `address` is the first of them."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


@dataclass(frozen=True)
class Reply:
    status: int
    reason: str
    headers: HTTPMessage
    body: bytes


def allowed_addresses(host: str, deadline: float, allow_private: bool, resolve: lookup.Resolver) -> list[str]:
    """Return the addresses to connect to. A second lookup might find others, so nothing else may resolve the host.

    Raises AddressRefused, or OSError from the resolver.
    """
    addresses = resolve(host, deadline)
    allowed = [address for address in addresses if not guard.address_refusal(address, allow_private)]
    if addresses and not allowed:
        raise AddressRefused(addresses[0])
    return allowed


def fetch(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    seconds: float,
    allow_private: bool,
    limit: int,
) -> Reply:
    """Return the answer with at most `limit` bytes of its body.

    Raises ValueError for an address that is none, AddressRefused, OSError (of which ssl.SSLError and TimeoutError are
    some) and HTTPException.
    """
    parts = urlsplit(clean_url(urldefrag(url).url))
    deadline = time.monotonic() + seconds
    host = ascii_host(parts)
    addresses = allowed_addresses(host, deadline, allow_private, lookup.system_resolver)
    connection = connect(addresses, url_port(parts), deadline)
    if parts.scheme == "https":
        connection = start_tls(connection, shared_context(), host.rstrip("."), deadline)
    with closing(connection):
        answer = send_request(Wire(connection, deadline), method, parts, headers, body)
        return Reply(answer.status, answer.reason, answer.headers, read_partial_body(answer, limit))


def find_certificate_end(url: str, seconds: float) -> datetime:
    """Return the earliest end in the chain that the server of the https URL sends; private addresses are allowed.

    Raises ValueError for an address that is none, AddressRefused, and OSError, of which ssl.SSLError is one.
    """
    parts = urlsplit(clean_url(url))
    deadline, host = time.monotonic() + seconds, ascii_host(parts)
    addresses = allowed_addresses(host, deadline, True, lookup.system_resolver)
    plain = connect(addresses, url_port(parts), deadline)
    with closing(start_tls(plain, shared_context(), host.rstrip("."), deadline)) as secure:
        return certificate_end(secure) or LATEST_EXPIRY


def read_partial_body(answer: Answer, limit: int) -> bytes:
    """Return what arrives before the limit, the deadline or the end: the status was there before."""
    body = bytearray()
    with suppress(OSError, HTTPException):
        while answer.has_body and len(body) < limit and (chunk := answer.read1(min(CHUNK, limit - len(body)))):
            body += chunk
    return bytes(body)
