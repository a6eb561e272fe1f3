"""Periodic jobs and retention of usage."""

from __future__ import annotations

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


def outdated_features(now: datetime) -> models.QuerySet[Any]:
    return FeatureUsage.objects.filter(timestamp__lt=now - timedelta(days=settings.ACTIVITY_RETENTION_DAYS))


def outdated_errors(now: datetime) -> models.QuerySet[Any]:
    return UserError.objects.filter(timestamp__lt=now - timedelta(days=settings.ACTIVITY_RETENTION_DAYS))


def outdated_sessions(now: datetime) -> models.QuerySet[Any]:
    """Select by start, since most sessions never end."""
    return UserSession.objects.filter(session_start__lt=now - timedelta(days=settings.USER_SESSION_RETENTION_DAYS))


def outdated_reports(now: datetime) -> models.QuerySet[Any]:
    return GuardianReport.objects.filter(created_at__lt=now - timedelta(days=settings.GUARDIAN_RETENTION_DAYS))


def outdated_writers(now: datetime) -> models.QuerySet[Any]:
    """Keep the writers that dropped records: their sum is a counter, which must not fall."""
    return TrackingWriter.objects.filter(dropped=0, seen_at__lt=now - WRITER_RETENTION)


jobs.register(Job("usage.rollups", rollups.roll_up, every=timedelta(minutes=1), cluster="slow"))
retentions.register(Retention("features", outdated_features))
retentions.register(Retention("errors", outdated_errors))
retentions.register(Retention("user_sessions", outdated_sessions))
retentions.register(Retention("guardian_reports", outdated_reports))
retentions.register(Retention("tracking_writers", outdated_writers))
jobs.register(Job("usage.guardian", reports.create_periodic, every=reports.EVERY, offset=reports.OFFSET))
