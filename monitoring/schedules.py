"""Periodic jobs, pulses and retentions of monitoring."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from monitoring.alerts import fleet, incidents
from monitoring.checks import worker_rounds
from monitoring.clock import mark
from monitoring.figures import rollups
from monitoring.models import CheckResult, Rollup, Round
from portal.work.jobs import Lease
from portal.work.pulse import Pulse, pulses
from portal.work.retention import Retention, retentions
from portal.work.schedules import Job, jobs


def ensure_rounds(lease: Lease) -> None:
    """Ensure a watcher if the pulse does not, and withdraw incidents that no round decides any more."""
    worker_rounds.ensure_watched(timezone.now())
    fleet.withdraw_orphaned_incidents(mark())


def send_reminders(lease: Lease) -> dict[str, int]:
    return {"told": incidents.send_reminders(mark(), lease.extend)}


def outdated_checks(now: datetime) -> models.QuerySet[Any]:
    return CheckResult.objects.filter(at__lt=now - timedelta(days=settings.CHECK_RETENTION_DAYS))


def outdated_rounds(now: datetime) -> models.QuerySet[Any]:
    return Round.objects.filter(finished_at__lt=now - timedelta(days=settings.CHECK_RETENTION_DAYS))


def outdated_minutes(now: datetime) -> models.QuerySet[Any]:
    """Return old minute rollups, which hours and days include."""
    long_ago = now - timedelta(days=settings.MINUTE_ROLLUP_RETENTION_DAYS)
    return Rollup.objects.filter(period=Rollup.Period.MINUTE, start__lt=long_ago)


jobs.register(Job("monitoring.rounds", ensure_rounds, every=timedelta(minutes=1)))
jobs.register(Job("monitoring.reminders", send_reminders, every=timedelta(minutes=1)))
jobs.register(Job("monitoring.rollups", rollups.roll_up, every=timedelta(minutes=1), cluster="slow"))
pulses.register(Pulse("monitoring.rounds", worker_rounds.ensure_watched, timedelta(seconds=2)))
retentions.register(Retention("checks", outdated_checks))
retentions.register(Retention("rounds", outdated_rounds))
retentions.register(Retention("minute_rollups", outdated_minutes))
