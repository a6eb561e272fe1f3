"""The client interface by which a spool delivers its items, and the opt-out of telemetry."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from vigie_client.contract import MAX_RUNS_IN_BATCH
from vigie_client.disk.logs import log
from vigie_client.http.deadlines import CallFailed, DeadlineRunner
from vigie_client.http.outcomes import BatchOutcome, Outcome, Result, classify_single, no_answer
from vigie_client.http.sessions import ensure_session
from vigie_client.http.times import format_now

DEFAULT_TIMEOUT = 4.0

UNSERIALIZABLE = Outcome(Result.REFUSED, code="unserialisable")
_TELEMETRY_OFF = Outcome(Result.RETRY, code="telemetry_off")

OFF = frozenset({"off", "0", "false", "no"})


def is_telemetry_off() -> bool:
    """Return True if VIGIE_TELEMETRY opts out. Checked each time before anything is written or sent."""
    return os.environ.get("VIGIE_TELEMETRY", "").strip().lower() in OFF


class SpoolClient:
    """Delivers payloads of a spool to the portal at `base_url` through `session`.

    `session` sends the token (see `make_session`): any object with `post(url, json=..., timeout=...)`, or a token or
    token store to make one of. No method raises, and none takes longer than `timeout` seconds in all.
    """

    batch_size = MAX_RUNS_IN_BATCH
    label = "usage report"

    def __init__(
        self, base_url: str, session: Any, timeout: float = DEFAULT_TIMEOUT, logger: Optional[Any] = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = float(timeout)
        self._session = ensure_session(session)
        self._logger = logger
        self._runner = DeadlineRunner()

    def send(self, payload: Mapping[str, Any], timeout: Optional[float] = None) -> Outcome:
        """Send one payload. `timeout` can shorten that of the client."""
        raise NotImplementedError

    def report_batch(self, payloads: Sequence[Mapping[str, Any]], timeout: Optional[float] = None) -> BatchOutcome:
        """Send several payloads in one call. `timeout` can shorten that of the client."""
        raise NotImplementedError

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._session.post(self.base_url + path, json=body, timeout=self.timeout)

    def _send_item(self, path: str, item: Mapping[str, Any], key: str, timeout: Optional[float]) -> Outcome:
        """Send one item, identified by its field `key`, which the answer repeats."""

        def send() -> BatchOutcome:
            body = with_sent_at(item)
            if body is None:
                return BatchOutcome(UNSERIALIZABLE)
            return BatchOutcome(classify_single(self._post(path, body), body, time.time(), key))

        return self._within_deadline(send, timeout).whole

    def _within_deadline(self, call: Callable[[], BatchOutcome], timeout: Optional[float]) -> BatchOutcome:
        if is_telemetry_off():
            return BatchOutcome(_TELEMETRY_OFF)
        try:
            outcome = self._runner.run(call, self.timeout if timeout is None else min(timeout, self.timeout))
        except CallFailed as failure:
            outcome = BatchOutcome(no_answer(failure.kind))
        for reason in sorted({str(each) for each in outcome.items or (outcome.whole,) if not each.delivered}):
            log(logging.WARNING, "%s not delivered: %s", self.label, reason, logger=self._logger)
        return outcome


def with_sent_at(body: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Add the time of sending. Return None for what JSON cannot hold, such as a set, NaN or a cycle."""
    try:
        stamped = {**body, "sent_at": format_now()}
        json.dumps(stamped, allow_nan=False)
    except Exception:
        return None
    return stamped
