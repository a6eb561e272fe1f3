"""Checks become minutes, hours and days, once each, whatever happens in between."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.figures import rollups
from monitoring.figures.histogram import bucket_number
from monitoring.models import CheckResult, Rollup
from monitoring.tests.factories import DAY, HOUR, MINUTE, NOON, SECOND, create_check, create_target
from portal.models import JobRun
from portal.work.jobs import AlreadyRunning, Lease, LeaseLost, claim_cycle, exclusive_lease

pytestmark = pytest.mark.django_db


@pytest.fixture
def lease(db):
    return claim_cycle("monitoring.rollups", "now")


@pytest.fixture
def target(db):
    return create_target()


@pytest.fixture
def roll(lease):
    def rolling(now):
        return rollups.roll_up(lease, now)

    return rolling


def counts(period, target=None):
    """`{start: (checks, failures, excused)}` of one target, or of the only one."""
    rows = Rollup.objects.filter(period=period, **{"target": target} if target else {})
    return {row.start: (row.checks, row.failures, row.excused) for row in rows}


def everything():
    columns = ("target_id", "period", "start", *rollups.COUNT_FIELDS, "latency_sum_ms", "histogram")
    return sorted(Rollup.objects.values_list(*columns), key=lambda row: row[:3])


# --- What is counted -------------------------------------------------------------------------------------------------


def test_checks_become_a_minute_an_hour_and_a_day(target, roll):
    create_check(target, NOON + 5 * SECOND, 100)
    create_check(target, NOON + 59 * SECOND, 300)
    create_check(target, NOON + MINUTE, error_kind="timeout")
    assert roll(NOON + 2 * MINUTE) == {"minute": 2, "hour": 1, "day": 1}
    assert counts("minute") == {NOON: (2, 0, 0), NOON + MINUTE: (1, 1, 0)}
    assert counts("hour") == {NOON: (3, 1, 0)}
    assert counts("day") == {NOON - 12 * HOUR: (3, 1, 0)}
    day = Rollup.objects.get(period="day")
    assert day.latency_sum_ms == 400
    assert day.histogram == {str(bucket_number(100)): 1, str(bucket_number(300)): 1}


def test_failed_check_counts_without_a_latency(target, roll):
    create_check(target, NOON, error_kind="connect")
    roll(NOON)
    minute = Rollup.objects.get(period="minute")
    assert (minute.latency_sum_ms, minute.histogram) == (0, {})


def test_excluded_failure_counts_as_neither_up_nor_down(target, roll):
    create_check(target, NOON, error_kind="timeout", excuse="maintenance")
    create_check(target, NOON, error_kind="connect", excuse="offline")
    create_check(target, NOON)
    roll(NOON)
    assert counts("minute") == counts("hour") == {NOON: (1, 0, 2)}


def test_retries_are_counted_and_recounted(target, roll):
    create_check(target, NOON, retried=2, retried_kind="status")
    roll(NOON)
    create_check(target, NOON + HOUR, retried=1, retried_kind="status")
    create_check(target, NOON + HOUR, error_kind="status")
    roll(NOON + HOUR)
    known = Rollup.objects.order_by("start").values_list("period", "checks", "failures", "retried")
    assert set(known) == {
        ("minute", 1, 0, 2), ("minute", 2, 1, 1), ("hour", 1, 0, 2), ("hour", 2, 1, 1), ("day", 3, 1, 3),
    }  # fmt: skip


def test_each_target_has_its_own_rollups(roll):
    one, other = create_target(), create_target()
    create_check(one, NOON)
    create_check(other, NOON, error_kind="dns")
    roll(NOON)
    assert counts("hour", one) == {NOON: (1, 0, 0)}
    assert counts("hour", other) == {NOON: (1, 1, 0)}


def test_days_and_hours_end_in_utc(target, roll):
    midnight = NOON + 12 * HOUR
    for moment in (midnight - timedelta(microseconds=1), midnight, midnight + MINUTE):
        create_check(target, moment)
    roll(midnight + MINUTE)
    assert counts("minute") == {midnight - MINUTE: (1, 0, 0), midnight: (1, 0, 0), midnight + MINUTE: (1, 0, 0)}
    assert counts("hour") == {midnight - HOUR: (1, 0, 0), midnight: (2, 0, 0)}
    assert counts("day") == {midnight - DAY: (1, 0, 0), midnight: (2, 0, 0)}


def test_no_checks_make_no_rollups(target, roll):
    assert roll(NOON) == {"minute": 0, "hour": 0, "day": 0}


# --- When it is counted ----------------------------------------------------------------------------------------------


def test_rolling_up_twice_changes_nothing(target, roll):
    for second in range(0, 300, 20):
        create_check(target, NOON + second * SECOND, 50 + second)
    roll(NOON + 5 * MINUTE)
    before = everything()
    assert roll(NOON + 5 * MINUTE) == {"minute": 0, "hour": 0, "day": 0}
    assert everything() == before


def test_current_minute_is_recounted_with_later_checks(target, roll):
    create_check(target, NOON + SECOND)
    roll(NOON + 30 * SECOND)
    create_check(target, NOON + 40 * SECOND)
    roll(NOON + 90 * SECOND)
    assert counts("minute") == counts("hour") == {NOON: (2, 0, 0)}


def test_late_check_still_counts(target, roll):
    create_check(target, NOON - 3 * SECOND)
    create_check(target, NOON + MINUTE)
    roll(NOON + MINUTE)
    create_check(target, NOON - SECOND)  # began in the hour before, and took its time
    roll(NOON + 2 * MINUTE)
    assert counts("minute")[NOON - MINUTE] == (2, 0, 0)
    assert counts("hour") == {NOON - HOUR: (2, 0, 0), NOON: (1, 0, 0)}
    assert counts("day") == {NOON - 12 * HOUR: (3, 0, 0)}


def test_rollups_catch_up_after_a_downtime(target, roll):
    create_check(target, NOON - 6 * DAY)
    roll(NOON - 6 * DAY)
    for moment in (NOON - 5 * DAY, NOON - 3 * HOUR, NOON):
        create_check(target, moment)
    assert roll(NOON) == {"minute": 3, "hour": 3, "day": 3}
    assert counts("day") == {NOON - 12 * HOUR - back * DAY: (number, 0, 0) for back, number in ((6, 1), (5, 1), (0, 2))}


def test_job_killed_between_batches_goes_on_where_it_stopped(target, roll, monkeypatch):
    for minute in range(0, 120, 4):
        create_check(target, NOON + minute * MINUTE)
    written, write = [], rollups.store_rollups

    def killed_at_the_fifth(*args):
        written.append(args)
        if len(written) == 14:  # the hour of the fifth: its minutes are in the same transaction
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(rollups, "store_rollups", killed_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        roll(NOON + 2 * HOUR)
    assert max(counts("minute")) == NOON + 44 * MINUTE
    assert counts("hour") == {NOON: (12, 0, 0)}
    monkeypatch.undo()
    roll(NOON + 2 * HOUR)
    assert counts("hour") == {NOON: (15, 0, 0), NOON + HOUR: (15, 0, 0)}
    assert counts("day") == {NOON - 12 * HOUR: (30, 0, 0)}


def test_rollups_of_the_future_hold_nothing_up(target, roll):
    create_check(target, NOON + 3 * DAY)
    roll(NOON + 3 * DAY)
    create_check(target, NOON)  # the clock was put right
    roll(NOON)
    create_check(target, NOON + MINUTE)
    roll(NOON + MINUTE)
    assert counts("hour") == {NOON: (2, 0, 0), NOON + 3 * DAY: (1, 0, 0)}


def test_checks_of_the_future_are_not_rolled_up_yet(target, roll):
    create_check(target, NOON + HOUR)
    roll(NOON)
    assert counts("minute") == {}
    roll(NOON + HOUR)
    assert counts("minute") == {NOON + HOUR: (1, 0, 0)}


# --- What is gone already --------------------------------------------------------------------------------------------


def test_hour_and_day_outlive_pruned_minutes(target, roll):
    for minute in (0, 10, 20):
        create_check(target, NOON + minute * MINUTE)
    roll(NOON + 20 * MINUTE)
    Rollup.objects.filter(period="minute", start__lt=NOON + 20 * MINUTE).delete()
    create_check(target, NOON + 20 * MINUTE)
    roll(NOON + 21 * MINUTE)
    assert counts("minute") == {NOON + 20 * MINUTE: (2, 0, 0)}
    assert counts("hour") == {NOON: (3, 0, 0)}
    assert counts("day") == {NOON - 12 * HOUR: (3, 0, 0)}


def test_minute_outlives_pruned_checks(target, roll):
    for second in (1, 2, 3):
        create_check(target, NOON + second * SECOND, error_kind="timeout")
    roll(NOON)
    CheckResult.objects.filter(at__lt=NOON + 3 * SECOND).delete()
    rollups.rebuild_rollups(NOON, NOON + HOUR)
    assert counts("minute") == counts("hour") == {NOON: (3, 3, 0)}


def test_day_outlives_pruned_checks_and_rollups(target, roll):
    create_check(target, NOON)
    roll(NOON)
    Rollup.objects.exclude(period="day").delete()
    CheckResult.objects.all().delete()
    create_check(target, NOON + MINUTE)
    roll(NOON + MINUTE)
    assert counts("day") == {NOON - 12 * HOUR: (1, 0, 0)}


# --- Counting anew ---------------------------------------------------------------------------------------------------


def test_rebuilding_corrects_wrong_rollups(target, roll):
    for moment in (NOON, NOON + 30 * MINUTE, NOON + HOUR):
        create_check(target, moment)
    roll(NOON + HOUR)
    before = everything()
    Rollup.objects.filter(period="minute", start=NOON).delete()
    Rollup.objects.filter(start=NOON, period="hour").update(failures=2, histogram={})
    Rollup.objects.filter(period="day").update(checks=1)
    assert rollups.rebuild_rollups(NOON, NOON + 2 * HOUR) == {"minute": 3, "hour": 3, "day": 3}
    assert everything() == before


def test_rebuilding_leaves_other_periods_alone(target, roll):
    create_check(target, NOON)
    create_check(target, NOON + HOUR)
    roll(NOON + HOUR)
    Rollup.objects.filter(period="minute").update(failures=1)
    assert rollups.rebuild_rollups(NOON, NOON + HOUR)["minute"] == 1
    assert counts("minute") == {NOON: (1, 0, 0), NOON + HOUR: (1, 1, 0)}


def test_second_job_leaves_the_work_to_the_first(target, roll):
    create_check(target, NOON)
    with exclusive_lease(rollups.LEASE_KEY):
        assert roll(NOON) == {"minute": 0, "hour": 0, "day": 0}
        with pytest.raises(AlreadyRunning):
            rollups.rebuild_rollups(NOON, NOON + HOUR)
    assert Rollup.objects.count() == 0
    assert roll(NOON)["minute"] == 1


def test_lost_lease_of_the_job_writes_nothing(target, lease):
    create_check(target, NOON)
    overtaken = Lease(lease.pk, lease.job, lease.cycle_key, lease.fence - 1)
    with pytest.raises(LeaseLost):
        rollups.roll_up(overtaken, NOON)
    assert Rollup.objects.count() == 0


def test_lost_exclusive_lease_writes_nothing(target, lease, monkeypatch):
    create_check(target, NOON)

    def overtaken_meanwhile(since, until):
        JobRun.objects.filter(job=rollups.LEASE_KEY).update(fence=99)
        return counted(since, until)

    counted = rollups.count_checks
    monkeypatch.setattr(rollups, "count_checks", overtaken_meanwhile)
    with pytest.raises(LeaseLost):
        rollups.roll_up(lease, NOON)
    assert Rollup.objects.count() == 0


def test_job_rolls_up_to_the_current_minute(target, lease):
    now = timezone.now()
    create_check(target, now - HOUR)
    create_check(target, now)
    assert rollups.roll_up(lease)["minute"] == 2


# --- What it takes ---------------------------------------------------------------------------------------------------


def test_queries_do_not_grow_with_targets(roll):
    def queries(now):
        with CaptureQueriesContext(connection) as context:
            roll(now)
        return len(context)

    targets = [create_target() for _ in range(40)]
    create_check(targets[0], NOON)
    roll(NOON)
    create_check(targets[0], NOON + DAY)
    few = queries(NOON + DAY)
    for target in targets:
        create_check(target, NOON + 2 * DAY)
    assert queries(NOON + 2 * DAY) == few


def test_batches_lie_within_an_hour_and_skip_idle_time(target):
    for moment in (NOON + 55 * MINUTE, NOON + 61 * MINUTE, NOON + 2 * DAY):
        create_check(target, moment)
    found = list(rollups.batches(NOON, NOON + 2 * DAY + MINUTE))
    assert found == [
        (NOON + 55 * MINUTE, NOON + HOUR),
        (NOON + 61 * MINUTE, NOON + 71 * MINUTE),
        (NOON + 2 * DAY, NOON + 2 * DAY + MINUTE),
    ]
