"""The persistent state of a spool: its pause after failures, and the counts of dropped items."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from vigie_client.contract import wire_integer
from vigie_client.disk.durable import replace_file
from vigie_client.http.backoff import AUTH_PAUSE, LONGEST_RETRY_AFTER, Rng, add_jitter, backoff_delay
from vigie_client.http.outcomes import BARE_FALSE, Outcome, Result

DROP_REASONS = ("age", "count", "bytes", "quarantine")
LONGEST_STEP = 86_400.0


@dataclass(frozen=True)
class SpoolState:
    """The state of a spool. `flushed_at` and `retry_at` are Unix times.

    `failures` is the streak of flushes that delivered nothing, 1 after one that delivered a part; `dropped` counts
    items by reason and is never reset. `waited` is a clock: the seconds between failed flushes since the spool was last
    empty, each gap a day at most, so that a clock correction ages nothing by years. An item's age is `waited` minus its
    mark.
    """

    failures: int = 0
    retry_at: Optional[float] = None
    flushed_at: Optional[float] = None
    waited: float = 0.0
    dropped: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(DROP_REASONS, 0))

    def is_paused(self, now: float) -> bool:
        """Return True during a pause. One longer than LONGEST_RETRY_AFTER shows a clock that was set back."""
        return self.retry_at is not None and 0 < self.retry_at - now <= LONGEST_RETRY_AFTER

    def with_dropped(self, reasons: Mapping[str, int]) -> SpoolState:
        return replace(self, dropped={reason: n + reasons.get(reason, 0) for reason, n in self.dropped.items()})


def after_flush(state: SpoolState, outcomes: Sequence[Outcome], now: float, rng: Rng) -> SpoolState:
    """Return the state after a flush: the pause grows with each failed flush and ends with a delivery."""
    failed = [outcome for outcome in outcomes if outcome.keeps_item]
    if not outcomes:
        return state
    if not failed:
        return replace(state, failures=0, retry_at=None, flushed_at=now)
    failures = 1 if len(failed) < len(outcomes) else state.failures + 1
    step = 0.0 if state.flushed_at is None else min(max(now - state.flushed_at, 0.0), LONGEST_STEP)
    retry_at = now + max(_pause_after(outcome, failures, rng) for outcome in failed)
    return replace(state, failures=failures, retry_at=retry_at, flushed_at=now, waited=state.waited + step)


def load_state(path: str) -> SpoolState:
    """Read the state at `path`. A missing or damaged file gives a fresh state."""
    try:
        with open(path, "rb") as file:
            stored = json.load(file)
    except (OSError, ValueError, RecursionError):
        return SpoolState()
    return _parse_state(stored) if isinstance(stored, dict) else SpoolState()


def save_state(path: str, state: SpoolState) -> None:
    replace_file(path, json.dumps(asdict(state)).encode())


def _pause_after(outcome: Outcome, failures: int, rng: Rng) -> float:
    if outcome.result is Result.AUTH:
        return max(add_jitter(AUTH_PAUSE, rng), outcome.retry_after or 0.0)
    if outcome.retry_after is not None:
        return max(outcome.retry_after, backoff_delay(1, rng))
    # A bare False does not tell whether the portal or only this run failed: the first one causes no pause.
    return backoff_delay(failures - (outcome == BARE_FALSE), rng)


def _parse_state(stored: Mapping[str, Any]) -> SpoolState:
    dropped = stored.get("dropped")
    dropped = dropped if isinstance(dropped, dict) else {}
    return SpoolState(
        failures=wire_integer(stored.get("failures")) or 0,
        retry_at=_finite_or_none(stored.get("retry_at")),
        flushed_at=_finite_or_none(stored.get("flushed_at")),
        waited=_finite_or_none(stored.get("waited")) or 0.0,
        dropped={reason: wire_integer(dropped.get(reason)) or 0 for reason in DROP_REASONS},
    )


def _finite_or_none(value: object) -> Optional[float]:
    return value if isinstance(value, float) and math.isfinite(value) else None
