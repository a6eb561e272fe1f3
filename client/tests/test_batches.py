"""Flushes in batches of many runs per call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import flush_spool, spool_payload, spool_stats

REPORT = "/api/v1/usage/report"
BATCH = "/api/v1/usage/report/batch"


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["run_id"] for line in path.read_text().splitlines()]


def numbered(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def test_batch_has_at_most_100_runs(portal: Any, spool: Path, client: Any, fill: Any) -> None:
    fill(*numbered(230))
    assert flush_spool(spool, client) == 230
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 100, 30]
    assert sorted(portal.runs) == numbered(230)


def test_batch_has_at_most_256_kib(portal: Any, spool: Path, client: Any, run: Any) -> None:
    for name in numbered(20):
        spool_payload(spool, run(name, filler="é" * 10_000))
    assert flush_spool(spool, client) == 20
    sizes = [int(headers["Content-Length"]) for path, headers, _ in portal.requests if path == BATCH]
    assert len(sizes) == 5
    assert 200 * 1024 < max(sizes) <= 256 * 1024


def test_run_larger_than_a_batch_is_sent_alone(portal: Any, spool: Path, client: Any, run: Any) -> None:
    for name in "abc":
        spool_payload(spool, run(name, filler="x" * (950_000 if name == "b" else 1)))
    assert flush_spool(spool, client) == 3
    assert [body["run_id"] for body in portal.sent_to(REPORT)] == ["a", "b", "c"]


def test_each_run_has_the_time_of_sending(portal: Any, spool: Path, client: Any, fill: Any) -> None:
    fill("a", "b")
    flush_spool(spool, client)
    assert all(run["sent_at"].endswith("Z") for run in portal.sent_to(BATCH)[0]["runs"])


def test_each_run_has_its_own_result(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill("a", "b", "c", "d", "e")
    results = [
        {"run_id": "a", "status": "recorded"},
        {"run_id": "b", "status": "conflict", "code": "run_conflict"},
        {"run_id": "c", "status": "duplicate"},
        {"run_id": None, "status": "invalid", "code": "validation_failed"},
        {"run_id": "e", "status": "odd"},
    ]
    portal.answer_with(BATCH, answer(200, {"results": results}))
    assert flush_spool(spool, client) == 2
    assert ids_in(spool) == ["e"]
    assert ids_of_quarantined(spool) == ["b", "d"]


def ids_of_quarantined(spool: Path) -> list[str]:
    return [json.loads(line)["payload"]["run_id"] for line in Path(f"{spool}.quarantine").read_text().splitlines()]


@pytest.mark.parametrize(
    "body", [b"not json", {}, {"results": []}, {"results": [{"run_id": "a", "status": "recorded"}]}]
)
def test_run_without_a_result_waits(portal: Any, spool: Path, client: Any, fill: Any, answer: Any, body: Any) -> None:
    fill("a", "b", "c")
    portal.answer_with(BATCH, answer(200, body))
    delivered = flush_spool(spool, client)
    assert ids_in(spool) == ["a", "b", "c"][delivered:]


def refusing(answer: Any, poison: str, status: int, code: str) -> Any:
    """Return a portal that refuses calls with the run `poison` and accepts all others."""

    def respond(body: Any) -> Any:
        runs = body.get("runs", [body])
        return answer(status, {"code": code}) if poison in [run["run_id"] for run in runs] else None

    return respond


@pytest.mark.parametrize(("status", "code"), [(400, "malformed_json"), (413, "body_too_large"), (400, "body_too_deep")])
@pytest.mark.parametrize("poison", ["000", "037", "099"])
def test_refused_batch_is_halved_down_to_the_invalid_run(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int, code: str, poison: str
) -> None:
    fill(*numbered(100))
    for path in (REPORT, BATCH):
        portal.answer_with(path, refusing(answer, poison, status, code))
    assert flush_spool(spool, client, timeout=PATIENCE) == 99
    assert ids_of_quarantined(spool) == [poison]
    assert not spool.exists()
    assert len(portal.requests) < 30


@pytest.mark.parametrize(("status", "code"), [(413, "x"), (500, "internal_error")])
def test_run_that_breaks_the_portal_is_moved_behind_the_others(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int, code: str
) -> None:
    fill(*numbered(10))
    for path in (REPORT, BATCH):
        portal.answer_with(path, refusing(answer, "000", status, code))
    assert [flush_spool(spool, client, force=True) for _ in range(2)] == [0, 9]
    assert ids_in(spool) == ["000"]
    assert spool_stats(spool).quarantined == 0


def test_narrowing_down_goes_on_in_the_next_flush(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call takes more than half the time of a flush."""
    hours = iter(range(100))
    monkeypatch.setattr("vigie_client.spool.flush.monotonic", lambda: next(hours) * 3600.0)
    fill(*numbered(4))
    for path in (REPORT, BATCH):
        portal.answer_with(path, refusing(answer, "000", 400, "malformed_json"))
    delivered = [flush_spool(spool, client, force=True, timeout=7200) for _ in range(12)]
    assert sum(delivered) == 3
    assert ids_of_quarantined(spool) == ["000"]


@pytest.mark.parametrize("status", [401, 429, 503])
def test_flush_stops_if_the_portal_is_unavailable(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int
) -> None:
    fill(*numbered(150))
    portal.answer_with(BATCH, answer(status, {}))
    assert flush_spool(spool, client) == 0
    assert len(portal.requests) == 1
    assert sorted(ids_in(spool)) == numbered(150)


def test_batch_size_halves_after_each_failure(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill(*numbered(100))
    portal.answer_with(BATCH, answer(503, {}))
    for _ in range(4):
        flush_spool(spool, client, force=True)
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 50, 25, 12]


def test_batch_size_doubles_after_each_success(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill(*numbered(100))
    portal.answer_with(BATCH, answer(503, {}), answer(503, {}), None)
    for _ in range(3):
        flush_spool(spool, client, force=True)
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 50, 25, 50, 25]
    assert spool_stats(spool).pending == 0


class Foreign:
    """A foreign client whose `report_batch` returns or raises `answer`."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.single: list[str] = []

    def report(self, payload: Any) -> bool:
        self.single.append(payload["run_id"])
        return True

    def report_batch(self, runs: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_foreign_client_may_return_the_decoded_answer(spool: Path, fill: Any) -> None:
    fill("a", "b")
    client = Foreign({"results": [{"run_id": "a", "status": "recorded"}, {"run_id": "b", "status": "duplicate"}]})
    assert flush_spool(spool, client) == 2
    assert client.single == []


@pytest.mark.parametrize("answer", [None, False, 3, "yes", object(), OSError(), [True]])
def test_unclear_result_of_a_foreign_client_sends_runs_one_by_one(spool: Path, fill: Any, answer: Any) -> None:
    fill("a", "b")
    client = Foreign(answer)
    assert flush_spool(spool, client) == 2
    assert client.single == ["a", "b"]
