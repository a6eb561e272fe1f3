"""A run is claimed by one living flusher, and free at once if that flusher dies."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from client.tests.helpers.processes import PATIENCE, start_program

from vigie_client import SpoolLimits, flush_spool, spool_stats

HOLDER = """
import sys
from vigie_client import flush_spool

class Holding:
    def report(self, payload):
        print("holding", payload["run_id"], flush=True)
        return sys.stdin.readline() == "go\\n"

for path in sys.stdin:
    print("delivered", flush_spool(path.strip(), Holding()), flush=True)
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


class Holder:
    """A program that flushes a spool and holds each run until it is told its outcome."""

    def __init__(self, folder: Path) -> None:
        self.program = start_program(HOLDER, folder=folder)
        self.line = "delivered"

    def tell(self, text: object) -> str:
        """Send a line, and return the program's next one."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{text}\n")
        self.program.stdin.flush()
        self.line = self.program.stdout.readline().strip()
        return self.line

    def kill(self) -> None:
        self.program.kill()
        self.program.communicate()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holder]:
    """A holder for the tests that leave it alive."""
    holder = Holder(tmp_path_factory.mktemp("holder"))
    yield holder
    holder.kill()


@pytest.fixture
def holder(living: Holder) -> Iterator[Holder]:
    yield living
    while not living.line.startswith("delivered"):
        living.tell("no")


def claims(spool: Path) -> list[Path]:
    return list(spool.parent.glob(spool.name + ".flight-*"))


def test_runs_claimed_by_a_living_flusher_are_left_alone(spool: Path, fill: Any, holder: Holder) -> None:
    fill("a", "b")
    assert holder.tell(spool) == "holding a"
    client = Recording()
    assert (flush_spool(spool, client), client.seen) == (1, ["b"])
    assert holder.tell("go") == "delivered 1"
    assert spool_stats(spool).pending == 0


def test_claim_of_a_living_flusher_never_expires(spool: Path, fill: Any, holder: Holder) -> None:
    fill("a")
    assert holder.tell(spool) == "holding a"
    for file in spool.parent.iterdir():
        os.utime(file, (0, 0))
    client = Recording()
    assert (flush_spool(spool, client, now=lambda: 9e9), client.seen) == (0, [])


def test_claim_of_a_killed_flusher_expires_at_once(spool: Path, fill: Any, tmp_path: Path) -> None:
    fill("a", "b")
    holder = Holder(tmp_path)
    assert holder.tell(spool) == "holding a"
    assert holder.tell("go") == "holding b"
    holder.kill()
    client = Recording()
    assert (flush_spool(spool, client), client.seen) == (1, ["b"])
    assert claims(spool) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_claim_of_a_killed_flusher_expires_although_its_child_lives(spool: Path, fill: Any, start: Any) -> None:
    fill("a")
    forker = start(FORKER, spool)
    assert forker.stdout.readline() == "holding a\n"
    os.kill(forker.pid, signal.SIGKILL)
    forker.wait()
    assert flush_spool(spool, Recording()) == 1


def test_undelivered_runs_are_released(spool: Path, fill: Any, holder: Holder) -> None:
    fill("a")
    assert holder.tell(spool) == "holding a"
    assert holder.tell("no") == "delivered 0"
    assert flush_spool(spool, Recording()) == 1


def test_lines_do_not_move_while_another_flusher_has_a_claim(spool: Path, fill: Any, holder: Holder) -> None:
    fill("a", "b", "c")
    assert holder.tell(spool) == "holding a"
    fill("d")
    assert flush_spool(spool, Recording()) == 3
    fill("e")
    assert holder.tell("go") == "delivered 1"
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


def test_no_flush_starts_in_a_crowded_file_before_others_finish(spool: Path, fill: Any, holder: Holder) -> None:
    fill("a", "b")
    assert holder.tell(spool) == "holding a"
    assert flush_spool(spool, Recording(), limits=SpoolLimits(max_bytes=10)) == 0
    assert holder.tell("go") == "holding b"
