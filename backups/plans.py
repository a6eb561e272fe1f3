"""The plan of an expected backup: by hour and days of the week, or by a cron expression in a time zone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from backups.scanner import cycles

# What a plan is made of, with `early_minutes` and `window_minutes`.
PLANNED_BY = ("expected_hour_utc", "expected_minute_utc", "expected_frequency", "days_of_week")


def plan_of(job: Any) -> cycles.Plan:
    """The plan of a job, or of a row with its columns. Raises ValueError where a day of the week is none."""
    return cycles.plan(
        job.expected_hour_utc,
        job.expected_minute_utc,
        job.expected_frequency == "weekly",
        job.days_of_week,
        timedelta(minutes=job.early_minutes),
        timedelta(minutes=job.window_minutes),
    )
