"""Kinds of errors that end a check. Code acts on them; `monitoring.error_texts` has words for people."""

from enum import StrEnum


class ErrorKind(StrEnum):
    DNS = "dns"
    BLOCKED = "blocked"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    REDIRECT = "redirect"
    STATUS = "status"
    ASSERTION = "assertion"


# Kinds that our own network may have caused. With any other, the target did answer.
NETWORK = frozenset({ErrorKind.DNS.value, ErrorKind.CONNECT.value, ErrorKind.TIMEOUT.value})
