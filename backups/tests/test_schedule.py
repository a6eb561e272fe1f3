"""Backups expected by a cron schedule: scans, protection, form and import."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils import timezone

from backups import cycles
from backups.admin import display
from backups.admin.form import JobForm
from backups.imports import planning
from backups.models import BackupEntry, ExpectedBackupJob
from backups.panels import LatestEntries, count_jobs
from backups.protection import with_standing
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


@pytest.mark.parametrize(
    "fields",
    [
        {"expected_frequency": "weekly", "window_minutes": 9_000},
        {"expected_frequency": "weekly", "window_minutes": 10_000, "early_minutes": 1_440},
        {"days_of_week": "MO", "window_minutes": 10_000},
        {"schedule": "0 1 1 * *", "window_minutes": 10_000, "early_minutes": 1_440},
        {"schedule": "0 1 * * 1", "time_zone": "Europe/Paris", "window_minutes": 9_000},
        {"schedule": "0 */6 * * *", "window_minutes": 300},
        {"window_minutes": 1_400},
        {},
    ],
)
def test_backup_is_not_overdue_before_its_missing_successor_is_recorded(make_job, fields):
    job = make_job(**fields)
    cycle = cycles.current_cycle(job.timetable, datetime(2026, 3, 10, tzinfo=UTC))
    for _number in range(14):
        job.last_verified_at, job.current_status = cycle.opens, "SUCCESS"
        job.save()
        cycle = cycles.make_cycle(job.timetable, cycles.next_expected_time(job.timetable, cycle.at))
        for moment in (cycle.deadline - timedelta(minutes=1), cycle.deadline + timedelta(minutes=45)):
            assert with_standing(ExpectedBackupJob.objects.all(), moment).get().standing == "protected"
    moment = cycle.deadline + 2 * max(7, job.fresh_for.days) * DAY
    assert with_standing(ExpectedBackupJob.objects.all(), moment).get().standing == "overdue"


def test_grace_periods_of_existing_backups_are_measured_again(make_job):
    long, short = make_job("long", days_of_week="MO", window_minutes=9_000), make_job("short")
    ExpectedBackupJob.objects.filter(pk=long.pk).update(fresh_for=9 * DAY)
    import_module("backups.migrations.0005_grace_periods").measure_again(apps, None)
    stored = ExpectedBackupJob.objects.in_bulk()
    assert stored[long.pk].fresh_for == long.fresh_for > 9 * DAY
    assert stored[short.pk].fresh_for == short.fresh_for == 2 * DAY


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
