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


def record_success(ago, status="done"):
    JobRun.objects.create(job=JOB, cycle_key=str(ago), status=status, finished_at=NOW - ago, result={"bytes": 5})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "runs", "found"),
    [("", [], []), ("/mnt", [], [(2, None)]), ("/mnt", [(timedelta(hours=49), "failed")], [(2, None)]),
     ("/mnt", [(timedelta(hours=47), "done")], []), ("/mnt", [(timedelta(hours=49), "done")], [(1, NOW - timedelta(hours=49))]),
     ("/mnt", [(timedelta(hours=49), "done"), (timedelta(hours=1), "failed")], [(1, NOW - timedelta(hours=49))])],
)  # fmt: skip
def test_missing_and_stale_backups_are_findings(settings, target, runs, found):
    settings.PORTAL_BACKUP_TARGET = target
    for ago, status in runs:
        record_success(ago, status)
    assert [(int(each.severity), each.since) for each in standing.stale_backup(NOW)] == found


@pytest.mark.django_db
def test_age_and_size_of_the_last_backup_are_metrics():
    assert b"vigie_portal_backup" not in render_metrics(NOW)
    record_success(timedelta(hours=1))
    assert {b"vigie_portal_backup_age_seconds 3600.0", b"vigie_portal_backup_bytes 5.0"} <= set(
        render_metrics(NOW).splitlines()
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("is_set", "passphrase", "ago", "status"),
    [(False, "", None, "warning"), (False, "", timedelta(days=20), "ok"), (True, "secret", None, "warning"),
     (True, "secret", timedelta(hours=47), "ok"), (True, "secret", timedelta(hours=49), "failed"), (True, " ", timedelta(hours=1), "failed")],
)  # fmt: skip
def test_doctor_reports_the_state_of_the_backups(settings, tmp_path, is_set, passphrase, ago, status):
    settings.PORTAL_BACKUP_TARGET, settings.PORTAL_BACKUP_PASSPHRASE = str(tmp_path) if is_set else "", passphrase
    if ago:
        record_success(ago)
        JobRun.objects.filter(job=JOB).update(finished_at=timezone.now() - ago)
    assert [found.status for found in standing.portal_backup()] == [status]


@pytest.mark.django_db
def test_doctor_finds_a_target_that_is_not_mounted(settings, tmp_path):
    settings.PORTAL_BACKUP_TARGET, settings.PORTAL_BACKUP_PASSPHRASE = str(tmp_path / "gone"), "secret"
    [found] = standing.portal_backup()
    assert (found.status, "gone" in found.detail) == ("failed", True)
