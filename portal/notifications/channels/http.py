"""One POST: no redirects, a capped answer, and failures that name no address, for it may hold a secret."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.notifications.channels import base
from portal.notifications.channels.base import DeliveryError

ANSWER_LENGTH = 64 * 1024
LONGEST_PAUSE = 24 * 3600.0
# Of the time for a sending, after which what has been read of an answer must do: its status is there already.
READING_SHARE = 0.8


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds, of either form that the header may have."""
        return seconds_of(self.headers.get("Retry-After", ""))


def seconds_of(value: Any) -> float | None:
    """Of a number or a date, within a day; None for anything else."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            seconds = (parsedate_to_datetime(str(value)) - timezone.now()).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else None  # NaN is no number of seconds


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Raises DeliveryError where there was no whole answer: it may have been accepted all the same."""
    deadline = time.monotonic() + base.SEND_SECONDS * READING_SHARE
    sent = {"Content-Type": "application/json", "User-Agent": "Vigie", "Accept-Encoding": "identity", **headers}
    try:
        with requests.post(
            url, data=body, headers=sent, timeout=base.SEND_SECONDS, allow_redirects=False, stream=True
        ) as response:
            return Answer(response.status_code, capped(response.raw, deadline), response.headers)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise DeliveryError(reason(error)) from None


def capped(raw: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    body = b""
    while len(body) < ANSWER_LENGTH and time.monotonic() < deadline:
        chunk = raw.read1(ANSWER_LENGTH - len(body))
        if not chunk:
            break
        body += chunk
    return body


def reason(error: Exception) -> str:
    match error:
        case requests.exceptions.SSLError():
            return _("The other side’s certificate was not accepted.")
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
            return _("There was no answer in time.")
        case requests.exceptions.ConnectionError() | urllib3.exceptions.HTTPError() | OSError():
            return _("There was no connection, or it broke.")
    return _("It could not be sent: %(error)s.") % {"error": type(error).__name__}
