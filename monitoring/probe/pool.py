"""Run many probes at a time, each at its planned moment."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from monitoring.probe import http
from monitoring.probe.http import ProbeOutcome
from monitoring.probe.kinds import ErrorKind
from monitoring.probe.spec import Spec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedProbe:
    """A finished probe. `due`, `started` and `ended` are seconds of the monotonic clock."""

    key: Any
    outcome: ProbeOutcome
    due: float
    started: float
    ended: float


class PlannedProbe(NamedTuple):
    due: float
    number: int  # breaks ties, so that keys and specs are never compared
    key: Any
    spec: Spec
    is_suspect: bool


class Prober:
    """A scheduler thread, and two pools of threads that are started as needed.

    Suspects have a pool of their own, so that a thousand targets that time out delay no healthy one.
    """

    def __init__(
        self, *, threads: int = 512, allow_private: bool = True, probe: Callable[..., ProbeOutcome] = http.probe_http
    ) -> None:
        self.allow_private = allow_private
        self.probe = probe
        self.numbers = itertools.count()
        self.plan: list[PlannedProbe] = []
        self.keys: set[Any] = set()
        self.changed = threading.Condition()
        self.is_closed = False
        self.done: SimpleQueue[FinishedProbe] = SimpleQueue()
        self.healthy = ThreadPoolExecutor(threads, "probe")
        self.suspects = ThreadPoolExecutor(threads, "probe-suspect")
        self.scheduler = threading.Thread(target=self.run_scheduler, name="probe-scheduler", daemon=True)
        self.scheduler.start()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        """Return the number of probes submitted and not yet returned by `finished`."""
        with self.changed:
            return len(self.keys)

    def submit(self, key: Any, spec: Spec, due: float, *, is_suspect: bool = False) -> None:
        """Plan a probe at `due` of the monotonic clock. Raises ValueError if the key is in flight."""
        with self.changed:
            if self.is_closed:
                raise RuntimeError("The prober is closed.")
            if key in self.keys:
                raise ValueError(f"{key!r} is in flight")
            self.keys.add(key)
            planned = PlannedProbe(due, next(self.numbers), key, spec, is_suspect)
            heapq.heappush(self.plan, planned)
            if self.plan[0] is planned:
                self.changed.notify()

    def finished(self, timeout: float) -> list[FinishedProbe]:
        """Wait at most `timeout` seconds for a finished probe, and return all that are there."""
        found: list[FinishedProbe] = []
        try:
            found.append(self.done.get(timeout=max(timeout, 0)))
            while True:
                found.append(self.done.get_nowait())
        except Empty:
            pass  # the queue is empty
        with self.changed:
            self.keys.difference_update(each.key for each in found)
        return found

    def close(self) -> None:
        """Drop planned probes and wait for those under way, which end by their own deadlines."""
        with self.changed:
            self.is_closed = True
            self.changed.notify()
        self.scheduler.join()
        self.healthy.shutdown(wait=False, cancel_futures=True)
        self.suspects.shutdown(cancel_futures=True)
        self.healthy.shutdown()

    def run_scheduler(self) -> None:
        while (planned := self.next_due()) is not None:
            pool = self.suspects if planned.is_suspect else self.healthy
            try:
                pool.submit(self.run_probe, planned)
            except RuntimeError:  # no thread could be started: existing ones take it from the queue
                log.exception("a thread for probes could not be started")

    def next_due(self) -> PlannedProbe | None:
        """Wait for the next due probe. Return None once closed."""
        with self.changed:
            while not self.is_closed:
                wait = self.plan[0].due - time.monotonic() if self.plan else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self.plan)
                self.changed.wait(wait)
        return None

    def run_probe(self, planned: PlannedProbe) -> None:
        started = time.monotonic()
        try:
            outcome = self.probe(planned.spec, allow_private=self.allow_private)
        except Exception as error:
            log.exception("a probe raised an unexpected error")
            outcome = ProbeOutcome(ErrorKind.PROTOCOL.value, type(error).__name__)
        self.done.put(FinishedProbe(planned.key, outcome, planned.due, started, time.monotonic()))
