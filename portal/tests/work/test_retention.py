"""Retention: which rows are deleted when, and in what batches."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from portal.models import AuditEvent, AuthFailure, JobRun, TaskAttempt
from portal.work import retention
from portal.work.jobs import LeaseLost, claim_cycle
from portal.work.retention import Retention, delete_all, prune_rows
from portal.work.schedules import outdated_minutely

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def lease():
    return claim_cycle("portal.retention", "now")


@pytest.fixture
def now():
    return timezone.now()


def audit_at(*moments):
    AuditEvent.objects.bulk_create([AuditEvent(at=at, last_at=at, actor="a", action="x") for at in moments])


def attempt_at(at, task_id):
    return TaskAttempt.objects.create(task_id=task_id, name="x", cluster="quick", started_at=at, finished_at=at)


def run_at(at, job, cycle):
    return JobRun.objects.create(job=job, cycle_key=cycle, status="done", started_at=at, finished_at=at)


def test_tables_are_pruned_after_their_retention(now, lease, settings):
    settings.AUDIT_RETENTION_DAYS, settings.JOB_RETENTION_DAYS = 365, 30
    audit_at(now - 364 * DAY, now - 366 * DAY)
    attempt_at(now - 29 * DAY, "young")
    attempt_at(now - 31 * DAY, "old")
    for key, ends in (("young", DAY), ("old", -DAY)):
        Session.objects.create(session_key=key, session_data="", expire_date=now + ends)
        AuthFailure.objects.create(address=key, window_started_at=now + ends / 24 - DAY / 48, count=1)
    deleted = prune_rows(lease)
    assert {name: count for name, count in deleted.items() if count} == {
        "audit": 1, "sessions": 1, "auth_failures": 1, "task_attempts": 1,
    }  # fmt: skip
    assert TaskAttempt.objects.get().task_id == Session.objects.get().session_key == "young"


def test_latest_run_of_each_job_is_never_pruned(now, settings):
    settings.JOB_RETENTION_DAYS = 30
    old = [run_at(now - 90 * DAY, "a", "1"), run_at(now - 60 * DAY, "a", "2"), run_at(now - 90 * DAY, "b", "1")]
    assert list(retention.outdated_runs(now)) == old[:1]


def test_rows_are_deleted_in_batches_under_the_lease(now, lease, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(retention, "BATCH", 2)
    audit_at(*[now - 400 * DAY] * 5)
    assert delete_all(retention.outdated_audit(now), lease) == 5
    assert not AuditEvent.objects.exists()


def test_lost_lease_stops_the_deletion(now, lease):
    audit_at(now - 400 * DAY)
    JobRun.objects.update(fence=7)
    with pytest.raises(LeaseLost):
        prune_rows(lease)
    assert AuditEvent.objects.count() == 1


def test_app_can_declare_a_retention(now, lease, monkeypatch):
    mine = Retention("mine", lambda now: AuditEvent.objects.filter(actor="a"))
    monkeypatch.setattr(retention.retentions, "items", [mine])
    audit_at(now)
    assert prune_rows(lease) == {"mine": 1}


def test_runs_of_minutely_jobs_are_kept_for_a_day(now):
    """Keep its newest run, which shows the job's state."""
    for job in ("usage.rollups", "portal.retention"):
        for hours in (60, 48, 30):
            run_at(now - timedelta(hours=hours), job, str(hours))
    assert sorted((run.job, run.cycle_key) for run in outdated_minutely(now)) == [
        ("usage.rollups", "48"),
        ("usage.rollups", "60"),
    ]
