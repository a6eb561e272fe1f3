"""Kill appenders and flushers at every instant, and many of both at random."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from client.tests.helpers.processes import every_instant, fork, was_killed

from vigie_client import flush_spool, spool_payload, spool_stats
from vigie_client.spool.spooling import open_store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and SIGKILL")


class Logging:
    """Delivers to a log on disk, one line per call, which a kill cannot tear, or returns False."""

    real_write = staticmethod(os.write)

    def __init__(self, log: Path, answer: bool = True) -> None:
        self.log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.path = log
        self.answer = answer

    def report(self, payload: Any) -> bool:
        self.real_write(self.log, json.dumps([payload["run_id"]]).encode() + b"\n")
        return self.answer

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def sent(self) -> list[str]:
        return list(chain.from_iterable(self.calls()))

    def delivered(self) -> list[str]:
        return self.sent() if self.answer else []


class LoggingBatches(Logging):
    def report_batch(self, runs: Any) -> bool:
        if not self.answer:
            return False
        self.real_write(self.log, json.dumps([run["run_id"] for run in runs]).encode() + b"\n")
        return True


def fill(spool: Path, *names: str) -> None:
    assert all(spool_payload(spool, {"run_id": name}) for name in names)


def test_killed_appender_loses_no_run(tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        fill(spool, "a", "b")
        killed = was_killed(fork(lambda: spool_payload(spool, {"run_id": "c"}), instant))
        fill(spool, "d")
        client = Logging(spool.with_suffix(".log"))
        flush_spool(spool, client)
        assert [name for name in client.delivered() if name != "c"] == ["a", "b", "d"]
        assert killed or "c" in client.delivered()
        return killed

    assert every_instant(tmp_path, scene) > 3


@pytest.mark.parametrize("kind", [Logging, LoggingBatches])
def test_only_claimed_runs_are_sent_again_after_a_kill(tmp_path: Path, kind: type[Logging]) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        fill(spool, *"abcde")
        client = kind(spool.with_suffix(".log"))
        killed = was_killed(fork(lambda: flush_spool(spool, client), instant))
        in_flight = client.calls()[-1:] if killed else []
        flush_spool(spool, client)
        again = Counter(client.delivered()) - Counter("abcde")
        assert set(client.delivered()) == set("abcde")
        assert not again - Counter(chain.from_iterable(in_flight))
        assert [spool_stats(spool).pending, spool_stats(spool).quarantined] == [0, 0]
        return killed

    assert every_instant(tmp_path, scene) > 8


def test_killed_flusher_keeps_every_run_without_a_portal(tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        fill(spool, *"abcde")
        absent = Logging(spool.with_suffix(".absent"), answer=False)
        killed = was_killed(fork(lambda: flush_spool(spool, absent), instant))
        client = Logging(spool.with_suffix(".log"))
        flush_spool(spool, client, force=True)
        assert sorted(client.delivered()) == list("abcde")
        return killed

    assert every_instant(tmp_path, scene) > 8


def test_refused_run_is_kept_after_a_kill(tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        fill(spool, "a")
        with spool.open("a") as file:
            file.write("damaged\n")
        client = Logging(spool.with_suffix(".log"))
        killed = was_killed(fork(lambda: flush_spool(spool, client), instant))
        flush_spool(spool, client)
        assert "damaged" in Path(f"{spool}.quarantine").read_text()
        assert set(client.delivered()) == {"a"}
        return killed

    assert every_instant(tmp_path, scene) > 8


def test_run_is_in_spool_or_quarantine_after_a_killed_retry(tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        records = [{"code": "run_conflict", "status": 409, "at": 1.0, "payload": {"run_id": name}} for name in "ab"]
        Path(f"{spool}.quarantine").write_text("".join(json.dumps(record) + "\n" for record in records))
        killed = was_killed(fork(lambda: open_store(spool).retry_quarantined(), instant))
        client = Logging(spool.with_suffix(".log"))
        open_store(spool).retry_quarantined()
        flush_spool(spool, client)
        assert set(client.delivered()) == set("ab")
        assert spool_stats(spool).quarantined == 0
        return killed

    assert every_instant(tmp_path, scene) > 4


def test_concurrent_processes_killed_at_random_lose_no_run(tmp_path: Path) -> None:
    """Most appenders and flushers are killed. Each run that was reported as safe must arrive."""
    dice = random.Random(20260310)
    spool = tmp_path / "spool"
    safe = Logging(tmp_path / "safe")
    clients = [(Logging, LoggingBatches)[turn % 2](tmp_path / f"log-{turn}", turn % 8 != 7) for turn in range(16)]

    def append(turn: int) -> None:
        for number in range(12):
            run = {"run_id": f"{turn}-{number}"}
            if spool_payload(spool, run):
                safe.report(run)

    def flush(client: Logging) -> None:
        for _ in range(4):
            flush_spool(spool, client, force=True)

    appenders, flushers = [], []
    for turn, client in enumerate(clients):
        appenders.append(fork(partial(append, turn), dice.randrange(3, 30)))
        flushers.append(fork(partial(flush, client), dice.randrange(3, 60)))
    assert sum(was_killed(child) for child in appenders) > 8
    killed = [client for child, client in zip(flushers, clients) if was_killed(child)]
    in_flight = Counter(chain.from_iterable(chain.from_iterable(client.calls()[-1:] for client in killed)))
    last = Logging(tmp_path / "last")
    flush_spool(spool, last, force=True)
    delivered = Counter(chain.from_iterable(client.delivered() for client in [*clients, last]))
    assert set(safe.sent()) <= set(delivered)
    assert not delivered - Counter(set(delivered)) - in_flight
    assert spool_stats(spool).pending == 0
