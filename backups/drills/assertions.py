"""Assertions on a restored database: an operator's query, and what its one value must be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

# Numbers from here on are not compared: no table has as many rows.
LARGEST = 10**15
LONGEST_HOURS = 24 * 366 * 100
EQUAL, AT_LEAST, AT_MOST, WITHIN_HOURS = "equal", "at_least", "at_most", "within_hours"
Value = int | float | str | bool | None


class NotOneValue(Exception):
    """The query returned no row, several rows, or several columns."""


@dataclass(frozen=True)
class Assertion:
    """A query with its expectation: its value compared with `expected`, or no older than so many hours."""

    name: str
    query: str
    comparison: str
    expected: str


def is_valid_expectation(comparison: str, expected: str) -> bool:
    """Return whether something can be compared so: all but equality needs a number."""
    number = to_number(expected)
    if comparison == WITHIN_HOURS:
        return number is not None and 0 <= number <= LONGEST_HOURS
    return comparison == EQUAL or number is not None


def only_value(rows: list[tuple[Any, ...]]) -> Any:
    """Return the value of one row with one column. Raises NotOneValue."""
    if len(rows) != 1 or len(rows[0]) != 1:
        raise NotOneValue
    return rows[0][0]


def is_fulfilled(assertion: Assertion, value: Any, now: datetime) -> bool:
    """Return whether a value is as expected. One that cannot be compared is not."""
    if assertion.comparison == EQUAL:
        return is_equal(value, assertion.expected)
    if assertion.comparison == WITHIN_HOURS:
        moment, hours = to_moment(value), to_number(assertion.expected)
        return moment is not None and hours is not None and now - moment <= timedelta(hours=float(hours))
    found, limit = to_number(value), to_number(assertion.expected)
    if found is None or limit is None:
        return False
    return found >= limit if assertion.comparison == AT_LEAST else found <= limit


def is_equal(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return expected.strip().lower() in (("true", "t", "1") if value else ("false", "f", "0"))
    number, limit = to_number(value), to_number(expected)
    if number is not None and limit is not None:
        return number == limit
    return value is not None and str(value) == expected.strip()


def to_number(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < LARGEST else None


def to_moment(value: Any) -> datetime | None:
    """Return a time, a date or a text in ISO 8601 as a moment, in UTC unless it names its zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def storable_value(value: Any) -> Value:
    """Return numbers below LARGEST, truth values and times; None for anything else, since a text may be personal."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        number = to_number(value)
        return None if number is None else int(number) if number == int(number) else float(number)
    return value.isoformat() if isinstance(value, datetime | date) else None
