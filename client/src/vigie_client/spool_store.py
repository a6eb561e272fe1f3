"""The files of a spool, and every change to them. Each public method is one section under the spool's lock."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Callable, NamedTuple, Optional

from .backoff import Rng
from .flights import Flight, living_flights
from .locks import FileLock
from .outcomes import Outcome, Result
from .payload import parse_time
from .quarantine import payload_of, quarantine
from .spool_lines import Line, append_line, mark_done, read_lines, rewrite, size_of
from .spool_state import SpoolState, after_outcomes, load_state, save_state

Clock = Callable[[], float]

DAMAGED = Outcome(Result.REFUSED, code="damaged_line")
BATCH_BYTES = 900 * 1024
_BATCH_FRAME = len('{"runs": []}')
_RUN_FRAME = len(', "sent_at": "2026-03-10T09:21:03.123456Z", ')


@dataclass(frozen=True)
class SpoolLimits:
    """How much a spool may hold before it drops runs, the oldest first.

    `count` runs and `bytes` bytes; `age_seconds` since a run's `started_at`, judged when an attempt to deliver it has
    failed, so that a run that can be delivered never is too old (one without `started_at` has no age).
    `quarantine_bytes` bounds the quarantine.
    """

    count: int = 10_000
    bytes: int = 16 * 2**20
    age_seconds: float = 90 * 86_400.0
    quarantine_bytes: int = 2**20


class SpoolStats(NamedTuple):
    """A spool at one moment: what waits, the pause (`retry_at` in Unix time), and what it ever gave up."""

    pending: int
    pending_bytes: int
    failures: int
    retry_at: Optional[float]
    quarantined: int
    dropped: dict[str, int]


class Waiting(NamedTuple):
    """A line in flight, and the payload in it."""

    line: Line
    payload: dict[str, Any]


class SpoolStore:
    """The spool at `path`, with `.lock`, `.state`, `.quarantine` and `.flight-*` beside it. Methods raise OSError."""

    def __init__(self, path: str, limits: SpoolLimits, clock: Clock) -> None:
        self.path = os.path.realpath(path)  # one spool has one lock, by whatever name it's called
        self._limits = limits
        self._clock = clock
        self._state_path = self.path + ".state"
        self._quarantine_path = self.path + ".quarantine"
        self._flight_prefix = self.path + ".flight-"
        os.makedirs(os.path.dirname(self.path), exist_ok=True)

    def append(self, body: bytes) -> dict[str, int]:
        """Add a line, and say what had to be dropped for it (by reason): the oldest, or itself if nothing else can."""
        with self._locked():
            dropped = self._make_room(len(body) + 1)
            fits = size_of(self.path) + len(body) < 2 * self._limits.bytes and len(body) < self._limits.bytes
            if fits:
                append_line(self.path, body)
            else:
                dropped["bytes"] = dropped.get("bytes", 0) + 1
                self._count_dropped({"bytes": 1})
            return dropped

    def pausing(self) -> bool:
        with self._locked():
            return load_state(self._state_path).pausing(self._clock())

    def begin_flight(self) -> Flight:
        with self._locked():
            return Flight(self._flight_prefix)

    def take(self, flight: Flight, *, start: int, most: int) -> list[Waiting]:
        """Put the next waiting runs from the offset `start` on, at most `most` and one batch's bytes, into `flight`."""
        with self._locked():
            taken = []
            for waiting in islice(self._batch(flight, start), most):
                taken.append(waiting)
            if taken:
                flight.hold(taken[0].line.start, taken[-1].line.end)
            return taken

    def settle(self, flight: Flight, taken: Sequence[Waiting], outcomes: Sequence[Outcome], rng: Rng) -> dict[str, int]:
        """Record what became of the runs in `flight`, and end their flight. Says what was too old to keep (by reason).

        What is done with is written down first where it goes, then taken out of the spool: a kill in between has it in
        both, and it is sent again.
        """
        with self._locked():
            now = self._clock()
            refused = [(each, outcome) for each, outcome in zip(taken, outcomes) if outcome.result is Result.REFUSED]
            kept = [each for each, outcome in zip(taken, outcomes) if outcome.result in (Result.RETRY, Result.AUTH)]
            too_old = [each for each in kept if self._too_old(each.payload, now)]
            for each, outcome in refused:
                self._quarantine(each.line, outcome)
            state = load_state(self._state_path)
            changed = after_outcomes(state, outcomes, now, rng).with_dropped("age", len(too_old))
            changed = replace(changed, quarantined=state.quarantined + len(refused))
            if changed != state:
                save_state(self._state_path, changed)
            still_waiting = {each.line.start for each in kept} - {each.line.start for each in too_old}
            mark_done(self.path, [each.line for each in taken if each.line.start not in still_waiting])
            flight.let_go()
            return {"age": len(too_old)} if too_old else {}

    def end_flight(self, flight: Flight, tried: set[int]) -> None:
        """Land: sweep the lines done with, and put those at the offsets `tried`, sent in vain, behind the others.

        The last flush to land sweeps; the offsets that another one holds must not move.
        """
        with self._locked():
            others = living_flights(self._flight_prefix, but=flight)
            flight.end()
            if others:
                return
            lines = list(read_lines(self.path))
            ordered = sorted(lines, key=lambda line: line.start in tried)
            if ordered != lines or sum(len(line.body) + 1 for line in lines) != size_of(self.path):
                rewrite(self.path, ordered)

    def stats(self) -> SpoolStats:
        with self._locked():
            sizes = [len(line.body) + 1 for line in read_lines(self.path)]
            state = load_state(self._state_path)
        return SpoolStats(
            len(sizes), sum(sizes), state.failures, state.retry_at, state.quarantined, dict(state.dropped)
        )

    def _locked(self) -> FileLock:
        return FileLock(self.path + ".lock")
