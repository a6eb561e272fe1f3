"""The files of a spool and all changes to them. Each public method is one critical section under the spool's lock.

`path` holds the waiting items, one JSON payload per line. The files beside it are `.lock`, `.state` (pause and
counters), `.quarantine` and one `.flight-*` per claim of a living flusher. While any claim exists no line moves:
finished lines are commented out in place, and the last flush to finish sweeps them.
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
from vigie_client.spool.claims import NOTHING, FlushClaim, Range, claimed_ranges
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.lines import (
    Line,
    append_lines,
    count_all_lines,
    count_waiting,
    file_size,
    mark_done,
    read_lines,
    replace_lines,
)
from vigie_client.spool.state import SpoolState, after_flush, load_state, save_state

BATCH_BYTES = 256 * 1024
_BATCH_FRAME = len('{"runs": []}')
_RUN_FRAME = len(', "sent_at": "2026-03-10T09:21:03.123456Z", ')
_DAMAGED = Outcome(Result.REFUSED, code="damaged_line")
# Key of a spooled payload: the value of `SpoolState.waited` when the item came.
_MARK = "spool_waited"


class SpoolStats(NamedTuple):
    """A snapshot of a spool: waiting items, its pause (`retry_at` in Unix time), and the size of the quarantine.

    `dropped` counts the items ever dropped, by reason (`age`, `count`, `bytes`, `quarantine`).
    """

    pending: int
    pending_bytes: int
    failures: int
    retry_at: Optional[float]
    quarantined: int
    dropped: Mapping[str, int]


class WaitingItem(NamedTuple):
    """A line with its payload, and `mark`, the value of `SpoolState.waited` when it came."""

    line: Line
    payload: dict[str, Any]
    mark: float


class SpoolStore:
    """The spool at `path`. `clock` returns the Unix time. Methods raise OSError if the disk fails."""

    def __init__(self, path: str, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        self.path = os.path.realpath(path)  # one spool has one lock, whatever path leads to it
        self._limits = limits
        self._clock = clock
        self._state_path = self.path + ".state"
        self._quarantine_path = quarantine_path(self.path)
        self._claim_prefix = self.path + ".flight-"

    def append(self, body: bytes) -> tuple[bool, Counter[str]]:
        """Append a line. Return whether it fit, and how many items were dropped by reason: the oldest, or itself."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with self._locked():
            body = _add_mark(body, self._load_state().waited)
            dropped = self._make_room(len(body) + 1)
            fits = len(body) < self._limits.max_bytes and not self._exceeds_limit(2, len(body))
            if fits:
                append_lines(self.path, [body])
            else:
                self._save_state(self._load_state().with_dropped({"bytes": 1}))
                dropped["bytes"] += 1
            return fits, dropped

    def start_flush(self, *, force: bool) -> Optional[FlushClaim]:
        """Start a flush of the items that wait now. Return None during a pause, unless `force`.

        Also return None if the file is crowded and other flushes must finish first: lines are swept only without
        claims, so flushes that always overlap would fill the spool with finished lines.
        """
        with self._locked():
            if self._load_state().is_paused(self._clock()) and not force:
                return None
            if self._exceeds_limit(1) and claimed_ranges(self._claim_prefix):
                return None
            return FlushClaim(self._claim_prefix, spool_end=file_size(self.path))

    def take(self, claim: FlushClaim, *, start: int, max_items: int) -> list[WaitingItem]:
        """Claim the next free items from the offset `start` on: at most `max_items`, and the bytes of one batch."""
        with self._locked():
            lines = (line for line in self._free_lines(start, excluded=claim) if line.start < claim.spool_end)
            taken, damaged = _next_batch(lines, max_items)
            self._quarantine([(line, None, _DAMAGED) for line in damaged])
            if taken:
                claim.set_range(Range(taken[0].line.start, taken[-1].line.end))
            return taken

    def apply_outcomes(self, claim: FlushClaim, taken: Sequence[WaitingItem], outcomes: Sequence[Outcome]) -> int:
        """Apply the outcomes of the claimed items and release them. Return how many were dropped for their age.

        Delivered items come first: on a full disk nothing else may succeed, and removing them makes room.
        """
        with self._locked():
            pairs = list(zip(taken, outcomes))
            mark_done(self.path, [item.line for item, outcome in pairs if outcome.delivered])
            oldest = self._load_state().waited - self._limits.max_age_seconds
            too_old = [item.line for item, outcome in pairs if outcome.keeps_item and item.mark < oldest]
            if too_old:
                self._drop({"age": too_old})
            refused = [
                (item.line, item.payload, outcome) for item, outcome in pairs if outcome.result is Result.REFUSED
            ]
            self._quarantine(refused)
            claim.set_range(NOTHING)
            return len(too_old)

    def finish_flush(self, claim: FlushClaim, outcomes: Sequence[Outcome], tried: Collection[int], rng: Rng) -> None:
        """End the claim and save the pause that follows from the `outcomes`. The last flush to finish sweeps.

        Lines at the offsets `tried` failed and are moved behind the others, so that none can block the spool.
        """
        with self._locked():
            claim.end()
            try:
                if not claimed_ranges(self._claim_prefix):
                    self._sweep(tried)
            finally:
                state = after_flush(self._load_state(), outcomes, self._clock(), rng)
                self._save_state(state if os.path.exists(self.path) else replace(state, waited=0.0))

    def quarantined(self) -> list[dict[str, Any]]:
        """Return the records of the quarantine (see `spool.quarantine`), oldest first."""
        if self._is_absent():
            return []
        with self._locked():
            return [quarantine.parse_record(line) for line in read_lines(self._quarantine_path)]

    def retry_quarantined(self, code: Optional[str] = None) -> int:
        """Move items (with this `code`, if given) from the quarantine back to the spool, and return their number.

        Damaged lines stay, and so do items without room. They are appended first: a kill in between leaves an item in
        both files rather than in neither.
        """
        if self._is_absent():
            return 0
        with self._locked():
            waited, room = self._load_state().waited, count_waiting(self.path)
            back: list[bytes] = []
            kept: list[Line] = []
            for line in read_lines(self._quarantine_path):
                body = quarantine.spool_line_for(line, code)
                marked = _add_mark(body, waited) if body else b""
                if marked and self._limits.has_room(room, len(marked) + 1):
                    room = room.plus(marked)
                    back.append(marked)
                else:
                    kept.append(line)
            if back:
                append_lines(self.path, back)
                replace_lines(self._quarantine_path, kept)
            return len(back)

    def drop_quarantined(self, code: Optional[str] = None) -> int:
        """Delete items (with this `code`, if given) from the quarantine, and return their number."""
        if self._is_absent():
            return 0
        with self._locked():
            lines = list(read_lines(self._quarantine_path))
            kept = [line for line in lines if code not in (None, quarantine.parse_record(line).get("code"))]
            if len(kept) < len(lines):
                replace_lines(self._quarantine_path, kept)
            return len(lines) - len(kept)

    def stats(self) -> SpoolStats:
        if self._is_absent():
            return SpoolStats(0, 0, 0, None, 0, SpoolState().dropped)
        with self._locked():
            waiting, state = count_waiting(self.path), self._load_state()
            quarantined = count_waiting(self._quarantine_path).lines
        return SpoolStats(waiting.lines, waiting.size, state.failures, state.retry_at, quarantined, state.dropped)

    def failures(self) -> int:
        with self._locked():
            return self._load_state().failures

    def _is_absent(self) -> bool:
        """Return True if not even the folder exists, which a query must not create."""
        return not os.path.isdir(os.path.dirname(self.path))

    def _locked(self) -> FileLock:
        return FileLock(self.path + ".lock")

    def _load_state(self) -> SpoolState:
        return load_state(self._state_path)

    def _save_state(self, state: SpoolState) -> None:
        if state != self._load_state():
            save_state(self._state_path, state)

    def _exceeds_limit(self, times: int, incoming: int = 0) -> bool:
        """Return True if the file, finished lines included, would exceed its limit `times` over."""
        return file_size(self.path) + incoming > times * self._limits.max_bytes

    def _free_lines(self, start: int = 0, *, excluded: Optional[FlushClaim] = None) -> Iterator[Line]:
        held = claimed_ranges(self._claim_prefix, excluded=excluded)
        return (line for line in read_lines(self.path, start) if not any(part.contains(line) for part in held))

    def _make_room(self, incoming: int) -> Counter[str]:
        if self._limits.has_room(count_all_lines(self.path), incoming):
            return Counter()
        fits = incoming <= self._limits.max_bytes
        going = self._limits.choose_dropped(count_waiting(self.path), incoming, self._free_lines()) if fits else {}
        if going:
            self._drop(going)
        # Sweep now, so that finished lines are not read again at each append.
        if not claimed_ranges(self._claim_prefix):
            self._sweep()
        return Counter({reason: len(gone) for reason, gone in going.items()})

    def _drop(self, going: Mapping[str, Sequence[Line]]) -> None:
        """Count, then drop: a kill in between counts an item twice rather than losing it uncounted."""
        self._save_state(self._load_state().with_dropped({reason: len(lines) for reason, lines in going.items()}))
        mark_done(self.path, [line for lines in going.values() for line in lines])

    def _quarantine(self, refused: Sequence[tuple[Line, Optional[dict[str, Any]], Outcome]]) -> None:
        """Append to the quarantine first: a kill in between leaves an item in both files rather than in neither."""
        if not refused:
            return
        now = self._clock()
        records = [quarantine.make_record(payload, line.body, outcome, now) for line, payload, outcome in refused]
        going, kept = quarantine.split_surplus(self._quarantine_path, records, self._limits.quarantine_bytes)
        if going:
            self._save_state(self._load_state().with_dropped({"quarantine": len(going)}))
            replace_lines(self._quarantine_path, kept)
            log(logging.WARNING, "the quarantine of a spool is full: dropped %d", len(going))
        append_lines(self._quarantine_path, records)
        mark_done(self.path, [line for line, _, _ in refused])

    def _sweep(self, tried: Collection[int] = ()) -> None:
        lines = list(read_lines(self.path))
        ordered = sorted(lines, key=lambda line: line.start in tried)
        if ordered != lines or sum(len(line.body) + 1 for line in lines) != file_size(self.path):
            replace_lines(self.path, ordered)


def quarantine_path(path: str) -> str:
    return path + ".quarantine"


def _next_batch(lines: Iterable[Line], max_items: int) -> tuple[list[WaitingItem], list[Line]]:
    """Return the items that fit one batch, and the damaged lines between them."""
    taken: list[WaitingItem] = []
    damaged: list[Line] = []
    size = _BATCH_FRAME
    for line in lines:
        waiting = _parse_line(line)
        if waiting is None:
            damaged.append(line)
            continue
        size += len(json.dumps(waiting.payload)) + _RUN_FRAME
        if taken and size > BATCH_BYTES:
            break
        taken.append(waiting)
        if len(taken) == max_items:
            break
    return taken, damaged


def _parse_line(line: Line) -> Optional[WaitingItem]:
    """Parse a line. Return None for a torn or foreign one."""
    try:
        payload = json.loads(line.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    mark = payload.pop(_MARK, 0.0)
    return WaitingItem(line, payload, mark if isinstance(mark, float) else 0.0)


def _add_mark(body: bytes, waited: float) -> bytes:
    """Add the mark to the JSON object `body`, unless it is 0."""
    if not waited:
        return body
    return body[:-1] + (b", " if body != b"{}" else b"") + f'"{_MARK}": {waited!r}}}'.encode()
