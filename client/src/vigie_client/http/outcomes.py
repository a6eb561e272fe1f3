"""Outcomes of a call to the portal and of each item it carried: one rule for every caller and every spool.

Only the portal decides about an item: a receipt that names the item delivers it, and a problem with one of
QUARANTINE_CODES moves it to the quarantine. After anything else (a proxy's page, a refused token, no answer) it waits.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from vigie_client.contract import QUARANTINE_CODES
from vigie_client.http.backoff import parse_retry_after

_CODE = re.compile(r"[a-z][a-z_]{0,63}")
_PROBLEM = "application/problem+json"
_TRANSIENT = frozenset({408, 429})
_RECEIPTS = ("recorded", "duplicate")
_REFUSALS = ("conflict", "invalid")
# The token may not send this item. As with a 403 for the whole call, a person must first correct the token.
_AUTH_CODES = frozenset({"machine_mismatch", "app_mismatch", "licence_mismatch"})
# Refusals that an operator is asked to lift within minutes: retry soon.
_PENDING_CODES = frozenset({"approval_required"})


class Result(enum.Enum):
    DELIVERED = "delivered"
    """The portal has the item, from this call or an earlier one."""
    RETRY = "retry"
    """No answer, a foreign one, or one that may change by itself: keep the item and retry later."""
    AUTH = "auth"
    """The token was refused: keep the item and retry much later."""
    REFUSED = "refused"
    """The portal will never accept the item as it is."""


@dataclass(frozen=True)
class Outcome:
    """The result of one call. `status` is None without an answer; `retry_after` is in seconds."""

    result: Result
    status: Optional[int] = None
    code: Optional[str] = None
    retry_after: Optional[float] = None

    @property
    def delivered(self) -> bool:
        return self.result is Result.DELIVERED

    @property
    def keeps_item(self) -> bool:
        """True if a later attempt may deliver the item."""
        return self.result in (Result.RETRY, Result.AUTH)

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.result.value, self.status, self.code) if part is not None)


@dataclass(frozen=True)
class BatchOutcome:
    """The result of a batch: `items` has one outcome per item, in the order sent. Empty unless `whole` is delivered."""

    whole: Outcome
    items: tuple[Outcome, ...] = ()


BARE_FALSE = Outcome(Result.RETRY, code="bare_false")
"""The outcome if a client with nothing but `report(payload) -> bool` returns False."""


def no_answer(code: str) -> Outcome:
    return Outcome(Result.RETRY, code=code)


def classify_response(response: Any, now: float) -> Outcome:
    """Return the outcome of an HTTP response. A Retry-After date is measured from the Unix time `now`.

    REFUSED only for a problem of the portal: the answer of a proxy says nothing about the call.
    """
    status = response.status_code
    if not isinstance(status, int):
        return no_answer("no_status")
    headers = getattr(response, "headers", None)
    headers = headers if isinstance(headers, Mapping) else {}
    if 200 <= status < 300:
        return _classify_success(response, status, headers)
    code = _problem_code(response, headers)
    return Outcome(_choose_result(status, code), status, code, parse_retry_after(headers.get("Retry-After"), now))


def classify_delivery(response: Any, now: float) -> Outcome:
    """Return the outcome of a call with spooled items: REFUSED only for a code that is about an item."""
    outcome = classify_response(response, now)
    if outcome.result is Result.REFUSED and outcome.code not in QUARANTINE_CODES:
        return replace(outcome, result=Result.RETRY)
    return outcome


def classify_single(response: Any, item: Any, now: float, key: str) -> Outcome:
    """Return the outcome of a call with one item, identified by its field `key`, which the answer repeats."""
    whole = classify_delivery(response, now)
    if not whole.delivered:
        return whole
    return replace(_classify_item(json_body(response), item, key), status=whole.status)


def classify_batch(whole: Outcome, answer: object, items: Sequence[Any], key: str) -> BatchOutcome:
    """Return one outcome per item of a batch. An item that the answer does not name waits."""
    if not whole.delivered:
        return BatchOutcome(whole)
    results = answer.get("results") if isinstance(answer, Mapping) else None
    if not isinstance(results, list):
        return BatchOutcome(replace(_NO_RECEIPT, status=whole.status))
    padded = results + [None] * (len(items) - len(results))
    return BatchOutcome(whole, tuple(_classify_item(result, item, key) for result, item in zip(padded, items)))


def json_body(response: Any) -> Any:
    """Return the decoded body, or None if it is not JSON. Catches RecursionError too, which 2,000 brackets raise."""
    try:
        return response.json()
    except Exception:
        return None


_NO_RECEIPT = no_answer("no_receipt")


def _choose_result(status: int, code: Optional[str]) -> Result:
    if status in (401, 403):
        return Result.AUTH
    if code is not None and 400 <= status < 500 and status not in _TRANSIENT and code not in _PENDING_CODES:
        return Result.REFUSED
    return Result.RETRY


def _classify_success(response: Any, status: int, headers: Mapping[str, Any]) -> Outcome:
    """Detect a captive portal, which answers 200 to everything, and a redirect, which turned the POST into a GET."""
    redirected = isinstance(getattr(response, "history", None), list) and bool(response.history)
    if redirected or "text/html" in _content_type(headers):
        return Outcome(Result.RETRY, status, "not_the_portal")
    return Outcome(Result.DELIVERED, status)


def _classify_item(result: object, item: Any, key: str) -> Outcome:
    """Match a result by the item's id, or by its position: the portal leaves out an id that it could not read."""
    if not isinstance(result, Mapping):
        return _NO_RECEIPT
    is_named = _is_same_id(result.get(key), item, key)
    if is_named and result.get("status") in _RECEIPTS:
        return Outcome(Result.DELIVERED)
    if result.get("status") not in _REFUSALS or not (is_named or result.get(key) is None):
        return _NO_RECEIPT
    code = _stable_code(result.get("code"))
    if code in QUARANTINE_CODES:
        return Outcome(Result.REFUSED, code=code)
    return Outcome(Result.AUTH if code in _AUTH_CODES else Result.RETRY, code=code or "no_receipt")


def _is_same_id(answered: object, item: Any, key: str) -> bool:
    """Compare the answered id with the sent one, in any notation of a UUID."""
    sent = item.get(key) if isinstance(item, Mapping) else None
    if not isinstance(answered, str) or not isinstance(sent, str):
        return False
    return answered.replace("-", "").lower() == sent.replace("-", "").lower()


def _problem_code(response: Any, headers: Mapping[str, Any]) -> Optional[str]:
    body = json_body(response) if _PROBLEM in _content_type(headers) else None
    return _stable_code(body.get("code")) if isinstance(body, Mapping) else None


def _content_type(headers: Mapping[str, Any]) -> str:
    return str(headers.get("Content-Type", "")).lower()


def _stable_code(code: object) -> Optional[str]:
    """Return the code if it has the form of a portal code. Codes are logged, and an answer may echo anything."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None
