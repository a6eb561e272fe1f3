"""Addresses of outgoing calls, as they are looked up and sent."""

import re
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import idna

from portal.base.text import MOST_MARKS, limit_marks

PORTS = {"http": 80, "https": 443}
# Spaces of any kind, controls, and the backslash, which browsers take for a slash.
FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
LONGEST_HOST = 253
IPV6 = re.compile(r"[0-9a-f:.]+", re.ASCII)
# What RFC 3986 allows in a path and a query, and the percent sign of what is quoted already.
UNQUOTED = "!#$%&'()*+,/:;=?@[]~"


@lru_cache(maxsize=4096)
def clean_url(text: str) -> str:
    """Return the URL with scheme and host in lower case. Raises ValueError with one of these codes:

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
    if parts.scheme not in PORTS:
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
    """Return the host in the ASCII form in which it is looked up. Raises ValueError "host"."""
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


def url_port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]


def request_target(parts: SplitResult) -> str:
    """Return what the request line names: path and query."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return quote(target, safe=UNQUOTED)
