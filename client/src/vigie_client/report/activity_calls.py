"""Deliver activity events: many in one call, with an outcome for each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from vigie_client.contract import EVENT_KEYS, MAX_EVENTS_IN_CALL
from vigie_client.http.outcomes import BatchOutcome, Outcome, Result, classify_batch, classify_delivery, json_body
from vigie_client.http.times import format_now
from vigie_client.spool.client import UNSERIALIZABLE, SpoolClient, is_serializable

EVENTS_PATH = "/api/v1/usage/events"
LISTS = tuple(EVENT_KEYS)
_NOT_AN_EVENT = Outcome(Result.REFUSED, code="no_event")


class ActivityClient(SpoolClient):
    """Sends payloads `{"list": one of LISTS, "event": {...}}`, as `ActivityTracker` spools them."""

    batch_size = MAX_EVENTS_IN_CALL
    label = "activity"

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        answer = self.report_batch([payload], timeout)
        return answer.items[0] if answer.items else answer.whole

    def report_batch(self, payloads: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several events in one call: at most 500 and 900 KiB, or the portal refuses all of them."""
        return self._within_deadline(lambda: self._send_all(payloads), timeout)

    def _send_all(self, payloads: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        if not all(map(_is_event, payloads)):
            return BatchOutcome(_NOT_AN_EVENT)
        body: dict[str, Any] = {name: [each["event"] for each in payloads if each["list"] == name] for name in LISTS}
        body["sent_at"] = format_now()
        if not is_serializable(body):
            return BatchOutcome(UNSERIALIZABLE)
        response = self._post(EVENTS_PATH, body)
        events = [each["event"] for each in payloads]
        answer = _order_as_sent(json_body(response), payloads)
        return classify_batch(classify_delivery(response, time.time()), answer, events, "id")


def _is_event(payload: Mapping[str, Any]) -> bool:
    return payload.get("list") in LISTS and isinstance(payload.get("event"), dict)


def _order_as_sent(answer: Any, payloads: Sequence[Mapping[str, Any]]) -> Any:
    """Merge the portal's results, which come list by list, into the order sent. A missing result is None."""
    results = answer.get("results") if isinstance(answer, Mapping) else None
    if not isinstance(results, Mapping):
        return None
    lists = {name: iter(results[name] if isinstance(results.get(name), list) else ()) for name in LISTS}
    return {"results": [next(lists[each["list"]], None) for each in payloads]}
