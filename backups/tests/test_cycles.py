"""Timetables and cycles. All times are UTC."""

from datetime import UTC, datetime, time, timedelta
from itertools import takewhile

import pytest

from backups import cycles, validators
from backups.models import ExpectedBackupJob


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan(hour=13, minute=0, days="", weekly=False, early=10, window=30):
    job = ExpectedBackupJob(
        expected_hour_utc=hour,
        expected_minute_utc=minute,
        expected_frequency="weekly" if weekly else "daily",
        days_of_week=days,
        early_minutes=early,
        window_minutes=window,
    )
    return cycles.timetable_of(job)


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
    assert cycles.current_cycle(plan, at(now)).at == at(expected)


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
    cycle = cycles.current_cycle(plan, at(now))
    assert (cycle.opens, cycle.deadline, cycle.closes) == (at(opens), at(deadline), at(closes))
    assert (cycle.contains(cycle.opens), cycle.contains(cycle.closes)) == (True, False)


def test_every_moment_belongs_to_exactly_one_cycle():
    for chosen in (plan(), plan(0, 0), plan(days="MO,WE"), plan(weekly=True, days="SU"), plan(early=1_440)):
        moment = at("2025-06-01 00:00")
        before = cycles.current_cycle(chosen, moment)
        while moment < at("2025-06-20 00:00"):
            cycle = cycles.current_cycle(chosen, moment)
            assert cycle.contains(moment)
            assert cycle in (before, cycles.current_cycle(chosen, before.closes))
            before, moment = cycle, moment + timedelta(minutes=23)


def test_earlier_cycles_come_latest_first():
    current = cycles.current_cycle(plan(days="MO,TH"), at("2025-06-12 14:00"))
    found = cycles.earlier_cycles(plan(days="MO,TH"), current)
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
def test_next_expected_time_is_in_the_future(plan, now, expected):
    assert cycles.next_expected_time(plan, at(now)) == at(expected)


@pytest.mark.parametrize("text", ["MON", "1,2", "MO,XX", "lundi"])
def test_unknown_weekday_raises_valueerror(text):
    with pytest.raises(ValueError):
        cycles.parse_weekdays(text)


# --- Cron expressions ------------------------------------------------------------------------------------------------


def cron(schedule, zone="Europe/Paris", early=30, window=30):
    return cycles.Timetable(time(), frozenset(), timedelta(minutes=early), timedelta(minutes=window), schedule, zone)


# In 2026 the clocks of Paris change on 29 March at 01:00 UTC and on 25 October at 01:00 UTC.
@pytest.mark.parametrize(
    ("plan", "now", "expected"),
    [
        (cron("30 2 * * *"), "2026-03-28 02:00", "2026-03-28 01:30"),
        (cron("30 2 * * *"), "2026-03-29 01:10", "2026-03-29 01:00"),  # 02:30 does not exist
        (cron("30 2 * * *"), "2026-03-30 00:40", "2026-03-30 00:30"),
        (cron("30 2 * * *"), "2026-10-25 00:40", "2026-10-25 00:30"),  # 02:30 comes twice
        (cron("30 2 * * *"), "2026-10-25 12:00", "2026-10-25 00:30"),
        (cron("30 2 * * *"), "2026-10-26 01:40", "2026-10-26 01:30"),
        (cron("30 2 * * *"), "2026-10-26 00:59", "2026-10-25 00:30"),
        (cron("30 2 * * *"), "2026-10-26 01:00", "2026-10-26 01:30"),  # early by half an hour
        (cron("30 2 * * *", "UTC"), "2026-03-30 02:40", "2026-03-30 02:30"),
        (cron("0 1 1 * *"), "2026-03-20 12:00", "2026-03-01 00:00"),
        (cron("0 20 * * 1-5"), "2026-03-29 12:00", "2026-03-27 19:00"),
        (cron("0 */6 * * *", "UTC"), "2026-03-29 17:29", "2026-03-29 12:00"),
    ],
)
def test_cron_schedule_follows_dst_of_its_time_zone(plan, now, expected):
    assert cycles.current_cycle(plan, at(now)).at == at(expected)


def test_cycles_of_a_cron_schedule_are_the_same_forwards_and_backwards():
    start, end = at("2026-02-01 00:00"), at("2026-11-15 00:10")
    for schedule in ("30 2 * * *", "0,30 2,3 * * *", "15 * * * *", "0 1 1 * *"):
        plan = cron(schedule, early=0, window=1)
        forwards = list(takewhile(lambda moment: moment < end, cycles.expected_times(plan, start, 1)))
        backwards = list(takewhile(lambda moment: moment > start, cycles.expected_times(plan, end, -1)))
        assert forwards == backwards[::-1]
        assert forwards == sorted(set(forwards))


@pytest.mark.parametrize(
    "schedule",
    [
        "", "* * * *", "0 0 0 * * *", "@daily", "60 * * * *", "0 2 * * 8", "0 0 30 2 *", "0 0 29 2 *", "0 0 * 2 MON#5",
        "1,1,1 * * * x", "0-59/0 * * * *", "é * * * *", "9" * 5_000 + " * * * *", "*," * 49 + "* * * * * ",
    ],
)  # fmt: skip
def test_invalid_or_rare_schedule_is_refused(schedule):
    with pytest.raises(validators.ValidationError):
        validators.validate_schedule(schedule)


@pytest.mark.parametrize("schedule", ["30 2 * * *", "0 0 L * *", "*/5 * * 1 *", "0 0 13 * FRI", "0 0 1 1 *"])
def test_yearly_schedule_is_accepted(schedule):
    validators.validate_schedule(schedule)


@pytest.mark.parametrize("zone", ["", "Europe", "Europe/Nowhere", "../UTC", "CEST+1"])
def test_unknown_time_zone_is_refused(zone):
    with pytest.raises(validators.ValidationError):
        validators.validate_zone(zone)
