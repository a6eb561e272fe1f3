"""JSON calls to the portal, which return an answer in time or raise one typed error."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

from vigie_client.http.deadlines import CallFailed, DeadlineRunner
from vigie_client.http.outcomes import Outcome, Result, classify_response, json_body, no_answer

_runner = DeadlineRunner()


class PortalError(Exception):
    """A call failed.

    `permanent` is True if a retry cannot help until a person acts; `code` is the portal's stable code, or the reason
    why it did not answer; `status` is None without an answer; `retry_after` is in seconds; `detail` is the portal's
    sentence, or empty. Never holds a token.
    """

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
        self.permanent = outcome.result is not Result.RETRY
        self.code: Optional[str] = outcome.code
        self.status: Optional[int] = outcome.status
        self.retry_after: Optional[float] = outcome.retry_after
        self.detail = detail


def post_json(session: Any, url: str, body: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
    """POST and return the decoded answer, within `timeout` seconds in all. Raises PortalError."""

    def post() -> tuple[Outcome, Any]:
        response = session.post(url, json=body, timeout=timeout)
        return classify_response(response, time.time()), json_body(response)

    try:
        outcome, answer = _runner.run(post, timeout)
    except CallFailed as failure:
        raise PortalError(no_answer(failure.kind)) from None
    if not outcome.delivered:
        raise PortalError(outcome, _read_detail(answer))
    if not isinstance(answer, Mapping):
        raise PortalError(no_answer("not_json"))
    return answer


def require_text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text of the answer. Raises PortalError, worth a retry, if it is missing."""
    value = answer.get(key)
    if not isinstance(value, str) or not value:
        raise PortalError(no_answer(f"no_{key}"))
    return value


def _read_detail(answer: Any) -> str:
    detail = answer.get("detail") if isinstance(answer, Mapping) else None
    return "".join(filter(str.isprintable, detail))[:300] if isinstance(detail, str) else ""
