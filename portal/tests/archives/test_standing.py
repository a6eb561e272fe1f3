"""The nightly backup, and what the portal says of it."""

from datetime import UTC, datetime, timedelta

import pyrage
import pytest
from django.utils import timezone

from portal.archives import making, standing
from portal.archives.errors import ArchiveError
from portal.archives.records import JOB
from portal.archives.schedules import back_up
from portal.models import JobRun
from portal.status.metrics import render_metrics
from portal.work.retention import outdated_runs
from portal.work.schedules import Job, run_cycle

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def job(target, data, quick_snapshot, archive_database, settings):
    settings.PORTAL_BACKUP_TARGET, settings.PORTAL_BACKUP_KEEP = str(target.path), 2
    settings.PORTAL_BACKUP_PASSPHRASE = str(pyrage.x25519.Identity.generate())
    return Job(JOB, back_up, every=timedelta(days=1), cluster="slow")


def test_nightly_backup_keeps_as_many_as_set_and_records_each(job, target):
    for night in range(3):
        run_cycle(job)
        JobRun.objects.filter(job=JOB, cycle_key=job.cycle_key(timezone.now())).update(cycle_key=f"night {night}")
    runs = JobRun.objects.filter(job=JOB).order_by("pk")
    assert {run.status for run in runs} == {JobRun.Status.DONE}
    assert sorted(target.names()) == [run.result["archive"] for run in runs][1:]


def test_archive_that_cannot_be_restored_fails_the_job(job, target, monkeypatch):
    def fail(*_):
        raise ArchiveError("The rows differ.")

    monkeypatch.setattr(making, "prove_archive", fail)
    with pytest.raises(ArchiveError):
        run_cycle(job)
    assert JobRun.objects.get(job=JOB).status == JobRun.Status.FAILED
    assert target.names() == []


def record_success(ago, status="done", place="/mnt", now=NOW, **result):
    result |= {"bytes": 5, "place": place}
    JobRun.objects.create(job=JOB, cycle_key=f"{place} {ago}", status=status, finished_at=now - ago, result=result)


HOUR = timedelta(hours=1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "runs", "found"),
    [("", [], []), ("/mnt", [], [(2, None)]), ("/mnt", [(49 * HOUR, "failed")], [(2, None)]),
     ("/mnt", [(47 * HOUR, "done")], []), ("/mnt", [(49 * HOUR, "done")], [(1, NOW - 49 * HOUR)]),
     ("/mnt", [(49 * HOUR, "done"), (HOUR, "failed")], [(1, NOW - 49 * HOUR)]),
     ("/mnt", [(49 * HOUR, "done"), (HOUR, "done", "/home")], [(1, NOW - 49 * HOUR)]),
     ("/mnt", [(-49 * HOUR, "done")], [(2, None)]), ("/mnt", [(49 * HOUR, "done"), (-HOUR, "done")], [(1, NOW - 49 * HOUR)]),
     ("s3://K:S@h/bucket/p", [(HOUR, "done")], [(2, None)]), ("s3://K:S@h/bucket/p", [(HOUR, "done", "h/bucket/p")], [])],
)  # fmt: skip
def test_missing_and_stale_backups_of_the_target_are_findings(settings, target, runs, found):
    settings.PORTAL_BACKUP_TARGET = target
    for run in runs:
        record_success(*run)
    assert [(int(each.severity), each.since) for each in standing.stale_backup(NOW)] == found


@pytest.mark.django_db
def test_older_backups_that_cannot_be_deleted_are_a_finding(settings):
    settings.PORTAL_BACKUP_TARGET = "/mnt"
    record_success(HOUR, not_deleted="/mnt/vigie.tar: Permission denied.")
    [found] = standing.stale_backup(NOW)
    assert (int(found.severity), "Permission denied" in str(found.text)) == (2, True)


@pytest.mark.django_db
def test_last_success_stays_known_however_many_failures_follow(settings):
    record_success(timedelta(days=60))
    record_success(timedelta(days=50), "failed")
    record_success(timedelta(days=40), "failed")
    kept = JobRun.objects.exclude(pk__in=outdated_runs(NOW))
    assert [(NOW - run.finished_at).days for run in kept.order_by("pk")] == [60, 40]


@pytest.mark.django_db
def test_age_and_size_of_the_last_backup_are_metrics():
    assert b"vigie_portal_backup" not in render_metrics(NOW)
    record_success(HOUR)
    assert {b"vigie_portal_backup_age_seconds 3600.0", b"vigie_portal_backup_bytes 5.0"} <= set(
        render_metrics(NOW).splitlines()
    )
