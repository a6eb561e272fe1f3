"""Who is told what: each transition once, nothing twice, and calm on Mondays too."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from backups import digest
from backups.models import BackupEntry, ExpectedBackupJob, Scan
from backups.tests.conftest import AFTER_DEADLINE, EXPECTED, REPORTED, dump, section
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


def test_a_failed_cycle_is_told_once_and_its_recovery_once(machine, scan, job):
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


def test_each_failed_cycle_is_told(scan, job):
    scan()
    scan(AFTER_DEADLINE + DAY)
    assert len(told()) == 2


def test_a_failure_that_becomes_another_is_told_again(machine, scan, job):
    scan()
    machine.deposit(**section(backup={"status": False}))
    scan(AFTER_DEADLINE + QUARTER)
    assert [title.split(": ")[1].split(",")[0] for title in titles()] == ["missing", "failed"]


def test_the_longest_names_are_told_of(make_job, scan):
    make_job("d" * 128, "a" * 128)
    scan()
    assert len(OutboxMessage.objects.get().subject) == 200


def test_what_goes_well_is_not_told(machine, scan, job):
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
def test_an_unchanged_backup_is_told_as_its_job_says(machine, scan, make_job, policy, expected):
    make_job(unchanged_policy=policy)
    machine.deposit()
    scan()
    machine.deposit(moment=REPORTED + DAY)
    scan(AFTER_DEADLINE + DAY)
    assert titles() == expected


def test_success_with_doubts_sends_a_message_at_once(machine, scan, job):
    machine.deposit(b"no gzip")
    scan()
    (message,) = OutboxMessage.objects.all()
    assert message.title == "Backup of compta_db (SRV-DOUALA-01), ACME is suspicious, expected 2025-06-12 13:00 UTC"
    assert "Its name does not match its format" in message.text


def test_dump_in_doubt_announces_no_recovery_and_the_good_one_after_it_announces_one(machine, scan, job):
    scan()
    machine.deposit(b"no gzip", REPORTED + timedelta(hours=1))
    scan(AFTER_DEADLINE + timedelta(hours=1))
    machine.deposit(dump("-- good\n"), REPORTED + DAY)
    for _ in range(2):
        scan(AFTER_DEADLINE + DAY)
    assert [(message.state, message.severity) for message in OutboxMessage.objects.order_by("pk")] == [
        ("opened", Severity.CRITICAL), ("opened", Severity.WARNING), ("closed", Severity.CRITICAL),
    ]  # fmt: skip


def test_report_that_calls_the_whole_failed_is_told_once_and_is_no_alert(machine, scan, job):
    machine.stage()
    machine.report(overall_status="failed_globally")
    scan(), scan()
    assert [(state, severity) for severity, state, _title in told()] == [("note", Severity.WARNING)]
    assert "calls the operation as a whole failed" in OutboxMessage.objects.get().text


def test_a_recovery_is_told_though_a_cycle_nobody_can_verify_lies_between(machine, scan, job):
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


def test_of_a_failure_nobody_was_told_of_no_recovery_is_told(machine, scan, make_job):
    created = EXPECTED + 2 * DAY
    make_job(created_at=created, watched_since=created)
    scan()
    machine.deposit(moment=REPORTED + 2 * DAY)
    scan(AFTER_DEADLINE + 2 * DAY)
    assert (titles(), ExpectedBackupJob.objects.get().current_status) == ([], "SUCCESS")


def test_what_a_scan_of_the_past_could_not_store_is_not_told(machine, scan, make_job, settings):
    make_job(created_at=EXPECTED + 2 * DAY, watched_since=EXPECTED + 2 * DAY)
    settings.VALIDATED_ROOT.rmdir()
    settings.VALIDATED_ROOT.write_text("in the way")
    machine.deposit()
    scan()
    assert (BackupEntry.objects.get().promotion, titles()) == ("failed", [])


def test_messages_are_in_the_language_of_the_portal(settings, scan, job):
    settings.LANGUAGE_CODE = "fr"
    scan()
    assert "missing" not in titles()[0]


def test_nothing_is_told_where_nothing_was_recorded(machine, scan, job, monkeypatch):
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
    return lambda: digest.send(lease)


@pytest.fixture
def make_verified(make_job):
    return lambda name="db", **fields: make_job(
        name, **{"current_status": "SUCCESS", "last_verified_at": timezone.now()} | fields
    )


def test_digest_says_how_many_are_protected(make_verified, monday):
    for number, status in enumerate(["SUCCESS", "HASH_MISMATCH", "MISSING", "PENDING"]):
        make_verified(f"db{number}", current_status=status)
    monday()
    (message,) = OutboxMessage.objects.all()
    assert message.title == "Backups: 2 of 4 databases are protected"
    assert message.text == "db2 (SRV-DOUALA-01), ACME: missing\nWithout a good backup of late: 1"


def test_dumps_in_doubt_are_not_protected_and_a_line_of_the_digest(machine, scan, job, monday, make_verified):
    machine.deposit(b"no gzip")
    scan()
    make_verified()
    monday()
    message = OutboxMessage.objects.order_by("pk").last()
    assert (message.severity, message.title) == (Severity.WARNING, "Backups: 1 of 2 databases are protected")
    assert message.text.startswith("compta_db (SRV-DOUALA-01), ACME: suspicious. ")


def test_a_digest_says_so_where_all_is_well_and_comes_once_a_week(make_verified, monday):
    make_verified()
    monday(), monday()
    (message,) = OutboxMessage.objects.all()
    assert message.text == "All that was expected arrived and was verified."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"last_verified_at": EXPECTED}, "Without a good backup of late: 1"),
        ({"damage": {"code": "current_differs"}}, "db (SRV-DOUALA-01), ACME: verified"),
    ],
)
def test_what_was_protected_once_does_not_stay_so_for_ever(make_verified, monday, fields, text):
    make_verified(**fields)
    monday()
    message = OutboxMessage.objects.get()
    assert (message.title, message.text) == ("Backups: 0 of 1 database is protected", text)


@pytest.mark.parametrize("why", ["no scan", "an old scan", "no deposit root"])
def test_a_digest_does_not_call_silence_calm(make_verified, monday, why):
    make_verified()
    if why == "no scan":
        Scan.objects.all().delete()
    elif why == "an old scan":
        Scan.objects.update(started_at=timezone.now() - timedelta(hours=3))
    else:
        Scan.objects.update(root_is_missing=True)
    monday()
    assert OutboxMessage.objects.get().text.startswith("Nobody has looked at them for a while")


def test_a_digest_of_many_failures_stays_readable(make_verified, monday):
    for number in range(25):
        make_verified(f"db{number}", current_status="FAILED")
    monday()
    assert OutboxMessage.objects.get().text.splitlines()[-1] == "and 5 more"


def test_without_expected_backups_there_is_no_digest(monday):
    monday()
    assert told() == []


def test_nobody_is_told_where_there_is_no_channel(machine, scan, job):
    NotificationChannel.objects.all().delete()
    scan()
    assert told() == []
    assert ExpectedBackupJob.objects.get().current_status == "MISSING"


def test_the_digest_is_sent_on_mondays():
    (job,) = [one for one in declared.all() if one.name == "backups.digest"]
    assert job.cycle_at(datetime(2026, 11, 23, 8, tzinfo=UTC)) == datetime(2026, 11, 23, 7, tzinfo=UTC)
