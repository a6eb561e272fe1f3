"""Send the feedback of a beta programme's participant to the portal."""

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
    """Sends feedback to the portal at `base_url` through a spool of its own.

    `session` comes from `make_session`, or is the token or token store to make it of. Feedback is on disk before `send`
    returns. A daemon thread delivers it `deliver_after` seconds later, and retries once the spool's pause is over.
    `programme` is the name of the beta programme; by default the portal uses the only one that ran on the day. No
    method raises. Only `flush`, the end of a `with` block, and `send` if the disk fails wait for the portal, at most
    `timeout` seconds.
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
        """Return True once the feedback is on disk, or in the portal if the disk fails.

        Returns False and logs the reason if both fail or the portal would refuse it; returns False silently with
        VIGIE_TELEMETRY=off. `type` is bug, ux, feature or other, `severity` critical, high, medium or low, `nps_score`
        0 to 10. `comment` is cut to 100,000 characters and `page` to 200, without its query.
        """
        try:
            reason = refusal_reason(participant, type, severity, nps_score, comment)
            if reason is not None:
                log(logging.WARNING, "feedback isn't accepted: %s", reason, logger=self._logger)
                return False
            details = {"type": type, "severity": severity, "nps_score": nps_score, "comment": cut_comment(comment)}
            return self._spool_or_send(
                {"participant": participant_name(participant), **details, "page": reduce_page(page)}
            )
        except Exception as error:
            log(logging.ERROR, "feedback can't be recorded: %s", error.__class__.__name__, logger=self._logger)
            return False

    def flush(self, *, force: bool = False) -> int:
        """Deliver waiting feedback now, in the calling thread, like `flush_spool`. Return the number delivered."""
        return self._courier.flush(force=force)

    def _spool_or_send(self, given: dict[str, Any]) -> bool:
        """Spool the fields that are not empty."""
        now = format_now()
        fields = {"programme": self._programme, "app_version": self._app_version, **given}
        feedback = {name: value for name, value in fields.items() if value not in (None, "")}
        return self._courier.spool_or_send({"feedback": {"id": uuid.uuid4().hex, "given_at": now, **feedback}})
