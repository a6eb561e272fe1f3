"""Pauses after failures, which are on disk and hold for other programs too."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from typing import Any, Callable

import pytest

from vigie_client import flush_spool, spool_stats

REPORT = "/api/v1/usage/report"
NOW = 1_770_000_000.0
Flush = Callable[..., int]


@pytest.fixture
def flush(spool: Path, client: Any) -> Flush:
    """Return a function that flushes at a number of seconds after NOW, with the longest jitter."""

    def at(seconds: float, **more: Any) -> int:
        return flush_spool(spool, client, now=lambda: NOW + seconds, rng=lambda: 0.0, **more)

    return at


def pause_of(spool: Path) -> float:
    retry_at = spool_stats(spool).retry_at
    return 0.0 if retry_at is None else retry_at - NOW


def test_first_failure_pauses_for_a_second(portal: Any, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(503, {}), None)
    assert [flush(0), flush(0.5), flush(0.99)] == [0, 0, 0]
    assert len(portal.requests) == 1
    assert flush(1.0) == 1


def test_pause_doubles_with_each_failure(portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(503, {}))
    pauses = []
    for _ in range(11):
        flush(0, force=True)
        pauses.append(pause_of(spool))
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_success_resets_the_pause(portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(503, {}), answer(503, {}), None, answer(503, {}))
    for _ in range(3):
        flush(0, force=True)
    assert (pause_of(spool), spool_stats(spool).failures) == (0, 0)
    fill("b")
    flush(0)
    assert pause_of(spool) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["40", formatdate(NOW + 40, usegmt=True)])
def test_retry_after_sets_the_pause(
    portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any, status: int, header: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("vigie_client.report.senders.time.time", lambda: NOW)
    fill("a")
    portal.answer_with(REPORT, answer(status, {}, {"Retry-After": header}), None)
    assert [flush(0), pause_of(spool), flush(39), flush(40)] == [0, 40, 0, 1]


def test_retry_after_of_0_still_pauses(portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(429, {}, {"Retry-After": "0"}))
    flush(0)
    assert pause_of(spool) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_pauses_for_long(
    portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any, status: int
) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(status, {}))
    flush(0)
    assert pause_of(spool) == 900


def test_force_flushes_during_a_pause(portal: Any, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(503, {}), None)
    assert [flush(0), flush(0, force=True)] == [0, 1]


def test_partly_answered_batch_pauses(portal: Any, spool: Path, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a", "b")
    portal.answer_with(REPORT + "/batch", answer(200, {"results": [{"run_id": "a", "status": "recorded"}]}))
    assert flush(0) == 1
    assert (pause_of(spool), spool_stats(spool).failures) == (1, 1)


def test_clock_set_back_does_not_prolong_the_pause(portal: Any, fill: Any, flush: Flush, answer: Any) -> None:
    fill("a")
    portal.answer_with(REPORT, answer(503, {}), None)
    flush(0)
    assert flush(-365 * 86_400) == 1


@pytest.mark.parametrize(
    "state", ["", "garbage", "[]", '{"retry_at": "x", "dropped": 3}', "[" * 3000, '{"retry_at": NaN}']
)
def test_damaged_state_does_not_pause(spool: Path, fill: Any, flush: Flush, state: str) -> None:
    fill("a")
    Path(f"{spool}.state").write_text(state)
    assert flush(0) == 1


class Foreign:
    def report(self, _: Any) -> bool:
        return False


def test_first_bare_false_does_not_pause(spool: Path, fill: Any) -> None:
    fill(*"abcde")
    pauses = []
    for _ in range(4):
        flush_spool(spool, Foreign(), force=True, now=lambda: NOW, rng=lambda: 0.0)
        pauses.append(pause_of(spool))
    assert pauses == [0, 1, 2, 4]
