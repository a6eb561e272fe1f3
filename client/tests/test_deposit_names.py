"""Report names are unique, even among concurrent deposits."""

from __future__ import annotations

import gzip
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import DepositPortal, Dump, Patience, make_session
from vigie_client.deposits.names import ReportNames
from vigie_client.disk.locks import FileLock

NEW_YEARS_EVE = datetime(2025, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
LAST_MINUTE = NEW_YEARS_EVE.timestamp()


def test_report_keeps_the_unreduced_names(deposits: Any) -> None:
    result = deposits.deposit(Dump("compta é", command="echo a"), agent_id="PC:1", now=lambda: LAST_MINUTE)
    assert deposits.staged("compta_e.sql.gz", agent="PC_1").exists()
    (report,) = deposits.reports("PC_1")
    assert (report["agent_id"], list(report["databases"])) == ("PC:1", ["compta é"])
    assert (result.report, result.databases[0].name) == ("OPERATION_20251231_2359_PC_1.json", "compta é")


@pytest.mark.parametrize("hostile", ["..", "../..", "/", "a/../../b"])
def test_no_name_escapes_the_folder(deposits: Any, hostile: str) -> None:
    deposits.deposit(Dump(hostile, command="echo a"), agent_id=hostile)
    assert {path.name for path in deposits.folder.parent.iterdir()} == {"deposits", "state"}
    (agent,) = deposits.folder.iterdir()
    assert sorted(path.name for path in agent.iterdir()) == ["database", "log"]


def test_reports_of_one_minute_take_the_following_minutes(deposits: Any) -> None:
    names = [deposits.deposit(Dump("a", command="echo a"), now=lambda: LAST_MINUTE).report for _ in range(3)]
    assert names == [
        f"OPERATION_{minute}_agent-1.json" for minute in ("20251231_2359", "20260101_0000", "20260101_0001")
    ]
    assert [report["timestamp"] for report in deposits.reports()] == ["2025-12-31T23:59:59Z"] * 3


def test_later_report_may_take_an_earlier_free_minute(deposits: Any) -> None:
    """A clock that was once a year ahead must not move all later names there."""
    for ahead in (31_536_000, 0):
        result = deposits.deposit(Dump("a", command="echo a"), now=lambda ahead=ahead: LAST_MINUTE + ahead)
    assert result.report == "OPERATION_20251231_2359_agent-1.json"


def test_agents_have_separate_minutes(deposits: Any) -> None:
    for agent in ("a", "b"):
        result = deposits.deposit(Dump("a", command="echo a"), agent_id=agent, now=lambda: LAST_MINUTE)
        assert result.report == f"OPERATION_20251231_2359_{agent}.json"


def test_unknown_report_is_not_overwritten(deposits: Any) -> None:
    log = deposits.folder / "agent-1" / "log"
    log.mkdir(parents=True)
    (log / "OPERATION_20251231_2359_agent-1.json").write_text('{"timestamp": "another state directory\'s"}')
    result = deposits.deposit(Dump("a", command="echo a"), now=lambda: LAST_MINUTE)
    assert result.report == "OPERATION_20260101_0000_agent-1.json"
    assert (log / "OPERATION_20251231_2359_agent-1.json").read_text() == '{"timestamp": "another state directory\'s"}'


def test_given_names_are_remembered_across_calls(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text("damaged")
    names = ReportNames(str(tmp_path / "names.json")).free_names(NEW_YEARS_EVE, "a")
    given = [next(names) for _ in range(4)]
    assert len(set(given)) == 4
    again = ReportNames(str(tmp_path / "names.json")).free_names(NEW_YEARS_EVE, "a")
    assert next(again) == "OPERATION_20260101_0003_a.json"


def test_remembered_names_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigie_client.deposits.names._MAX_REMEMBERED", 3)
    path = tmp_path / "names.json"
    for _ in range(5):
        next(ReportNames(str(path)).free_names(NEW_YEARS_EVE, "a"))
    assert path.read_text().count("OPERATION") == 3


def test_full_disk_does_not_prevent_the_report(tmp_path: Path) -> None:
    names = ReportNames(str(tmp_path / "absent" / "names.json")).free_names(NEW_YEARS_EVE, "a")
    assert [next(names)[:23], next(names)[:23]] == ["OPERATION_20251231_2359", "OPERATION_20260101_0000"]


SEVERAL_DEPOSITS = """
import sys
from vigie_client import DepositFolder, Dump, deposit
folder, number = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(4):
    dump = Dump("a", command=["echo", f"{number} {turn}"])
    result = deposit([dump], DepositFolder(folder), agent_id="agent-1", state_dir="state", now=lambda: 1767225599.0 + turn)
    assert result.status == "deposited", result
    print(result.report, flush=True)
"""


def test_concurrent_processes_lose_no_report(deposits: Any, start: Any) -> None:
    programs = [start(SEVERAL_DEPOSITS, deposits.folder, number) for number in range(2)]
    assert [program.stdout.readline() for program in programs] == ["ready\n"] * 2
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    names = [name for program in programs for name in program.communicate()[0].split()]
    assert len(names) == len(set(names)) == 8
    assert len(deposits.reports()) == 8
    content = deposits.staged("a.sql.gz").read_bytes()
    hashes = [report["databases"]["a"]["compress_process"]["sha256"] for report in deposits.reports()]
    assert len(set(hashes)) == 8
    assert hashlib.sha256(content).hexdigest() in hashes
    assert gzip.decompress(content).split()[1] in (b"0", b"1", b"2", b"3")
    assert deposits.leftovers() == []


def test_calls_deliver_one_after_another(
    portal: Any, deposits: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call comes during the first upload. Its report must not describe the first call's file."""
    waiting = threading.Event()

    class Watched(FileLock):
        def acquire(self, *, blocking: bool = True) -> bool:
            if threading.current_thread().name.startswith("second"):
                waiting.set()
            return super().acquire(blocking=blocking)

    def upload(name: str) -> Any:
        place = DepositPortal(portal.url, make_session(token), Patience(deadline=9))
        return deposits.deposit(Dump("a", command=["echo", name]), place=place)

    def first_arrives(handler: Any) -> None:
        pool.submit(upload, "second")
        arrived.append(waiting.wait(PATIENCE))
        handler.do_PUT()

    arrived: list[bool] = []
    monkeypatch.setattr("vigie_client.deposits.operation.FileLock", Watched)
    portal.answer_with("/api/v1/backups/deposits/database/a.sql.gz", first_arrives, None)
    with ThreadPoolExecutor(1, thread_name_prefix="second") as pool:
        upload("first")
    assert arrived == [True]
    assert [sent.name.split("/")[0] for sent in portal.uploads] == ["database", "log", "database", "log"]
    assert [gzip.decompress(sent.body) for sent in portal.uploads[::2]] == [b"first\n", b"second\n"]
