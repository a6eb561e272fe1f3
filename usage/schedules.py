"""Periodic jobs and retention of usage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models

from portal.work.retention import Retention, retentions
from portal.work.schedules import Job, jobs
from usage import rollups
from usage.guardian import reports
from usage.models import FeatureUsage, GuardianReport, TrackingWriter, UserError, UserSession

WRITER_RETENTION = timedelta(days=1)


def older_than(model: type[models.Model], column: str, setting: str) -> Callable[[datetime], models.QuerySet[Any]]:
    """Return a function that selects the rows beyond the days of the setting."""

    def select_outdated(now: datetime) -> models.QuerySet[Any]:
        age = timedelta(days=getattr(settings, setting))
        return model._default_manager.filter(**{f"{column}__lt": now - age})

    return select_outdated


def outdated_writers(now: datetime) -> models.QuerySet[Any]:
    """Keep the writers that dropped records: their sum is a counter, which must not fall."""
    return TrackingWriter.objects.filter(dropped=0, seen_at__lt=now - WRITER_RETENTION)


jobs.register(Job("usage.rollups", rollups.roll_up, every=timedelta(minutes=1), cluster="slow"))
retentions.register(Retention("features", older_than(FeatureUsage, "timestamp", "ACTIVITY_RETENTION_DAYS")))
retentions.register(Retention("errors", older_than(UserError, "timestamp", "ACTIVITY_RETENTION_DAYS")))
# By start, since most sessions never end.
retentions.register(Retention("user_sessions", older_than(UserSession, "session_start", "USER_SESSION_RETENTION_DAYS")))
retentions.register(Retention("guardian_reports", older_than(GuardianReport, "created_at", "GUARDIAN_RETENTION_DAYS")))
retentions.register(Retention("tracking_writers", outdated_writers))
jobs.register(Job("usage.guardian", reports.create_periodic, every=reports.EVERY, offset=reports.OFFSET))
