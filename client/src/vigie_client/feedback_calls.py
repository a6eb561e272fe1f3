"""Delivering feedback: one by one, since the portal judges each by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from .outcomes import BatchOutcome, Outcome, Result, judge_response
from .payload import utc_text
from .telemetry import UNSERIALISABLE, SpoolClient, serialisable

FEEDBACK_PATH = "/api/v1/beta/feedback"
# Of the refusals that tell of something missing, the one that no later answer will take back.
_UNKNOWN = "programme_unknown"
_FOREIGN = Outcome(Result.REFUSED, code="no_feedback")


class FeedbackCalls(SpoolClient):
    """Sends payloads `{"started_at": ..., "feedback": {...}}`, as `FeedbackClient` spools them."""

    batch_size = 1
    what = "feedback"

    def send(self, payload: Mapping[str, Any]) -> Outcome:
        return self._within_deadline(lambda: BatchOutcome(self._send(payload))).whole

    def report_batch(self, payloads: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        """There is no call for several."""
        return BatchOutcome(Outcome(Result.DELIVERED), tuple(map(self.send, payloads)))

    def _send(self, payload: Mapping[str, Any]) -> Outcome:
        told = payload.get("feedback")
        if not isinstance(told, dict):
            return _FOREIGN
        body = {**told, "sent_at": utc_text(datetime.now(timezone.utc))}
        if not serialisable(body):
            return UNSERIALISABLE
        outcome = judge_response(self._post(FEEDBACK_PATH, body), time.time())
        # A proxy's page, or a portal that has no such call yet.
        gone = outcome.status == 404 and outcome.code != _UNKNOWN
        return replace(outcome, result=Result.RETRY) if gone else outcome
