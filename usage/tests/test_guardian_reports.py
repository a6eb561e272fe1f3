"""Periodic reports: one row and one mail per period despite kills, and an atomic file."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from portal.base.files import write_whole
from portal.desk.findings import current_findings
from portal.models import JobRun, OutboxMessage
from portal.notifications.configuration import synchronise_environment_channels
from portal.work.jobs import LeaseLost, claim_cycle
from portal.work.schedules import jobs, run_cycle
from usage.guardian import reports
from usage.guardian.summary import build_digest
from usage.models import GuardianReport
from usage.models.guardian import format_period
from usage.tests.factories import at, create_error, create_feature_usage

pytestmark = pytest.mark.django_db
BOB = "bob@example.org"
(JOB,) = [job for job in jobs.all() if job.name == "usage.guardian"]


class Killed(BaseException):
    """Simulates SIGKILL: no handler of ours may catch it."""


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path
    settings.GUARDIAN_RECIPIENTS = ["g@example.org", "h@example.org"]
    synchronise_environment_channels()
    return tmp_path


@pytest.fixture
def clock(monkeypatch):
    """Set the portal's clock, which advances at each call, as the broker expects."""
    now = at("16:02")

    def tick():
        nonlocal now
        now += timedelta(microseconds=1)
        return now

    def put(moment):
        nonlocal now
        now = moment

    monkeypatch.setattr(timezone, "now", tick)
    return put


@pytest.fixture
def file(folder):
    return folder / "usage_report.json"


def written(file):
    return json.loads(file.read_text(encoding="utf-8"))


def mails():
    return list(OutboxMessage.objects.order_by("pk").values_list("recipient", flat=True))


# --- The period ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["16:02", "16:02:30", "17:00", "18:01:59"])
def test_period_is_the_last_two_even_hours_for_a_late_job(clock, moment):
    clock(at(moment))
    run_cycle(JOB)
    report = GuardianReport.objects.get()
    assert (report.period_start, report.period_end) == (at("14:00"), at("16:00"))
    assert (report.requested_by, str(report)) == ("", "2026-03-10 14:00 – 16:00 UTC")


def test_early_job_reports_the_period_before(clock):
    clock(at("16:01:59"))
    run_cycle(JOB)
    assert str(GuardianReport.objects.get()) == "2026-03-10 12:00 – 14:00 UTC"


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_periods_are_contiguous_across_clock_changes(clock, settings, day):
    settings.TIME_ZONE = "Europe/Paris"
    for hour in range(2, 8, 2):
        clock(at(f"{hour:02}:02", day))
        run_cycle(JOB)
    periods = [report.period for report in GuardianReport.objects.order_by("pk")]
    assert periods == [f"{day} 00:00 - 02:00", f"{day} 02:00 - 04:00", f"{day} 04:00 - 06:00"]


@pytest.mark.parametrize(
    ("day", "text"),
    [
        ("2026-03-29", "2026-03-29 01:00 CET – 04:00 CEST"),
        ("2026-10-25", "2026-10-25 02:00 CEST – 03:00 CET"),
        ("2026-03-10", "2026-03-10 01:00 – 03:00 CET"),
    ],
)
def test_period_names_both_zones_as_clocks_change(settings, day, text):
    settings.TIME_ZONE = "Europe/Paris"
    assert format_period(at("00:00", day), at("02:00", day)) == text


def test_period_until_midnight_shows_the_date(clock):
    clock(at("00:02", "2026-03-11"))
    run_cycle(JOB)
    assert str(GuardianReport.objects.get()) == "2026-03-10 22:00 – 2026-03-11 00:00 UTC"


# --- Row, mail and file ----------------------------------------------------------------------------------------------


def test_report_is_stored_mailed_and_written(clock, file):
    create_feature_usage(BOB, at("15:00"))
    create_error(BOB, at("15:30"))
    run_cycle(JOB)
    report = GuardianReport.objects.get()
    assert report.data == written(file) == build_digest(at("14:00"), at("16:00"))
    assert report.data["users"][0]["email"] == BOB
    assert mails() == ["g@example.org", "h@example.org"]
    assert JobRun.objects.get().result == {"report": report.pk, "period": "2026-03-10 14:00 - 16:00"}
    assert OrmQ.objects.count() == 1


def test_report_without_recipients_is_stored(clock, file, settings):
    settings.GUARDIAN_RECIPIENTS = []
    run_cycle(JOB)
    assert GuardianReport.objects.count() == 1
    assert file.exists()
    assert mails() == []


def test_file_replaces_the_last_one_with_mode_0600(clock, file, folder):
    run_cycle(JOB)
    clock(at("18:02"))
    create_feature_usage("élise@example.org", at("17:00"))
    run_cycle(JOB)
    assert written(file)["period"] == "2026-03-10 16:00 - 18:00"
    assert "élise@example.org" in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["usage_report.json"]


def test_file_and_folder_are_synced_around_the_rename(monkeypatch, folder):
    order, sync, replace = [], os.fsync, os.replace

    def seen(descriptor):
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    write_whole(folder / "usage_report.json", "x")
    assert order == ["file", "replace", "folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_unwritable_file_leaves_the_last_one_intact(monkeypatch, clock, file, folder, failing):
    run_cycle(JOB)
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, full)
        clock(at("18:02"))
        with pytest.raises(reports.FileNotWritten):
            run_cycle(JOB)
    assert file.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["usage_report.json"]


def test_unwritable_file_is_a_finding_and_keeps_row_and_mail(clock, settings, folder):
    settings.REPORTS_ROOT = folder / "gone"
    with pytest.raises(reports.FileNotWritten):
        run_cycle(JOB)
    assert GuardianReport.objects.count() == 1
    assert len(mails()) == 2
    found = [finding.text for finding in current_findings(timezone.now()) if "usage_report.json" in finding.text]
    assert found[0].endswith("gone/usage_report.json could not be written: No such file or directory")
    settings.REPORTS_ROOT = folder
    clock(at("18:02"))
    run_cycle(JOB)
    assert not [finding for finding in current_findings(timezone.now()) if "usage_report.json" in finding.text]


def test_filesystem_without_folder_sync_is_accepted(monkeypatch, file):
    sync = os.fsync

    def partly(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", partly)
    write_whole(file, "{}")
    assert written(file) == {}


# --- Once ------------------------------------------------------------------------------------------------------------


def test_second_run_has_no_effect(clock, file):
    run_cycle(JOB)
    before = file.stat().st_ino
    run_cycle(JOB)
    assert GuardianReport.objects.count() == 1
    assert len(mails()) == 2
    assert file.stat().st_ino == before


@pytest.mark.parametrize("at_the_line", ["write_file", "create", "notify", "build_digest"])
def test_retry_after_a_kill_has_one_effect(monkeypatch, clock, file, at_the_line):
    create_feature_usage(BOB, at("15:00"))

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(reports, at_the_line, kill)
        with pytest.raises(Killed):
            run_cycle(JOB)
    stored = GuardianReport.objects.count()
    assert len(mails()) == 2 * stored == (2 if at_the_line == "write_file" else 0)
    assert not file.exists()
    create_feature_usage(BOB, at("15:30"))  # arrives late
    clock(at("16:10"))
    run_cycle(JOB)
    report = GuardianReport.objects.get()
    assert len(mails()) == 2
    assert written(file) == report.data
    assert report.data["total_requests"] == 2 - stored


def test_lost_lease_writes_nothing(clock, file):
    lease = claim_cycle(JOB.name, JOB.cycle_key(timezone.now()))
    clock(at("16:30"))
    assert claim_cycle(JOB.name, JOB.cycle_key(timezone.now())) is not None
    with pytest.raises(LeaseLost):
        reports.create_periodic(lease)
    assert GuardianReport.objects.count() == len(mails()) == 0
    assert not file.exists()


def test_requested_reports_of_a_period_may_be_several():
    period = (at("14:00"), at("16:00"))
    for requested_by in ("olga", "olga", "", ""):
        reports.create(*period, build_digest(*period), requested_by)
    assert GuardianReport.objects.count() == 3
    assert len(mails()) == 6


def test_report_without_mail_is_not_mailed():
    period = (at("14:00"), at("16:00"))
    reports.create(*period, build_digest(*period), "olga", is_mailed=False)
    assert mails() == []


def test_row_and_mail_share_a_transaction(django_assert_num_queries, monkeypatch):
    seen = []
    monkeypatch.setattr(reports, "notify", lambda notice: seen.append(connection.in_atomic_block))
    period = (at("14:00"), at("16:00"))
    reports.create(*period, build_digest(*period))
    assert seen == [True]


def test_summary_is_computed_outside_the_transaction(monkeypatch, clock, transactional_db):
    seen = []
    monkeypatch.setattr(
        reports, "build_digest", lambda *period: seen.append(connection.in_atomic_block) or build_digest(*period)
    )
    run_cycle(JOB)
    assert seen == [False]


def test_cycles_begin_at_even_hours():
    day = datetime(2026, 3, 10, tzinfo=UTC)
    started = {JOB.cycle_at(day + timedelta(minutes=minutes)) for minutes in range(2, 24 * 60)}
    assert started == {day + timedelta(hours=hours, minutes=2) for hours in range(0, 24, 2)}
