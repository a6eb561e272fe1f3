"""Send spooled runs, activity and feedback. Late, wrong or missing answers never reach the host program."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from vigie_client.contract import EVENT_KEYS, MAX_EVENTS_IN_CALL
from vigie_client.http.outcomes import BatchOutcome, Outcome, Result, classify_batch, classify_delivery, json_body
from vigie_client.spool.client import UNSERIALIZABLE, SpoolClient, with_sent_at

REPORT_PATH = "/api/v1/usage/report"
BATCH_PATH = "/api/v1/usage/report/batch"
EVENTS_PATH = "/api/v1/usage/events"
FEEDBACK_PATH = "/api/v1/beta/feedback"
LISTS = tuple(EVENT_KEYS)
_NOT_AN_EVENT = Outcome(Result.REFUSED, code="no_event")
_NOT_FEEDBACK = Outcome(Result.REFUSED, code="no_feedback")


class UsageTelemetryClient(SpoolClient):
    """Sends runs. With VIGIE_TELEMETRY=off it sends nothing, and spooled runs stay for later."""

    def report(self, payload: Mapping[str, Any]) -> bool:
        """Send a run. Return True if the portal has it, from this call or an earlier one."""
        return self.send(payload).delivered

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        """Send a run and return its outcome."""
        return self._send_item(REPORT_PATH, payload, "run_id", timeout)

    def report_batch(self, runs: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several runs in one call. The portal refuses all beyond MAX_RUNS_IN_BATCH runs or MAX_BODY bytes."""
        return self._within_deadline(lambda: self._send_batch(runs), timeout)

    def _send_batch(self, runs: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        bodies = [with_sent_at(run) for run in runs]
        if None in bodies:
            return BatchOutcome(UNSERIALIZABLE)
        response = self._post(BATCH_PATH, {"runs": bodies})
        return classify_batch(classify_delivery(response, time.time()), json_body(response), runs, "run_id")


class ActivitySender(SpoolClient):
    """Sends payloads `{"list": one of LISTS, "event": {...}}`, as `ActivityTracker` spools them."""

    batch_size = MAX_EVENTS_IN_CALL
    label = "activity"

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        answer = self.report_batch([payload], timeout)
        return answer.items[0] if answer.items else answer.whole

    def report_batch(self, payloads: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several events in one call. The portal refuses all beyond MAX_EVENTS_IN_CALL or MAX_BODY bytes."""
        return self._within_deadline(lambda: self._send_batch(payloads), timeout)

    def _send_batch(self, payloads: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        if not all(each.get("list") in LISTS and isinstance(each.get("event"), dict) for each in payloads):
            return BatchOutcome(_NOT_AN_EVENT)
        body = with_sent_at({name: [each["event"] for each in payloads if each["list"] == name] for name in LISTS})
        if body is None:
            return BatchOutcome(UNSERIALIZABLE)
        response = self._post(EVENTS_PATH, body)
        events = [each["event"] for each in payloads]
        answer = _order_as_sent(json_body(response), payloads)
        return classify_batch(classify_delivery(response, time.time()), answer, events, "id")


def _order_as_sent(answer: Any, payloads: Sequence[Mapping[str, Any]]) -> Any:
    """Merge the portal's results, which come list by list, into the order sent. A missing result is None."""
    results = answer.get("results") if isinstance(answer, Mapping) else None
    if not isinstance(results, Mapping):
        return None
    lists = {name: iter(results[name] if isinstance(results.get(name), list) else ()) for name in LISTS}
    return {"results": [next(lists[each["list"]], None) for each in payloads]}


class FeedbackSender(SpoolClient):
    """Sends payloads `{"feedback": {...}}`, as `FeedbackClient` spools them."""

    batch_size = 1  # there is no call for several
    label = "feedback"

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        feedback = payload.get("feedback")
        if not isinstance(feedback, dict):
            return self._within_deadline(lambda: BatchOutcome(_NOT_FEEDBACK), timeout).whole
        return self._send_item(FEEDBACK_PATH, feedback, "id", timeout)
