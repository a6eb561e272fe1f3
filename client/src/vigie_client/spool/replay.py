"""One flush of a spool: send the waiting items batch by batch, and stop once the portal is unavailable."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Optional

from vigie_client.contract import MAX_RUNS_IN_BATCH
from vigie_client.disk.logs import log
from vigie_client.http.outcomes import BARE_FALSE, BatchOutcome, Outcome, Result, classify_batch, no_answer
from vigie_client.spool.client import SpoolClient
from vigie_client.spool.flights import Flight
from vigie_client.spool.store import SpoolStore, WaitingItem

_MAX_BARE_FALSES = 3
# Seconds reserved for disk writes after the last call of a flush.
_DISK_TIME = 0.25
_REFUSED_AS_A_WHOLE = no_answer("batch_refused")


class Replay:
    """A flush that takes at most `timeout` seconds. `delivered` counts the items that the portal confirmed."""

    def __init__(self, store: SpoolStore, flight: Flight, client: Any, failures: int, timeout: float) -> None:
        self.delivered = 0
        self.tried: set[int] = set()
        self._outcomes: list[Outcome] = []
        self._store = store
        self._flight = flight
        self._client = client
        self._deadline = monotonic() + timeout - min(timeout / 10, _DISK_TIME)
        self._slowest = 0.0
        self._position = 0
        self._narrowing = False
        self._max_batch_size = _max_batch_size(client)
        # Halve the batch after each failure: a whole one may be too much for a slow connection.
        self._batch_size = max(1, self._max_batch_size >> failures)

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the items sent. A flush that ends while it narrows down a refused batch counts as failed, so
        that the next one goes on with smaller batches.
        """
        return [*self._outcomes, _REFUSED_AS_A_WHOLE] if self._narrowing else self._outcomes

    def send_next_batch(self) -> bool:
        """Send the next batch. Return False at the end, or if another call would probably exceed the deadline."""
        started = monotonic()
        left = self._deadline - started
        if left <= self._slowest:
            return False
        taken = self._store.take(self._flight, start=self._position, max_items=self._batch_size)
        if not taken:
            return False
        outcomes = self._send([waiting.payload for waiting in taken], left)
        self._slowest = max(self._slowest, monotonic() - started)
        self._narrowing = outcomes is None
        if outcomes is None:
            self._batch_size = max(1, len(taken) // 2)
            return True
        self._settle(taken, outcomes)
        return not self._portal_is_away(outcomes)

    def _send(self, payloads: Sequence[dict[str, Any]], timeout: float) -> Optional[Sequence[Outcome]]:
        """Return the outcome of each item, or None if the batch was refused as a whole, perhaps for one bad item."""
        if len(payloads) == 1:
            return [send_one(self._client, payloads[0], timeout)]
        return send_batch(self._client, payloads, timeout)

    def _settle(self, taken: Sequence[WaitingItem], outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes before storing them: on a full disk the store may only mark delivered items."""
        self.delivered += sum(outcome.delivered for outcome in outcomes)
        self._outcomes.extend(outcomes)
        self.tried.update(waiting.line.start for waiting, outcome in zip(taken, outcomes) if not outcome.delivered)
        too_old = self._store.settle(self._flight, taken, outcomes)
        self._position = taken[-1].line.end
        self._batch_size = min(self._max_batch_size, 2 * self._batch_size)
        refused = sum(outcome.result is Result.REFUSED for outcome in outcomes)
        if refused or too_old:
            log(logging.WARNING, "spool: %d refused and quarantined, %d too old, dropped", refused, too_old)

    def _portal_is_away(self, outcomes: Sequence[Outcome]) -> bool:
        """Return True after a typed failure, or a few bare Falses in a row, each of which may concern only one run."""
        if any(outcome.keeps_item and outcome != BARE_FALSE for outcome in outcomes):
            return True
        latest = self._outcomes[-_MAX_BARE_FALSES:]
        return latest == [BARE_FALSE] * _MAX_BARE_FALSES


def _max_batch_size(client: Any) -> int:
    if isinstance(client, SpoolClient):
        return client.batch_size
    return MAX_RUNS_IN_BATCH if callable(getattr(client, "report_batch", None)) else 1


def send_one(client: Any, payload: Mapping[str, Any], timeout: float) -> Outcome:
    """Send one item. A foreign client has only `report`, whose bool gives no reason."""
    if isinstance(client, SpoolClient):
        return client.send(payload, timeout)
    try:
        return Outcome(Result.DELIVERED) if client.report(payload) else BARE_FALSE
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return BARE_FALSE


def send_batch(client: Any, payloads: Sequence[dict[str, Any]], timeout: float) -> Optional[Sequence[Outcome]]:
    """Send several items. Return the outcome of each, or None if they should be sent in smaller batches.

    A foreign client may return True or the portal's decoded answer.
    """
    if isinstance(client, SpoolClient):
        return _split_outcome(client.report_batch(payloads, timeout), len(payloads))
    try:
        answer = client.report_batch(payloads)
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return None
    if isinstance(answer, Mapping):
        answer = classify_batch(Outcome(Result.DELIVERED), answer, payloads, "run_id")
    if isinstance(answer, BatchOutcome):
        return _split_outcome(answer, len(payloads))
    return [Outcome(Result.DELIVERED)] * len(payloads) if answer is True else None


def _split_outcome(answer: BatchOutcome, count: int) -> Optional[Sequence[Outcome]]:
    """Return the outcome of each item, or None if one of them may have failed the batch.

    One item may be refused, break the portal (500), or be too large for a proxy (413).
    """
    if answer.whole.delivered:
        return answer.items
    if answer.whole.result is Result.REFUSED or answer.whole.status in (413, 500):
        return None
    return [answer.whole] * count
