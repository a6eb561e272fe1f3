"""What an answer must hold. Its content is the other side's, and may be made to break or to busy whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonpath import CompoundJSONPath, JSONPath, JSONPathEnvironment, JSONPathError, JSONPathMatch

from monitoring.probe.spec import Spec

# Other codecs of Python's are slow on purpose-made input (punycode), or are no charsets.
CHARSETS = frozenset({"utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})
# Of a JSON document, that a path may look at: a tenth of a second's work.
MOST_NODES = 100_000


class Spent(JSONPathError):
    """The path leads past more nodes than we look at."""


class Budget:
    def __init__(self) -> None:
        self.left = MOST_NODES

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Spent("too many nodes", token=None)


class Node(JSONPathMatch):
    """Without the way it was come by: with long keys, that alone would fill the memory."""

    def __init__(self, *, filter_context: Mapping[str, Any], obj: object, root: Any, **_way: Any) -> None:
        filter_context["budget"].spend()
        self._filter_context = filter_context
        self.obj = obj
        self.root = root

    def add_child(self, *children: JSONPathMatch) -> None:
        pass

    def new_child(self, obj: object, key: int | str) -> JSONPathMatch:
        return Node(filter_context=self._filter_context, obj=obj, root=self.root)


class Environment(JSONPathEnvironment):
    """RFC 9535 but for regular expressions, of which some take for ever and nothing can end them."""

    match_class = Node

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in ("match", "search"):
            self.function_extensions.pop(name, None)


ENVIRONMENT = Environment(strict=True)


@lru_cache(maxsize=4096)
def compiled(path: str) -> JSONPath | CompoundJSONPath:
    """Raises ValueError "json_path" for what is none."""
    try:
        return ENVIRONMENT.compile(path)
    except (JSONPathError, RecursionError, ValueError):
        raise ValueError("json_path") from None


def broken(spec: Spec, headers: Mapping[str, list[str]], charset: str, body: bytes) -> str:
    """The first expectation that does not hold, by the name of its field, "json" where there is none; else ""."""
    if spec.header_name:
        values = headers.get(spec.header_name.lower(), [])
        if not values:
            return "header_name"
        if not any(spec.header_value in value for value in values):
            return "header_value"
    if spec.contains and spec.contains not in text_of(body, charset):
        return "contains"
    return broken_json(spec, body) if spec.json_path else ""


def text_of(body: bytes, charset: str) -> str:
    return body.decode(charset if charset in CHARSETS else "utf-8", "replace")


def broken_json(spec: Spec, body: bytes) -> str:
    try:
        document = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        return "json"
    try:
        found = compiled(spec.json_path).finditer(document, filter_context={"budget": Budget()})
        values = [match.obj for match in found]
    except (JSONPathError, RecursionError):
        return "json_path"
    if not values:
        return "json_path"
    return "" if not spec.json_value or any(is_same(value, spec.json_value) for value in values) else "json_value"


def refuse(constant: str) -> None:
    raise ValueError(constant)


def is_same(found: object, expected: str) -> bool:
    """Numbers and the rest by what they are: 1.50 is 1.5."""
    if isinstance(found, str):
        return found == expected
    try:
        return json.dumps(found) == json.dumps(json.loads(expected))
    except (ValueError, RecursionError):
        return False
