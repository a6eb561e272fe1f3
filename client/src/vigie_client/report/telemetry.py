"""Send usage reports to the portal. Late, wrong or missing answers never reach the host program."""

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
    """Sends runs. With VIGIE_TELEMETRY=off it sends nothing, and spooled runs stay for later."""

    def report(self, payload: Mapping[str, Any]) -> bool:
        """Send a run. Return True if the portal has it, from this call or an earlier one."""
        return self.send(payload).delivered

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        """Send a run and return its outcome."""
        return self._within_deadline(lambda: BatchOutcome(self._send(payload)), timeout).whole

    def report_batch(self, runs: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several runs in one call: at most 100 and 900 KiB, or the portal refuses all of them."""
        return self._within_deadline(lambda: self._send_batch(runs), timeout)

    def _send(self, payload: Mapping[str, Any]) -> Outcome:
        body = _with_sent_at(payload)
        if body is None:
            return UNSERIALIZABLE
        return classify_single(self._post(REPORT_PATH, body), body, time.time(), "run_id")

    def _send_batch(self, runs: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        bodies = [_with_sent_at(run) for run in runs]
        if None in bodies:
            return BatchOutcome(UNSERIALIZABLE)
        response = self._post(BATCH_PATH, {"runs": bodies})
        return classify_batch(classify_delivery(response, time.time()), json_body(response), runs, "run_id")


def _with_sent_at(payload: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Add the time of sending. Return None if the payload can never be encoded as JSON."""
    try:
        body = {**payload, "sent_at": format_now()}
    except Exception:
        return None
    return body if is_serializable(body) else None
