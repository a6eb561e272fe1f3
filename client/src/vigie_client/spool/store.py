"""The files of a spool and every change to them. Each public method is one section under the spool's lock.

`path` holds the waiting items, one JSON payload a line, and beside it stand `.lock`, `.state` (pause and counters),
`.quarantine` and one `.flight-*` per living flusher. While anyone is in flight no line moves: lines done with are
commented out where they stand, and swept by the last flusher to land.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Callable, NamedTuple, Optional

from vigie_client.disk.locks import FileLock
from vigie_client.disk.logs import log
from vigie_client.http.backoff import Rng
from vigie_client.http.outcomes import Outcome, Result
from vigie_client.spool import quarantine
from vigie_client.spool.flights import Flight, Part, held_ranges
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.lines import (
    Line,
    append_lines,
    count_all_lines,
    file_size,
    mark_done,
    read_lines,
    rewrite,
    tally,
)
from vigie_client.spool.state import SpoolState, after_flush, load_state, save_state

BATCH_BYTES = 256 * 1024
_BATCH_FRAME = len('{"runs": []}')
_RUN_FRAME = len(', "sent_at": "2026-03-10T09:21:03.123456Z", ')
_DAMAGED = Outcome(Result.REFUSED, code="damaged_line")
# In a spooled payload: how long the spool had waited already when it was spooled (see `SpoolState.waited`).
_MARK = "spool_waited"


class SpoolStats(NamedTuple):
    """A spool at one moment: what waits, the pause (`retry_at` in Unix time), what is in the quarantine, and how many
    items were ever dropped, by reason (`age`, `count`, `bytes`, `quarantine`).
    """

    pending: int
    pending_bytes: int
    failures: int
    retry_at: Optional[float]
    quarantined: int
    dropped: Mapping[str, int]


class Waiting(NamedTuple):
    """A line, the payload in it, and how long the spool had waited already when it came."""

    line: Line
    payload: dict[str, Any]
    mark: float


class SpoolStore:
    """The spool at `path`. `clock` answers the Unix time. Methods raise OSError when the disk does."""

    def __init__(self, path: str, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        self.path = os.path.realpath(path)  # by whatever name it's called, one spool has one lock
        self._limits = limits
        self._clock = clock
        self._state_path = self.path + ".state"
        self._quarantine_path = quarantine_path(self.path)
        self._flight_prefix = self.path + ".flight-"

    def append(self, body: bytes) -> tuple[bool, Counter[str]]:
        """Add a line. Says whether it was, and how many items were dropped (by reason): the oldest, or itself."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with self._locked():
            body = _marked(body, self._state().waited)
            dropped = self._make_room(len(body) + 1)
            fits = len(body) < self._limits.max_bytes and not self._crowded(2, len(body))
            if fits:
                append_lines(self.path, [body])
            else:
                self._save(self._state().with_dropped({"bytes": 1}))
                dropped["bytes"] += 1
            return fits, dropped

    def start_flight(self, *, force: bool) -> Optional[Flight]:
        """A flight for what waits now; None during a pause unless `force`, or when the living had better land first.

        Lines are swept when nobody is in flight: without that last rule, flushes that always overlap would fill the
        spool with lines done with.
        """
        with self._locked():
            if self._state().pausing(self._clock()) and not force:
                return None
            if self._crowded(1) and held_ranges(self._flight_prefix):
                return None
            return Flight(self._flight_prefix, until=file_size(self.path))

    def take(self, flight: Flight, *, start: int, most: int) -> list[Waiting]:
        """Put the next free items from the offset `start` on into `flight`: at most `most`, and one batch's bytes."""
        with self._locked():
            lines = (line for line in self._free_lines(start, but=flight) if line.start < flight.until)
            taken, damaged = _next_batch(lines, most)
            self._quarantine([(line, None, _DAMAGED) for line in damaged])
            if taken:
                flight.hold(Part(taken[0].line.start, taken[-1].line.end))
            return taken

    def settle(self, flight: Flight, taken: Sequence[Waiting], outcomes: Sequence[Outcome]) -> int:
        """Record what became of the items in `flight`, which is empty again. Answers how many were too old to keep.

        What was delivered comes first: on a full disk nothing else may succeed, and its going makes room.
        """
        with self._locked():
            ends = list(zip(taken, outcomes))
            mark_done(self.path, [each.line for each, end in ends if end.delivered])
            oldest = self._state().waited - self._limits.max_age_seconds
            too_old = [each.line for each, end in ends if end.keeps_item and each.mark < oldest]
            if too_old:
                self._drop({"age": too_old})
            self._quarantine([(each.line, each.payload, end) for each, end in ends if end.result is Result.REFUSED])
            flight.release()
            return len(too_old)

    def land(self, flight: Flight, outcomes: Sequence[Outcome], tried: Collection[int], rng: Rng) -> None:
        """End `flight`, with the pause that follows from the flush's `outcomes`. The last to land sweeps.

        Lines at the offsets `tried` were sent in vain and go behind the others, so that none can block the spool.
        """
        with self._locked():
            flight.end()
            try:
                if not held_ranges(self._flight_prefix):
                    self._sweep(tried)
            finally:
                state = after_flush(self._state(), outcomes, self._clock(), rng)
                self._save(state if os.path.exists(self.path) else replace(state, waited=0.0))

    def quarantined(self) -> list[dict[str, Any]]:
        """The records in the quarantine, oldest first."""
        if self._is_absent():
            return []
        with self._locked():
            return [quarantine.parse_record(line) for line in read_lines(self._quarantine_path)]

    def retry_quarantined(self, code: Optional[str]) -> int:
        """Put what was quarantined (with this `code`, if one is given) back among what waits; how many.

        What the spool has no room for stays, and so do damaged lines. Written there first: a kill in between leaves an
        item in both files rather than in neither.
        """
        if self._is_absent():
            return 0
        with self._locked():
            waited, room = self._state().waited, tally(self.path)
            back: list[bytes] = []
            kept: list[Line] = []
            for line in read_lines(self._quarantine_path):
                body = _marked(quarantine.spool_line_for(line, code), waited)
                if body and self._limits.hold(room, len(body) + 1):
                    room = room.plus(body)
                    back.append(body)
                else:
                    kept.append(line)
            if back:
                append_lines(self.path, back)
                rewrite(self._quarantine_path, kept)
            return len(back)

    def drop_quarantined(self, code: Optional[str]) -> int:
        """Delete what was quarantined (with this `code`, if one is given); how many."""
        if self._is_absent():
            return 0
        with self._locked():
            lines = list(read_lines(self._quarantine_path))
            kept = [line for line in lines if code not in (None, quarantine.parse_record(line).get("code"))]
            if len(kept) < len(lines):
                rewrite(self._quarantine_path, kept)
            return len(lines) - len(kept)

    def stats(self) -> SpoolStats:
        if self._is_absent():
            return SpoolStats(0, 0, 0, None, 0, SpoolState().dropped)
        with self._locked():
            waiting, state = tally(self.path), self._state()
            quarantined = tally(self._quarantine_path).lines
        return SpoolStats(waiting.lines, waiting.size, state.failures, state.retry_at, quarantined, state.dropped)

    def failures(self) -> int:
        with self._locked():
            return self._state().failures

    def _is_absent(self) -> bool:
        """True where not even the folder is there: a question makes none."""
        return not os.path.isdir(os.path.dirname(self.path))

    def _locked(self) -> FileLock:
        return FileLock(self.path + ".lock")

    def _state(self) -> SpoolState:
        return load_state(self._state_path)

    def _save(self, state: SpoolState) -> None:
        if state != self._state():
            save_state(self._state_path, state)

    def _crowded(self, times: int, incoming: int = 0) -> bool:
        """Whether the file, lines done with included, would exceed so many times its bound."""
        return file_size(self.path) + incoming > times * self._limits.max_bytes

    def _free_lines(self, start: int = 0, *, but: Optional[Flight] = None) -> Iterator[Line]:
        held = held_ranges(self._flight_prefix, but=but)
        return (line for line in read_lines(self.path, start) if not any(part.holds(line) for part in held))

    def _make_room(self, incoming: int) -> Counter[str]:
        if self._limits.hold(count_all_lines(self.path), incoming):
            return Counter()
        fits = incoming <= self._limits.max_bytes
        going = self._limits.overflow(tally(self.path), incoming, self._free_lines()) if fits else {}
        if going:
            self._drop(going)
        # Whatever was in the way is done with: swept now, it is not read again at each line to come.
        if not held_ranges(self._flight_prefix):
            self._sweep()
        return Counter({reason: len(gone) for reason, gone in going.items()})

    def _drop(self, going: Mapping[str, Sequence[Line]]) -> None:
        """Counted first: a kill in between counts a run twice rather than losing one unsaid."""
        self._save(self._state().with_dropped({reason: len(lines) for reason, lines in going.items()}))
        mark_done(self.path, [line for lines in going.values() for line in lines])

    def _quarantine(self, ends: Sequence[tuple[Line, Optional[dict[str, Any]], Outcome]]) -> None:
        """Written there first: a kill in between leaves an item in both files rather than in neither."""
        if not ends:
            return
        now = self._clock()
        records = [quarantine.make_record(payload, line.body, outcome, now) for line, payload, outcome in ends]
        going, kept = quarantine.split_surplus(self._quarantine_path, records, self._limits.quarantine_bytes)
        if going:
            self._save(self._state().with_dropped({"quarantine": len(going)}))
            rewrite(self._quarantine_path, kept)
            log(logging.WARNING, "the quarantine of a spool is full: dropped %d", len(going))
        append_lines(self._quarantine_path, records)
        mark_done(self.path, [line for line, _, _ in ends])

    def _sweep(self, tried: Collection[int] = ()) -> None:
        lines = list(read_lines(self.path))
        ordered = sorted(lines, key=lambda line: line.start in tried)
        if ordered != lines or sum(len(line.body) + 1 for line in lines) != file_size(self.path):
            rewrite(self.path, ordered)


def quarantine_path(path: str) -> str:
    return path + ".quarantine"


def _next_batch(lines: Iterable[Line], most: int) -> tuple[list[Waiting], list[Line]]:
    """The payloads that fit one batch, and the damaged lines met on the way."""
    taken: list[Waiting] = []
    damaged: list[Line] = []
    size = _BATCH_FRAME
    for line in lines:
        waiting = _waiting(line)
        if waiting is None:
            damaged.append(line)
            continue
        size += len(json.dumps(waiting.payload)) + _RUN_FRAME
        if taken and size > BATCH_BYTES:
            break
        taken.append(waiting)
        if len(taken) == most:
            break
    return taken, damaged


def _waiting(line: Line) -> Optional[Waiting]:
    """The payload that a line holds; None for a torn or foreign one."""
    try:
        payload = json.loads(line.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    mark = payload.pop(_MARK, 0.0)
    return Waiting(line, payload, mark if isinstance(mark, float) else 0.0)


def _marked(body: bytes, waited: float) -> bytes:
    """The JSON object `body` with the mark. A spool in which nothing waits in vain needs none."""
    if not body or not waited:
        return body
    return body[:-1] + (b", " if body != b"{}" else b"") + f'"{_MARK}": {waited!r}}}'.encode()
