"""Targets, checks and rollups for tests."""

from datetime import UTC, datetime, timedelta
from itertools import count

from monitoring.figures import histogram
from monitoring.models import CheckResult, Rollup, Target

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
numbers = count(1)


def create_target(name="", **fields):
    return Target.objects.create(name=name or f"Target {next(numbers)}", url="https://api.example.org/", **fields)


def create_check(target, at, latency_ms=100.0, error_kind="", **fields):
    latency = None if error_kind else latency_ms
    return CheckResult.objects.create(target=target, at=at, latency_ms=latency, error_kind=error_kind, **fields)


def create_rollup(target, period, start, checks=10, failures=0, excused=0, latency_ms=100.0, retried=0):
    """Create a rollup whose good checks all had the same latency."""
    succeeded = checks - failures
    counted = {str(histogram.bucket_number(latency_ms)): succeeded} if succeeded else {}
    return Rollup.objects.create(
        target=target,
        period=period,
        start=start,
        checks=checks,
        failures=failures,
        excused=excused,
        retried=retried,
        latency_sum_ms=latency_ms * succeeded,
        histogram=counted,
    )


def bucket_value(latency_ms):
    """Return the latency that a histogram reports for this one."""
    return histogram.bucket_latency(histogram.bucket_number(latency_ms))
