"""Rounding of figures for people. Python's `round` takes halves to the even digit: 12.5 to 12, and 13.5 to 14."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def round_half_up(value: float, digits: int = 0) -> float:
    """The value to so many digits, halves away from zero."""
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def round_to_integer(value: float) -> int:
    """The value as an integer, halves away from zero."""
    return int(round_half_up(value))
