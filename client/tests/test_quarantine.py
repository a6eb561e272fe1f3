"""Refused items are kept, counted, listed, retried and dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from vigie_client import Credentials, SpoolLimits, TokenStore, flush_spool, spool_payload, spool_stats
from vigie_client.cli import main
from vigie_client.spool.spooling import open_store

REPORT = "/api/v1/usage/report"


@pytest.fixture
def refuse(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> Callable[..., None]:
    """Return a function that spools runs and lets the portal refuse them with `code`."""

    def put(*run_ids: str, code: str = "run_conflict", **more: Any) -> None:
        portal.answer_with(REPORT, answer(409, {"code": code}))
        for run_id in run_ids:
            fill(run_id)
            flush_spool(spool, client, force=True, **more)
        portal.answer_with(REPORT, None)

    return put


def ids(spool: Path) -> list[str]:
    return [record["payload"]["run_id"] for record in open_store(spool).quarantined()]


def test_refused_runs_are_listed_with_code_status_and_time(spool: Path, refuse: Any) -> None:
    refuse("a", "b", now=lambda: 1_770_000_000.0)
    assert ids(spool) == ["a", "b"]
    record = open_store(spool).quarantined()[0]
    assert (record["code"], record["status"], record["at"]) == ("run_conflict", 409, 1_770_000_000.0)
    assert spool_stats(spool).quarantined == 2


def test_retried_runs_are_sent_by_the_next_flush(portal: Any, spool: Path, client: Any, refuse: Any) -> None:
    refuse("a", "b")
    assert open_store(spool).retry_quarantined() == 2
    assert (spool_stats(spool).pending, spool_stats(spool).quarantined) == (2, 0)
    assert flush_spool(spool, client) == 2
    assert sorted(portal.runs) == ["a", "b"]


def test_code_selects_runs_to_retry_and_drop(spool: Path, refuse: Any) -> None:
    refuse("a", "b")
    refuse("c", code="validation_failed")
    assert (open_store(spool).retry_quarantined("validation_failed"), ids(spool)) == (1, ["a", "b"])
    assert open_store(spool).drop_quarantined("validation_failed") == 0
    assert (open_store(spool).drop_quarantined("run_conflict"), ids(spool)) == (2, [])
    assert spool_stats(spool).pending == 1


def test_retry_into_a_full_spool_keeps_runs_in_the_quarantine(spool: Path, fill: Any, refuse: Any) -> None:
    refuse("a", "b")
    spool.write_text('{"run_id": "waits"}\n' * 9_999)
    assert (open_store(spool).retry_quarantined(), ids(spool)) == (1, ["b"])
    assert spool_stats(spool).pending == 10_000


def test_damaged_lines_are_listed_and_dropped_but_not_retried(spool: Path, client: Any, refuse: Any) -> None:
    refuse("a")
    spool.write_text('torn\n{"run_id": NaN}\n')
    flush_spool(spool, client)
    with Path(f"{spool}.quarantine").open("a") as file:
        file.write('{"code": "to')
    assert [record["code"] for record in open_store(spool).quarantined()] == [
        "run_conflict", "damaged_line", "unserialisable", "damaged_line",
    ]  # fmt: skip
    assert open_store(spool).retry_quarantined() == 1
    assert spool_stats(spool).quarantined == 3
    assert open_store(spool).drop_quarantined() == 3


def test_runs_dropped_by_a_full_quarantine_are_counted_and_logged(
    spool: Path, refuse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(*"abcdefghij", limits=SpoolLimits(quarantine_bytes=600))
    kept = ids(spool)
    assert kept == list("abcdefghij")[-len(kept) :]
    assert 0 < len(kept) < 6
    assert spool_stats(spool).dropped["quarantine"] == 10 - len(kept)
    assert any("quarantine of a spool is full" in message for message in caplog.messages)


def test_run_larger_than_the_quarantine_is_kept(spool: Path, run: Any, client: Any, portal: Any, answer: Any) -> None:
    portal.answer_with(REPORT, answer(413, {"code": "body_too_large"}))
    for name in "ab":
        spool_payload(spool, run(name, filler="x" * 2_000_000))
        flush_spool(spool, client, force=True)
    assert ids(spool) == ["b"]
    assert spool_stats(spool).dropped["quarantine"] == 1


def test_reading_a_missing_quarantine_creates_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "nowhere" / "spool"
    assert (
        open_store(spool).quarantined(),
        open_store(spool).retry_quarantined(),
        open_store(spool).drop_quarantined(),
    ) == ([], 0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command(portal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Return a function that runs a command on an enrolled machine: its exit status and output."""
    TokenStore(tmp_path).save(Credentials("pc", "vigie_agent_mine"))

    def call(*arguments: str) -> tuple[int, Any]:
        common = ["--server", portal.url, "--state-dir", str(tmp_path), "--timeout", "20"]
        status = main([arguments[0], *common, *arguments[1:]])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_commands_list_retry_and_drop(portal: Any, command: Any, refuse: Any, spool: Path) -> None:
    refuse("a", "b")
    refuse("c", code="validation_failed")
    status, listed = command("quarantine", "list", "--code", "run_conflict")
    assert [item["payload"]["run_id"] for item in listed.pop("items")] == ["a", "b"]
    assert (status, listed) == (0, {"quarantined": 3})
    told = {"retried": 2, "pending": 2, "quarantined": 1}
    assert command("quarantine", "retry", "--code", "run_conflict", "--spool", str(spool)) == (0, told)
    assert command("quarantine", "drop") == (0, {"dropped": 1, "quarantined": 0})
    assert command("flush") == (0, {"delivered": 2, "pending": 0, "dropped": 0, "quarantined": 0})


def test_every_command_prints_the_number_of_quarantined_runs(
    portal: Any, answer: Any, command: Any, refuse: Any, tmp_path: Path
) -> None:
    refuse("a")
    (tmp_path / "a.png").touch()
    portal.answer_with("/api/v1/agents/heartbeat", answer(200, {"next_heartbeat_seconds": 312}))
    portal.answer_with("/api/v1/agents/token/rotate", answer(200, {"api_token": "vigie_agent_new"}))
    portal.answer_with("/api/v1/agents/uninstall", answer(200, {"status": "uninstalled"}))
    reporting = ("report", "--app-name", "gui", "--app-version", "1", str(tmp_path / "a.png"))
    for arguments in (reporting, ("flush",), ("heartbeat",), ("rotate",), ("uninstall",)):
        status, told = command(*arguments)
        assert (status, told["quarantined"]) == (0, 1)
