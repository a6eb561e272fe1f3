"""Invariants of every result of a parser."""

from __future__ import annotations

import json
import re
from typing import Any

from django.test import RequestFactory

from portal.api import bodies
from portal.base.problems import CODES, Problem
from tests.fuzz.strategies import PLANTED

FIELD = re.compile(r"[a-z_]+(\[[0-9]+\])?(\.[a-z_]+)?")
UNREADABLE = frozenset({"malformed_json", "body_too_deep", "body_too_large"})


def body_in(raw: bytes) -> dict[str, Any]:
    """Parse the body as the API does. Raises Problem."""
    return bodies.read_json_object(RequestFactory().generic("POST", "/", raw, "application/json"))


def assert_is_refusal(problem: Problem, *codes: str) -> None:
    """Assert a documented code, field names of the schema only, and nothing of the input."""
    assert problem.code in UNREADABLE.union(codes)
    assert all(FIELD.fullmatch(error.field) and error.code.isidentifier() for error in problem.errors)
    assert PLANTED not in json.dumps(problem.body())
    assert bool(problem.errors) == (problem.code == "validation_failed")
    assert problem.status == CODES[problem.code].status


def assert_is_storable(value: Any) -> None:
    """Assert that every database can store it: no text contains NUL or an unpaired surrogate."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text.encode()
    assert "\\u0000" not in text
