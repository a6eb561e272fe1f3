"""What is asked of a target, and what its answer must hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

import idna

from portal.text import MOST_MARKS, limit_marks

BODILESS = frozenset({204, 304})
METHODS = ("GET", "HEAD", "OPTIONS", "POST")
SCHEMES = ("http", "https")
LOWEST_STATUS, HIGHEST_STATUS = 100, 599
STATUS_RANGE = re.compile(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?")
# Spaces of any kind, controls, and the backslash, which browsers take for a slash.
FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
LONGEST_HOST = 253
IPV6 = re.compile(r"[0-9a-f:.]+", re.ASCII)


@dataclass(frozen=True)
class Spec:
    """`timeout` is the total of name lookup, connection, TLS, redirects and body, in seconds.

    The JSON value is compared as JSON writes it, a string as it is; empty, the path need only exist. Likewise the
    header: it must be there and, where a value is given, contain it.
    """

    url: str
    method: str = "GET"
    timeout: float = 10.0
    expected_statuses: str = "200-399"
    follow_redirects: bool = True
    contains: str = ""
    json_path: str = ""
    json_value: str = ""
    header_name: str = ""
    header_value: str = ""

    @property
    def expects_body(self) -> bool:
        return bool(self.contains or self.json_path)


def statuses(text: str) -> list[tuple[int, int]]:
    """Of "200-299,404", the ranges with both ends. Raises ValueError of a code: empty, syntax, bounds or order."""
    ranges = [status_range(part.strip()) for part in text.split(",") if part.strip()]
    if not ranges:
        raise ValueError("empty")
    return ranges


def has_body(text: str) -> bool:
    """Whether one of the expected statuses comes with a body. Raises ValueError as `statuses`."""
    return any(status not in BODILESS for first, last in statuses(text) for status in range(first, last + 1))


def status_range(text: str) -> tuple[int, int]:
    found = STATUS_RANGE.fullmatch(text)
    if found is None:
        raise ValueError("syntax")
    first, last = int(found[1]), int(found[2] or found[1])
    if not (LOWEST_STATUS <= first <= HIGHEST_STATUS and LOWEST_STATUS <= last <= HIGHEST_STATUS):
        raise ValueError("bounds")
    if last < first:
        raise ValueError("order")
    return first, last


@lru_cache(maxsize=4096)
def clean_url(text: str) -> str:
    """With scheme and host in lower case. Raises ValueError of a code:

    characters, syntax, scheme, credentials, host, port or fragment.
    """
    # Both the standard library and `idna` normalise the host, in quadratic time where it has many marks.
    if FORBIDDEN.search(text) or limit_marks(text, MOST_MARKS) != text:
        raise ValueError("characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("port" if "port" in str(error).lower() else "syntax") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("scheme")
    if "@" in parts.netloc:
        raise ValueError("credentials")
    ascii_host(parts)
    if port == 0:
        raise ValueError("port")
    if "#" in text:
        raise ValueError("fragment")
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))


@lru_cache(maxsize=4096)
def ascii_host(parts: SplitResult) -> str:
    """As it is looked up. Raises ValueError "host"."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        if IPV6.fullmatch(host):
            return host
        raise ValueError("host")
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("host") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > LONGEST_HOST or not all(map(LABEL.fullmatch, labels)):
        raise ValueError("host")
    return host
