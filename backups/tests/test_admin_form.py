"""The form of an expected backup: its timetable, its suggestions and its duplicates."""

from datetime import time
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backups import cycles
from backups.admin import display
from backups.models import ExpectedBackupJob
from backups.tests.admin_pages import LIST, job_page, post_action_on_page
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, messages_of, page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("forms")]
ALL_DAYS = frozenset(range(7))


def values(client, url):
    """Return what the form at the address would send if nothing was changed."""
    form = client.get(url).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    moments = {"paused_until_0": "", "paused_until_1": ""}
    found = {name: value for name, value in shown.items() if value is not None and value is not False} | moments
    return found | {"time_of_day": f"{shown['time_of_day']:%H:%M}"}


@pytest.mark.parametrize(
    ("at", "weekdays", "schedule"),
    [
        (time(2, 30), ALL_DAYS, "30 2 * * *"),
        (time(0), frozenset({0, 3}), "0 0 * * 1,4"),
        (time(23, 59), frozenset({5, 6}), "59 23 * * 0,6"),
    ],
)
def test_time_of_day_and_weekdays_are_a_cron_expression_and_back(at, weekdays, schedule):
    assert cycles.daily_schedule(at, weekdays) == schedule
    assert cycles.parse_daily_schedule(schedule) == (at, weekdays)


@pytest.mark.parametrize("schedule", ["*/5 2 * * *", "30 2 1 * *", "30 2 * 1 *", "30 24 * * *", "60 2 * * *"])
def test_other_cron_expressions_are_no_time_of_day(schedule):
    assert cycles.parse_daily_schedule(schedule) is None


# Inputs with what is stored of them: hour and minute, days, cron expression and zone.
GIVEN: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
    ({"time_zone": "UTC"}, (2, 30, "", "", "UTC")),
    ({"time_zone": "UTC", "days_of_week": ["MO", "TH"]}, (2, 30, "MO,TH", "", "UTC")),
    ({"time_zone": "Europe/Paris"}, (2, 30, "", "30 2 * * *", "Europe/Paris")),
    (
        {"time_zone": "Europe/Paris", "days_of_week": ["MO", "TH"]},
        (2, 30, "MO,TH", "30 2 * * 1,4", "Europe/Paris"),
    ),
    (
        {"time_zone": "Europe/Paris", "expected_frequency": "weekly"},
        (2, 30, "", "30 2 * * 1", "Europe/Paris"),
    ),
    ({"time_zone": "Europe/Paris", "schedule": "0 4 1 * *"}, (2, 30, "", "0 4 1 * *", "Europe/Paris")),
    (
        {"time_zone": "Europe/Paris", "expected_frequency": "weekly", "days_of_week": list(cycles.DAYS)},
        (2, 30, ",".join(cycles.DAYS), "30 2 * * *", "Europe/Paris"),
    ),
    (
        {"time_zone": "Europe/Paris", "expected_frequency": "weekly", "schedule": "30 2 * * *"},
        (2, 30, "", "30 2 * * *", "Europe/Paris"),
    ),
    ({"time_zone": "UTC", "expected_frequency": "weekly"}, (2, 30, "", "", "UTC")),
    (
        {"time_zone": "UTC", "expected_frequency": "weekly", "days_of_week": list(cycles.DAYS)},
        (2, 30, ",".join(cycles.DAYS), "", "UTC"),
    ),
    ({"time_zone": "UTC", "schedule": "30 2 * * 0,1,2,3,4,5,6"}, (2, 30, "", "30 2 * * 0,1,2,3,4,5,6", "UTC")),
]


def weekdays_expected(job):
    """Return the weekdays, by the clock of the job's zone, of the backups expected in some two weeks."""
    times = cycles.expected_times(job.timetable, cycles.SOME_MONDAY, 1)
    return {at.astimezone(ZoneInfo(job.time_zone)).weekday() for at in islice(times, 14)}


class TestTheTimetable:
    @pytest.mark.parametrize(("given", "columns"), GIVEN)
    def test_time_of_day_is_stored_in_utc_or_as_cron(self, admin_client, given, columns):
        form = values(admin_client, f"{LIST}add/") | {"agent_id": "SRV-1", "database_name": "crm"}
        response = admin_client.post(f"{LIST}add/", form | {"time_of_day": "02:30"} | given)
        job = ExpectedBackupJob.objects.get()
        assert response.url == job_page(job)
        assert columns == (
            job.expected_hour_utc, job.expected_minute_utc, job.days_of_week, job.schedule, job.time_zone,
        )  # fmt: skip
        shown = values(admin_client, job_page(job))
        assert (shown["time_of_day"], shown["time_zone"]) == ("02:30", job.time_zone)
        assert (shown["schedule"] == "") == (job.schedule != "0 4 1 * *")

    @pytest.mark.parametrize("change", [{}, {"time_of_day": "03:45"}])
    @pytest.mark.parametrize("given", [given for given, _columns in GIVEN if given.get("schedule") != "0 4 1 * *"])
    def test_saving_what_is_shown_or_another_time_keeps_the_days(self, admin_client, given, change):
        form = values(admin_client, f"{LIST}add/") | {"agent_id": "SRV-1", "database_name": "crm"}
        admin_client.post(f"{LIST}add/", form | {"time_of_day": "02:30"} | given)
        job = ExpectedBackupJob.objects.get()
        admin_client.post(job_page(job), values(admin_client, job_page(job)) | {"keep_last": 9} | change)
        saved = ExpectedBackupJob.objects.get()
        assert saved.keep_last == 9
        assert weekdays_expected(saved) == weekdays_expected(job)
        shown = values(admin_client, job_page(saved))
        assert (shown["time_of_day"], shown["time_zone"]) == (change.get("time_of_day", "02:30"), job.time_zone)

    def test_weekly_backup_of_all_days_is_shown_as_daily(self, admin_client, make_job):
        job = make_job(schedule="30 2 * * *", time_zone="Europe/Paris", expected_frequency="weekly")
        shown = values(admin_client, job_page(job))
        assert (shown["expected_frequency"], shown["days_of_week"]) == ("daily", [])
        assert display.schedule(job).startswith("daily 02:30")

    @pytest.mark.parametrize(
        "fields",
        [
            {"expected_hour_utc": 13},
            {"schedule": "30 2 * * 0,3", "time_zone": "Africa/Douala"},
            {"schedule": "30 2 * * *", "time_zone": "UTC"},
            {"schedule": "30 2 1 * *", "time_zone": "Europe/Paris"},
        ],
    )
    def test_saving_another_setting_leaves_the_timetable_and_its_cycles(self, admin_client, make_job, fields):
        job = make_job(**fields)
        admin_client.post(job_page(job), values(admin_client, job_page(job)) | {"keep_last": 9})
        saved = ExpectedBackupJob.objects.get()
        assert saved.keep_last == 9
        for name in (*cycles.TIMETABLE_FIELDS, "watched_since", "fresh_for"):
            assert getattr(saved, name) == getattr(job, name)
        assert AuditEvent.objects.filter(action="expectedbackupjob.changed").count() == 1

    def test_change_to_utc_removes_the_cron_expression(self, admin_client, make_job):
        job = make_job(schedule="30 2 * * *", time_zone="Europe/Paris")
        admin_client.post(job_page(job), values(admin_client, job_page(job)) | {"time_zone": "UTC"})
        job.refresh_from_db()
        assert (job.schedule, job.expected_hour_utc, job.expected_minute_utc) == ("", 2, 30)

    def test_viewer_sees_the_time_of_day(self, client, make_job):
        job = make_job(schedule="30 2 * * *", time_zone="Europe/Paris")
        log_in_with_role(client, "viewer")
        assert ">02:30<" in page_text(client.get(job_page(job)))


class TestTheMachine:
    def test_enrolled_machines_are_suggested(self, admin_client, make_agent):
        make_agent("SRV-1")
        make_agent("SRV-2", status="uninstalled")
        page = page_text(admin_client.get(f"{LIST}add/"))
        assert '<option value="SRV-1">' in page
        assert "SRV-2" not in page

    @pytest.mark.parametrize(("machine", "notices"), [("srv-1", 0), ("SRV-9", 1)])
    def test_machine_that_is_not_enrolled_is_accepted_with_a_notice(self, admin_client, make_agent, machine, notices):
        make_agent("SRV-1")
        form = values(admin_client, f"{LIST}add/") | {"agent_id": machine, "database_name": "crm"}
        response = admin_client.post(f"{LIST}add/", form, follow=True)
        assert ExpectedBackupJob.objects.exists()
        assert len([text for text in messages_of(response) if "SFTP" in text]) == notices


class TestDuplicating:
    def test_duplicate_has_the_settings_of_its_source_and_no_name(self, client, make_job):
        log_in_with_role(client, "operator")
        job = make_job(schedule="30 2 * * 1", time_zone="Europe/Paris", keep_last=9, is_active=False)
        response = post_action_on_page(client, "duplicate", job)
        assert response.url == f"{LIST}add/?duplicate={job.pk}"
        form = values(client, response.url)
        assert "database_name" not in form
        assert client.post(f"{LIST}add/", form | {"database_name": "second"}).status_code == 302
        second = ExpectedBackupJob.objects.get(database_name="second")
        for name in ("agent_id", "company_name", "schedule", "time_zone", "keep_last"):
            assert getattr(second, name) == getattr(job, name)
        assert second.is_active

    def test_duplicate_of_a_missing_database_is_an_empty_form(self, admin_client):
        assert "agent_id" not in values(admin_client, f"{LIST}add/?duplicate=999")
        assert "agent_id" not in values(admin_client, f"{LIST}add/?duplicate=x")
