"""A spool stays within its limits and counts what it drops."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vigie_client import SpoolLimits, flush_spool, spool_payload, spool_stats

NOW = 1_773_133_200.0  # 2026-03-10T09:00:00Z


class Down:
    def report(self, _: Any) -> bool:
        return False


class Up:
    def __init__(self) -> None:
        self.payloads: list[Any] = []

    def report(self, payload: Any) -> bool:
        self.payloads.append(payload)
        return True


def put(spool: Path, run: Any, names: str, limits: SpoolLimits, **more: Any) -> list[bool]:
    return [spool_payload(spool, run(name, **more), limits=limits) for name in names]


def waiting(spool: Path) -> list[str]:
    lines = [line for line in spool.read_text().splitlines() if not line.startswith("#")]
    return [json.loads(line)["run_id"] for line in lines]


def test_oldest_runs_are_dropped_beyond_max_runs(spool: Path, run: Any) -> None:
    assert all(put(spool, run, "abcdefg", SpoolLimits(max_runs=3)))
    assert waiting(spool) == ["e", "f", "g"]
    assert spool_stats(spool).dropped == {"age": 0, "count": 4, "bytes": 0, "quarantine": 0}


def test_oldest_runs_are_dropped_beyond_max_bytes(spool: Path, run: Any) -> None:
    line = len(json.dumps(run("a"))) + 1
    assert all(put(spool, run, "abcdef", SpoolLimits(max_bytes=3 * line)))
    assert waiting(spool) == ["d", "e", "f"]
    assert spool_stats(spool).dropped == {"age": 0, "count": 0, "bytes": 3, "quarantine": 0}


def test_file_never_exceeds_twice_its_limit(spool: Path, run: Any) -> None:
    line = len(json.dumps(run("a"))) + 1
    for _ in range(10):
        put(spool, run, "abcdefg", SpoolLimits(max_bytes=3 * line))
    assert spool.stat().st_size <= 6 * line


def test_run_larger_than_the_spool_is_refused(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits(max_bytes=1000))
    assert put(spool, run, "b", SpoolLimits(max_bytes=1000), filler="x" * 2000) == [False]
    assert waiting(spool) == ["a"]
    assert spool_stats(spool).dropped["bytes"] == 1


def test_dropped_runs_are_logged(spool: Path, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    put(spool, run, "abc", SpoolLimits(max_runs=2))
    assert caplog.messages == ["the spool is full: dropped {'count': 1}"]


YEAR_2009 = 1_230_000_000.0
DAY = 86_400.0


def flush_in_vain(spool: Path, *times: float) -> None:
    limits = SpoolLimits(max_age_seconds=3 * DAY)
    for moment in times:
        flush_spool(spool, Down(), force=True, limits=limits, now=partial(float, moment))


@pytest.mark.parametrize(
    ("times", "dropped"),
    [
        ([NOW], 0),
        ([NOW, NOW + 2 * DAY, NOW + 4 * DAY, NOW + 6 * DAY], 0),
        ([NOW + day * DAY for day in range(5)], 0),
        ([NOW + day * DAY for day in range(6)], 1),
        ([YEAR_2009, NOW], 0),
        ([YEAR_2009, NOW, YEAR_2009, NOW], 0),
        ([NOW, YEAR_2009], 0),
    ],
)
def test_age_counts_time_between_failed_flushes_despite_clock_changes(
    spool: Path, run: Any, times: list[float], dropped: int
) -> None:
    put(spool, run, "a", SpoolLimits(), started_at="2009-01-01T00:00:00Z")
    flush_in_vain(spool, *times)
    assert spool_stats(spool).dropped["age"] == dropped
    assert spool_stats(spool).pending == 1 - dropped


def test_age_starts_when_a_run_is_spooled(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits())
    flush_in_vain(spool, *(NOW + day * DAY for day in range(5)))
    put(spool, run, "b", SpoolLimits())
    flush_in_vain(spool, NOW + 5 * DAY)
    assert waiting(spool) == ["b"]
    client = Up()
    flush_spool(spool, client, force=True)
    assert client.payloads == [run("b")]


def test_age_is_reset_once_the_spool_is_empty(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits())
    flush_in_vain(spool, *(NOW + day * DAY for day in range(5)))
    assert flush_spool(spool, Up(), force=True) == 1
    put(spool, run, "b", SpoolLimits())
    assert waiting(spool) == ["b"]
    assert spool.read_text() == json.dumps(run("b")) + "\n"


def test_expired_run_is_delivered_if_possible(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits(), started_at="2020-01-01T00:00:00Z")
    assert flush_spool(spool, Up(), limits=SpoolLimits(max_age_seconds=1), now=lambda: NOW) == 1


def test_claimed_runs_are_never_dropped(spool: Path, run: Any) -> None:
    limits = SpoolLimits(max_runs=2)
    payloads: list[str] = []

    class Filling:
        def report(self, payload: Any) -> bool:
            if not payloads:
                put(spool, run, "cdef", limits)
            payloads.append(payload["run_id"])
            return True

    put(spool, run, "ab", limits)
    flush_spool(spool, Filling(), limits=limits)
    assert payloads == ["a"]
    assert waiting(spool) == ["f"]
    assert spool_stats(spool).dropped["count"] == 4


def test_full_spool_makes_room_for_several_runs(spool: Path, run: Any) -> None:
    """A twentieth is dropped at once and swept: later appends cost as little as the first ones."""
    limits = SpoolLimits(max_runs=100)
    for number in range(101):
        spool_payload(spool, run(str(number)), limits=limits)
    assert (waiting(spool)[0], len(waiting(spool))) == ("6", 95)
    assert spool_stats(spool).dropped == {"age": 0, "count": 6, "bytes": 0, "quarantine": 0}
    assert len(spool.read_text().splitlines()) == 95
    put(spool, run, "abcde", limits)
    assert spool_stats(spool).dropped["count"] == 6
    assert len(waiting(spool)) == 100


def test_finished_lines_are_swept_before_waiting_ones_are_dropped(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits())
    spool.write_bytes(b"#done\n" * 10 + spool.read_bytes())
    put(spool, run, "b", SpoolLimits(max_runs=10))
    assert waiting(spool) == ["a", "b"]
    assert b"#" not in spool.read_bytes()
    assert spool_stats(spool).dropped["count"] == 0
