"""Expectations of an answer. The content is untrusted, and may be made to crash or stall its reader."""

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from email.message import Message
from encodings import aliases, normalize_encoding
from functools import lru_cache
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError, JSONPathMatch
from jsonpath.filter import BaseExpression, FilterQuery
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter

from monitoring.probe.spec import Spec

BODY_LENGTH = 1024 * 1024
CHARSET_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.ASCII | re.IGNORECASE)
# Browsers look for the charset in `<meta>` and in the first line of XML, too.
CHARSET_SEARCH_LENGTH = 1024
CHARSET_IN_DOCUMENT = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?([\w.:-]+)""", re.ASCII | re.IGNORECASE
)
# Python's charsets by all their names. `codecs.lookup` would cache each unknown name for ever. Codecs without an alias
# are slow on crafted input (punycode) or no charsets, except for two that browsers know.
CHARSETS = {name: name for name in aliases.aliases.values()} | aliases.aliases
CHARSETS |= {"koi8_u": "koi8_u", "windows_874": "cp874"}
# gzip and zlib are told by their first bytes. Like browsers, accept deflate without a header as well.
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
ANY_WRAPPER, NO_WRAPPER = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
# Limits of values in a document and of steps of a path, for half a second of work at most.
MOST_VALUES = 50_000
MOST_STEPS = 100_000


class StepsExceeded(JSONPathError):
    """The path takes more steps than MOST_STEPS."""


class StepBudget:
    def __init__(self) -> None:
        self.left = MOST_STEPS

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StepsExceeded("too many steps", token=None)


class BudgetedNode(JSONPathMatch):
    """A match without its path, which would fill the memory if keys are long."""

    def __init__(self, document: Any, value: object, steps: StepBudget) -> None:
        steps.take()
        self.root = document
        self.obj = value
        self.steps = steps
        self._filter_context = {}

    def add_child(self, *children: JSONPathMatch) -> None:
        pass

    def new_child(self, obj: object, key: int | str) -> JSONPathMatch:
        return BudgetedNode(self.root, obj, self.steps)


class RestrictedEnvironment(JSONPathEnvironment):
    """RFC 9535 without regular expressions: some take for ever, and nothing can stop them."""

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in ("match", "search"):
            self.function_extensions.pop(name, None)


ENVIRONMENT = RestrictedEnvironment(strict=True)


@lru_cache(maxsize=4096)
def compile_json_path(path: str) -> JSONPath:
    """Compile a JSON path. Raises ValueError "json_path" if it is invalid, or may take more than linear time."""
    try:
        found = ENVIRONMENT.compile(complete_path(path))
    except (JSONPathError, RecursionError, ValueError):
        raise ValueError("json_path") from None
    if not isinstance(found, JSONPath) or not is_bounded_path(found):
        raise ValueError("json_path")
    return found


def complete_path(path: str) -> str:
    """Add the `$` of the document, which most paths leave out."""
    if path.startswith("$"):
        return path
    return f"${path}" if path.startswith("[") else f"$.{path}"


def is_bounded_path(path: JSONPath) -> bool:
    """Return whether the path takes linear time: at most one `..`, and only singular queries in filters."""
    descents = sum(isinstance(segment, JSONPathRecursiveDescentSegment) for segment in path.segments)
    selectors = [selector for segment in path.segments for selector in segment.selectors]
    filters = [selector.expression for selector in selectors if isinstance(selector, Filter)]
    return descents <= 1 and all(query.singular_query() for each in filters for query in filter_queries(each))


def filter_queries(expression: BaseExpression) -> Iterator[JSONPath]:
    if isinstance(expression, FilterQuery):
        yield expression.path
    for child in expression.children():
        yield from filter_queries(child)


def find_broken_expectation(spec: Spec, headers: Message, body: bytes) -> str:
    """Return the field of the first expectation that does not hold, or "". Errors of the content are content_encoding,
    json and json_size.
    """
    if spec.header_name:
        values = headers.get_all(spec.header_name, [])
        if not values:
            return "header_name"
        if not any(spec.header_value in str(value) for value in values):
            return "header_value"
    if not spec.expects_body:
        return ""
    try:
        body = decompress_body(body, headers)
    except zlib.error:
        return "content_encoding"
    if spec.contains and spec.contains not in decode_body(body, headers):
        return "contains"
    return find_broken_json(spec, body) if spec.json_path else ""


def decompress_body(body: bytes, headers: Message) -> bytes:
    """Return at most BODY_LENGTH decompressed bytes. Raises zlib.error."""
    if headers.get("Content-Encoding", "").lower() not in COMPRESSED:
        return body
    try:
        return zlib.decompressobj(ANY_WRAPPER).decompress(body, BODY_LENGTH)
    except zlib.error:
        return zlib.decompressobj(NO_WRAPPER).decompress(body, BODY_LENGTH)


def decode_body(body: bytes, headers: Message) -> str:
    """Decode by the first known charset that the header or the document names, else as UTF-8."""
    named = CHARSET_IN_HEADER.findall(headers.get("Content-Type", ""))
    named += [name.decode() for name in CHARSET_IN_DOCUMENT.findall(body[:CHARSET_SEARCH_LENGTH])]
    known = (CHARSETS.get(normalize_encoding(name).lower()) for name in named)
    try:
        return body.decode(next(filter(None, known), "utf-8"), "replace")
    except LookupError:  # a codec that is not a charset, such as base64
        return body.decode("utf-8", "replace")


def find_broken_json(spec: Spec, body: bytes) -> str:
    if len(body) >= BODY_LENGTH or sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        return "json_size"
    try:
        document = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return "json"
    try:
        values = list(find_values(compile_json_path(spec.json_path), document))
        is_held = not spec.json_value or has_value(values, spec.json_value)
    except (JSONPathError, RecursionError):
        return "json_path"
    if not values:
        return "json_path"
    return "" if is_held else "json_value"


def find_values(path: JSONPath, document: Any) -> Iterator[object]:
    """Yield the values at the path. Raises JSONPathError after too many steps, or too deep."""
    nodes: Iterable[JSONPathMatch] = [BudgetedNode(document, document, StepBudget())]
    for segment in path.segments:
        nodes = segment.resolve(nodes)
    return (node.obj for node in nodes)


def has_value(values: list[object], expected: str) -> bool:
    """Compare strings literally, and other values as JSON: 1.50 equals 1.5, and true does not equal 1."""
    if expected in values:
        return True
    try:
        meant = json.loads(expected, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return False
    return any(value == meant and isinstance(value, bool) == isinstance(meant, bool) for value in values)


def refuse_constant(constant: str) -> None:
    raise ValueError(constant)
