"""What became of a call to the portal, judged in one place for every caller."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .backoff import parse_retry_after

_CODE = re.compile(r"[a-z][a-z_]{0,63}")
_TRANSIENT = frozenset({408, 429})


class Result(enum.Enum):
    DELIVERED = "delivered"
    """The portal has the run, from this call or an earlier one."""
    RETRY = "retry"
    """No answer, or one that may change by itself: keep it and try later."""
    AUTH = "auth"
    """The token was refused: keep it and try much later."""
    REFUSED = "refused"
    """The portal will never take it as it is."""


@dataclass(frozen=True)
class Outcome:
    """The end of one call. `status` is None when no answer came; `retry_after` is in seconds."""

    result: Result
    status: Optional[int] = None
    code: Optional[str] = None
    retry_after: Optional[float] = None

    @property
    def delivered(self) -> bool:
        return self.result is Result.DELIVERED

    @property
    def keeps_run(self) -> bool:
        """Whether a later attempt may deliver the run."""
        return self.result in (Result.RETRY, Result.AUTH)

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.result.value, self.status, self.code) if part is not None)


@dataclass(frozen=True)
class BatchOutcome:
    """The end of a batch: `items` has one outcome per run, in the order sent, and is empty unless `whole` delivered."""

    whole: Outcome
    items: tuple[Outcome, ...] = ()


BARE_FALSE = Outcome(Result.RETRY, code="bare_false")
"""What is known of a run when a client with nothing but `report(payload) -> bool` says False."""


def no_answer(code: str) -> Outcome:
    return Outcome(Result.RETRY, code=code)


def judge_response(response: Any, now: float) -> Outcome:
    """The outcome of an HTTP response. `now` is the Unix time that a Retry-After date is measured from."""
    status = response.status_code
    if not isinstance(status, int):
        return no_answer("no_status")
    headers = getattr(response, "headers", None)
    headers = headers if isinstance(headers, Mapping) else {}
    if 200 <= status < 300:
        return _judge_success(response, status, headers)
    retry_after = parse_retry_after(headers.get("Retry-After"), now)
    return Outcome(_result_of(status), status, _problem_code(response), retry_after)


def judge_batch(whole: Outcome, answer: object, runs: Sequence[Any], key: str = "run_id") -> BatchOutcome:
    """One outcome per run from a batch's answer; whatever the answer leaves open is to be tried again.

    `key` names what identifies a run, there and in the answer.
    """
    if not whole.delivered:
        return BatchOutcome(whole)
    results = answer.get("results") if isinstance(answer, Mapping) else None
    given = list(results) if isinstance(results, Sequence) and not isinstance(results, str) else []
    given += [None] * (len(runs) - len(given))
    return BatchOutcome(whole, tuple(_judge_item(item, run, key) for item, run in zip(given, runs)))


def json_body(response: Any) -> Any:
    """The decoded body, or None: a body that isn't JSON says nothing, and 2,000 brackets raise RecursionError."""
    try:
        return response.json()
    except Exception:
        return None


def _result_of(status: int) -> Result:
    if status in (401, 403):
        return Result.AUTH
    if 400 <= status < 500 and status not in _TRANSIENT:
        return Result.REFUSED
    return Result.RETRY


def _judge_success(response: Any, status: int, headers: Mapping[str, Any]) -> Outcome:
    """A hotel's login page answers 200 to everything, and a redirect turns a POST into a GET: neither is the portal."""
    redirected = isinstance(getattr(response, "history", None), list) and bool(response.history)
    if redirected or "text/html" in str(headers.get("Content-Type", "")).lower():
        return Outcome(Result.RETRY, status, "not_the_portal")
    return Outcome(Result.DELIVERED, status)


def _judge_item(item: object, run: Any, key: str) -> Outcome:
    if not isinstance(item, Mapping) or not _same_run(item.get(key), run, key):
        return no_answer("no_result")
    if item.get("status") in ("recorded", "duplicate"):
        return Outcome(Result.DELIVERED)
    if item.get("status") in ("conflict", "invalid"):
        return Outcome(Result.REFUSED, code=_stable_code(item.get("code")) or str(item["status"]))
    return no_answer("no_result")


def _same_run(answered: object, run: Any, key: str) -> bool:
    """Results come in the order sent; one that names another run shows that they didn't."""
    sent = run.get(key) if isinstance(run, Mapping) else None
    if not isinstance(answered, str) or not isinstance(sent, str):
        return True
    return answered.replace("-", "").lower() == sent.replace("-", "").lower()


def _problem_code(response: Any) -> Optional[str]:
    body = json_body(response)
    return _stable_code(body.get("code")) if isinstance(body, Mapping) else None


def _stable_code(code: object) -> Optional[str]:
    """Only what looks like one of the portal's codes: these end in logs, and an answer may echo anything."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None
