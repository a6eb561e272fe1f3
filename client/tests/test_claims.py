"""A run is claimed by one living flusher, and free at once if that flusher dies."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import flush_spool, spool_stats

HOLDER = """
import sys
from vigie_client import flush_spool

class Holding:
    def report(self, payload):
        print("holding", payload["run_id"], flush=True)
        return sys.stdin.readline() == "go\\n"

print("delivered", flush_spool(sys.argv[1], Holding()), flush=True)
"""

# Its report forks a child that outlives it, with a copy of every descriptor that was open.
FORKER = """
import os, sys
from vigie_client import flush_spool

class Forking:
    def report(self, payload):
        if os.fork() == 0:
            print("holding", payload["run_id"], flush=True)
            os.read(0, 1)
            os._exit(0)
        os.read(0, 1)

flush_spool(sys.argv[1], Forking())
"""


class Recording:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def report(self, payload: Any) -> bool:
        self.seen.append(payload["run_id"])
        return True


def tell(program: Any, text: str) -> None:
    program.stdin.write(text)
    program.stdin.flush()


def flights(spool: Path) -> list[Path]:
    return list(spool.parent.glob(spool.name + ".flight-*"))


def test_runs_claimed_by_a_living_flusher_are_left_alone(spool: Path, fill: Any, start: Any) -> None:
    fill("a", "b")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    client = Recording()
    assert (flush_spool(spool, client), client.seen) == (1, ["b"])
    tell(holder, "go\n")
    assert holder.stdout.readline() == "delivered 1\n"
    assert spool_stats(spool).pending == 0


def test_claim_of_a_living_flusher_never_expires(spool: Path, fill: Any, start: Any) -> None:
    fill("a")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    for file in spool.parent.iterdir():
        os.utime(file, (0, 0))
    client = Recording()
    assert (flush_spool(spool, client, now=lambda: 9e9), client.seen) == (0, [])


def test_claim_of_a_killed_flusher_expires_at_once(spool: Path, fill: Any, start: Any) -> None:
    fill("a", "b")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    tell(holder, "go\n")
    assert holder.stdout.readline() == "holding b\n"
    holder.kill()
    holder.wait()
    client = Recording()
    assert (flush_spool(spool, client), client.seen) == (1, ["b"])
    assert flights(spool) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_claim_of_a_killed_flusher_expires_although_its_child_lives(spool: Path, fill: Any, start: Any) -> None:
    fill("a")
    holder = start(FORKER, spool)
    assert holder.stdout.readline() == "holding a\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert flush_spool(spool, Recording()) == 1


def test_undelivered_runs_are_released(spool: Path, fill: Any, start: Any) -> None:
    fill("a")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    tell(holder, "no\n")
    assert holder.stdout.readline() == "delivered 0\n"
    assert flush_spool(spool, Recording()) == 1


def test_lines_do_not_move_while_another_flusher_is_in_flight(spool: Path, fill: Any, start: Any) -> None:
    fill("a", "b", "c")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    fill("d")
    assert flush_spool(spool, Recording()) == 3
    fill("e")
    tell(holder, "go\n")
    assert holder.stdout.readline() == "delivered 1\n"
    client = Recording()
    assert (flush_spool(spool, client), client.seen) == (1, ["e"])


def test_run_spooled_during_a_flush_is_delivered_by_the_next(spool: Path, fill: Any) -> None:
    fill("a")

    class Spooling(Recording):
        def report(self, payload: Any) -> bool:
            fill("b" + payload["run_id"])
            return super().report(payload)

    client = Spooling()
    assert (flush_spool(spool, client), client.seen) == (1, ["a"])
    assert spool_stats(spool).pending == 1


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_threads_deliver_each_run_once(spool: Path, fill: Any, gate: threading.Event) -> None:
    """All eight threads claim a run before the first one is released."""
    fill(*"abcdefgh")
    together = threading.Barrier(8)

    class Meeting(Recording):
        def report(self, payload: Any) -> bool:
            if not gate.is_set():
                together.wait(timeout=PATIENCE)
                gate.set()
            return super().report(payload)

    client = Meeting()
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(flush_spool(spool, client))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(client.seen) == list("abcdefgh")
    assert counts == [1] * 8
    assert not spool.exists()


def test_no_flight_starts_in_a_crowded_file_before_others_land(spool: Path, fill: Any, start: Any) -> None:
    from vigie_client import SpoolLimits  # noqa: PLC0415

    fill("a", "b")
    holder = start(HOLDER, spool)
    assert holder.stdout.readline() == "holding a\n"
    assert flush_spool(spool, Recording(), limits=SpoolLimits(max_bytes=10)) == 0
    tell(holder, "go\n")
    assert holder.stdout.readline() == "holding b\n"
