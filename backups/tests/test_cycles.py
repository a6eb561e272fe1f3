"""When a backup is expected. All times are UTC."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.scanner import cycles


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan(hour=13, minute=0, days="", weekly=False, early=10, window=30):
    return cycles.plan(hour, minute, weekly, days, timedelta(minutes=early), timedelta(minutes=window))


# 2025-06-12 is a Thursday.
@pytest.mark.parametrize(
    ("plan", "now", "expected"),
    [
        (plan(), "2025-06-12 13:00", "2025-06-12 13:00"),
        (plan(), "2025-06-12 12:59:59", "2025-06-12 13:00"),  # early by a second
        (plan(), "2025-06-12 12:50", "2025-06-12 13:00"),
        (plan(), "2025-06-12 12:49:59", "2025-06-11 13:00"),
        (plan(), "2025-06-13 12:49:59", "2025-06-12 13:00"),
        (plan(0, 0), "2025-06-11 23:59", "2025-06-12 00:00"),  # early, and on the day before
        (plan(0, 0), "2025-06-11 23:49", "2025-06-11 00:00"),
        (plan(0, 0), "2025-06-12 00:00", "2025-06-12 00:00"),
        (plan(0, 0), "2025-06-12 00:01", "2025-06-12 00:00"),
        (plan(23, 59), "2025-06-13 00:20", "2025-06-12 23:59"),
        (plan(0, 5), "2025-12-31 23:56", "2026-01-01 00:05"),
        (plan(0, 5), "2024-02-29 00:00", "2024-02-29 00:05"),
        (plan(weekly=True), "2025-06-12 13:00", "2025-06-09 13:00"),  # Mondays, unless said otherwise
        (plan(weekly=True, days="TH"), "2025-06-12 12:55", "2025-06-12 13:00"),
        (plan(weekly=True, days="TH"), "2025-06-12 12:45", "2025-06-05 13:00"),
        (plan(weekly=True, days="SU"), "2025-06-14 12:00", "2025-06-08 13:00"),
        (plan(days="MO,TU,WE,TH,FR"), "2025-06-15 20:00", "2025-06-13 13:00"),  # a Sunday
        (plan(days="MO,TU,WE,TH,FR"), "2025-06-16 12:50", "2025-06-16 13:00"),
        (plan(days="sa; su"), "2025-06-12 13:00", "2025-06-08 13:00"),
        (plan(0, 0, days="MO", weekly=True), "2025-06-15 23:55", "2025-06-16 00:00"),  # early on Sunday
    ],
)
def test_the_current_cycle_is_the_latest_that_has_opened(plan, now, expected):
    assert cycles.current(plan, at(now)).at == at(expected)


@pytest.mark.parametrize(
    ("plan", "now", "opens", "deadline", "closes"),
    [
        (plan(), "2025-06-12 14:00", "2025-06-12 12:50", "2025-06-12 13:30", "2025-06-13 12:50"),
        (plan(23, 50), "2025-06-13 00:10", "2025-06-12 23:40", "2025-06-13 00:20", "2025-06-13 23:40"),
        (plan(0, 0), "2025-06-12 00:10", "2025-06-11 23:50", "2025-06-12 00:30", "2025-06-12 23:50"),
        (plan(days="FR,MO"), "2025-06-14 10:00", "2025-06-13 12:50", "2025-06-13 13:30", "2025-06-16 12:50"),
        (
            plan(weekly=True, window=10_000),
            "2025-06-12 10:00",
            "2025-06-09 12:50",
            "2025-06-16 11:40",
            "2025-06-16 12:50",
        ),
        (plan(window=5_000), "2025-06-12 14:00", "2025-06-12 12:50", "2025-06-13 12:50", "2025-06-13 12:50"),
        (plan(early=0), "2025-06-12 13:00", "2025-06-12 13:00", "2025-06-12 13:30", "2025-06-13 13:00"),
    ],
)
def test_a_cycle_lasts_until_the_next_one_opens(plan, now, opens, deadline, closes):
    cycle = cycles.current(plan, at(now))
    assert (cycle.opens, cycle.deadline, cycle.closes) == (at(opens), at(deadline), at(closes))


def test_each_moment_belongs_to_one_cycle():
    for chosen in (plan(), plan(0, 0), plan(days="MO,WE"), plan(weekly=True, days="SU"), plan(early=1_440)):
        moment = at("2025-06-01 00:00")
        before = cycles.current(chosen, moment)
        while moment < at("2025-06-20 00:00"):
            cycle = cycles.current(chosen, moment)
            assert cycle.holds(moment)
            assert cycle in (before, cycles.current(chosen, before.closes))
            before, moment = cycle, moment + timedelta(minutes=7)


def test_earlier_cycles_come_latest_first():
    current = cycles.current(plan(days="MO,TH"), at("2025-06-12 14:00"))
    found = cycles.earlier(plan(days="MO,TH"), current)
    assert [next(found).at for _ in range(3)] == [
        at("2025-06-09 13:00"),
        at("2025-06-05 13:00"),
        at("2025-06-02 13:00"),
    ]


@pytest.mark.parametrize(
    ("plan", "now", "expected"),
    [
        (plan(), "2025-06-12 12:59", "2025-06-12 13:00"),
        (plan(), "2025-06-12 13:00", "2025-06-13 13:00"),
        (plan(weekly=True, days="WE"), "2025-06-12 13:00", "2025-06-18 13:00"),
    ],
)
def test_the_next_moment_is_the_one_to_come(plan, now, expected):
    assert cycles.upcoming(plan, at(now)) == at(expected)


@pytest.mark.parametrize("text", ["MON", "1,2", "MO,XX", "lundi"])
def test_other_words_are_no_days(text):
    with pytest.raises(ValueError):
        cycles.weekdays(text)
