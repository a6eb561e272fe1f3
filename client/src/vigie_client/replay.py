"""One flush of a spool: send what waits, batch by batch, and stop at the first sign that the portal is away."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .flights import Flight
from .logs import log
from .outcomes import BARE_FALSE, BatchOutcome, Outcome, Result, judge_batch
from .spool_store import SpoolStore, Waiting
from .telemetry import SpoolClient

BATCH_RUNS = 100
_BARE_FALSES_IN_A_ROW = 3


class Replay:
    """A flush under way. `delivered` counts the runs that the portal has now."""

    def __init__(self, store: SpoolStore, flight: Flight, client: Any, failures: int) -> None:
        self.delivered = 0
        self.outcomes: list[Outcome] = []
        self.tried: set[int] = set()
        self._store = store
        self._flight = flight
        self._client = client
        self._position = 0
        self._singles = 0
        self._largest = _batch_size(client)
        # Half a batch after each failure: a whole one may be what a slow line can't carry in time.
        self._most = max(1, self._largest >> failures)

    def one_batch(self) -> bool:
        """Send the next batch and say whether to go on."""
        taken = self._store.take(self._flight, start=self._position, most=1 if self._singles else self._most)
        if not taken:
            return False
        outcomes = self._send([waiting.payload for waiting in taken])
        if outcomes is None:
            self._singles = len(taken)
            return True
        self._settle(taken, outcomes)
        return not self._portal_is_away(outcomes)

    def _send(self, payloads: Sequence[dict[str, Any]]) -> Optional[Sequence[Outcome]]:
        """The outcome of each run, or None for a batch refused as a whole: one run may be to blame for all."""
        if len(payloads) == 1:
            self._singles = max(0, self._singles - 1)
            return [send_one(self._client, payloads[0])]
        return send_batch(self._client, payloads)

    def _settle(self, taken: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        too_old = self._store.settle(self._flight, taken, outcomes)
        self._position = taken[-1].line.end
        self._most = min(self._largest, 2 * self._most)
        self.delivered += sum(outcome.delivered for outcome in outcomes)
        self.outcomes.extend(outcomes)
        self.tried.update(waiting.line.start for waiting, outcome in zip(taken, outcomes) if outcome.keeps_run)
        refused = sum(outcome.result is Result.REFUSED for outcome in outcomes)
        if refused or too_old:
            log(logging.WARNING, "usage spool: %d runs refused and quarantined, %d too old, dropped", refused, too_old)

    def _portal_is_away(self, outcomes: Sequence[Outcome]) -> bool:
        """A typed failure says so; bare Falses may each be about one run, so it takes a few in a row."""
        if any(outcome.keeps_run and outcome != BARE_FALSE for outcome in outcomes):
            return True
        latest = self.outcomes[-_BARE_FALSES_IN_A_ROW:]
        return latest == [BARE_FALSE] * _BARE_FALSES_IN_A_ROW


def _batch_size(client: Any) -> int:
    if isinstance(client, SpoolClient):
        return client.batch_size
    return BATCH_RUNS if callable(getattr(client, "report_batch", None)) else 1


def send_one(client: Any, payload: Mapping[str, Any]) -> Outcome:
    """The outcome of one run. Of a client other than ours only `report` is known, and a bool tells little."""
    if isinstance(client, SpoolClient):
        return client.send(payload)
    try:
        return Outcome(Result.DELIVERED) if client.report(payload) else BARE_FALSE
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return BARE_FALSE


def send_batch(client: Any, payloads: Sequence[dict[str, Any]]) -> Optional[Sequence[Outcome]]:
    """The outcome of each run, or None when they are better sent one by one.

    That is after a refusal of the whole, and after a 500: the portal is there, and a run may be what breaks it. A
    client other than ours may answer True or the portal's decoded answer.
    """
    try:
        answer = client.report_batch(payloads)
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return None
    if isinstance(answer, Mapping):
        answer = judge_batch(Outcome(Result.DELIVERED), answer, payloads)
    if isinstance(answer, BatchOutcome):
        return _each(answer, len(payloads))
    return [Outcome(Result.DELIVERED)] * len(payloads) if answer is True else None


def _each(answer: BatchOutcome, count: int) -> Optional[Sequence[Outcome]]:
    if answer.whole.delivered:
        return answer.items
    if answer.whole.result is Result.REFUSED or answer.whole.status == 500:
        return None
    return [answer.whole] * count
