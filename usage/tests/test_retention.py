"""Retention of activity, reports and writers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.work.jobs import claim_cycle
from portal.work.retention import prune_rows
from usage.models import FeatureUsage, GuardianReport, TrackingWriter, UserError, UserSession

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def pruned(settings):
    """Return a function that prunes rows of these ages in days, and returns the remaining ones."""
    settings.ACTIVITY_RETENTION_DAYS, settings.USER_SESSION_RETENTION_DAYS = 30, 60
    settings.GUARDIAN_RETENTION_DAYS = 90
    now = timezone.now()

    def left(make, *days):
        rows = {make(now - age * DAY).pk: age for age in days}
        prune_rows(claim_cycle("portal.retention", "now"))
        return rows

    return left


def test_feature_uses_are_deleted_after_retention(pruned):
    rows = pruned(lambda at: FeatureUsage.objects.create(feature_name="x", timestamp=at, success=True), 29, 31)
    assert [rows[usage.pk] for usage in FeatureUsage.objects.all()] == [29]


def test_errors_are_deleted_after_retention(pruned):
    rows = pruned(lambda at: UserError.objects.create(error_type="x", timestamp=at), 29, 31)
    assert [rows[error.pk] for error in UserError.objects.all()] == [29]


def test_sessions_are_deleted_after_retention_even_if_open(pruned):
    def make(at):
        UserSession.objects.create(session_start=at, session_end=timezone.now())
        return UserSession.objects.create(session_start=at)

    rows = pruned(make, 59, 61)
    assert [rows[session.pk] for session in UserSession.objects.filter(session_end=None)] == [59]
    assert UserSession.objects.count() == 2


def test_reports_are_deleted_after_retention(pruned):
    rows = pruned(
        lambda at: GuardianReport.objects.create(period_start=at, period_end=at, created_at=at, data={}), 89, 91
    )
    assert [rows[report.pk] for report in GuardianReport.objects.all()] == [89]


def test_writers_without_drops_are_deleted(pruned):
    TrackingWriter.objects.create(process="lossy", seen_at=timezone.now() - 400 * DAY, dropped=3)
    rows = pruned(lambda at: TrackingWriter.objects.create(process=f"host:{at}", seen_at=at), 0, 2)
    assert [rows.get(writer.pk, writer.process) for writer in TrackingWriter.objects.order_by("pk")] == ["lossy", 0]
