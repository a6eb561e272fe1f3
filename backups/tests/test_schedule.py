"""Backups expected by a cron schedule: scans, protection, form and import."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from backups.admin import display
from backups.admin.form import JobForm
from backups.imports import planning
from backups.models import BackupEntry, ExpectedBackupJob
from backups.panels import LatestEntries, count_jobs
from backups.tests.factories import dump, make_entry

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "days",
    [
        ["2026-03-27T01:33", "2026-03-28T01:33", "2026-03-29T01:03", "2026-03-30T00:33"],
        ["2026-10-23T00:33", "2026-10-24T00:33", "2026-10-25T00:33", "2026-10-26T01:33"],
    ],
)
def test_daily_backup_in_local_time_is_on_time_across_dst(machine, scan, make_job, days):
    moments = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days]
    start = moments[0] - timedelta(hours=12)
    make_job(schedule="30 2 * * *", time_zone="Europe/Paris", watched_since=start, created_at=start)
    for moment in moments:
        machine.deposit(dump(f"-- {moment}"), moment)
        scan(moment + timedelta(minutes=30))
    assert [*BackupEntry.objects.order_by("cycle_at").values_list("status", "late")] == [("SUCCESS", False)] * 4


def test_monthly_backup_is_compared_with_those_of_earlier_months(machine, scan, make_job):
    start = datetime(2025, 1, 15, tzinfo=UTC)
    make_job(schedule="0 1 1 * *", watched_since=start, created_at=start)
    for month in (2, 3, 4):
        machine.deposit(moment=datetime(2025, month, 1, 1, 4, tzinfo=UTC))
        scan(datetime(2025, month, 1, 2, tzinfo=UTC))
    statuses = [*BackupEntry.objects.order_by("cycle_at").values_list("status", flat=True)]
    assert statuses == ["SUCCESS", "HASH_MISMATCH", "HASH_MISMATCH"]


def test_monthly_backup_stays_protected_until_the_next_one_is_due(make_job):
    now = timezone.now()
    job = make_job(schedule="0 1 1 * *", current_status="SUCCESS", last_verified_at=now - 31 * DAY)
    assert count_jobs(now).protected == 1
    ExpectedBackupJob.objects.filter(pk=job.pk).update(last_verified_at=now - 34 * DAY)
    assert (count_jobs(now).protected, count_jobs(now).overdue) == (0, 1)


def test_changed_time_zone_restarts_the_cycle_count(make_job):
    job = make_job(schedule="0 1 * * *")
    before = job.watched_since
    job.time_zone = "Europe/Paris"
    job.save()
    assert job.watched_since > before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schedule": "every day"}, "schedule"),
        ({"time_zone": "Paris"}, "time_zone"),
        ({"schedule": "*/30 * * * *"}, "window_minutes"),
    ],
)
def test_invalid_schedule_is_refused_by_its_field(make_job, fields, field):
    job = make_job(early_minutes=30)
    for name, value in fields.items():
        setattr(job, name, value)
    with pytest.raises(ValidationError) as error:
        job.full_clean()
    assert [*error.value.message_dict] == [field]


def test_form_shows_a_schedule_that_is_no_time_of_day_as_cron(make_job):
    job = make_job(schedule="30 2 1 * *", time_zone="Europe/Paris")
    form = JobForm(instance=job)
    assert (form["schedule"].value(), form["time_zone"].value()) == ("30 2 1 * *", "Europe/Paris")
    assert ("Africa/Douala", "Africa/Douala") in form.fields["time_zone"].choices


def test_imported_schedule_is_validated_by_column():
    row = {"agent_id": "PC-1", "database_name": "db", "schedule": "30 2 * * *", "time_zone": "Europe/Paris"}
    planning.apply_import(planning.plan_import([row]), actor="x")
    assert ExpectedBackupJob.objects.get().timetable.schedule == "30 2 * * *"
    plan = planning.plan_import([row | {"schedule": "99 * * * *", "time_zone": "Mars"}])
    assert sorted(plan.rows[0].refusals) == ["schedule", "time_zone"]


# --- Shown -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "protected", "words"),
    [
        ({}, True, []),
        ({"in_doubt": True}, False, ["suspicious"]),
        ({"last_verified_at": datetime(2025, 6, 1, tzinfo=UTC)}, False, ["overdue"]),
    ],
)
def test_page_and_list_show_the_protection(admin_client, make_job, fields, protected, words):
    job = make_job(**{"current_status": "SUCCESS", "last_verified_at": timezone.now()} | fields)
    page = admin_client.get(f"/admin/backups/expectedbackupjob/{job.pk}/change/").content.decode()
    assert ("not protected" in page, "protected" in page) == (not protected, True)
    listed = admin_client.get("/admin/backups/expectedbackupjob/").context["cl"].result_list
    assert all(word in display.job_state(listed[0], LatestEntries(), timezone.now()) for word in words)


def test_entry_page_shows_the_steps(admin_client, job):
    entry = make_entry(
        job, steps={"backup": {"status": True, "start_time": "2025-06-12T13:00:40Z", "size": 62_233_088}}
    )
    page = admin_client.get(f"/admin/backups/backupentry/{entry.pk}/change/").content.decode()
    assert "backup: succeeded, 2025-06-12T13:00:40Z, 59.4\xa0MB" in page
