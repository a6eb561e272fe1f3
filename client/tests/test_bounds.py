"""A spool that nobody empties stays small, and says what it gave up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vigie_client import SpoolLimits, flush_spool, spool_payload, spool_stats

NOW = 1_773_133_200.0  # 2026-03-10T09:00:00Z


class Down:
    def report(self, _: Any) -> bool:
        return False


class Up:
    def report(self, _: Any) -> bool:
        return True


def put(spool: Path, run: Any, names: str, limits: SpoolLimits, **more: Any) -> list[bool]:
    return [spool_payload(spool, run(name, **more), limits=limits) for name in names]


def waiting(spool: Path) -> list[str]:
    lines = [line for line in spool.read_text().splitlines() if not line.startswith("#")]
    return [json.loads(line)["run_id"] for line in lines]


def test_it_drops_the_oldest_runs_above_its_count(spool: Path, run: Any) -> None:
    assert all(put(spool, run, "abcdefg", SpoolLimits(max_runs=3)))
    assert waiting(spool) == ["e", "f", "g"]
    assert spool_stats(spool).dropped == {"age": 0, "count": 4, "bytes": 0}


def test_it_drops_the_oldest_runs_above_its_size(spool: Path, run: Any) -> None:
    line = len(json.dumps(run("a"))) + 1
    assert all(put(spool, run, "abcdefg", SpoolLimits(max_bytes=3 * line)))
    assert waiting(spool) == ["e", "f", "g"]
    assert spool_stats(spool).dropped == {"age": 0, "count": 0, "bytes": 4}


def test_it_keeps_the_file_itself_within_twice_its_size(spool: Path, run: Any) -> None:
    line = len(json.dumps(run("a"))) + 1
    for _ in range(10):
        put(spool, run, "abcdefg", SpoolLimits(max_bytes=3 * line))
    assert spool.stat().st_size <= 6 * line


def test_it_refuses_a_run_larger_than_the_spool(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits(max_bytes=1000))
    assert put(spool, run, "b", SpoolLimits(max_bytes=1000), filler="x" * 2000) == [False]
    assert waiting(spool) == ["a"]
    assert spool_stats(spool).dropped["bytes"] == 1


def test_it_logs_what_it_drops(spool: Path, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    put(spool, run, "abc", SpoolLimits(max_runs=2))
    assert caplog.messages == ["usage spool is full: dropped {'count': 1}"]


@pytest.mark.parametrize(
    ("started_at", "dropped"),
    [("2026-03-09T08:59:00Z", 1), ("2026-03-09T09:01:00Z", 0), (None, 0), ("long ago", 0), (["2020"], 0)],
)
def test_it_drops_a_run_too_old_to_be_kept_once_more(spool: Path, run: Any, started_at: Any, dropped: int) -> None:
    put(spool, run, "a", SpoolLimits(), started_at=started_at)
    flush_spool(spool, Down(), limits=SpoolLimits(max_age_seconds=86_400), now=lambda: NOW)
    assert spool_stats(spool).dropped["age"] == dropped
    assert spool_stats(spool).pending == 1 - dropped


def test_it_delivers_an_old_run_while_it_can(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits(), started_at="2020-01-01T00:00:00Z")
    assert flush_spool(spool, Up(), limits=SpoolLimits(max_age_seconds=1), now=lambda: NOW) == 1


def test_it_never_drops_what_is_in_flight(spool: Path, run: Any) -> None:
    limits = SpoolLimits(max_runs=2)
    seen: list[str] = []

    class Filling:
        def report(self, payload: Any) -> bool:
            if not seen:
                put(spool, run, "cdef", limits)
            seen.append(payload["run_id"])
            return True

    put(spool, run, "ab", limits)
    flush_spool(spool, Filling(), limits=limits)
    assert seen == ["a"]
    assert waiting(spool) == ["f"]
    assert spool_stats(spool).dropped["count"] == 4


def test_a_full_spool_makes_room_for_a_while(spool: Path, run: Any) -> None:
    """One in twenty goes at once, and what is done with is swept: the next lines cost what the first ones did."""
    limits = SpoolLimits(max_runs=100)
    for number in range(101):
        spool_payload(spool, run(str(number)), limits=limits)
    assert (waiting(spool)[0], len(waiting(spool))) == ("6", 95)
    assert spool_stats(spool).dropped == {"age": 0, "count": 6, "bytes": 0}
    assert len(spool.read_text().splitlines()) == 95
    put(spool, run, "abcde", limits)
    assert spool_stats(spool).dropped["count"] == 6
    assert len(waiting(spool)) == 100


def test_it_sweeps_lines_done_with_and_drops_none_that_waits(spool: Path, run: Any) -> None:
    put(spool, run, "a", SpoolLimits())
    spool.write_bytes(b"#done\n" * 10 + spool.read_bytes())
    put(spool, run, "b", SpoolLimits(max_runs=10))
    assert waiting(spool) == ["a", "b"]
    assert b"#" not in spool.read_bytes()
    assert spool_stats(spool).dropped["count"] == 0
