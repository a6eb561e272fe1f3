"""Strategies for parser input: nearly valid structures, damaged samples and random bytes.

Planted text begins with PLANTED, so that a test can find it in the output.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from portal.tests.helpers.marks import FEW_MARKS, MANY_MARKS

PLANTED = "PLANTED"
COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
}
settings.register_profile("test", max_examples=200, derandomize=True, **COMMON)
settings.register_profile("fuzz", max_examples=10_000, **COMMON)
# `make fuzz` chooses the other one.
CASES = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

TOKEN = f"vigie_agent_{'a' * 12}_{PLANTED}"
MOMENTS = (
    "2026-03-10T09:20:00Z", "2026-03-10T09:20:00", "2026-03-10", "20260310T092000Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "2026-W10-2T09:20:60Z", "2026-06-30T23:59:60Z", "2026-03-10T09:20:00.123456789Z",
)  # fmt: skip
WORDS = (
    "", " ", "\0", "\ud800", "\udfff\ud800", "\ufffe", "\u2028", "\u202e", "\u00a0", "İ", "ﬁ", "ß", "ﾊﾟ", "None", "null",
    "True", "false", "NaN", "1", "-1", "1e3", "٣", "0" * 20, "bug", "ux", "success", "FAILED", ".PDF", "../../etc/passwd",
    "=1+1", "'=1+1", "'", '"', ",", "a@b", "agent:a", "client : a", "participant:a", "{year}", "{x.__class__}", "%(a)s",
    "0 0 30 2 *", "*/5 * * * *", "MO,TU", "Europe/Paris", "../zone", "a" * 64, "0" * 64,
)  # fmt: skip

texts = st.one_of(
    st.sampled_from([*WORDS, *MOMENTS, TOKEN, f"{PLANTED}{FEW_MARKS}", f"{PLANTED}{MANY_MARKS}"]),
    st.text(max_size=20).map(lambda text: PLANTED + text),
    st.builds(lambda word, times: (PLANTED + word) * times, st.sampled_from(WORDS), st.sampled_from([1, 9, 40, 300])),
)
integers = st.one_of(
    st.integers(-2, 12), st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**639])
)
leaves = st.one_of(st.none(), st.booleans(), integers, st.floats(allow_nan=False, allow_infinity=False), texts)
shallow = st.one_of(leaves, st.lists(leaves, max_size=3), st.dictionaries(texts, leaves, max_size=3))
values = st.one_of(leaves, shallow, st.lists(shallow, max_size=2), st.builds(lambda: [[[[{PLANTED: [[[]]]}]]]]))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Yield each container within a value with each of its keys."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of the same type, which are valid more often than arbitrary ones."""
    if isinstance(value, bool) or value is None:
        return st.sampled_from([True, False, None, "True", "None"])
    if isinstance(value, int):
        return integers
    return texts if isinstance(value, str) else values


@st.composite
def damaged(draw: st.DrawFn, *samples: Any, most: int = 3) -> Any:
    """Draw a sample with some members replaced, removed, renamed or added."""
    value = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, most))):
        there = places(value)
        if not there:
            break
        container, key = there[draw(st.integers(0, len(there) - 1))]
        match draw(st.sampled_from(["resemble", "resemble", "replace", "remove", "rename", "add"])):
            case "resemble":
                container[key] = draw(alike(container[key]))
            case "replace":
                container[key] = draw(values)
            case "remove":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[draw(texts)] = container.pop(key)
            case _ if isinstance(container, dict):
                container[draw(texts)] = draw(values)
            case _:
                container.append(draw(values) if draw(st.booleans()) else copy.deepcopy(container[key]))
    return value


@st.composite
def broken(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes that are truncated, or have others inserted."""
    content = draw(contents)
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    return content[:first] + draw(st.binary(max_size=8)) + (content[last:] if draw(st.booleans()) else b"")


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def bodies(*samples: Any) -> st.SearchStrategy[bytes]:
    """Return a strategy for JSON bodies, most of them nearly valid."""
    strategies = [damaged(*samples, most=most).map(as_json) for most in (1, 2, 4)]
    return st.one_of(*strategies, values.map(as_json), broken(strategies[0]), st.binary(max_size=100))
