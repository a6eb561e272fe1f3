import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from backups.drills.assertions import Assertion, is_fulfilled, is_valid_expectation, storable_value

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


HUGE = Decimal(10) ** 5_000


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (3, 3),
        (Decimal("2.50"), 2.5),
        (True, True),
        ("Anna", None),
        (b"Anna", None),
        (float("nan"), None),
        (float("inf"), None),
        (HUGE, None),
        (10**15, None),
        (NOW, "2026-11-20T12:00:00+00:00"),
        (date(2026, 11, 20), "2026-11-20"),
        (None, None),
    ],
)
def test_only_numbers_truth_values_and_times_are_kept(value: Any, kept: Any) -> None:
    assert storable_value(value) == kept
    json.dumps(storable_value(value))


@pytest.mark.parametrize(
    ("value", "comparison", "expected", "is_held"),
    [
        (3, "equal", "3.0", True),
        ("3", "equal", "3", True),
        (True, "equal", "true", True),
        (None, "equal", "None", False),
        (float("nan"), "at_least", "0", False),
        (5, "at_least", "x", False),
        (HUGE, "at_least", "0", False),
        (NOW, "within_hours", "0", True),
        ("2026-11-20 11:00:00", "within_hours", "1", True),
        ("2026-11-20T13:00:00+02:00", "within_hours", "1", True),
        (date(2026, 11, 20), "within_hours", "11", False),
        ("yesterday", "within_hours", "24", False),
        (datetime(1, 1, 1), "within_hours", "878400", False),
    ],
)
def test_value_is_compared_with_the_expectation(value: Any, comparison: str, expected: str, is_held: bool) -> None:
    assert is_fulfilled(Assertion("", "", comparison, expected), value, NOW) is is_held


@pytest.mark.parametrize(
    ("comparison", "expected", "is_valid"),
    [
        ("equal", "Anna", True),
        ("at_least", "Anna", False),
        ("at_least", "-5", True),
        ("within_hours", "-5", False),
        ("within_hours", "99999999", False),
        ("within_hours", "24", True),
        ("at_most", "1e20", False),
    ],
)
def test_expectation_is_valid_for_its_comparison(comparison: str, expected: str, is_valid: bool) -> None:
    assert is_valid_expectation(comparison, expected) is is_valid
