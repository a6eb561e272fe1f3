"""Deliver feedback, one item per call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

from vigie_client.http.outcomes import BatchOutcome, Outcome, Result, classify_single
from vigie_client.http.times import format_now
from vigie_client.spool.client import UNSERIALIZABLE, SpoolClient, is_serializable

FEEDBACK_PATH = "/api/v1/beta/feedback"
_NOT_FEEDBACK = Outcome(Result.REFUSED, code="no_feedback")


class FeedbackCalls(SpoolClient):
    """Sends payloads `{"feedback": {...}}`, as `FeedbackClient` spools them."""

    batch_size = 1  # there is no call for several
    label = "feedback"

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        return self._within_deadline(lambda: BatchOutcome(self._send(payload)), timeout).whole

    def _send(self, payload: Mapping[str, Any]) -> Outcome:
        feedback = payload.get("feedback")
        if not isinstance(feedback, dict):
            return _NOT_FEEDBACK
        body = {**feedback, "sent_at": format_now()}
        if not is_serializable(body):
            return UNSERIALIZABLE
        return classify_single(self._post(FEEDBACK_PATH, body), body, time.time(), "id")
