"""Reporting usage from inside another program: late, wrong or absent answers are ours to bear, never the host's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from vigie_client.http.outcomes import (
    BatchOutcome,
    Outcome,
    classify_batch,
    classify_delivery,
    classify_single,
    json_body,
)
from vigie_client.http.times import format_now
from vigie_client.spool.client import UNSERIALIZABLE, SpoolClient, is_serializable

REPORT_PATH = "/api/v1/usage/report"
BATCH_PATH = "/api/v1/usage/report/batch"


class UsageTelemetryClient(SpoolClient):
    """Reports runs. With VIGIE_TELEMETRY=off nothing is sent: what is to be told is kept for later."""

    def report(self, payload: Mapping[str, Any]) -> bool:
        """Whether the portal has the run now, be it from this call or from an earlier one."""
        return self.send(payload).delivered

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        """As `report`, saying what became of it."""
        return self._within_deadline(lambda: BatchOutcome(self._send(payload)), timeout).whole

    def report_batch(self, runs: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Report several runs in one call: at most 100 and 900 KiB, or the portal refuses the whole."""
        return self._within_deadline(lambda: self._send_batch(runs), timeout)

    def _send(self, payload: Mapping[str, Any]) -> Outcome:
        body = _stamped(payload)
        if body is None:
            return UNSERIALIZABLE
        return classify_single(self._post(REPORT_PATH, body), body, time.time(), "run_id")

    def _send_batch(self, runs: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        stamped = [_stamped(run) for run in runs]
        if None in stamped:
            return BatchOutcome(UNSERIALIZABLE)
        response = self._post(BATCH_PATH, {"runs": stamped})
        return classify_batch(classify_delivery(response, time.time()), json_body(response), runs, "run_id")


def _stamped(payload: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """The payload with the time of sending, or None if JSON can't say it (a set, NaN, a cycle): it never will."""
    try:
        body = {**payload, "sent_at": format_now()}
    except Exception:
        return None
    return body if is_serializable(body) else None
