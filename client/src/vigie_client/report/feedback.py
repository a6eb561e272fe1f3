"""Send the feedback of a beta programme's participant to the portal."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any, Optional

from vigie_client.contract import (
    FEEDBACK_SEVERITIES,
    FEEDBACK_TYPES,
    MAX_BODY,
    MAX_COMMENT,
    MAX_PAGE,
    MAX_VERSION,
    is_score,
    participant_name,
    strip_query,
)
from vigie_client.disk.logs import log
from vigie_client.http.times import format_now
from vigie_client.report.payload_rules import convert_text
from vigie_client.report.senders import FeedbackSender
from vigie_client.spool.background import BackgroundSpool
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import DEFAULT_LIMITS, SpoolPath

# JSON bytes of a comment, which leaves room for the other fields.
_MAX_COMMENT_BYTES = MAX_BODY - 134 * 1024
_LONGEST_ESCAPE = len(json.dumps("😀")) - len('""')


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
        sender = FeedbackSender(base_url, session, timeout, logger)
        self._spool = BackgroundSpool(sender, spool_path, limits, deliver_after)
        self._programme = programme
        self._app_version = convert_text(app_version)[:MAX_VERSION]
        self._logger = logger

    def __enter__(self) -> FeedbackClient:
        return self

    def __exit__(self, *_: Any) -> None:
        self._spool.finish()

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
            who = {"participant": participant_name(participant), "page": reduce_page(page)}
            return self._spool_or_send({**who, **details})
        except Exception as error:
            log(logging.ERROR, "feedback can't be recorded: %s", error.__class__.__name__, logger=self._logger)
            return False

    def flush(self, *, force: bool = False) -> int:
        """Deliver waiting feedback now, in the calling thread, like `flush_spool`. Return the number delivered."""
        return self._spool.flush(force=force)

    def _spool_or_send(self, given: dict[str, Any]) -> bool:
        """Spool the fields that are not empty."""
        now = format_now()
        fields = {"programme": self._programme, "app_version": self._app_version, **given}
        feedback = {name: value for name, value in fields.items() if value not in (None, "")}
        return self._spool.add_or_send({"feedback": {"id": uuid.uuid4().hex, "given_at": now, **feedback}})


# --- Rules of the portal: nothing is taken that it would refuse ------------------------------------------------------


def refusal_reason(participant: Any, kind: Any, severity: Any, nps_score: Any, comment: Any) -> Optional[str]:
    """Return why the portal would refuse this feedback, without repeating a value; None if it would not."""
    if not participant_name(participant):
        return "no participant"
    if kind not in (*FEEDBACK_TYPES, "", None):
        return "no such type"
    if severity not in (*FEEDBACK_SEVERITIES, "", None):
        return "no such severity"
    if nps_score is not None and not is_score(nps_score):
        return "no such score"
    if comment is not None and not isinstance(comment, str):
        return "the comment is no text"
    is_empty = nps_score is None and not (isinstance(comment, str) and comment.strip())
    return "neither score nor comment" if is_empty else None


def cut_comment(value: Any) -> str:
    """Cut a comment to the length that fits one call as JSON."""
    comment = value[:MAX_COMMENT] if isinstance(value, str) else ""
    if len(json.dumps(comment)) <= _MAX_COMMENT_BYTES:
        return comment
    return comment[: _MAX_COMMENT_BYTES // _LONGEST_ESCAPE]


def reduce_page(value: Any) -> str:
    return strip_query(value).strip()[:MAX_PAGE] if isinstance(value, str) else ""
