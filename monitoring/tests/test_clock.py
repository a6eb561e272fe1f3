"""Durations by a clock that nobody sets."""

from datetime import UTC, datetime, timedelta

from monitoring import clock
from monitoring.clock import Mark, mark

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_clock_set_back_changes_no_duration():
    assert Mark(NOON, "a", 100.0).until(Mark(NOON - HOUR, "a", 190.0)) == timedelta(seconds=90)


def test_after_a_restart_of_the_machine_the_calendar_tells():
    assert Mark(NOON, "a", 100_000.0).until(Mark(NOON + HOUR, "b", 5.0)) == HOUR


def test_nothing_lasts_less_than_no_time():
    assert Mark(NOON, "a", 100.0).until(Mark(NOON - HOUR, "b", 5.0)) == timedelta(0)
    assert Mark(NOON, "", 100.0).until(Mark(NOON + HOUR, "", 5.0)) == HOUR


def test_the_machine_counts_between_two_marks():
    first, second = mark(), mark()
    assert first.boot == second.boot != ""
    assert second.ticks >= first.ticks


def test_a_system_that_does_not_name_its_starts_is_gone_by_the_calendar(monkeypatch, tmp_path):
    monkeypatch.setattr(clock, "BOOT_ID", tmp_path / "absent")
    clock.this_boot.cache_clear()
    assert mark().boot == ""
    clock.this_boot.cache_clear()
