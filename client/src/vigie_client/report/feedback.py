"""What a participant of a beta programme says of the program, once and for the portal."""

from __future__ import annotations

import logging
import uuid
from typing import Any, Optional

from vigie_client.contract import participant_name
from vigie_client.disk.logs import log
from vigie_client.http.times import format_now
from vigie_client.report.feedback_calls import FeedbackCalls
from vigie_client.report.feedback_rules import cut_comment, cut_version, reduce_page, refusal_reason
from vigie_client.spool.courier import Courier
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import DEFAULT_LIMITS, SpoolPath


class FeedbackClient:
    """Sends feedback to the portal at `base_url`, by way of a spool of its own.

    `session` is one of `make_session`, or the token or token store to make it of. Feedback is on disk before `send`
    returns, and a daemon thread delivers it `deliver_after` seconds later; what the portal could not take, once the
    spool's pause is over. `programme` is the name of the beta programme; without one the portal takes the only one that
    ran on the day. No method raises. Only `flush`, the end of a `with` block, and `send` where the disk takes nothing
    wait for the portal, for `timeout` seconds at most.
    """

    def __init__(
        self,
        base_url: str,
        session: Any,
        *,
        spool_path: SpoolPath,
        programme: Optional[str] = None,
        app_version: Optional[str] = None,
        timeout: float = 4.0,
        limits: SpoolLimits = DEFAULT_LIMITS,
        deliver_after: float = 0.0,
        logger: Optional[Any] = None,
    ) -> None:
        calls = FeedbackCalls(base_url, session, timeout, logger)
        self._courier = Courier(calls, spool_path, limits, deliver_after)
        self._programme = programme
        self._app_version = cut_version(app_version)
        self._logger = logger

    def __enter__(self) -> FeedbackClient:
        return self

    def __exit__(self, *_: Any) -> None:
        self._courier.finish()

    def send(
        self,
        participant: str,
        *,
        type: str = "other",
        severity: Optional[str] = None,
        nps_score: Optional[int] = None,
        comment: str = "",
        page: Optional[str] = None,
    ) -> bool:
        """True once it is on disk, or with the portal where the disk takes nothing; False, and a log line, otherwise.

        That is where the portal would refuse it too, and, without the line, with VIGIE_TELEMETRY=off.
        `type` is bug, ux, feature or other, `severity` critical, high, medium or low, `nps_score` 0 to 10. What is too
        long of `comment` (100,000 characters) and `page` (200, without its query) is cut.
        """
        try:
            reason = refusal_reason(participant, type, severity, nps_score, comment)
            if reason is not None:
                log(logging.WARNING, "feedback isn't taken: %s", reason, logger=self._logger)
                return False
            told = {"type": type, "severity": severity, "nps_score": nps_score, "comment": cut_comment(comment)}
            return self._tell({"participant": participant_name(participant), **told, "page": reduce_page(page)})
        except Exception as error:
            log(logging.ERROR, "feedback can't be taken: %s", error.__class__.__name__, logger=self._logger)
            return False

    def flush(self, *, force: bool = False) -> int:
        """Deliver now what waits; the number delivered. As `flush_spool`, in the thread that calls it."""
        return self._courier.flush(force=force)

    def _tell(self, said: dict[str, Any]) -> bool:
        """Spool what is not empty."""
        now = format_now()
        known = {"programme": self._programme, "app_version": self._app_version, **said}
        told = {name: value for name, value in known.items() if value not in (None, "")}
        return self._courier.spool_or_send({"feedback": {"id": uuid.uuid4().hex, "given_at": now, **told}})
