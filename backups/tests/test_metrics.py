"""Prometheus metrics of backups."""

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from backups.metrics import count_unstored, expected_backups, latest_scan
from backups.models import BackupEntry, Status
from backups.tests.factories import make_entry, make_finished_scan, set_status
from portal.status.metrics import render_metrics

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def samples():
    families = text_string_to_metric_families(render_metrics(timezone.now()).decode())
    found = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    return {key: value for key, value in found.items() if key[0].startswith("vigie_backups_")}


def test_jobs_are_counted_by_status_without_names(make_job):
    set_status(make_job("a"), ago=DAY)
    set_status(make_job("b"), Status.MISSING, last_verified_at=timezone.now() - 9 * DAY)
    set_status(make_job("c"), Status.UNCHANGED, unchanged_policy="alert")
    set_status(make_job("d"), is_active=False, ago=50 * DAY)
    set_status(make_job("e"), Status.PENDING)
    found = samples()
    counts = {key[1]: value for key, value in found.items() if key[0] == "vigie_backups_jobs" and value}
    assert counts == {"success": 1, "missing": 1, "hash_mismatch": 1, "pending": 1, "paused": 1}
    assert found["vigie_backups_failing",] == 2
    assert (found["vigie_backups_protected",], found["vigie_backups_suspicious",]) == (1, 0)
    assert found["vigie_backups_never_verified",] == 1
    assert found["vigie_backups_oldest_verified_seconds",] == pytest.approx(9 * DAY.total_seconds(), abs=60)
    assert all(len(key) == 1 or key[0] == "vigie_backups_jobs" for key in found)


def test_unstored_backups_are_counted(job):
    make_entry(job, ago=3 * DAY, promotion=BackupEntry.Promotion.FAILED)
    make_entry(job, ago=2 * DAY, promotion=BackupEntry.Promotion.LOST)
    make_entry(job, ago=timedelta(minutes=2), promotion=BackupEntry.Promotion.WAITING)
    assert samples()["vigie_backups_unstored",] == 2


def test_last_scan_has_metrics(job):
    make_finished_scan(ago=timedelta(minutes=10), bytes_hashed=5_000, errors=2)
    make_finished_scan(agent_id="SRV-1", bytes_hashed=1)
    found = samples()
    assert found["vigie_backups_scan_age_seconds",] == pytest.approx(588, abs=10)
    assert found["vigie_backups_scan_duration_seconds",] == 12
    assert (found["vigie_backups_scan_bytes",], found["vigie_backups_scan_errors",]) == (5_000, 2)


def test_missing_scan_has_no_metrics():
    assert not [key for key in samples() if "_scan_" in key[0]]


def test_each_source_takes_one_query(make_job, django_assert_num_queries):
    for number in range(5):
        set_status(make_job(f"db{number}"))
    for source in (expected_backups, count_unstored, latest_scan):
        with django_assert_num_queries(1):
            list(source(timezone.now()))
