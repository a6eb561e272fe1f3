"""Durations by a clock that nobody sets."""

from datetime import UTC, datetime, timedelta

from monitoring import clock
from monitoring.clock import Mark, mark

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_duration_ignores_a_clock_set_back():
    assert Mark(NOON, "a", 100.0).until(Mark(NOON - HOUR, "a", 190.0)) == timedelta(seconds=90)


def test_duration_after_a_reboot_is_by_the_calendar():
    assert Mark(NOON, "a", 100_000.0).until(Mark(NOON + HOUR, "b", 5.0)) == HOUR


def test_duration_is_never_negative():
    assert Mark(NOON, "a", 100.0).until(Mark(NOON - HOUR, "b", 5.0)) == timedelta(0)
    assert Mark(NOON, "", 100.0).until(Mark(NOON + HOUR, "", 5.0)) == HOUR


def test_duration_is_by_the_monotonic_clock():
    first, second = mark(), mark()
    assert first.boot == second.boot != ""
    assert second.ticks >= first.ticks


def test_duration_without_a_boot_id_is_by_the_calendar(monkeypatch, tmp_path):
    monkeypatch.setattr(clock, "BOOT_ID", tmp_path / "absent")
    clock.this_boot.cache_clear()
    assert mark().boot == ""
    clock.this_boot.cache_clear()
