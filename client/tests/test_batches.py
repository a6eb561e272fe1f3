"""Flushing with a client that sends many runs in one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vigie_client import flush_spool, spool_payload, spool_stats

REPORT = "/api/v1/usage/report"
BATCH = "/api/v1/usage/report/batch"


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["run_id"] for line in path.read_text().splitlines()]


def numbered(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def test_it_sends_at_most_100_runs_at_once(portal: Any, spool: Path, client: Any, fill: Any) -> None:
    fill(*numbered(230))
    assert flush_spool(spool, client) == 230
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 100, 30]
    assert sorted(portal.runs) == numbered(230)


def test_it_sends_at_most_900_kib_at_once(portal: Any, spool: Path, client: Any, run: Any) -> None:
    for name in numbered(10):
        spool_payload(spool, run(name, filler="x" * 200_000))
    assert flush_spool(spool, client) == 10
    sizes = [int(headers["Content-Length"]) for path, headers, _ in portal.requests if path == BATCH]
    assert sizes
    assert max(sizes) <= 900 * 1024


def test_it_sends_a_run_alone_that_is_larger_than_a_batch(portal: Any, spool: Path, client: Any, run: Any) -> None:
    for name in "abc":
        spool_payload(spool, run(name, filler="x" * (950_000 if name == "b" else 1)))
    assert flush_spool(spool, client) == 3
    assert [body["run_id"] for body in portal.sent_to(REPORT)] == ["a", "b", "c"]


def test_it_stamps_each_run_with_the_time_of_sending(portal: Any, spool: Path, client: Any, fill: Any) -> None:
    fill("a", "b")
    flush_spool(spool, client)
    assert all(run["sent_at"].endswith("Z") for run in portal.sent_to(BATCH)[0]["runs"])


def test_it_treats_each_run_by_its_own_result(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill("a", "b", "c", "d", "e")
    statuses = ["recorded", "conflict", "duplicate", "invalid", "odd"]
    portal.answer_with(BATCH, answer(200, {"results": [{"status": status} for status in statuses]}))
    assert flush_spool(spool, client) == 2
    assert ids_in(spool) == ["e"]
    assert ids_of_quarantined(spool) == ["b", "d"]


def ids_of_quarantined(spool: Path) -> list[str]:
    return [json.loads(line)["payload"]["run_id"] for line in Path(f"{spool}.quarantine").read_text().splitlines()]


@pytest.mark.parametrize("body", [b"not json", {}, {"results": []}, {"results": [{"status": "recorded"}]}])
def test_it_loses_nothing_to_an_answer_that_is_too_short(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, body: Any
) -> None:
    fill("a", "b", "c")
    portal.answer_with(BATCH, answer(200, body))
    delivered = flush_spool(spool, client)
    assert ids_in(spool) == ["a", "b", "c"][delivered:]


@pytest.mark.parametrize("status", [400, 404, 413, 500])
def test_it_sends_the_runs_of_a_refused_batch_one_by_one(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int
) -> None:
    fill("a", "poison", "c")
    portal.answer_with(BATCH, answer(status, {}))
    portal.answer_with(REPORT, lambda run: answer(400 if run["run_id"] == "poison" else 201, {}))
    assert flush_spool(spool, client) == 2
    assert ids_of_quarantined(spool) == ["poison"]
    assert not spool.exists()


def test_it_goes_back_to_batches_after_a_refused_one(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any
) -> None:
    fill(*numbered(150))
    portal.answer_with(BATCH, answer(400, {}), lambda body: answer(200, {"results": [{"status": "recorded"}] * 50}))
    assert flush_spool(spool, client) == 150
    assert (len(portal.sent_to(REPORT)), len(portal.sent_to(BATCH))) == (100, 2)


@pytest.mark.parametrize("status", [401, 429, 503])
def test_it_asks_no_more_once_the_portal_is_away(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any, status: int
) -> None:
    fill(*numbered(150))
    portal.answer_with(BATCH, answer(status, {}))
    assert flush_spool(spool, client) == 0
    assert len(portal.requests) == 1
    assert sorted(ids_in(spool)) == numbered(150)


def test_it_gets_past_a_run_that_breaks_the_portal(
    portal: Any, spool: Path, client: Any, fill: Any, answer: Any
) -> None:
    fill("poison", "b", "c")
    portal.answer_with(BATCH, lambda body: answer(500, {}))
    portal.answer_with(REPORT, lambda run: answer(500 if run["run_id"] == "poison" else 201, {}))
    assert [flush_spool(spool, client, force=True) for _ in range(2)] == [0, 2]
    assert ids_in(spool) == ["poison"]


def test_it_halves_its_batches_while_they_fail(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill(*numbered(100))
    portal.answer_with(BATCH, answer(503, {}))
    for _ in range(4):
        flush_spool(spool, client, force=True)
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 50, 25, 12]


def test_it_doubles_them_again_as_they_pass(portal: Any, spool: Path, client: Any, fill: Any, answer: Any) -> None:
    fill(*numbered(100))
    recorded = [{"status": "recorded"}] * 100
    portal.answer_with(BATCH, answer(503, {}), answer(503, {}), answer(200, {"results": recorded}))
    for _ in range(3):
        flush_spool(spool, client, force=True)
    assert [len(body["runs"]) for body in portal.sent_to(BATCH)] == [100, 50, 25, 50, 25]
    assert spool_stats(spool).pending == 0


class Foreign:
    """A client whose `report_batch` answers what it is told to."""

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


def test_it_takes_the_decoded_answer_of_another_client(spool: Path, fill: Any) -> None:
    fill("a", "b")
    client = Foreign({"results": [{"run_id": "a", "status": "recorded"}, {"run_id": "b", "status": "duplicate"}]})
    assert flush_spool(spool, client) == 2
    assert client.single == []


@pytest.mark.parametrize("answer", [None, False, 3, "yes", object(), OSError(), [True]])
def test_it_sends_one_by_one_where_another_client_is_unclear(spool: Path, fill: Any, answer: Any) -> None:
    fill("a", "b")
    client = Foreign(answer)
    assert flush_spool(spool, client) == 2
    assert client.single == ["a", "b"]
