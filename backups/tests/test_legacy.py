"""Expected backups and entries of an older scanner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner.orchestration import scan_now
from portal.legacy.reports import ImportReport
from portal.models import OutboxMessage
from portal.tests.helpers.legacy_files import effects, import_one, rows_by_code, run_import

pytestmark = pytest.mark.django_db
HEADER = "agent_id_responsible;database_name;company_name;city;expected_hour_utc"
JOBS = f"{HEADER}\nPC 1;compta;Société;Yaoundé;13\nPC-2;stock;Autre;Douala;7\n"
ENTRIES = "agent_id,database,timestamp,status,message,server_size\n"
FIRST = datetime(2024, 3, 1, 13, tzinfo=UTC)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_expected_backups_are_imported_from_any_csv(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = write(tmp_path / "a", JOBS.replace(";", delimiter), encoding)
    report = import_one(path, "--apply")
    assert effects(report) == (2, 0, 0)
    assert report["changed_ids"] == [{"from": "PC 1", "to": "PC-1"}]
    found = ExpectedBackupJob.objects.get(agent_id="PC-1")
    assert (found.company_name, found.city, found.expected_hour_utc) == ("Société", "Yaoundé", 13)
    assert effects(import_one(path, "--apply")) == (0, 0, 2)


def test_machine_id_is_taken_from_the_same_column_for_both_tables(tmp_path: Path) -> None:
    header = "machine_id,agent_id,database_name"
    jobs = write(tmp_path / "a", f"{header},status,expected_hour_utc\nhost,PC-1,compta,OK,13\n")
    entries = write(tmp_path / "b", f"{header},status,cycle_at\nhost,PC-1,compta,SUCCESS,2024-03-01 13:00:00\n")
    _status, files = run_import(jobs, entries, "--apply")
    assert [(file["error"], [found["kind"] for found in file["imports"]]) for file in files] == [
        (None, ["expected_backups"]),
        (None, ["backups"]),
    ]
    assert ExpectedBackupJob.objects.values_list("agent_id", "expected_hour_utc").get() == ("PC-1", 13)
    assert BackupEntry.objects.count() == 1


def test_refused_expected_backups_are_listed_and_the_others_imported(tmp_path: Path) -> None:
    path = write(tmp_path / "a", JOBS + "PC-3;x;A;B;99\nPC-4;y;A;B;1;2;3\n\nPC-5;z;C;D;1\n")
    status, (file,) = run_import(path, "--apply")
    assert status == 1
    (report,) = file["imports"]
    assert rows_by_code(report["unreadable"]) == {"validation_failed": [4], "too_many_cells": [5]}
    assert ExpectedBackupJob.objects.count() == 3


@pytest.mark.parametrize(
    ("text", "missing"),
    [("database_name,city\nx,y\n", "agent_id"), ("agent,database,status\nPC-1,x,SUCCESS\n", "agent_id, cycle_at")],
    ids=["expected backups", "entries"],
)
def test_missing_column_is_named(tmp_path: Path, text: str, missing: str) -> None:
    status, (file,) = run_import(write(tmp_path / "a", text))
    assert (status, file["error"]["code"]) == (1, "bad_columns")
    assert missing in file["error"]["text"]


def test_entries_become_the_history_of_their_database(tmp_path: Path) -> None:
    rows = 'PC 1,compta,2024-03-01 13:00:00,SUCCESS,,100\npc-1,compta,2024-03-02 13:00:00,failed,"disk\nfull",\n'
    files = [write(tmp_path / "b", ENTRIES + rows), write(tmp_path / "a", JOBS)]
    dry, done = run_import(*files), run_import(*files, "--apply")
    assert dry == done
    entries = BackupEntry.objects.order_by("cycle_at")
    assert list(entries.values_list("job__agent_id", "cycle_at", "status", "server_size", "promotion")) == [
        ("PC-1", FIRST, "SUCCESS", 100, "none"),
        ("PC-1", FIRST + timedelta(days=1), "FAILED", None, "none"),
    ]
    assert [entry.message for entry in entries] == [
        "Imported from an older tool.",
        "Imported from an older tool: disk full.",
    ]
    before = list(entries.values())
    assert effects(run_import(*files, "--apply")[1][0]["imports"][0]) == (0, 0, 2)
    assert list(entries.values()) == before


def test_entry_that_the_portal_records_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_one(write(tmp_path / "a", JOBS), "--apply")
    job = ExpectedBackupJob.objects.get(agent_id="PC-1")
    count = ImportReport.count

    def record_first(report: ImportReport, effect: str, rows: int = 1) -> None:
        times = dict.fromkeys(("cycle_at", "recorded_at", "changed_at"), FIRST)
        BackupEntry.objects.create(job=job, status="FAILED", first_status="FAILED", **times)
        count(report, effect, rows)

    monkeypatch.setattr(ImportReport, "count", record_first)
    import_one(write(tmp_path / "b", f"{ENTRIES}PC-1,compta,2024-03-01 13:00:00,SUCCESS,,\n"), "--apply")
    assert BackupEntry.objects.values_list("cycle_at", "status").get() == (FIRST, "FAILED")


@pytest.mark.usefixtures("channel")
def test_old_failures_send_no_message(tmp_path: Path) -> None:
    rows = "".join(f"PC-1,compta,2024-03-0{day} 13:00:00,MISSING,,\n" for day in range(1, 8))
    run_import(write(tmp_path / "a", JOBS), write(tmp_path / "b", ENTRIES + rows), "--apply")
    assert BackupEntry.objects.count() == 7
    scan_now(timezone.now(), "PC-1")
    assert not OutboxMessage.objects.exists()


def test_entries_that_do_not_belong_are_skipped_and_bad_ones_listed(tmp_path: Path) -> None:
    import_one(write(tmp_path / "a", JOBS), "--apply")
    ExpectedBackupJob.objects.update(watched_since=FIRST + timedelta(days=1))
    rows = [
        "PC-1,compta,2024-03-01 13:00:00,SUCCESS,,",
        "PC-1,compta,2024-03-01 13:00:00,FAILED,,",
        "PC-1,compta,2024-03-02 13:00:00,SUCCESS,,",
        "PC-9,compta,2024-03-01 13:00:00,SUCCESS,,",
        "PC-1,compta,noon,SUCCESS,,",
        "PC-1,compta,2024-02-01 13:00:00,OK,,",
        "PC-1,compta,2024-02-01 13:00:00,SUCCESS,,-1",
        f"PC-1,compta,2024-02-02 13:00:00,SUCCESS,,{'0' * 20}{'9' * 30}",
        f"PC-1,compta,2024-02-03 13:00:00,SUCCESS,,{'0' * 5_000}",
        f"PC-1,compta,2024-02-04 13:00:00,SUCCESS,,{2**63}",
        'PC-1,compta,2024-02-01 13:00:00,SUCCESS,"open',
    ]
    status, (file,) = run_import(write(tmp_path / "b", ENTRIES + "\n".join(rows)), "--apply")
    assert status == 1
    (report,) = file["imports"]
    assert rows_by_code(report["skipped"]) == {"recorded": [3], "watched": [4], "no_expected_backup": [5]}
    assert rows_by_code(report["unreadable"]) == {
        "bad_time": [6], "unknown_status": [7], "bad_size": [8, 9, 10, 11], "not_csv": [12],
    }  # fmt: skip
    assert BackupEntry.objects.values_list("cycle_at", "status").get() == (FIRST, "SUCCESS")
