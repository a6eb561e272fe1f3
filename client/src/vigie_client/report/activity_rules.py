"""Reduce the values of an event to what the portal accepts, before they are written to any disk."""

from __future__ import annotations

from typing import Any, Optional

from vigie_client.contract import has_file_name, is_error_name, is_identifier, reduce_route
from vigie_client.report.payload_rules import UNNAMED

NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected, without a token or the name of a file"


def reduce_feature_name(value: Any) -> str:
    """Return a valid name without surrounding spaces, `unnamed` otherwise."""
    return value.strip(" ") if _is_valid_name(value) else UNNAMED


def name_error(error: Any) -> str:
    """Return the class name of an exception or class, or the given name; `Exception` for an invalid one."""
    if isinstance(error, BaseException):
        error = type(error)
    name = error.__name__ if isinstance(error, type) else error
    return name if _is_valid_name(name) and is_error_name(name) else "Exception"


def reduce_endpoint(endpoint: Any) -> Optional[str]:
    """Return the route without query and parameter values; None if it is too long or no route, such as a path."""
    return (reduce_route(endpoint) if isinstance(endpoint, str) else None) or None


def _is_valid_name(value: Any) -> bool:
    return isinstance(value, str) and is_identifier(value.strip(" ")) and not has_file_name(value)
