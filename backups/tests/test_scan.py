"""Scans of real files, from deposits to entries."""

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.findings import first_seen
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob
from backups.scanner import examine, orchestration
from backups.scanner.disk import opening
from backups.scanner.scan import note_first_seen
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, REPORTED, dump, report_section
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def opened(monkeypatch):
    """Record the names of the files that scans open."""
    names, real = [], opening.open_file

    def noting(name, folder):
        names.append(name)
        return real(name, folder)

    monkeypatch.setattr(opening, "open_file", noting)
    return names


# --- The two real trees ----------------------------------------------------------------------------------------------


@pytest.fixture
def samples(settings, make_job):
    tree = Path(settings.BASE_DIR) / "demo" / "deposits"
    shutil.copytree(tree, settings.DEPOSITS_ROOT, dirs_exist_ok=True)
    now = datetime.now(UTC)
    place = {"city": "Yaoundé", "watched_since": now, "created_at": now}
    make_job("compta_db", "agent_douala_prod_01", **place)
    make_job("stock_db", "agent_douala_prod_01", **place)
    make_job("SIRPACAM_YAOUNDE_CAISSE_2025", "SIRPACAM_YAOUNDE_CENTRE", expected_hour_utc=20, **place)
    return tree


@pytest.mark.parametrize("at", ["2025-06-12T20:10:00+00:00", "2025-06-12T23:00:00+00:00"])
def test_sample_deposits_are_verified_and_stored_byte_for_byte(samples, scan, settings, at):
    result = scan(datetime.fromisoformat(at))
    assert [(one["database_name"], one["status"], one["promoted"]) for one in result.rows] == [
        ("compta_db", "SUCCESS", True),
        ("stock_db", "SUCCESS", True),
        ("SIRPACAM_YAOUNDE_CAISSE_2025", "SUCCESS", True),
    ]
    assert [one["warnings"] for one in result.rows] == [[], [], []]
    for path in samples.rglob("*.gz"):
        stored = settings.VALIDATED_ROOT / "ACME" / "Yaounde" / path.name.removesuffix(".sql.gz") / "current_version"
        assert (stored / path.name).read_bytes() == path.read_bytes()
    assert [*settings.DEPOSITS_ROOT.rglob("*.gz")] == []


def test_second_scan_changes_nothing_and_opens_no_dump(samples, scan, opened):
    at = datetime(2025, 6, 12, 20, 30, tzinfo=UTC)
    first = scan(at)
    rows = list(BackupEntry.objects.values())
    opened.clear()
    second = scan(at)
    assert second.rows == first.rows
    assert (second.bytes_hashed, second.files_read, opened) == (0, 0, [])
    assert list(BackupEntry.objects.values()) == rows


def test_scan_before_the_jobs_creation_sends_no_notice(samples, scan, channel):
    scan(datetime(2025, 6, 14, 23, tzinfo=UTC))
    assert [entry.status for entry in BackupEntry.objects.all()] == ["MISSING"] * 3
    assert OutboxMessage.objects.count() == 0


# --- Each status -----------------------------------------------------------------------------------------------------


def test_dump_that_matches_its_claim_is_a_success(machine, entry, job, current):
    report = machine.deposit()
    found = entry()
    assert (found.status, found.first_status, found.late, found.warnings) == ("SUCCESS", "SUCCESS", False, [])
    assert found.agent_sha256 == found.server_sha256 == hashlib.sha256(dump()).hexdigest()
    assert (found.agent_size, found.server_size, found.report_name) == (len(dump()), len(dump()), report)
    assert found.message == "SHA-256 and size match what the machine reported."
    assert current() == {f"{DATABASE}.sql.gz": dump()}
    job.refresh_from_db()
    assert (job.current_status, job.previous_successful_hash) == ("SUCCESS", found.server_sha256)
    assert job.last_success_at == job.last_verified_at == REPORTED
    assert job.last_checked_at == AFTER_DEADLINE


def test_cycle_without_report_at_the_deadline_is_missing(machine, entry):
    machine.stage()
    found = entry()
    assert (found.status, found.message) == (
        "MISSING",
        f"No report arrived by the deadline; folder “{AGENT}/log” doesn’t exist.",
    )


def test_backup_of_yesterday_does_not_count_today(machine, entry):
    machine.deposit(moment=REPORTED - DAY)
    assert entry().status == "MISSING"


def test_database_missing_in_the_report_is_missing(machine, entry):
    machine.report(databases={"stock_db": report_section()})
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "not_listed")
    area = DepositArea.objects.get()
    assert (area.unexpected, list(area.first_seen)) == (["stock_db"], ["unexpected/stock_db"])


def test_what_an_area_shows_is_dated_anew_when_it_comes_back():
    area, hour = DepositArea(unread=["x.json"], spellings=["bom"]), timedelta(hours=1)
    for now, unexpected in (
        (AFTER_DEADLINE, ["stock", "crm"]),
        (AFTER_DEADLINE + hour, ["crm"]),
        (AFTER_DEADLINE + 2 * hour, ["stock", "crm"]),
    ):
        area.unexpected = unexpected
        note_first_seen(area, now)
    names = ("unexpected/crm", "unexpected/stock", "unread", "spellings/bom", "unexpected/hr")
    assert [first_seen(area, name) for name in names] == [
        AFTER_DEADLINE,
        AFTER_DEADLINE + 2 * hour,
        AFTER_DEADLINE,
        AFTER_DEADLINE,
        None,
    ]


def test_failed_step_is_named_in_the_reason(machine, entry):
    machine.deposit(**report_section(backup={"status": False, "error_message": "pg_dump: no such database"}))
    found = entry()
    assert found.status == "FAILED"
    assert found.message == "Step “backup_process” failed on the machine: pg_dump: no such database."


def test_invalid_report_fails_all_databases_of_the_machine(machine, make_job, scan):
    make_job(), make_job("stock_db")
    machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b'{"databases": ')
    scan()
    assert set(BackupEntry.objects.values_list("status", flat=True)) == {"FAILED"}


def test_unreadable_report_counts_before_one_without_the_database(machine, entry):
    machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b"{")
    machine.report(REPORTED + timedelta(minutes=10), {})
    assert entry().status == "FAILED"


@pytest.mark.parametrize("name", [f"OPERATION_20250611_2304_{AGENT}.json", f"20250613_030400_{AGENT}.json"])
def test_report_name_may_be_in_local_time(machine, entry, name):
    machine.stage()
    machine.report(name=name)
    assert entry().status == "SUCCESS"


def test_readable_report_counts_before_an_unreadable_one(machine, entry):
    machine.deposit()
    machine.write_log(f"OPERATION_20250612_1320_{AGENT}.json", b"{")
    assert entry().status == "SUCCESS"


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (None, ["file_absent"]),
        (b"x" * len(dump()), ["hash_differs"]),
        (dump()[:-1], ["size_differs", "hash_differs"]),
    ],
)
def test_staged_file_that_differs_from_its_claim_is_damaged(machine, entry, current, content, codes):
    machine.report()
    machine.stage(b"", "other.sql.gz")
    if content is not None:
        machine.stage(content)
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("TRANSFER_INTEGRITY_FAILED", codes)
    assert found.promotion == "none"
    assert current() == {}


def test_unchanged_dump_is_verified_and_not_stale(machine, entry, job, current):
    machine.deposit()
    entry()
    machine.deposit(moment=REPORTED + DAY)
    found = entry(AFTER_DEADLINE + DAY, EXPECTED + DAY)
    assert (found.status, found.promotion) == ("HASH_MISMATCH", "none")
    job.refresh_from_db()
    assert (job.last_success_at, job.last_verified_at) == (REPORTED, REPORTED + DAY)
    assert current() == {f"{DATABASE}.sql.gz": dump()}


def test_unchanged_dump_that_is_not_stored_is_stored(machine, entry, job, current):
    ExpectedBackupJob.objects.update(previous_successful_hash=hashlib.sha256(dump()).hexdigest())
    machine.deposit()
    assert (entry().status, current()) == ("HASH_MISMATCH", {f"{DATABASE}.sql.gz": dump()})


# --- Before the deadline ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["nothing", "no dump", "half a dump", "half a report"])
def test_incomplete_deposit_is_pending_until_the_deadline(machine, scan, job, state):
    match state:
        case "no dump":
            machine.report()
        case "half a dump":
            machine.report()
            machine.stage(dump()[:10])
        case "half a report":
            machine.stage()
            machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b'{"agent_id"')
    result = scan(EXPECTED + timedelta(minutes=30))
    assert (result.rows[0]["status"], result.pending, BackupEntry.objects.count()) == ("PENDING", 1, 0)
    machine.deposit()
    assert scan(EXPECTED + timedelta(minutes=30)).rows[0]["status"] == "SUCCESS"


def test_backup_a_minute_early_is_counted(machine, entry):
    machine.deposit(moment=EXPECTED - timedelta(minutes=1))
    found = entry(EXPECTED)
    assert (found.status, found.warnings) == ("SUCCESS", ["early"])


# --- Late ------------------------------------------------------------------------------------------------------------


def test_late_backup_updates_its_entry_and_keeps_the_first_status(machine, entry):
    first = entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=3))
    found = entry(EXPECTED + timedelta(hours=4))
    assert (found.pk, found.status, found.first_status, found.late) == (first.pk, "SUCCESS", "MISSING", True)
    assert BackupEntry.objects.count() == 1


def test_backup_in_the_last_minutes_of_its_cycle_is_found(machine, entry):
    entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=23, minutes=49))
    found = entry(EXPECTED + DAY)
    assert (found.status, found.late) == ("SUCCESS", True)


def test_backup_two_cycles_late_changes_nothing(machine, entry, scan):
    entry()
    scan(AFTER_DEADLINE + DAY)
    machine.deposit(moment=EXPECTED + timedelta(hours=5))
    assert entry(AFTER_DEADLINE + 2 * DAY).status == "MISSING"


def test_settled_database_is_skipped_while_another_is_pending(machine, scan, make_job):
    make_job(), make_job("stock_db")
    machine.deposit()
    scan(EXPECTED + timedelta(minutes=10))
    rows = list(BackupEntry.objects.values())
    result = scan(EXPECTED + timedelta(minutes=20))
    assert (result.pending, result.files_read, list(BackupEntry.objects.values())) == (1, 0, rows)


def test_dump_is_compared_only_with_earlier_ones(machine, entry):
    machine.deposit()
    entry()
    shutil.rmtree(machine.logs)
    machine.deposit(moment=REPORTED - 3 * DAY)
    assert entry(AFTER_DEADLINE - 3 * DAY, EXPECTED - 3 * DAY).status == "SUCCESS"


def test_imported_hash_of_a_later_success_is_ignored(machine, entry):
    same = hashlib.sha256(dump()).hexdigest()
    ExpectedBackupJob.objects.update(previous_successful_hash=same, last_success_at=EXPECTED + 5 * DAY)
    machine.deposit()
    assert entry().status == "SUCCESS"


def test_report_with_a_late_moment_is_late(machine, entry):
    entry()
    machine.deposit(moment=REPORTED)
    found = entry(AFTER_DEADLINE + timedelta(hours=1))
    assert (found.status, found.late, found.report_at) == ("SUCCESS", True, REPORTED)


def test_clock_ahead_makes_no_backup_of_the_future(machine, entry, job):
    machine.deposit(moment=EXPECTED + timedelta(hours=8))
    assert entry().warnings == ["clock_skew"]
    job.refresh_from_db()
    assert job.last_success_at == AFTER_DEADLINE


@pytest.mark.one_database("arithmetic of cycles")
@pytest.mark.parametrize("days", ["TH", "MO,TH", "MO,WE,FR"])
def test_weekday_timetable_is_scanned_for_months(machine, scan, make_job, days):
    start = EXPECTED - 120 * DAY
    make_job(days_of_week=days, watched_since=start, created_at=start)
    assert [scan(start + week * 7 * DAY).errors for week in range(1, 18)] == [0] * 17


def test_retry_in_the_last_minutes_of_its_cycle_replaces_a_failure(machine, entry):
    machine.deposit(**report_section(backup={"status": False}))
    entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=23, minutes=49))
    assert entry(EXPECTED + DAY).status == "SUCCESS"


def test_recorded_failure_does_not_become_unverified(machine, entry, scan):
    machine.report()
    entry()
    machine.deposit(dump("-- next day"), EXPECTED + DAY - timedelta(minutes=5))
    assert entry(EXPECTED + DAY).status == "TRANSFER_INTEGRITY_FAILED"


def test_report_corrected_under_the_same_name_counts(machine, scan, job):
    machine.stage()
    machine.report(databases={DATABASE: report_section(compress={"sha256": "ab" * 32})})
    assert scan().rows[0]["status"] == "TRANSFER_INTEGRITY_FAILED"
    machine.report()
    assert scan(AFTER_DEADLINE + timedelta(minutes=15)).rows[0]["status"] == "SUCCESS"


def test_late_backup_is_stored_after_a_missing_cycle(machine, entry, scan, job, current):
    entry()
    scan(AFTER_DEADLINE + DAY)
    machine.deposit(moment=EXPECTED + timedelta(hours=20))
    found = entry(AFTER_DEADLINE + DAY + timedelta(minutes=15))
    assert (found.status, found.promotion, current()) == ("SUCCESS", "promoted", {f"{DATABASE}.sql.gz": dump()})
    job.refresh_from_db()
    assert (job.current_status, job.last_success_at) == ("MISSING", EXPECTED + timedelta(hours=20))


def test_scan_of_the_future_does_not_affect_the_present(machine, scan, entry, make_job, current):
    now = datetime.now(UTC)
    expected = (now - timedelta(minutes=3)).replace(second=0, microsecond=0)
    made = make_job("live", expected_hour_utc=expected.hour, expected_minute_utc=expected.minute)
    scan(now + 400 * DAY)
    machine.deposit(moment=now, database="live")
    scan(now)
    made.refresh_from_db()
    assert (made.current_status, current("live")) == ("SUCCESS", {"live.sql.gz": dump()})


def test_clock_a_day_ahead_does_not_make_yesterdays_backup_todays(machine, entry):
    machine.deposit(moment=REPORTED + DAY)
    assert entry().status == "MISSING"
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).status == "MISSING"


def test_pause_that_ended_early_leaves_no_missing_backups(scan, make_job):
    now = datetime.now(UTC)
    job = make_job(watched_since=now - 20 * DAY, created_at=now - 20 * DAY, paused_until=now + 2 * DAY)
    ExpectedBackupJob.objects.update(settled_at=now - 5 * DAY)
    job.paused_until = None
    job.save()
    scan(now + timedelta(seconds=1))
    assert BackupEntry.objects.count() == 0


def test_job_deleted_during_the_scan_does_not_stop_the_others(machine, make_job, scan, monkeypatch, current):
    make_job(), make_job("gone")
    machine.stage()
    machine.stage(name="gone.sql.gz")
    machine.report(databases={DATABASE: report_section(), "gone": report_section()})
    real = examine.examine_cycle

    def deleting(past, *arguments):
        found = real(past, *arguments)
        ExpectedBackupJob.objects.filter(database_name="gone").delete()
        return found

    monkeypatch.setattr("backups.scanner.scan.examine_cycle", deleting)
    assert scan().errors == 0
    assert [entry.status for entry in BackupEntry.objects.all()] == ["SUCCESS"]
    assert current("gone") == {}


def test_server_disk_error_is_not_recorded_as_a_failure(machine, scan, job, monkeypatch):
    machine.deposit()

    def failing(name, folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(opening, "open_file", failing)
    assert (scan().errors, BackupEntry.objects.count()) == (1, 0)


def test_reports_are_read_within_the_memory_limit(machine, entry, monkeypatch):
    monkeypatch.setattr("backups.scanner.disk.report_folders.MAX_BYTES", 1)
    machine.deposit(moment=EXPECTED)
    machine.report(EXPECTED + timedelta(minutes=9), {})
    assert entry().status == "MISSING"


def test_better_report_of_the_same_cycle_replaces_a_failure(machine, entry):
    machine.deposit(**report_section(backup={"status": False}))
    assert entry().status == "FAILED"
    machine.deposit(moment=REPORTED + timedelta(minutes=40))
    assert entry(AFTER_DEADLINE + timedelta(hours=1)).status == "SUCCESS"


def test_bad_file_is_hashed_again_only_after_a_change(machine, scan, job):
    machine.report()
    machine.stage(b"x" * len(dump()))
    assert scan().files_read == 1
    again = scan(AFTER_DEADLINE + timedelta(minutes=15))
    assert (again.files_read, again.rows[0]["status"]) == (0, "TRANSFER_INTEGRITY_FAILED")
    machine.stage()
    assert scan(AFTER_DEADLINE + timedelta(minutes=30)).rows[0]["status"] == "SUCCESS"


# --- Catching up -----------------------------------------------------------------------------------------------------


def test_week_without_scans_is_caught_up_as_unverified(machine, scan, make_job, current):
    make_job(watched_since=EXPECTED - 7 * DAY, created_at=EXPECTED - 7 * DAY)
    for back in (6, 4, 2, 0):
        machine.deposit(dump(f"-- {back}\n"), REPORTED - back * DAY)
    result = scan()
    assert [(one["cycle_at"][:10], one["status"]) for one in result.rows] == [
        ("2025-06-05", "MISSING"), ("2025-06-06", "UNVERIFIED"), ("2025-06-07", "MISSING"), ("2025-06-08", "UNVERIFIED"),
        ("2025-06-09", "MISSING"), ("2025-06-10", "UNVERIFIED"), ("2025-06-11", "MISSING"), ("2025-06-12", "SUCCESS"),
    ]  # fmt: skip
    assert current() == {f"{DATABASE}.sql.gz": dump("-- 0\n")}


def test_earlier_dump_kept_by_a_failed_backup_is_verified(machine, scan, job):
    machine.deposit()
    machine.report(REPORTED + DAY, {DATABASE: report_section(backup={"status": False})})
    result = scan(AFTER_DEADLINE + DAY)
    assert [one["status"] for one in result.rows] == ["SUCCESS", "FAILED"]


def test_caught_up_cycles_are_compared_in_order(machine, scan, job):
    for day, name in enumerate(["monday.sql.gz", "tuesday.sql.gz"]):
        machine.stage(name=name)
        machine.report(REPORTED + day * DAY, {DATABASE: report_section() | {"staged_file_name": name}})
    assert [one["status"] for one in scan(AFTER_DEADLINE + DAY).rows] == ["SUCCESS", "HASH_MISMATCH"]


def test_at_most_fourteen_earlier_cycles_are_caught_up(scan, make_job):
    make_job(watched_since=EXPECTED - 100 * DAY, created_at=EXPECTED - 100 * DAY)
    scan()
    assert BackupEntry.objects.count() == 15


def test_cycle_before_the_jobs_creation_is_not_missing(scan, make_job):
    make_job(created_at=EXPECTED + timedelta(minutes=1), watched_since=EXPECTED + timedelta(minutes=1))
    assert scan().rows[0]["status"] == "PENDING"
    assert scan(AFTER_DEADLINE + DAY).rows[0]["status"] == "MISSING"
    assert BackupEntry.objects.count() == 1


def test_job_created_after_its_backup_arrived_uses_it(machine, scan, make_job):
    make_job(created_at=EXPECTED + timedelta(minutes=20), watched_since=EXPECTED + timedelta(minutes=20))
    machine.deposit()
    assert scan().rows[0]["status"] == "SUCCESS"


def test_changed_hour_leaves_no_missing_backups(scan, job):
    job.expected_hour_utc = 9
    job.save()
    assert job.watched_since > EXPECTED
    scan(job.watched_since + timedelta(minutes=1))
    assert BackupEntry.objects.count() == 0


def test_pause_leaves_no_missing_backups(scan, job):
    job.paused_until = EXPECTED + 3 * DAY
    job.save()
    assert scan(EXPECTED + 2 * DAY).rows == []
    scan(EXPECTED + 3 * DAY + timedelta(hours=23))
    assert [one.cycle_at for one in BackupEntry.objects.all()] == [EXPECTED + 3 * DAY]


def test_inactive_job_is_not_scanned(scan, make_job):
    make_job(is_active=False)
    assert scan().rows == []


# --- Warnings --------------------------------------------------------------------------------------------------------


def test_dump_much_smaller_than_the_last_ones_is_in_doubt(machine, entry):
    for back, size in ((3, 900), (2, 1_000), (1, 5_000)):
        machine.deposit(os.urandom(size), REPORTED - back * DAY)
        entry(AFTER_DEADLINE - back * DAY, EXPECTED - back * DAY)
    machine.deposit(os.urandom(499))
    assert "shrunk" in entry().warnings


def test_zstandard_dump_is_verified(machine, entry, current):
    content = b"\x28\xb5\x2f\xfd not looked into"
    machine.stage(content, f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: report_section(content) | {"staged_file_name": f"{DATABASE}.sql.zst"}})
    assert (entry().status, current()) == ("SUCCESS", {f"{DATABASE}.sql.zst": content})


def test_unnamed_zstandard_dump_is_found(machine, entry):
    machine.stage(b"zst", f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: report_section(b"zst")})
    assert entry().status == "SUCCESS"


def test_old_dump_in_another_format_is_not_used(machine, entry):
    machine.stage(dump("-- of last week, and longer\n"))
    machine.stage(b"zst", f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: report_section(b"zst")})
    assert entry().status == "SUCCESS"


# --- Many jobs -------------------------------------------------------------------------------------------------------


def test_job_that_raises_does_not_stop_the_others(machine, make_job, scan):
    machine.stage()
    machine.stage(name="stock_db.sql.gz")
    machine.report(databases={DATABASE: report_section(), "stock_db": report_section()})
    make_job()
    broken = make_job("stock_db")
    ExpectedBackupJob.objects.filter(pk=broken.pk).update(days_of_week="XX")
    result = scan()
    assert result.errors == 1
    assert [one["status"] for one in result.rows if one["database_name"] == DATABASE] == ["SUCCESS"]
    assert DepositArea.objects.get().trouble == {"code": "scan_failed"}


def test_single_machine_can_be_scanned(make_job, scan):
    make_job(), make_job(agent_id="OTHER")
    assert [one["agent_id"] for one in scan(agent_id="OTHER").rows] == ["OTHER"]


def test_queries_grow_with_machines_not_with_jobs(machine, make_job, scan, django_assert_max_num_queries):
    counts = []
    for number in (1, 20):
        databases = [f"db{number}_{n}" for n in range(number)]
        agent = f"SRV-{number}"
        for name in databases:
            make_job(name, agent)
        own = type(machine)(machine.root, agent)
        for name in databases:
            own.stage(name=f"{name}.sql.gz")
        own.report(databases={name: report_section() for name in databases})
        with django_assert_max_num_queries(60) as queries:
            assert {one["status"] for one in scan(agent_id=agent).rows} == {"SUCCESS"}
        counts.append(len(queries))
    assert counts[1] <= counts[0] + 2


# --- The deposit root ------------------------------------------------------------------------------------------------


def test_missing_root_is_one_alert_and_no_missing_backup(settings, scan, make_job, channel):
    for number in range(5):
        make_job(f"db{number}")
    settings.DEPOSITS_ROOT.rmdir()
    for _ in range(3):
        scan()
    assert BackupEntry.objects.count() == 0
    assert [message.title for message in OutboxMessage.objects.all()] == ["Upload area unavailable"]
    settings.DEPOSITS_ROOT.mkdir()
    scan(EXPECTED)
    assert OutboxMessage.objects.count() == 2


def test_suddenly_empty_root_counts_as_missing(settings, machine, entry, scan):
    machine.deposit()
    entry()
    shutil.rmtree(settings.DEPOSITS_ROOT / AGENT)
    scan(AFTER_DEADLINE + DAY)
    assert BackupEntry.objects.count() == 1


def test_root_lost_during_the_scan_makes_nothing_missing(settings, machine, entry, scan, monkeypatch):
    machine.deposit()
    entry()
    real = orchestration.scan_machine

    def unmounting(*arguments):
        shutil.rmtree(settings.DEPOSITS_ROOT / AGENT)
        return real(*arguments)

    monkeypatch.setattr(orchestration, "scan_machine", unmounting)
    assert scan(AFTER_DEADLINE + DAY).errors == 1
    assert BackupEntry.objects.count() == 1
