"""Scans of real files: what agents leave, and what becomes of it."""

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.models import BackupEntry, DepositArea, ExpectedBackupJob
from backups.scanner import examine, orchestration
from backups.scanner.disk import opening
from backups.tests.conftest import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, REPORTED, dump, section
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that scans have opened."""
    names, real = [], opening.opened_file

    def noting(name, folder):
        names.append(name)
        return real(name, folder)

    monkeypatch.setattr(opening, "opened_file", noting)
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
def test_the_sample_trees_are_verified_and_promoted_byte_for_byte(samples, scan, settings, at):
    outcome = scan(datetime.fromisoformat(at))
    assert [(one["database_name"], one["status"], one["promoted"]) for one in outcome.results] == [
        ("compta_db", "SUCCESS", True),
        ("stock_db", "SUCCESS", True),
        ("SIRPACAM_YAOUNDE_CAISSE_2025", "SUCCESS", True),
    ]
    assert [one["warnings"] for one in outcome.results] == [[], [], []]
    for path in samples.rglob("*.gz"):
        stored = settings.VALIDATED_ROOT / "ACME" / "Yaounde" / path.name.removesuffix(".sql.gz") / "current_version"
        assert (stored / path.name).read_bytes() == path.read_bytes()
    assert [*settings.DEPOSITS_ROOT.rglob("*.gz")] == []


def test_a_second_scan_changes_nothing_and_opens_no_dump(samples, scan, opened):
    at = datetime(2025, 6, 12, 20, 30, tzinfo=UTC)
    first = scan(at)
    rows = list(BackupEntry.objects.values())
    opened.clear()
    second = scan(at)
    assert second.results == first.results
    assert (second.bytes_hashed, second.files_read, opened) == (0, 0, [])
    assert list(BackupEntry.objects.values()) == rows


def test_a_scan_before_the_jobs_creation_tells_nobody_and_catches_up_nothing(samples, scan, channel):
    scan(datetime(2025, 6, 14, 23, tzinfo=UTC))
    assert [entry.status for entry in BackupEntry.objects.all()] == ["MISSING"] * 3
    assert OutboxMessage.objects.count() == 0


# --- Each status -----------------------------------------------------------------------------------------------------


def test_a_backup_that_is_as_the_machine_says_is_a_success(machine, entry, job, current):
    report = machine.deposit()
    found = entry()
    assert (found.status, found.first_status, found.late, found.warnings) == ("SUCCESS", "SUCCESS", False, [])
    assert found.agent_sha256 == found.server_sha256 == hashlib.sha256(dump()).hexdigest()
    assert (found.agent_size, found.server_size, found.report_name) == (len(dump()), len(dump()), report)
    assert found.message == "Hash and size are those the machine says."
    assert current() == {f"{DATABASE}.sql.gz": dump()}
    job.refresh_from_db()
    assert (job.current_status, job.previous_successful_hash) == ("SUCCESS", found.server_sha256)
    assert job.last_success_at == job.last_verified_at == REPORTED
    assert job.last_checked_at == AFTER_DEADLINE


def test_no_report_by_the_deadline_is_missing(machine, entry):
    machine.stage()
    found = entry()
    assert (found.status, found.message) == (
        "MISSING",
        f"No report arrived by the deadline; the folder {AGENT}/log is not there.",
    )


def test_yesterdays_backup_is_never_todays(machine, entry):
    machine.deposit(moment=REPORTED - DAY)
    assert entry().status == "MISSING"


def test_a_report_that_does_not_list_the_database_leaves_it_missing(machine, entry):
    machine.report(databases={"stock_db": section()})
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "not_listed")
    assert DepositArea.objects.get().unexpected == ["stock_db"]


def test_the_step_that_the_machine_says_failed_is_named(machine, entry):
    machine.deposit(**section(backup={"status": False, "error_message": "pg_dump: no such database"}))
    found = entry()
    assert found.status == "FAILED"
    assert found.message == "The machine says that the step backup_process failed: pg_dump: no such database."


def test_a_report_that_is_no_json_fails_all_databases_of_the_machine(machine, make_job, scan):
    make_job(), make_job("stock_db")
    machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b'{"databases": ')
    scan()
    assert set(BackupEntry.objects.values_list("status", flat=True)) == {"FAILED"}


def test_a_report_that_cannot_be_read_may_have_listed_what_the_next_does_not(machine, entry):
    machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b"{")
    machine.report(REPORTED + timedelta(minutes=10), {})
    assert entry().status == "FAILED"


@pytest.mark.parametrize("name", [f"OPERATION_20250611_2304_{AGENT}.json", f"20250613_030400_{AGENT}.json"])
def test_the_name_of_a_report_may_be_in_local_time(machine, entry, name):
    machine.stage()
    machine.report(name=name)
    assert entry().status == "SUCCESS"


def test_a_readable_report_counts_before_one_that_is_not(machine, entry):
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
def test_a_staged_file_that_is_not_what_the_machine_says_is_damaged(machine, entry, current, content, codes):
    machine.report()
    machine.stage(b"", "other.sql.gz")
    if content is not None:
        machine.stage(content)
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("TRANSFER_INTEGRITY_FAILED", codes)
    assert found.promotion == "none"
    assert current() == {}


def test_the_same_dump_as_before_is_unchanged_and_does_not_look_stale(machine, entry, job, current):
    machine.deposit()
    entry()
    machine.deposit(moment=REPORTED + DAY)
    found = entry(AFTER_DEADLINE + DAY, EXPECTED + DAY)
    assert (found.status, found.promotion) == ("HASH_MISMATCH", "none")
    job.refresh_from_db()
    assert (job.last_success_at, job.last_verified_at) == (REPORTED, REPORTED + DAY)
    assert current() == {f"{DATABASE}.sql.gz": dump()}


def test_what_is_unchanged_but_not_stored_is_stored(machine, entry, job, current):
    ExpectedBackupJob.objects.update(previous_successful_hash=hashlib.sha256(dump()).hexdigest())
    machine.deposit()
    assert (entry().status, current()) == ("HASH_MISMATCH", {f"{DATABASE}.sql.gz": dump()})


# --- Before the deadline ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["nothing", "no dump", "half a dump", "half a report"])
def test_what_may_still_be_arriving_is_pending_until_the_deadline(machine, scan, job, state):
    match state:
        case "no dump":
            machine.report()
        case "half a dump":
            machine.report()
            machine.stage(dump()[:10])
        case "half a report":
            machine.stage()
            machine.write_log(f"OPERATION_20250612_1304_{AGENT}.json", b'{"agent_id"')
    outcome = scan(EXPECTED + timedelta(minutes=30))
    assert (outcome.results[0]["status"], outcome.pending, BackupEntry.objects.count()) == ("PENDING", 1, 0)
    machine.deposit()
    assert scan(EXPECTED + timedelta(minutes=30)).results[0]["status"] == "SUCCESS"


def test_a_backup_a_minute_early_is_not_missed(machine, entry):
    machine.deposit(moment=EXPECTED - timedelta(minutes=1))
    found = entry(EXPECTED)
    assert (found.status, found.warnings) == ("SUCCESS", ["early"])


# --- Late ------------------------------------------------------------------------------------------------------------


def test_a_late_backup_rewrites_its_entry_and_keeps_the_first_status(machine, entry):
    first = entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=3))
    found = entry(EXPECTED + timedelta(hours=4))
    assert (found.pk, found.status, found.first_status, found.late) == (first.pk, "SUCCESS", "MISSING", True)
    assert BackupEntry.objects.count() == 1


def test_a_backup_that_came_in_the_last_minutes_of_its_cycle_is_still_found(machine, entry):
    entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=23, minutes=49))
    found = entry(EXPECTED + DAY)
    assert (found.status, found.late) == ("SUCCESS", True)


def test_a_backup_that_came_two_cycles_late_changes_nothing(machine, entry, scan):
    entry()
    scan(AFTER_DEADLINE + DAY)
    machine.deposit(moment=EXPECTED + timedelta(hours=5))
    assert entry(AFTER_DEADLINE + 2 * DAY).status == "MISSING"


def test_a_settled_database_is_left_alone_while_another_of_its_machine_is_pending(machine, scan, make_job):
    make_job(), make_job("stock_db")
    machine.deposit()
    scan(EXPECTED + timedelta(minutes=10))
    rows = list(BackupEntry.objects.values())
    outcome = scan(EXPECTED + timedelta(minutes=20))
    assert (outcome.pending, outcome.files_read, list(BackupEntry.objects.values())) == (1, 0, rows)


def test_a_dump_is_compared_with_earlier_ones_alone(machine, entry):
    machine.deposit()
    entry()
    shutil.rmtree(machine.logs)
    machine.deposit(moment=REPORTED - 3 * DAY)
    assert entry(AFTER_DEADLINE - 3 * DAY, EXPECTED - 3 * DAY).status == "SUCCESS"


def test_an_imported_hash_of_a_later_success_is_not_compared_with(machine, entry):
    same = hashlib.sha256(dump()).hexdigest()
    ExpectedBackupJob.objects.update(previous_successful_hash=same, last_success_at=EXPECTED + 5 * DAY)
    machine.deposit()
    assert entry().status == "SUCCESS"


def test_a_report_written_in_time_that_arrives_late_is_late(machine, entry):
    entry()
    machine.deposit(moment=REPORTED)
    found = entry(AFTER_DEADLINE + timedelta(hours=1))
    assert (found.status, found.late, found.report_at) == ("SUCCESS", True, REPORTED)


def test_a_clock_that_is_ahead_makes_no_backup_of_the_future(machine, entry, job):
    machine.deposit(moment=EXPECTED + timedelta(hours=8))
    assert entry().warnings == ["clock_skew"]
    job.refresh_from_db()
    assert job.last_success_at == AFTER_DEADLINE


@pytest.mark.one_database("arithmetic of cycles")
@pytest.mark.parametrize("days", ["TH", "MO,TH", "MO,WE,FR"])
def test_a_database_backed_up_on_some_days_is_scanned_for_months(machine, scan, make_job, days):
    start = EXPECTED - 120 * DAY
    make_job(days_of_week=days, watched_since=start, created_at=start)
    assert [scan(start + week * 7 * DAY).errors for week in range(1, 18)] == [0] * 17


def test_a_retry_in_the_last_minutes_of_its_cycle_replaces_a_failure(machine, entry):
    machine.deposit(**section(backup={"status": False}))
    entry()
    machine.deposit(moment=EXPECTED + timedelta(hours=23, minutes=49))
    assert entry(EXPECTED + DAY).status == "SUCCESS"


def test_a_recorded_failure_is_not_made_unsure_by_a_later_backup(machine, entry, scan):
    machine.report()
    entry()
    machine.deposit(dump("-- next day"), EXPECTED + DAY - timedelta(minutes=5))
    assert entry(EXPECTED + DAY).status == "TRANSFER_INTEGRITY_FAILED"


def test_a_report_corrected_under_the_same_name_is_believed(machine, scan, job):
    machine.stage()
    machine.report(databases={DATABASE: section(compress={"sha256": "ab" * 32})})
    assert scan().results[0]["status"] == "TRANSFER_INTEGRITY_FAILED"
    machine.report()
    assert scan(AFTER_DEADLINE + timedelta(minutes=15)).results[0]["status"] == "SUCCESS"


def test_a_late_backup_is_stored_though_the_next_cycle_is_missing(machine, entry, scan, job, current):
    entry()
    scan(AFTER_DEADLINE + DAY)
    machine.deposit(moment=EXPECTED + timedelta(hours=20))
    found = entry(AFTER_DEADLINE + DAY + timedelta(minutes=15))
    assert (found.status, found.promotion, current()) == ("SUCCESS", "promoted", {f"{DATABASE}.sql.gz": dump()})
    job.refresh_from_db()
    assert (job.current_status, job.last_success_at) == ("MISSING", EXPECTED + timedelta(hours=20))


def test_a_scan_of_the_future_silences_no_present_one(machine, scan, entry, make_job, current):
    now = datetime.now(UTC)
    expected = (now - timedelta(minutes=3)).replace(second=0, microsecond=0)
    made = make_job("live", expected_hour_utc=expected.hour, expected_minute_utc=expected.minute)
    scan(now + 400 * DAY)
    machine.deposit(moment=now, database="live")
    scan(now)
    made.refresh_from_db()
    assert (made.current_status, current("live")) == ("SUCCESS", {"live.sql.gz": dump()})


def test_yesterdays_backup_of_a_machine_whose_clock_is_a_day_ahead_is_not_todays(machine, entry):
    machine.deposit(moment=REPORTED + DAY)
    assert entry().status == "MISSING"
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).status == "MISSING"


def test_a_pause_that_is_ended_early_blames_nobody_either(scan, make_job):
    now = datetime.now(UTC)
    job = make_job(watched_since=now - 20 * DAY, created_at=now - 20 * DAY, paused_until=now + 2 * DAY)
    ExpectedBackupJob.objects.update(settled_at=now - 5 * DAY)
    job.paused_until = None
    job.save()
    scan(now + timedelta(seconds=1))
    assert BackupEntry.objects.count() == 0


def test_a_job_deleted_while_it_is_scanned_stops_no_other(machine, make_job, scan, monkeypatch, current):
    make_job(), make_job("gone")
    machine.stage()
    machine.stage(name="gone.sql.gz")
    machine.report(databases={DATABASE: section(), "gone": section()})
    real = examine.judged

    def deleting(past, *arguments):
        found = real(past, *arguments)
        ExpectedBackupJob.objects.filter(database_name="gone").delete()
        return found

    monkeypatch.setattr(examine, "judged", deleting)
    assert scan().errors == 0
    assert [entry.status for entry in BackupEntry.objects.all()] == ["SUCCESS"]
    assert current("gone") == {}


def test_trouble_of_our_own_disk_is_no_evidence_against_the_machine(machine, scan, job, monkeypatch):
    machine.deposit()

    def failing(name, folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(opening, "opened_file", failing)
    assert (scan().errors, BackupEntry.objects.count()) == (1, 0)


def test_no_more_reports_are_read_than_memory_is_meant_for(machine, entry, monkeypatch):
    monkeypatch.setattr("backups.scanner.disk.report_folders.MOST_BYTES", 1)
    machine.deposit(moment=EXPECTED)
    machine.report(EXPECTED + timedelta(minutes=9), {})
    assert entry().status == "MISSING"


def test_a_better_report_of_the_same_cycle_replaces_a_failure(machine, entry):
    machine.deposit(**section(backup={"status": False}))
    assert entry().status == "FAILED"
    machine.deposit(moment=REPORTED + timedelta(minutes=40))
    assert entry(AFTER_DEADLINE + timedelta(hours=1)).status == "SUCCESS"


def test_a_bad_file_is_hashed_again_only_once_it_has_changed(machine, scan, job):
    machine.report()
    machine.stage(b"x" * len(dump()))
    assert scan().files_read == 1
    again = scan(AFTER_DEADLINE + timedelta(minutes=15))
    assert (again.files_read, again.results[0]["status"]) == (0, "TRANSFER_INTEGRITY_FAILED")
    machine.stage()
    assert scan(AFTER_DEADLINE + timedelta(minutes=30)).results[0]["status"] == "SUCCESS"


# --- Catching up -----------------------------------------------------------------------------------------------------


def test_a_week_without_scans_is_caught_up_and_never_blames_an_overwritten_file(machine, scan, make_job, current):
    make_job(watched_since=EXPECTED - 7 * DAY, created_at=EXPECTED - 7 * DAY)
    for back in (6, 4, 2, 0):
        machine.deposit(dump(f"-- {back}\n"), REPORTED - back * DAY)
    outcome = scan()
    assert [(one["cycle_at"][:10], one["status"]) for one in outcome.results] == [
        ("2025-06-05", "MISSING"), ("2025-06-06", "UNVERIFIED"), ("2025-06-07", "MISSING"), ("2025-06-08", "UNVERIFIED"),
        ("2025-06-09", "MISSING"), ("2025-06-10", "UNVERIFIED"), ("2025-06-11", "MISSING"), ("2025-06-12", "SUCCESS"),
    ]  # fmt: skip
    assert current() == {f"{DATABASE}.sql.gz": dump("-- 0\n")}


def test_an_earlier_dump_that_a_failed_backup_left_alone_is_verified(machine, scan, job):
    machine.deposit()
    machine.report(REPORTED + DAY, {DATABASE: section(backup={"status": False})})
    outcome = scan(AFTER_DEADLINE + DAY)
    assert [one["status"] for one in outcome.results] == ["SUCCESS", "FAILED"]


def test_of_two_cycles_caught_up_at_once_the_later_is_compared_with_the_earlier(machine, scan, job):
    for day, name in enumerate(["monday.sql.gz", "tuesday.sql.gz"]):
        machine.stage(name=name)
        machine.report(REPORTED + day * DAY, {DATABASE: section() | {"staged_file_name": name}})
    assert [one["status"] for one in scan(AFTER_DEADLINE + DAY).results] == ["SUCCESS", "HASH_MISMATCH"]


def test_at_most_fourteen_earlier_cycles_are_caught_up(scan, make_job):
    make_job(watched_since=EXPECTED - 100 * DAY, created_at=EXPECTED - 100 * DAY)
    scan()
    assert BackupEntry.objects.count() == 15


def test_no_cycle_before_the_jobs_creation_is_missing(scan, make_job):
    make_job(created_at=EXPECTED + timedelta(minutes=1), watched_since=EXPECTED + timedelta(minutes=1))
    assert scan().results[0]["status"] == "PENDING"
    assert scan(AFTER_DEADLINE + DAY).results[0]["status"] == "MISSING"
    assert BackupEntry.objects.count() == 1


def test_a_job_made_after_its_backup_arrived_is_judged_by_it(machine, scan, make_job):
    make_job(created_at=EXPECTED + timedelta(minutes=20), watched_since=EXPECTED + timedelta(minutes=20))
    machine.deposit()
    assert scan().results[0]["status"] == "SUCCESS"


def test_a_job_expected_at_another_hour_from_now_on_is_not_blamed_for_the_past(scan, job):
    job.expected_hour_utc = 9
    job.save()
    assert job.watched_since > EXPECTED
    scan(job.watched_since + timedelta(minutes=1))
    assert BackupEntry.objects.count() == 0


def test_a_pause_leaves_no_missing_backups_behind(scan, job):
    job.paused_until = EXPECTED + 3 * DAY
    job.save()
    assert scan(EXPECTED + 2 * DAY).results == []
    scan(EXPECTED + 3 * DAY + timedelta(hours=23))
    assert [one.cycle_at for one in BackupEntry.objects.all()] == [EXPECTED + 3 * DAY]


def test_an_inactive_job_is_not_looked_at(scan, make_job):
    make_job(is_active=False)
    assert scan().results == []


# --- Warnings --------------------------------------------------------------------------------------------------------


def test_a_dump_much_smaller_than_the_last_ones_is_doubtful(machine, entry):
    for back, size in ((3, 900), (2, 1_000), (1, 5_000)):
        machine.deposit(os.urandom(size), REPORTED - back * DAY)
        entry(AFTER_DEADLINE - back * DAY, EXPECTED - back * DAY)
    machine.deposit(os.urandom(499))
    assert "shrunk" in entry().warnings


def test_zstandard_is_accepted(machine, entry, current):
    content = b"\x28\xb5\x2f\xfd not looked into"
    machine.stage(content, f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: section(content) | {"staged_file_name": f"{DATABASE}.sql.zst"}})
    assert (entry().status, current()) == ("SUCCESS", {f"{DATABASE}.sql.zst": content})


def test_zstandard_is_found_where_the_report_does_not_name_the_file(machine, entry):
    machine.stage(b"zst", f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: section(b"zst")})
    assert entry().status == "SUCCESS"


def test_a_dump_left_over_in_the_former_format_is_not_taken_for_the_new_one(machine, entry):
    machine.stage(dump("-- of last week, and longer\n"))
    machine.stage(b"zst", f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: section(b"zst")})
    assert entry().status == "SUCCESS"


# --- Many jobs -------------------------------------------------------------------------------------------------------


def test_a_job_that_cannot_be_judged_stops_no_other(machine, make_job, scan):
    machine.stage()
    machine.stage(name="stock_db.sql.gz")
    machine.report(databases={DATABASE: section(), "stock_db": section()})
    make_job()
    broken = make_job("stock_db")
    ExpectedBackupJob.objects.filter(pk=broken.pk).update(days_of_week="XX")
    outcome = scan()
    assert outcome.errors == 1
    assert [one["status"] for one in outcome.results if one["database_name"] == DATABASE] == ["SUCCESS"]
    assert DepositArea.objects.get().trouble == {"code": "scan_failed"}


def test_one_machine_alone_can_be_scanned(make_job, scan):
    make_job(), make_job(agent_id="OTHER")
    assert [one["agent_id"] for one in scan(agent_id="OTHER").results] == ["OTHER"]


def test_the_queries_grow_with_the_machines_and_not_with_their_jobs(
    machine, make_job, scan, django_assert_max_num_queries
):
    counts = []
    for number in (1, 20):
        databases = [f"db{number}_{n}" for n in range(number)]
        agent = f"SRV-{number}"
        for name in databases:
            make_job(name, agent)
        own = type(machine)(machine.root, agent)
        for name in databases:
            own.stage(name=f"{name}.sql.gz")
        own.report(databases={name: section() for name in databases})
        with django_assert_max_num_queries(60) as queries:
            assert {one["status"] for one in scan(agent_id=agent).results} == {"SUCCESS"}
        counts.append(len(queries))
    assert counts[1] <= counts[0] + 2


# --- The deposit root ------------------------------------------------------------------------------------------------


def test_a_missing_deposit_root_is_one_alert_and_no_missing_backup(settings, scan, make_job, channel):
    for number in range(5):
        make_job(f"db{number}")
    settings.DEPOSITS_ROOT.rmdir()
    for _ in range(3):
        scan()
    assert BackupEntry.objects.count() == 0
    assert [message.title for message in OutboxMessage.objects.all()] == ["The deposit area is not there"]
    settings.DEPOSITS_ROOT.mkdir()
    scan(EXPECTED)
    assert OutboxMessage.objects.count() == 2


def test_a_root_that_is_suddenly_empty_is_a_disk_that_is_not_mounted(settings, machine, entry, scan):
    machine.deposit()
    entry()
    shutil.rmtree(settings.DEPOSITS_ROOT / AGENT)
    scan(AFTER_DEADLINE + DAY)
    assert BackupEntry.objects.count() == 1


def test_a_root_that_goes_while_it_is_looked_at_makes_nothing_missing(settings, machine, entry, scan, monkeypatch):
    machine.deposit()
    entry()
    real = orchestration.scan_machine

    def unmounting(*arguments):
        shutil.rmtree(settings.DEPOSITS_ROOT / AGENT)
        return real(*arguments)

    monkeypatch.setattr(orchestration, "scan_machine", unmounting)
    assert scan(AFTER_DEADLINE + DAY).errors == 1
    assert BackupEntry.objects.count() == 1
