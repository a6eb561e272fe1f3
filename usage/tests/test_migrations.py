"""The migration that computes the hour of existing runs."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from usage.models import Run
from usage.tests.factories import create_run

pytestmark = pytest.mark.django_db
HALF_PAST = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata"])
def test_the_hour_is_of_utc_whatever_the_zone_of_the_portal(zone, settings, monkeypatch):
    settings.TIME_ZONE = zone
    migration = import_module("usage.migrations.0003_hours_of_runs")
    monkeypatch.setattr(migration, "AT_A_TIME", 2)
    right = {}
    for started_at in (HALF_PAST, None, HALF_PAST + timedelta(days=9)):  # the last by a clock that ran ahead
        run = create_run(started_at=started_at, received_at=HALF_PAST + timedelta(hours=2))
        right[run.pk] = run.hour
    Run.objects.update(hour=timezone.now())
    migration.fill(apps, None)
    assert dict(Run.objects.values_list("pk", "hour")) == right
    assert sorted(hour.hour for hour in right.values()) == [9, 11, 11]
