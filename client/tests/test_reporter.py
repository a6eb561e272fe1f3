"""Reported runs are on disk, or are sent directly if the disk fails."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import (
    Credentials,
    TokenStore,
    UsageReporter,
    UsageTelemetryClient,
    flush_spool,
    make_session,
    spool_payload,
    spool_stats,
)

REPORT = "/api/v1/usage/report"
README = Path(__file__).resolve().parents[1] / "README.md"
DISK = {
    errno.ENOSPC: "the disk is full (ENOSPC)",
    errno.EROFS: "the file system is read-only (EROFS)",
    errno.EACCES: "no permission to write there (EACCES)",
    errno.ENOENT: "the folder is absent (ENOENT)",
}


@pytest.fixture
def reporter(portal: Any, token: str, spool: Path) -> Callable[..., UsageReporter]:
    """Return a factory of reporters without background delivery during a test."""

    def make(**options: Any) -> UsageReporter:
        return UsageReporter(
            portal.url, token, **{"spool_path": spool, "timeout": PATIENCE, "deliver_after": 600, **options}
        )

    return make


def test_reported_run_is_on_disk_before_it_is_sent(portal: Any, reporter: Any, spool: Path, run: Any) -> None:
    assert reporter().report(run("a"))
    assert spool_stats(spool).pending == 1
    assert portal.requests == []


def test_end_of_a_with_block_delivers(portal: Any, reporter: Any, spool: Path, run: Any) -> None:
    with reporter() as reporting:
        assert all(reporting.report(run(name)) for name in "abc")
    assert sorted(portal.runs) == ["a", "b", "c"]
    assert spool_stats(spool).pending == 0


def test_runs_are_delivered_in_the_background_and_retried(portal: Any, reporter: Any, run: Any, answer: Any) -> None:
    came = threading.Event()
    portal.answer_with(REPORT, answer(502, b"<html>"), lambda _: came.set())
    reporting = reporter(deliver_after=0)
    assert reporting.report(run("a"))
    assert came.wait(PATIENCE)


def test_backlog_longer_than_a_flush_is_delivered_without_a_pause(
    reporter: Any, spool: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call takes most of the time of a flush."""
    calls = iter(range(100))
    monkeypatch.setattr("vigie_client.spool.flush.monotonic", lambda: next(calls) * 0.6 * PATIENCE)
    for number in range(101):
        spool_payload(spool, run(str(number)))
    reporting = reporter()
    assert reporting._spool.deliver() == 1.0
    assert spool_stats(spool).pending == 1
    assert reporting._spool.deliver() is None


@pytest.mark.parametrize("number", DISK)
def test_run_is_sent_directly_if_the_disk_fails_with_a_logged_reason(
    portal: Any, reporter: Any, spool: Path, run: Any, number: int, monkeypatch: Any, caplog: Any
) -> None:
    reporting, real = reporter(), os.open

    def refuse(path: Any, *more: Any, **named: Any) -> int:
        if str(spool) in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert reporting.report(run("a"))
    monkeypatch.undo()
    assert list(portal.runs) == ["a"]
    assert caplog.messages == [f"an item can't be spooled: {DISK[number]}"]


def test_report_returns_false_if_disk_and_portal_fail(
    portal: Any, reporter: Any, tmp_path: Path, run: Any, answer: Any
) -> None:
    (tmp_path / "file").touch()
    portal.answer_with(REPORT, answer(503, {}))
    with reporter(spool_path=tmp_path / "file" / "spool") as reporting:
        assert reporting.report(run("a")) is False
        assert reporting.report({"run_id": object()}) is False
        assert reporting.flush() == 0


def test_opt_out_reports_nothing(
    portal: Any, reporter: Any, spool: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", "off")
    with reporter() as reporting:
        assert reporting.report(run("a")) is False
    assert (list(spool.parent.iterdir()), portal.requests) == ([], [])


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which no file can grow, but be overwritten and deleted."""
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if os.lseek(descriptor, 0, os.SEEK_CUR) + len(data) > os.fstat(descriptor).st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    return lambda: monkeypatch.setattr(os, "write", write)


def test_full_disk_delivers_waiting_runs_to_make_room(
    portal: Any, spool: Path, client: Any, fill: Any, full_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("a", "b", "c")
    full_disk()
    assert flush_spool(spool, client) == 3
    assert sorted(portal.runs) == ["a", "b", "c"]
    assert not spool.exists()
    assert [path.name for path in spool.parent.iterdir()] == ["spool.jsonl.lock"]


def test_full_disk_keeps_undelivered_runs(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, full_disk: Any, caplog: Any
) -> None:
    fill("a", "b", "c")
    results = [
        {"run_id": "a", "status": "recorded"},
        {"run_id": "b", "status": "conflict", "code": "run_conflict"},
        {"run_id": "c", "status": "?"},
    ]
    portal.answer_with("/api/v1/usage/report/batch", answer(200, {"results": results}))
    full_disk()
    assert flush_spool(spool, client) == 1
    assert spool_stats(spool).pending == 2
    assert "the spool can't be flushed: the disk is full (ENOSPC)" in caplog.messages


def test_concurrent_flushers_on_a_full_disk_send_each_run_once(
    portal: Any, spool: Path, client: Any, fill: Any, full_disk: Any, token: str
) -> None:
    fill("a")
    full_disk()
    others: list[int] = []
    other = UsageTelemetryClient(portal.url, make_session(token), 20)

    def answer_late(_: Any) -> None:
        others.append(flush_spool(spool, other))

    portal.answer_with(REPORT, answer_late)
    assert flush_spool(spool, client) == 1
    assert others == [0]


def first_example(url: str) -> Callable[[], None]:
    """Return the first example of the README, with `url`."""
    found = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    code = compile(found[1].replace("https://vigie.example.org", url), "README.md", "exec")
    return lambda: exec(code, {"paths": [Path("scan.png")]})


def test_readme_example_keeps_its_run_until_the_enrolment(
    portal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIGIE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "scan.png").touch()
    example = first_example(portal.url)
    example()
    assert spool_stats("usage.jsonl").pending == 1
    assert portal.requests == []
    TokenStore().save(Credentials("PC-Eric-01", "vigie_agent_mine"))
    Path("usage.jsonl.state").unlink()  # without the pause
    example()
    assert sorted(str(run["machine_id"]) for run in portal.runs.values()) == ["None", "PC-Eric-01"]
    assert spool_stats("usage.jsonl").pending == 0
    assert "The run could be neither" not in caplog.text


def test_reporter_keeps_its_spool_after_a_change_of_directory(
    portal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    monkeypatch.chdir(tmp_path)
    reporter = UsageReporter(portal.url, "vigie_client_mine", spool_path="usage.jsonl")
    spool_payload("usage.jsonl", {"run_id": "0" * 32})
    monkeypatch.chdir(later)
    assert reporter.flush() == 1
    assert list(later.iterdir()) == []
