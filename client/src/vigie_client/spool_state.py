"""What a spool remembers between programs: its pause after failures, and what it had to give up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from .backoff import AUTH_PAUSE, LONGEST_RETRY_AFTER, Rng, backoff_delay, jittered
from .durable import replace_file
from .outcomes import BARE_FALSE, Outcome, Result
from .payload import plain_int

DROP_REASONS = ("age", "count", "bytes")


@dataclass(frozen=True)
class SpoolState:
    """`failures`: flushes in a row that delivered nothing. `retry_at`: Unix time. The rest counts runs, for ever."""

    failures: int = 0
    retry_at: Optional[float] = None
    quarantined: int = 0
    dropped: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(DROP_REASONS, 0))

    def pausing(self, now: float) -> bool:
        """A pause longer than any we make shows a clock that was set back: it doesn't count."""
        return self.retry_at is not None and 0 < self.retry_at - now <= LONGEST_RETRY_AFTER

    def with_dropped(self, reasons: Mapping[str, int]) -> SpoolState:
        return replace(self, dropped={reason: n + reasons.get(reason, 0) for reason, n in self.dropped.items()})


def after_flush(state: SpoolState, outcomes: Sequence[Outcome], now: float, rng: Rng) -> SpoolState:
    """The state once a flush had these outcomes: the pause grows with each one in vain and ends with an answer."""
    failed = [outcome for outcome in outcomes if outcome.keeps_run]
    if not outcomes:
        return state
    if not failed:
        return replace(state, failures=0, retry_at=None)
    failures = 1 if len(failed) < len(outcomes) else state.failures + 1
    return replace(state, failures=failures, retry_at=now + max(_pause(outcome, failures, rng) for outcome in failed))


def load_state(path: str) -> SpoolState:
    """The state at `path`; a missing or damaged one is a fresh one."""
    try:
        with open(path, "rb") as file:
            stored = json.load(file)
    except (OSError, ValueError, RecursionError):
        return SpoolState()
    return _state_from(stored) if isinstance(stored, dict) else SpoolState()


def save_state(path: str, state: SpoolState) -> None:
    replace_file(path, json.dumps(asdict(state)).encode())


def _pause(outcome: Outcome, failures: int, rng: Rng) -> float:
    if outcome.result is Result.AUTH:
        return max(jittered(AUTH_PAUSE, rng), outcome.retry_after or 0.0)
    if outcome.retry_after is not None:
        return max(outcome.retry_after, backoff_delay(1, rng))
    # A bare False doesn't say whether the portal or only this run is to blame: the first one costs no pause.
    return backoff_delay(failures - (outcome == BARE_FALSE), rng)


def _state_from(stored: Mapping[str, Any]) -> SpoolState:
    retry_at, dropped = stored.get("retry_at"), stored.get("dropped")
    dropped = dropped if isinstance(dropped, dict) else {}
    return SpoolState(
        failures=plain_int(stored.get("failures")) or 0,
        retry_at=retry_at if isinstance(retry_at, float) else None,
        quarantined=plain_int(stored.get("quarantined")) or 0,
        dropped={reason: plain_int(dropped.get(reason)) or 0 for reason in DROP_REASONS},
    )
