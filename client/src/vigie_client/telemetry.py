"""Reporting usage from inside another program: late, wrong or absent answers are ours to bear, never the host's."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from .contract import MAX_RUNS_IN_BATCH
from .deadlines import CallFailed, DeadlineRunner
from .logs import log
from .opt_out import telemetry_off
from .outcomes import BatchOutcome, Outcome, Result, json_body, judge_batch, judge_delivery, judge_single, no_answer
from .payload import now_text
from .sessions import session_of

REPORT_PATH = "/api/v1/usage/report"
BATCH_PATH = "/api/v1/usage/report/batch"
DEFAULT_TIMEOUT = 4.0

UNSERIALISABLE = Outcome(Result.REFUSED, code="unserialisable")
_TELEMETRY_OFF = Outcome(Result.RETRY, code="telemetry_off")


class SpoolClient:
    """What a spool needs of its client: one payload or many delivered to the portal at `base_url` through `session`.

    `session` holds the token (see `make_session`) and is anything with `post(url, json=..., timeout=...)`; a token, or
    the machine's token store, is made one. No method raises, and none takes longer than `timeout` seconds in all.
    """

    batch_size = MAX_RUNS_IN_BATCH
    what = "usage report"

    def __init__(
        self, base_url: str, session: Any, timeout: float = DEFAULT_TIMEOUT, logger: Optional[Any] = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = float(timeout)
        self._session = session_of(session)
        self._logger = logger
        self._runner = DeadlineRunner()

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        """Send one payload; its outcome. `timeout` shortens that of the client."""
        raise NotImplementedError

    def report_batch(self, payloads: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several in one call; their outcomes. `timeout` shortens that of the client."""
        raise NotImplementedError

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._session.post(self.base_url + path, json=body, timeout=self.timeout)

    def _within_deadline(self, call: Callable[[], BatchOutcome], timeout: Optional[float]) -> BatchOutcome:
        if telemetry_off():
            return BatchOutcome(_TELEMETRY_OFF)
        try:
            answer = self._runner.run(call, self.timeout if timeout is None else min(timeout, self.timeout))
        except CallFailed as failure:
            answer = BatchOutcome(no_answer(failure.kind))
        for reason in sorted({str(each) for each in answer.items or (answer.whole,) if not each.delivered}):
            log(logging.WARNING, "%s not delivered: %s", self.what, reason, logger=self._logger)
        return answer


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
        return (
            UNSERIALISABLE if body is None else judge_single(self._post(REPORT_PATH, body), body, time.time(), "run_id")
        )

    def _send_batch(self, runs: Sequence[Mapping[str, Any]]) -> BatchOutcome:
        stamped = [_stamped(run) for run in runs]
        if None in stamped:
            return BatchOutcome(UNSERIALISABLE)
        response = self._post(BATCH_PATH, {"runs": stamped})
        return judge_batch(judge_delivery(response, time.time()), json_body(response), runs, "run_id")


def _stamped(payload: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """The payload with the time of sending, or None if JSON can't say it (a set, NaN, a cycle): it never will."""
    try:
        body = {**payload, "sent_at": now_text()}
    except Exception:
        return None
    return body if serialisable(body) else None


def serialisable(body: Any) -> bool:
    """Whether JSON can say it."""
    try:
        json.dumps(body, allow_nan=False)
    except Exception:
        return False
    return True
