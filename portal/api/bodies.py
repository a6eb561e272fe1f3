"""Request bodies: JSON, optionally gzip, within limits that hold before anything is parsed."""

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, NoReturn

from django.http import HttpRequest
from django.http.request import RawPostDataException
from gunicorn.http.errors import ParseException
from vigie_client import contract

from portal.base.problems import Problem

MAX_SENT = contract.MAX_BODY
MAX_INFLATED = 8 * 1024 * 1024
MAX_VALUES = 200_000
MAX_DEPTH = 32
MAX_MEMBERS = 64
# What reading a body may raise: a caller gone (OSError), a length or a chunk that is none, a body read already.
UNREADABLE = (OSError, ValueError, RawPostDataException, ParseException)
UTF8 = re.compile(r"utf-?8", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Limits of a body: bytes as sent, bytes inflated, and values.

    Commas and brackets are counted as values, even within strings: an empty list of 2 bytes takes 72 in memory.
    """

    sent: int = MAX_SENT
    inflated: int = MAX_INFLATED
    values: int = MAX_VALUES

    def refusal(self) -> Problem:
        sizes = f"{self.sent // 1024} KiB as sent, {self.inflated // 1024} KiB inflated"
        return Problem("body_too_large", detail=f"A body may have {sizes} and {self.values:,} values here at most.")


BY_TOKEN = Limits()


def read_json_object(request: HttpRequest, limits: Limits = BY_TOKEN) -> dict[str, Any]:
    """The body as one JSON object; an absent body is an empty object.

    Raises Problem with the code of what is wrong.
    """
    body = decode_body(request, read_limited(request, limits), limits)
    if not body or body.isspace():
        return {}
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.values:
        raise limits.refusal()
    try:
        value = json.loads(body.decode("utf-8-sig"), **STRICT)
    except RecursionError:
        raise Problem("body_too_deep") from None
    except ValueError:  # bad UTF-8, bad JSON, duplicate keys, NaN, or more digits than Python reads
        raise Problem("malformed_json") from None
    refuse_deep(value)
    if not isinstance(value, dict):
        raise Problem("malformed_json")
    return value


def body_stream(request: HttpRequest) -> Any:
    """Return what the body is read from: the raw input for a chunked body, of which Django would read nothing."""
    chunked = "CONTENT_LENGTH" not in request.META and request.META.get("wsgi.input_terminated")
    return request.META["wsgi.input"] if chunked else request


def read_limited(request: HttpRequest, limits: Limits) -> bytes:
    """Read the body within the limit. A larger one is refused by its declared length if it has one."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limits.sent:
            raise limits.refusal()
        sent: bytes = body_stream(request).read(limits.sent + 1)
    except UNREADABLE:  # it broke off on its way, which says nothing of what was sent
        raise Problem("length_mismatch") from None
    if len(sent) > limits.sent:
        raise limits.refusal()
    return sent


def decode_body(request: HttpRequest, sent: bytes, limits: Limits) -> bytes:
    charset = request.content_params.get("charset", "utf-8") if request.content_params else "utf-8"
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if not UTF8.fullmatch(charset) or encoding not in {"", "identity", "gzip"}:
        raise Problem("unsupported_encoding")
    return gunzip(sent, limits) if encoding == "gzip" and sent else sent


def gunzip(data: bytes, limits: Limits = BY_TOKEN) -> bytes:
    """Gunzip all members, never to more than the limit: a bomb of 1 MiB would make a gigabyte."""
    inflated, members = b"", 0
    while data:
        members += 1
        if members > MAX_MEMBERS:
            raise Problem("unsupported_encoding")
        member = zlib.decompressobj(wbits=31)
        try:
            inflated += member.decompress(data, limits.inflated + 1 - len(inflated))
        except zlib.error:
            raise Problem("unsupported_encoding") from None
        if len(inflated) > limits.inflated:
            raise limits.refusal()
        if not member.eof:
            raise Problem("unsupported_encoding")
        data = member.unused_data
    return inflated


def refuse_deep(value: Any) -> None:
    """Raise Problem for a value that is nested too deeply, looking at one depth at a time without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            if type(container) in CONTAINERS
            for item in (container.values() if type(container) is dict else container)
        ]
        if not level:
            return
    if any(type(item) in CONTAINERS for item in level):
        raise Problem("body_too_deep")


CONTAINERS = (dict, list)


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate keys")
    return members


def parse_finite(text: str) -> float:
    """`1e999` is as infinite as the word would be."""
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    return number


def refuse_constant(name: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


STRICT: dict[str, Any] = {
    "object_pairs_hook": without_duplicates,
    "parse_constant": refuse_constant,
    "parse_float": parse_finite,
}
