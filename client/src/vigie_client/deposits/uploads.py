"""Large files to the portal: streamed from the disk, and tried again for as long as that may help."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Callable, Optional

import requests

from vigie_client.http.backoff import Rng, backoff_delay
from vigie_client.http.deadlines import CallFailed, DeadlineRunner
from vigie_client.http.outcomes import Outcome, Result, classify_response, json_body, no_answer

SLOWEST = 32 * 1024
"""Bytes a second that an upload under way may take at least, even beyond the deadline for new attempts."""
SHORTEST = 60.0
"""Seconds that an attempt has in any case: the last file, and the report, get one even when the deadline is over."""

_runner = DeadlineRunner()


class TransferFailed(Exception):
    """The file isn't there, and trying on is in vain or out of time. The text is fit for the report."""


@dataclass(frozen=True)
class Patience:
    """How long to try: `deadline` seconds for beginning new attempts, `timeout` for each operation on a socket.

    The rest is the world's: tests put their own in its place.
    """

    deadline: float = 3600.0
    timeout: float = 60.0
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    rng: Rng = field(default=random.random, repr=False)


class Uploader:
    """Sends files through `session`. The deadline runs from the first one on, for all of them together."""

    def __init__(self, session: Any, patience: Patience) -> None:
        self._session = session
        self._patience = patience
        self._end: Optional[float] = None

    def put(self, url: str, opened: Callable[[], BinaryIO], size: int, sha256: str) -> None:
        """Store the `size` bytes that `opened()` gives at `url`. Raises TransferFailed."""
        failures = 0
        while True:
            outcome = self._attempt(url, opened, size, sha256)
            if outcome.delivered:
                return
            failures += 1
            pause = max(outcome.retry_after or 0.0, backoff_delay(failures, self._patience.rng))
            if outcome.result is not Result.RETRY or pause > self._left():
                raise TransferFailed(str(outcome))
            self._patience.sleep(pause)

    def _left(self) -> float:
        now = self._patience.monotonic()
        if self._end is None:
            self._end = now + self._patience.deadline
        return self._end - now

    def _attempt(self, url: str, opened: Callable[[], BinaryIO], size: int, sha256: str) -> Outcome:
        """One PUT. In a thread, for the portal's answer may drip without end; `requests` would wait as long."""
        try:
            body = _Body(opened(), size)
        except OSError as error:
            return _unreadable(error)
        try:
            limit = max(self._left(), SHORTEST) + size / SLOWEST
            return _runner.run(lambda: self._call(url, body, sha256), limit)
        except CallFailed as failure:
            return no_answer(failure.kind)
        finally:
            body.close()

    def _call(self, url: str, body: _Body, sha256: str) -> Outcome:
        headers = {"X-Content-SHA256": sha256, "Content-Type": "application/octet-stream"}
        try:
            response = self._session.put(url, data=body, headers=headers, timeout=self._patience.timeout)
        except _Unreadable as error:
            return _unreadable(error)
        except requests.RequestException as error:
            kind = type(error).__name__
            # Those that are a ValueError too complain of the address.
            return Outcome(Result.REFUSED, code=kind) if isinstance(error, ValueError) else no_answer(kind)
        outcome = classify_response(response, time.time())
        if outcome.status == 413:  # whoever says so, the file will be as large the next time
            return replace(outcome, result=Result.REFUSED)
        return _check_receipt(outcome, json_body(response), sha256) if outcome.delivered else outcome


class _Unreadable(Exception):
    """The disk's trouble, told apart from the network's: both are OSErrors to requests."""


class _Body:
    """A file as the body of a request, which can be taken away from a call that outlasted its deadline.

    Its size is in `len`, where requests looks for it: `len()` itself holds no more than 2 GB on a 32-bit Python.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.len = size

    def read(self, most: int = -1) -> bytes:
        try:
            return self._file.read(most)
        except (OSError, ValueError) as error:  # ValueError: it's closed
            raise _Unreadable(type(error).__name__) from None

    def __iter__(self) -> Any:
        """Only so that requests takes this for a stream."""
        return iter(lambda: self.read(SLOWEST), b"")

    def close(self) -> None:
        self._file.close()


def _unreadable(error: Exception) -> Outcome:
    return Outcome(Result.REFUSED, code=f"unreadable: {error}")


def _check_receipt(outcome: Outcome, answer: object, sha256: str) -> Outcome:
    """A 2xx of something in between isn't the portal's word."""
    if isinstance(answer, Mapping) and answer.get("status") == "stored" and answer.get("sha256") == sha256:
        return outcome
    return Outcome(Result.RETRY, outcome.status, "not_stored")
