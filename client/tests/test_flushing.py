"""Flushes deliver, keep or quarantine each run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from vigie_client import flush_spool, spool_payload, spool_stats

REPORT = "/api/v1/usage/report"


class Foreign:
    """A foreign client with only `report(payload) -> bool`."""

    def __init__(self, respond: Callable[[str], Any] = lambda _: True) -> None:
        self.respond = respond
        self.payloads: list[str] = []

    def report(self, payload: Any) -> bool:
        self.payloads.append(payload["run_id"])
        answer: bool = self.respond(payload["run_id"])
        return answer


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["run_id"] for line in path.read_text().splitlines()]


def test_runs_are_delivered_in_order(spool: Path, fill: Any) -> None:
    fill("a", "b", "c")
    client = Foreign()
    assert flush_spool(spool, client) == 3
    assert client.payloads == ["a", "b", "c"]
    assert not spool.exists()


def test_payload_is_delivered_as_spooled(spool: Path, run: Any) -> None:
    payloads = []

    class Client:
        def report(self, payload: Any) -> bool:
            payloads.append(payload)
            return True

    spool_payload(spool, run("a", license_ref="é"))
    flush_spool(spool, Client())
    assert payloads == [run("a", license_ref="é")]


def test_delivered_runs_are_not_sent_again(spool: Path, fill: Any) -> None:
    fill("a")
    assert [flush_spool(spool, Foreign()), flush_spool(spool, Foreign())] == [1, 0]


def test_flush_without_a_spool_delivers_nothing(tmp_path: Path) -> None:
    assert flush_spool(tmp_path / "nothing", Foreign()) == 0
    assert list(tmp_path.iterdir()) == []


def test_undelivered_runs_wait(spool: Path, fill: Any) -> None:
    fill("a", "b")
    assert flush_spool(spool, Foreign(lambda _: False)) == 0
    assert ids_in(spool) == ["a", "b"]


@pytest.mark.parametrize("error", [OSError, ValueError, RecursionError])
def test_run_waits_if_the_client_raises(spool: Path, fill: Any, error: type[Exception]) -> None:
    fill("a")

    def respond(_: str) -> bool:
        raise error

    assert flush_spool(spool, Foreign(respond)) == 0
    assert ids_in(spool) == ["a"]


def test_interrupted_flush_keeps_its_runs(spool: Path, fill: Any) -> None:
    fill("a", "b", "c")

    def respond(run_id: str) -> bool:
        if run_id == "b":
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        flush_spool(spool, Foreign(respond))
    assert ids_in(spool) == ["b", "c"]


def test_failing_run_blocks_no_other(spool: Path, fill: Any) -> None:
    fill("poison", "b", "c")
    assert flush_spool(spool, Foreign(lambda run_id: run_id != "poison")) == 2
    assert ids_in(spool) == ["poison"]


def test_flush_stops_after_a_few_failures(spool: Path, fill: Any) -> None:
    fill(*"abcdefgh")
    client = Foreign(lambda _: False)
    flush_spool(spool, client)
    assert client.payloads == ["a", "b", "c"]


def test_failed_runs_are_moved_behind_the_others(spool: Path, fill: Any) -> None:
    fill(*"abcde")
    flush_spool(spool, Foreign(lambda _: False))
    client = Foreign(lambda run_id: run_id in "de")
    assert flush_spool(spool, client) == 2
    assert client.payloads == ["d", "e", "a", "b", "c"]


def test_single_run_is_sent_as_a_report(portal: Any, spool: Path, client: Any, fill: Any) -> None:
    fill("a")
    assert flush_spool(spool, client) == 1
    assert [path for path, _, _ in portal.requests] == [REPORT]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 302, 401, 403])
def test_transient_failure_keeps_the_run(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int
) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(status, {}))
    assert flush_spool(spool, client) == 0
    assert ids_in(spool) == ["a"]


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_refused_run_is_quarantined(portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(status, {"code": "run_conflict"}))
    assert flush_spool(spool, client) == 0
    assert not spool.exists()
    kept = json.loads(Path(f"{spool}.quarantine").read_text())
    assert (kept["payload"]["run_id"], kept["status"], kept["code"]) == ("a", status, "run_conflict")
    assert spool_stats(spool).quarantined == 1


@pytest.mark.parametrize("line", ['{"run_id": "to', "garbage", "[1]", '"text"', "[" * 3000, "\0\0\0", "{}{}"])
def test_damaged_line_is_quarantined_and_its_neighbours_are_delivered(spool: Path, fill: Any, line: str) -> None:
    fill("a")
    with spool.open("a") as file:
        file.write(line)
    fill("b")
    assert flush_spool(spool, Foreign()) == 2
    assert json.loads(Path(f"{spool}.quarantine").read_text())["line"] == line
    assert spool_stats(spool).quarantined == 1


def test_blank_lines_are_skipped(spool: Path, fill: Any) -> None:
    spool.write_text("\n  \n")
    fill("a")
    assert flush_spool(spool, Foreign()) == 1
    assert not Path(f"{spool}.quarantine").exists()


def test_disk_failure_loses_no_run(spool: Path, fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("a")

    def fail(*_: Any) -> None:
        raise OSError

    def fail_from_now_on(_: str) -> bool:
        monkeypatch.setattr("os.open", fail)
        return False

    assert flush_spool(spool, Foreign(fail_from_now_on)) == 0
    monkeypatch.undo()
    assert flush_spool(spool, Foreign()) == 1
