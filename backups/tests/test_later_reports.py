"""Later reports of a verified cycle."""

import gzip
from datetime import timedelta

import pytest

from backups.models import BackupEntry, ExpectedBackupJob, Scan
from backups.scanner import orchestration
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, REPORTED, dump, report_section
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)
STAGED = f"{DATABASE}.sql.gz"
CUT, GOOD, BETTER = dump("CREATE TABLE x;\n" * 999)[:-6], dump("CREATE TABLE good;\n"), dump("CREATE TABLE better;\n")
FAILED = report_section(backup={"status": False, "error_message": "disk full"})


@pytest.fixture
def entry(job):
    """Return a function that scans this machine on request and returns the entry."""

    def found(at, cycle=EXPECTED):
        orchestration.scan_now(at, AGENT)
        return BackupEntry.objects.filter(job=job, cycle_at=cycle).first()

    return found


def versions_of(settings):
    folder = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE
    return {path.parent.name: path.read_bytes() for path in sorted(folder.rglob("*.gz"))}


@pytest.mark.parametrize("bad", [CUT, gzip.compress(b"")])
def test_good_dump_after_a_doubtful_one_becomes_current(machine, entry, job, settings, channel, bad):
    machine.deposit(bad, REPORTED)
    assert entry(REPORTED + QUARTER).has_doubts
    machine.deposit(GOOD, REPORTED + QUARTER)
    found = entry(AFTER_DEADLINE)
    assert (found.status, found.warnings, found.promotion, found.late) == ("SUCCESS", [], "promoted", False)
    assert versions_of(settings) == {"current_version": GOOD}
    job.refresh_from_db()
    assert (job.in_doubt, job.last_success_at) == (False, REPORTED + QUARTER)
    assert [message.state for message in OutboxMessage.objects.order_by("pk")] == ["opened", "closed"]
    machine.deposit(dump("CREATE TABLE next;\n"), REPORTED + DAY)
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).status == "SUCCESS"
    assert versions_of(settings)["versions"] == GOOD


def test_good_dump_in_the_last_minutes_of_a_cycle_in_doubt_is_found_by_the_next_scan(machine, entry, settings):
    machine.deposit(CUT)
    entry(AFTER_DEADLINE)
    machine.deposit(GOOD, EXPECTED + timedelta(hours=23, minutes=49))
    found = entry(EXPECTED + DAY)
    assert (found.warnings, found.late, versions_of(settings)) == ([], True, {"current_version": GOOD})


def test_cycle_in_doubt_is_scanned_periodically(machine, job, entry):
    machine.deposit(CUT)
    entry(AFTER_DEADLINE)
    orchestration.queue_periodic_scan()
    assert Scan.objects.latest("pk").agents == 1


def test_cycle_in_doubt_without_a_new_report_changes_nothing(machine, entry):
    machine.deposit(CUT)
    entry(AFTER_DEADLINE)
    rows = list(BackupEntry.objects.values())
    entry(AFTER_DEADLINE + QUARTER)
    assert list(BackupEntry.objects.values()) == rows


@pytest.mark.parametrize("bad", ["failed", "damaged", "in doubt"])
def test_later_report_without_a_better_dump_only_adds_a_warning(machine, entry, job, settings, channel, bad):
    machine.deposit(GOOD)
    entry(AFTER_DEADLINE)
    match bad:
        case "failed":
            machine.report(REPORTED + timedelta(hours=2), {DATABASE: FAILED})
        case "damaged":
            machine.report(REPORTED + timedelta(hours=2), {DATABASE: report_section(BETTER)})
        case "in doubt":
            machine.deposit(CUT, REPORTED + timedelta(hours=2))
    for hours in (3, 4):
        found = entry(AFTER_DEADLINE + timedelta(hours=hours))
    assert (found.status, found.warnings, found.promotion) == ("SUCCESS", ["later_failed"], "promoted")
    assert ("disk full" in found.message) == (bad == "failed")
    assert ("truncated or corrupted" in found.message) == (bad == "in doubt")
    assert versions_of(settings) == {"current_version": GOOD}
    before = ExpectedBackupJob.objects.get()
    assert (before.current_status, before.in_doubt, before.last_verified_at) == ("SUCCESS", False, REPORTED)
    assert [message.state for message in OutboxMessage.objects.all()] == ["note"]


def test_later_good_dump_replaces_an_earlier_good_one(machine, entry, job, settings, channel):
    machine.deposit(GOOD)
    entry(AFTER_DEADLINE)
    machine.report(REPORTED + timedelta(hours=1), {DATABASE: FAILED})
    entry(AFTER_DEADLINE + timedelta(hours=1))
    machine.deposit(BETTER, REPORTED + timedelta(hours=2))
    found = entry(AFTER_DEADLINE + timedelta(hours=2))
    assert (found.status, found.warnings, found.late) == ("SUCCESS", [], False)
    assert versions_of(settings) == {"current_version": BETTER}


def test_later_good_dump_is_found_once_the_next_cycle_opens(machine, entry, job, scan, settings):
    machine.deposit(GOOD)
    scan(AFTER_DEADLINE)
    machine.deposit(BETTER, REPORTED + timedelta(hours=2))
    scan(AFTER_DEADLINE + timedelta(hours=3))  # a settled machine costs no file access
    assert versions_of(settings) == {"current_version": GOOD}
    scan(EXPECTED + DAY)
    assert versions_of(settings) == {"current_version": BETTER}


def test_report_sent_again_for_the_stored_dump_changes_nothing(machine, entry, channel):
    machine.deposit(GOOD)
    entry(AFTER_DEADLINE)
    machine.report(REPORTED + timedelta(hours=1), {DATABASE: report_section(GOOD)})
    found = entry(AFTER_DEADLINE + timedelta(hours=1))
    assert (found.status, found.warnings, found.report_at) == ("SUCCESS", [], REPORTED)
