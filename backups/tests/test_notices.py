"""Notices of transitions, each sent once, and the weekly digest."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from backups.findings import doubtful_backups
from backups.models import BackupEntry, ExpectedBackupJob, Scan
from backups.scanner import digest
from backups.tests.factories import AFTER_DEADLINE, EXPECTED, REPORTED, dump, report_section
from portal.models import NotificationChannel, OutboxMessage
from portal.notifications import Severity
from portal.work import jobs
from portal.work.schedules import jobs as declared

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channel")]
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)


def told():
    return [(message.severity, message.state, message.title) for message in OutboxMessage.objects.order_by("pk")]


def titles():
    return [title for _severity, _state, title in told()]


def test_failure_and_recovery_send_one_notice_each(machine, scan, job):
    for minutes in (0, 15, 30):
        scan(AFTER_DEADLINE + timedelta(minutes=minutes))
    machine.deposit(moment=REPORTED + timedelta(hours=2))
    for minutes in (180, 195):
        scan(AFTER_DEADLINE + timedelta(minutes=minutes))
    assert titles() == [
        "Backup of compta_db (SRV-DOUALA-01), ACME: missing, expected 2025-06-12 13:00 UTC",
        "Backup of compta_db (SRV-DOUALA-01), ACME recovered: verified, expected 2025-06-12 13:00 UTC",
    ]
    assert [(message.state, message.severity) for message in OutboxMessage.objects.order_by("pk")] == [
        ("opened", Severity.CRITICAL),
        ("closed", Severity.CRITICAL),
    ]
    first = OutboxMessage.objects.order_by("pk").first()
    assert first.text.startswith("No report arrived by the deadline")
    assert first.path == f"/admin/backups/expectedbackupjob/{job.pk}/change/"
    assert first.subject == "backup:SRV-DOUALA-01/compta_db"


def test_each_failed_cycle_sends_a_notice(scan, job):
    scan()
    scan(AFTER_DEADLINE + DAY)
    assert len(told()) == 2


def test_changed_failure_sends_another_notice(machine, scan, job):
    scan()
    machine.deposit(**report_section(backup={"status": False}))
    scan(AFTER_DEADLINE + QUARTER)
    assert [title.split(": ")[1].split(",")[0] for title in titles()] == ["missing", "failed"]


def test_longest_names_fit_into_a_notice(make_job, scan):
    make_job("d" * 128, "a" * 128)
    scan()
    assert len(OutboxMessage.objects.get().subject) == 200


def test_success_sends_no_notice(machine, scan, job):
    machine.deposit()
    scan()
    assert told() == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("inform", ["Backup of compta_db (SRV-DOUALA-01), ACME is unchanged, expected 2025-06-13 13:00 UTC"]),
        ("ignore", []),
        ("alert", ["Backup of compta_db (SRV-DOUALA-01), ACME: unchanged, expected 2025-06-13 13:00 UTC"]),
    ],
)
def test_unchanged_backup_is_notified_by_policy(machine, scan, make_job, policy, expected):
    make_job(unchanged_policy=policy)
    machine.deposit()
    scan()
    machine.deposit(moment=REPORTED + DAY)
    scan(AFTER_DEADLINE + DAY)
    assert titles() == expected


def test_success_with_doubts_sends_a_warning_at_once(machine, scan, job):
    machine.deposit(b"no gzip")
    scan()
    (message,) = OutboxMessage.objects.all()
    assert message.title == "Backup of compta_db (SRV-DOUALA-01), ACME is suspicious, expected 2025-06-12 13:00 UTC"
    assert "Its name doesn’t match its format" in message.text


def test_recovery_is_sent_for_the_first_good_dump_not_a_doubtful_one(machine, scan, job):
    scan()
    machine.deposit(b"no gzip", REPORTED + timedelta(hours=1))
    scan(AFTER_DEADLINE + timedelta(hours=1))
    machine.deposit(dump("-- good\n"), REPORTED + DAY)
    for _ in range(2):
        scan(AFTER_DEADLINE + DAY)
    assert [(message.state, message.severity) for message in OutboxMessage.objects.order_by("pk")] == [
        ("opened", Severity.CRITICAL), ("opened", Severity.WARNING), ("closed", Severity.CRITICAL),
    ]  # fmt: skip


def test_suspicious_backups_of_several_nights_are_one_finding(machine, scan, job):
    machine.deposit(b"no gzip")
    scan()
    job.refresh_from_db()
    first = job.status_since
    machine.deposit(b"no gzip either", REPORTED + DAY)
    scan(AFTER_DEADLINE + DAY)
    (finding,) = doubtful_backups(AFTER_DEADLINE + DAY)
    assert finding.since == first
    for content, day in ((dump("-- good\n"), 2), (b"no gzip again", 3)):
        machine.deposit(content, REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    (finding,) = doubtful_backups(AFTER_DEADLINE + 3 * DAY)
    assert finding.since == AFTER_DEADLINE + 3 * DAY


def test_contradictory_report_sends_one_note(machine, scan, job):
    machine.stage()
    machine.report(overall_status="failed_globally")
    scan(), scan()
    assert [(state, severity) for severity, state, _title in told()] == [("note", Severity.WARNING)]
    assert "marks the whole operation as failed" in OutboxMessage.objects.get().text


def test_recovery_is_sent_after_an_unverified_cycle(machine, scan, job):
    scan()
    for day in (1, 2):
        machine.deposit(dump(f"-- {day}"), REPORTED + day * DAY)
    scan(AFTER_DEADLINE + 2 * DAY)
    assert [message.state for message in OutboxMessage.objects.order_by("pk")] == ["opened", "closed"]
    assert [*BackupEntry.objects.order_by("cycle_at").values_list("status", flat=True)] == [
        "MISSING",
        "UNVERIFIED",
        "SUCCESS",
    ]


def test_failure_without_notice_has_no_recovery_notice(machine, scan, make_job):
    created = EXPECTED + 2 * DAY
    make_job(created_at=created, watched_since=created)
    scan()
    machine.deposit(moment=REPORTED + 2 * DAY)
    scan(AFTER_DEADLINE + 2 * DAY)
    assert (titles(), ExpectedBackupJob.objects.get().current_status) == ([], "SUCCESS")


def test_storage_failure_of_a_past_scan_sends_no_notice(machine, scan, make_job, settings):
    make_job(created_at=EXPECTED + 2 * DAY, watched_since=EXPECTED + 2 * DAY)
    settings.VALIDATED_ROOT.rmdir()
    settings.VALIDATED_ROOT.write_text("in the way")
    machine.deposit()
    scan()
    assert (BackupEntry.objects.get().promotion, titles()) == ("failed", [])


def test_notices_are_in_the_portals_language(settings, scan, job):
    settings.LANGUAGE_CODE = "fr"
    scan()
    assert "missing" not in titles()[0]


def test_rolled_back_verdict_sends_no_notice(machine, scan, job, monkeypatch):
    def overtaken(self):
        raise jobs.LeaseLost("taken")

    monkeypatch.setattr(jobs.Lease, "extend", overtaken)
    assert scan().errors == 1
    assert told() == []


# --- Mondays ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def monday():
    lease = jobs.claim_cycle("backups.digest", "this week")
    assert lease is not None
    now = timezone.now()
    Scan.objects.create(source="schedule", at=now, finished_at=now)
    return lambda: digest.send_weekly_digest(lease)


@pytest.fixture
def make_verified(make_job):
    return lambda name="db", **fields: make_job(
        name, **{"current_status": "SUCCESS", "last_verified_at": timezone.now()} | fields
    )


def test_digest_counts_protected_databases(make_verified, monday):
    for number, status in enumerate(["SUCCESS", "HASH_MISMATCH", "MISSING", "PENDING"]):
        make_verified(f"db{number}", current_status=status)
    monday()
    (message,) = OutboxMessage.objects.all()
    assert message.title == "Backups: 2 of 4 databases are protected, 0 proven"
    assert message.text == "db2 (SRV-DOUALA-01), ACME: missing\nPending or overdue: 1"


def test_digest_lists_doubtful_dumps(machine, scan, job, monday, make_verified):
    machine.deposit(b"no gzip")
    scan()
    make_verified()
    monday()
    message = OutboxMessage.objects.order_by("pk").last()
    assert (message.severity, message.title) == (Severity.WARNING, "Backups: 1 of 2 databases are protected, 0 proven")
    assert message.text.startswith("compta_db (SRV-DOUALA-01), ACME: suspicious. ")


def test_healthy_digest_is_sent_once_a_week(make_verified, monday):
    make_verified()
    monday(), monday()
    (message,) = OutboxMessage.objects.all()
    assert message.text == "All expected backups arrived and were verified."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"last_verified_at": EXPECTED}, "Pending or overdue: 1"),
        ({"damage": {"code": "current_differs"}}, "db (SRV-DOUALA-01), ACME: verified"),
    ],
)
def test_digest_does_not_count_stale_backups_as_protected(make_verified, monday, fields, text):
    make_verified(**fields)
    monday()
    message = OutboxMessage.objects.get()
    assert (message.title, message.text) == ("Backups: 0 of 1 database is protected, 0 proven", text)


@pytest.mark.parametrize("why", ["no scan", "an old scan", "no deposit root"])
def test_digest_reports_a_silent_scanner(make_verified, monday, why):
    make_verified()
    if why == "no scan":
        Scan.objects.all().delete()
    elif why == "an old scan":
        Scan.objects.update(started_at=timezone.now() - timedelta(hours=3))
    else:
        Scan.objects.update(root_is_missing=True)
    monday()
    assert OutboxMessage.objects.get().text.startswith("No recent scan")


def test_digest_limits_its_lines(make_verified, monday):
    for number in range(25):
        make_verified(f"db{number}", current_status="FAILED")
    monday()
    assert OutboxMessage.objects.get().text.splitlines()[-1] == "and 5 more"


def test_digest_without_jobs_is_not_sent(monday):
    monday()
    assert told() == []


def test_missing_channel_sends_nothing(machine, scan, job):
    NotificationChannel.objects.all().delete()
    scan()
    assert told() == []
    assert ExpectedBackupJob.objects.get().current_status == "MISSING"


def test_digest_is_scheduled_on_mondays():
    (job,) = [one for one in declared.all() if one.name == "backups.digest"]
    assert job.cycle_at(datetime(2026, 11, 23, 8, tzinfo=UTC)) == datetime(2026, 11, 23, 7, tzinfo=UTC)
