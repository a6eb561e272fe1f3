"""How much a spool may hold, and which items go when it holds too much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vigie_client.spool.lines import Line, LineTotals


@dataclass(frozen=True)
class SpoolLimits:
    """`max_runs` items and `max_bytes` bytes in all, beyond which the oldest are dropped for a new one, and every
    twentieth along with them: a full spool makes room once in a while, and not at each line.

    `max_age_seconds` of waiting, judged when an attempt to deliver an item has failed: what can be delivered never is
    too old. Only the time between flushes counts, a day at most for each, whatever the clock says meanwhile.
    `quarantine_bytes` bounds the quarantine, beyond which its oldest are dropped.
    """

    max_runs: int = 10_000
    max_bytes: int = 16 * 2**20
    max_age_seconds: float = 90 * 86_400.0
    quarantine_bytes: int = 2**20

    def hold(self, all_lines: LineTotals, incoming: int) -> bool:
        """Whether `incoming` bytes more fit beside `all_lines`."""
        return all_lines.lines < self.max_runs and all_lines.size + incoming <= self.max_bytes

    def overflow(self, waiting: LineTotals, incoming: int, free: Iterable[Line]) -> dict[str, list[Line]]:
        """Which of the `free` lines must go, by reason, for `incoming` bytes more to fit beside those `waiting`."""
        if self.hold(waiting, incoming):
            return {}
        spare = waiting.lines // 20
        too_many = waiting.lines + 1 - self.max_runs
        too_much = waiting.size + incoming - self.max_bytes
        going: dict[str, list[Line]] = {}
        reason = "bytes"
        for line in free:
            if too_many <= 0 and too_much <= 0:
                if spare <= 0:
                    break
                spare -= 1
            else:
                reason = "count" if too_many > 0 else "bytes"
            going.setdefault(reason, []).append(line)
            too_many -= 1
            too_much -= len(line.body) + 1
        return going
