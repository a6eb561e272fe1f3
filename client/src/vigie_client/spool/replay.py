"""One flush of a spool: send what waits, batch by batch, and stop at the first sign that the portal is away."""

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
from vigie_client.spool.store import SpoolStore, Waiting

_BARE_FALSES_IN_A_ROW = 3
# Seconds of a flush that are left to the disk once the last call is over.
_DISK_TIME = 0.25
_REFUSED_AS_A_WHOLE = no_answer("batch_refused")


class Replay:
    """A flush under way, for `timeout` seconds at most. `delivered` counts the items that the portal has now."""

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
        self._largest = _batch_size(client)
        # Half a batch after each failure: a whole one may be what a slow line can't carry in time.
        self._most = max(1, self._largest >> failures)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcome of each item. A flush that ends in the search for the one to blame has failed: the next one goes
        on with smaller batches.
        """
        return [*self._outcomes, _REFUSED_AS_A_WHOLE] if self._narrowing else self._outcomes

    def send_next_batch(self) -> bool:
        """Send the next batch and say whether to go on. None is begun that would probably outlast the deadline."""
        begun = monotonic()
        left = self._deadline - begun
        if left <= self._slowest:
            return False
        taken = self._store.take(self._flight, start=self._position, most=self._most)
        if not taken:
            return False
        outcomes = self._send([waiting.payload for waiting in taken], left)
        self._slowest = max(self._slowest, monotonic() - begun)
        self._narrowing = outcomes is None
        if outcomes is None:
            self._most = max(1, len(taken) // 2)
            return True
        self._settle(taken, outcomes)
        return not self._portal_is_away(outcomes)

    def _send(self, payloads: Sequence[dict[str, Any]], timeout: float) -> Optional[Sequence[Outcome]]:
        """The outcome of each item, or None for a batch refused as a whole: one item may be to blame for all."""
        if len(payloads) == 1:
            return [send_one(self._client, payloads[0], timeout)]
        return send_batch(self._client, payloads, timeout)

    def _settle(self, taken: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        """Note what became of the items first: on a full disk the store may only mark what was delivered."""
        self.delivered += sum(outcome.delivered for outcome in outcomes)
        self._outcomes.extend(outcomes)
        self.tried.update(waiting.line.start for waiting, outcome in zip(taken, outcomes) if not outcome.delivered)
        too_old = self._store.settle(self._flight, taken, outcomes)
        self._position = taken[-1].line.end
        self._most = min(self._largest, 2 * self._most)
        refused = sum(outcome.result is Result.REFUSED for outcome in outcomes)
        if refused or too_old:
            log(logging.WARNING, "spool: %d refused and quarantined, %d too old, dropped", refused, too_old)

    def _portal_is_away(self, outcomes: Sequence[Outcome]) -> bool:
        """A typed failure says so; bare Falses may each be about one run, so it takes a few in a row."""
        if any(outcome.keeps_item and outcome != BARE_FALSE for outcome in outcomes):
            return True
        latest = self._outcomes[-_BARE_FALSES_IN_A_ROW:]
        return latest == [BARE_FALSE] * _BARE_FALSES_IN_A_ROW


def _batch_size(client: Any) -> int:
    if isinstance(client, SpoolClient):
        return client.batch_size
    return MAX_RUNS_IN_BATCH if callable(getattr(client, "report_batch", None)) else 1


def send_one(client: Any, payload: Mapping[str, Any], timeout: float) -> Outcome:
    """The outcome of one item. Of a client other than ours only `report` is known, and a bool tells little."""
    if isinstance(client, SpoolClient):
        return client.send(payload, timeout)
    try:
        return Outcome(Result.DELIVERED) if client.report(payload) else BARE_FALSE
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return BARE_FALSE


def send_batch(client: Any, payloads: Sequence[dict[str, Any]], timeout: float) -> Optional[Sequence[Outcome]]:
    """The outcome of each item, or None when they are better sent in smaller batches.

    A client other than ours may answer True or the portal's decoded answer.
    """
    if isinstance(client, SpoolClient):
        return _each(client.report_batch(payloads, timeout), len(payloads))
    try:
        answer = client.report_batch(payloads)
    except Exception as error:
        log(logging.WARNING, "usage client raised %s", type(error).__name__)
        return None
    if isinstance(answer, Mapping):
        answer = classify_batch(Outcome(Result.DELIVERED), answer, payloads, "run_id")
    if isinstance(answer, BatchOutcome):
        return _each(answer, len(payloads))
    return [Outcome(Result.DELIVERED)] * len(payloads) if answer is True else None


def _each(answer: BatchOutcome, count: int) -> Optional[Sequence[Outcome]]:
    """None where one item may be to blame: it is refused, breaks the portal (500), or is too much for a proxy (413)."""
    if answer.whole.delivered:
        return answer.items
    if answer.whole.result is Result.REFUSED or answer.whole.status in (413, 500):
        return None
    return [answer.whole] * count
