"""Deposits in a folder: the files and the report."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from vigie_client import DepositFolder, Dump

NOON = datetime(2026, 3, 10, 12, 0, 30, tzinfo=timezone.utc).timestamp()


def sections(report: Any, database: str) -> list[Any]:
    found = report["databases"][database]
    return [found["backup_process"], found["compress_process"], found["transfer_process"]]


def test_output_of_a_command_is_deposited(deposits: Any) -> None:
    result = deposits.deposit(Dump("compta", command="printf hello"), now=lambda: NOON)
    content = deposits.staged("compta.sql.gz").read_bytes()
    assert gzip.decompress(content) == b"hello"
    assert (result.status, result.report) == ("deposited", "OPERATION_20260310_1200_agent-1.json")
    assert [vars(database) for database in result.databases] == [
        {
            "name": "compta",
            "status": "deposited",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "error": None,
        }
    ]
    assert deposits.leftovers() == []


def test_report_uses_the_first_dialect(deposits: Any) -> None:
    deposits.deposit(Dump("compta", command="printf hello"), now=lambda: NOON)
    (report,) = deposits.reports()
    content = deposits.staged("compta.sql.gz").read_bytes()
    assert uuid.UUID(report.pop("operation_id"))
    moment = "2026-03-10T12:00:30Z"
    assert report == {
        "agent_id": "agent-1",
        "timestamp": moment,
        "databases": {
            "compta": {
                "backup_process": {
                    "status": True,
                    "start_time": moment,
                    "end_time": moment,
                    "size": 5,
                    "message": None,
                },
                "compress_process": {
                    "status": True,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                },
                "transfer_process": {"status": True, "error_message": None},
            }
        },
    }


def test_report_has_the_times_of_each_dump_and_of_the_operation(deposits: Any) -> None:
    seconds = iter(range(10))
    dumps = [Dump("a", command="echo a"), Dump("b", command="echo b")]
    deposits.deposit(*dumps, now=lambda: NOON + next(seconds))
    (report,) = deposits.reports()
    backups = [sections(report, name)[0] for name in "ab"]
    moments = [*(backup[key] for backup in backups for key in ("start_time", "end_time")), report["timestamp"]]
    assert moments == [f"2026-03-10T12:00:{second}Z" for second in range(30, 35)]


def test_operation_has_one_report_for_all_databases(deposits: Any, tmp_path: Path) -> None:
    (tmp_path / "b.sql").write_text("bbb")
    result = deposits.deposit(Dump("a", command=["echo", "a"]), Dump("b", file=tmp_path / "b.sql"))
    (report,) = deposits.reports()
    assert list(report["databases"]) == ["a", "b"]
    assert [database.status for database in result.databases] == ["deposited", "deposited"]
    assert gzip.decompress(deposits.staged("b.sql.gz").read_bytes()) == b"bbb"


def test_failed_dump_does_not_affect_the_others(deposits: Any) -> None:
    dumps = [Dump("a", command="echo a"), Dump("b", command="false"), Dump("c", command="echo c")]
    result = deposits.deposit(*dumps)
    assert (result.status, [database.status for database in result.databases]) == (
        "failed",
        ["deposited", "failed", "deposited"],
    )
    (report,) = deposits.reports()
    assert [[step["status"] for step in sections(report, name)] for name in "abc"] == [
        [True] * 3,
        [False] * 3,
        [True] * 3,
    ]
    assert sorted(path.name for path in deposits.staged("").iterdir()) == ["a.sql.gz", "c.sql.gz"]


def test_failed_dump_keeps_the_older_file(deposits: Any) -> None:
    deposits.deposit(Dump("a", command="echo old"))
    deposits.deposit(Dump("a", command=[sys.executable, "-c", "print('new'); raise SystemExit(7)"]))
    assert gzip.decompress(deposits.staged("a.sql.gz").read_bytes()) == b"old\n"
    backup, compress, transfer = sections(deposits.reports()[1], "a")
    assert (backup["status"], backup["message"]) == (False, "the dump command ended with status 7")
    assert compress == {"status": False, "sha256": None, "size": None}
    assert (transfer["status"], transfer["error_message"]) == (False, "there is no dump to transfer")
    assert deposits.leftovers() == []


def test_report_is_delivered_after_all_files(deposits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    appeared: list[str] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def put(source: Any, target: Any) -> None:
            real(source, target)
            if deposits.folder.parent in Path(target).parents:  # a thread of another test may still write its spool
                appeared.append(os.path.basename(target))

        monkeypatch.setattr(os, name, put)

    for name in ("replace", "link", "rename"):
        watched(name)
    deposits.deposit(Dump("a", command="echo a"), Dump("b", command="echo b"), now=lambda: NOON)
    assert appeared == ["a.sql.gz", "b.sql.gz", "names.json", "OPERATION_20260310_1200_agent-1.json"]


def test_file_is_synced_before_and_folder_after_the_rename(deposits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(source: Any, target: Any) -> None:
        steps.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    deposits.deposit(Dump("a", command="echo a"))
    assert steps[:3] == ["file", "name", "folder"]


def test_missing_folder_fails_the_deposit(deposits: Any, tmp_path: Path) -> None:
    result = deposits.deposit(Dump("a", command="touch ran"), place=DepositFolder(tmp_path / "unmounted"))
    assert (result.status, result.report) == ("failed", None)
    assert result.databases[0].error == "the deposit folder isn't there"
    assert not (tmp_path / "unmounted").exists()


def test_failed_rename_is_reported(deposits: Any) -> None:
    deposits.staged("a.sql.gz").mkdir(parents=True)
    result = deposits.deposit(Dump("a", command="echo a"), Dump("b", command="echo b"))
    assert [(database.status, database.error) for database in result.databases] == [
        ("failed", "Is a directory"),
        ("deposited", None),
    ]
    backup, compress, transfer = sections(deposits.reports()[0], "a")
    assert (backup["status"], compress["status"]) == (True, True)
    assert transfer == {"status": False, "error_message": "Is a directory"}
    assert deposits.leftovers() == []


@pytest.mark.skipif(not hasattr(os, "link"), reason="links")
def test_report_is_delivered_without_hard_links(deposits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    for state in ("one", "other"):  # of which neither remembers what the other did
        deposits.state = tmp_path / state
        result = deposits.deposit(Dump("a", command="echo a"), now=lambda: NOON)
        assert result.status == "deposited"
    assert result.report == "OPERATION_20260310_1201_agent-1.json"
    assert len(deposits.reports()) == 2


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EACCES"])
def test_share_without_folder_sync_is_supported(deposits: Any, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    fsync = os.fsync

    def share(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, code), "no")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", share)
    assert deposits.deposit(Dump("a", command="echo a")).status == "deposited"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_umask_decides_the_modes_in_the_folder(deposits: Any) -> None:
    umask = os.umask(0o027)
    try:
        result = deposits.deposit(Dump("a", command="echo a"))
    finally:
        os.umask(umask)
    report = deposits.folder / "agent-1" / "log" / result.report
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (deposits.staged("a.sql.gz"), report, report.parent)]
    assert modes == [0o640, 0o640, 0o750]


@pytest.mark.parametrize(
    "dumps",
    [
        [],
        [Dump("a", command="echo 'x")],
        [Dump("a", command=" ")],
        [Dump("a", command=[])],
        [Dump("a", command="echo a"), Dump("a", command="echo b")],
        [Dump("é", command="echo a"), Dump("e", command="echo b")],
    ],
)
def test_invalid_dumps_are_refused_before_anything_runs(deposits: Any, dumps: list[Dump], tmp_path: Path) -> None:
    marker = Dump("marker", command=["touch", str(tmp_path / "ran")])
    with pytest.raises(ValueError):
        deposits.deposit(*([marker, *dumps] if dumps else []))
    assert not (tmp_path / "ran").exists()
    assert deposits.reports() == []


@pytest.mark.parametrize("sources", [{}, {"command": "echo", "file": "x"}])
def test_dump_needs_exactly_one_source(sources: Any) -> None:
    with pytest.raises(ValueError, match="either a command or a file"):
        Dump("a", **sources)


LIMITED = """
import resource, sys
from vigie_client import DepositFolder, Dump, deposit
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
dumps = [Dump("big", command="head -c 1000000 /dev/urandom"), Dump("small", command="echo a")]
result = deposit(dumps, DepositFolder(sys.argv[1]), agent_id="agent-1", state_dir="state")
print([database.error for database in result.databases])
"""


@pytest.mark.skipif(os.name == "nt", reason="a limit on the size of files")
def test_full_disk_is_reported(deposits: Any, start: Any) -> None:
    output, _ = start(LIMITED, deposits.folder).communicate()
    assert output == '["the backup can\'t be written: File too large", None]\n'
    backup, _, _ = sections(deposits.reports()[0], "big")
    assert (backup["status"], backup["message"]) == (False, "the backup can't be written: File too large")
    assert deposits.leftovers() == []
