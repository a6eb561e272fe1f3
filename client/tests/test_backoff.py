from __future__ import annotations

from email.utils import formatdate

import pytest

from vigie_client.http.backoff import backoff_delay, parse_retry_after

NOW = 1_770_000_000.0


def test_delay_doubles_from_one_second_to_its_cap() -> None:
    delays = [backoff_delay(failures, lambda: 0.0) for failures in range(12)]
    assert delays == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_jitter_shortens_a_delay_by_up_to_half() -> None:
    assert backoff_delay(3, lambda: 0.999999) == pytest.approx(2.0, abs=0.001)


def test_delay_stays_at_its_cap() -> None:
    assert backoff_delay(10**6, lambda: 0.0) == 300


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("0", 0), ("999999999", 86_400), (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0), ("soon", None), ("", None), ("-5", None), ("1e9", None),
        ("٣", None), (None, None), (5, None), ("Mon, 99 Foo 2026", None),
    ],
)  # fmt: skip
def test_retry_after_is_parsed_and_limited(value: object, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds
