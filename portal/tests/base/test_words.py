"""Rounding of halves, away from zero."""

import pytest

from portal.base.words import round_half_up, round_to_integer


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (12.5, 0, 13),
        (13.5, 0, 14),
        (-12.5, 0, -13),
        (2.675, 2, 2.68),
        (0.05, 1, 0.1),
        (99.994, 2, 99.99),
        (1e9, 1, 1e9),
    ],
)
def test_half_is_rounded_away_from_zero(value, digits, expected):
    assert round_half_up(value, digits) == expected


def test_whole_number_is_an_integer():
    assert [round_to_integer(value) for value in (0.5, 1.5, 2.4)] == [1, 2, 2]
