"""Limits of a spool, and the choice of the items to drop beyond them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vigie_client.spool.lines import Line, LineTotals


@dataclass(frozen=True)
class SpoolLimits:
    """Limits of a spool. One beyond `max_runs` items or `max_bytes` bytes drops its oldest items for a new one.

    Another twentieth of the items is dropped with them, so that not every append to a full spool has to drop.
    `max_age_seconds` is checked after a failed delivery: an item that can be delivered is never too old. Only the time
    between flushes counts as age, at most a day each, whatever the clock says. Beyond `quarantine_bytes` the oldest
    items of the quarantine are dropped.
    """

    max_runs: int = 10_000
    max_bytes: int = 16 * 2**20
    max_age_seconds: float = 90 * 86_400.0
    quarantine_bytes: int = 2**20

    def has_room(self, all_lines: LineTotals, incoming: int) -> bool:
        """Return True if `incoming` more bytes fit beside `all_lines`."""
        return all_lines.lines < self.max_runs and all_lines.size + incoming <= self.max_bytes

    def choose_dropped(self, waiting: LineTotals, incoming: int, free: Iterable[Line]) -> dict[str, list[Line]]:
        """Return the `free` lines to drop, by reason, for `incoming` more bytes to fit beside the `waiting` lines."""
        if self.has_room(waiting, incoming):
            return {}
        spare = waiting.lines // 20
        too_many = waiting.lines + 1 - self.max_runs
        too_much = waiting.size + incoming - self.max_bytes
        dropped: dict[str, list[Line]] = {}
        reason = "bytes"
        for line in free:
            if too_many <= 0 and too_much <= 0:
                if spare <= 0:
                    break
                spare -= 1
            else:
                reason = "count" if too_many > 0 else "bytes"
            dropped.setdefault(reason, []).append(line)
            too_many -= 1
            too_much -= len(line.body) + 1
        return dropped
