"""Specification of a check: the request, and the expectations of its answer."""

import re
from dataclasses import dataclass

from portal.egress.connection import BODILESS

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
LOWEST_STATUS, HIGHEST_STATUS = 100, 599
STATUS_RANGE = re.compile(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


@dataclass(frozen=True)
class Spec:
    """A request and the expectations of its answer.

    `timeout` is the deadline in seconds for name lookup, connection, TLS, redirects and body together. The JSON value
    is compared as JSON, a string literally; if it is empty, the path need only exist. The header must exist and contain
    its value, if one is given.
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


def parse_statuses(text: str) -> list[tuple[int, int]]:
    """Parse ranges such as "200-299,404". Raises ValueError with a code: empty, syntax, bounds or order."""
    ranges = [parse_status_range(part.strip()) for part in text.split(",") if part.strip()]
    if not ranges:
        raise ValueError("empty")
    return ranges


def expects_any_body(text: str) -> bool:
    """Return whether one of the expected statuses has a body. Raises ValueError as `parse_statuses`."""
    return any(status not in BODILESS for first, last in parse_statuses(text) for status in range(first, last + 1))


def parse_status_range(text: str) -> tuple[int, int]:
    found = STATUS_RANGE.fullmatch(text)
    if found is None:
        raise ValueError("syntax")
    first, last = int(found[1]), int(found[2] or found[1])
    if not (LOWEST_STATUS <= first <= HIGHEST_STATUS and LOWEST_STATUS <= last <= HIGHEST_STATUS):
        raise ValueError("bounds")
    if last < first:
        raise ValueError("order")
    return first, last
