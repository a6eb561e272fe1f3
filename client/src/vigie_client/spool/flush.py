"""One flush of a spool: send the waiting items batch by batch, and stop once the portal is unavailable."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Callable, Optional, Union

from vigie_client.contract import MAX_RUNS_IN_BATCH
from vigie_client.disk.logs import log
from vigie_client.http.outcomes import BARE_FALSE, BatchOutcome, Outcome, Result, classify_batch, no_answer
from vigie_client.spool.claims import FlushClaim
from vigie_client.spool.client import DEFAULT_TIMEOUT, SpoolClient
from vigie_client.spool.store import SpoolStore, WaitingItem

_MAX_BARE_FALSES = 3
# Seconds reserved for disk writes after the last call of a flush.
_DISK_TIME = 0.25
_REFUSED_AS_A_WHOLE = no_answer("batch_refused")
_DELIVERED = Outcome(Result.DELIVERED)
_BATCH_REFUSED = BatchOutcome(Outcome(Result.REFUSED))


class ForeignClient:
    """Sends through a program's own client, which has `report(payload) -> bool` and perhaps `report_batch(runs)`."""

    timeout = DEFAULT_TIMEOUT

    def __init__(self, client: Any) -> None:
        self._client = client
        self.batch_size = MAX_RUNS_IN_BATCH if callable(getattr(client, "report_batch", None)) else 1

    def send(self, payload: Mapping[str, Any], timeout: float) -> Outcome:
        return _DELIVERED if self._call(self._client.report, payload) else BARE_FALSE

    def report_batch(self, payloads: Sequence[Mapping[str, Any]], timeout: float) -> BatchOutcome:
        """Send several items to a client that may return True, the portal's decoded answer, or an outcome."""
        answer = self._call(self._client.report_batch, payloads)
        if isinstance(answer, Mapping):
            return classify_batch(_DELIVERED, answer, payloads, "run_id")
        if isinstance(answer, BatchOutcome):
            return answer
        return BatchOutcome(_DELIVERED, (_DELIVERED,) * len(payloads)) if answer is True else _BATCH_REFUSED

    def _call(self, method: Callable[[Any], Any], payload: Any) -> Any:
        """Return the answer, or None after an exception."""
        try:
            return method(payload)
        except Exception as error:
            log(logging.WARNING, "usage client raised %s", type(error).__name__)
            return None


class Flush:
    """A flush that takes at most `timeout` seconds. `delivered` counts the items that the portal confirmed."""

    def __init__(
        self, store: SpoolStore, claim: FlushClaim, client: Union[SpoolClient, ForeignClient], timeout: float
    ) -> None:
        self.delivered = 0
        self.tried: set[int] = set()
        self._outcomes: list[Outcome] = []
        self._store = store
        self._claim = claim
        self._client = client
        self._deadline = monotonic() + timeout - min(timeout / 10, _DISK_TIME)
        self._slowest = 0.0
        self._position = 0
        self._narrowing = False
        # Halve the batch after each failure: a whole one may be too much for a slow connection.
        self._batch_size = max(1, client.batch_size >> store.failures())

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes that decide the pause: those of the items sent, and a failure if the flush ends while it narrows
        down a refused batch, so that the next one goes on with smaller batches.
        """
        return [*self._outcomes, _REFUSED_AS_A_WHOLE] if self._narrowing else self._outcomes

    def send_next_batch(self) -> bool:
        """Send the next batch. Return False at the end, or if another call would probably exceed the deadline."""
        started = monotonic()
        left = self._deadline - started
        if left <= self._slowest:
            return False
        taken = self._store.take(self._claim, start=self._position, max_items=self._batch_size)
        if not taken:
            return False
        outcomes = self._send([waiting.payload for waiting in taken], left)
        self._slowest = max(self._slowest, monotonic() - started)
        self._narrowing = outcomes is None
        if outcomes is None:
            self._batch_size = max(1, len(taken) // 2)
            return True
        self._apply_outcomes(taken, outcomes)
        return not self._portal_is_away(outcomes)

    def _send(self, payloads: Sequence[dict[str, Any]], timeout: float) -> Optional[Sequence[Outcome]]:
        """Return the outcome of each item, or None if the batch was refused as a whole, perhaps for one bad item."""
        if len(payloads) == 1:
            return [self._client.send(payloads[0], timeout)]
        answer = self._client.report_batch(payloads, timeout)
        if answer.whole.delivered:
            return answer.items
        # One item may be refused, break the portal (500), or be too large for a proxy (413).
        is_narrowed = answer.whole.result is Result.REFUSED or answer.whole.status in (413, 500)
        return None if is_narrowed else [answer.whole] * len(payloads)

    def _apply_outcomes(self, taken: Sequence[WaitingItem], outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes before storing them: on a full disk the store may only mark delivered items."""
        self.delivered += sum(outcome.delivered for outcome in outcomes)
        self._outcomes.extend(outcomes)
        self.tried.update(waiting.line.start for waiting, outcome in zip(taken, outcomes) if not outcome.delivered)
        too_old = self._store.apply_outcomes(self._claim, taken, outcomes)
        self._position = taken[-1].line.end
        self._batch_size = min(self._client.batch_size, 2 * self._batch_size)
        refused = sum(outcome.result is Result.REFUSED for outcome in outcomes)
        if refused or too_old:
            log(logging.WARNING, "spool: %d refused and quarantined, %d too old, dropped", refused, too_old)

    def _portal_is_away(self, outcomes: Sequence[Outcome]) -> bool:
        """Return True after a typed failure, or a few bare Falses in a row, each of which may concern only one run."""
        if any(outcome.keeps_item and outcome != BARE_FALSE for outcome in outcomes):
            return True
        latest = self._outcomes[-_MAX_BARE_FALSES:]
        return latest == [BARE_FALSE] * _MAX_BARE_FALSES
