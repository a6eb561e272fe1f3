"""Upload large files to the portal, streamed from disk, with retries."""

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

SLOWEST_BYTES_PER_SECOND = 32 * 1024
"""An upload at this rate may finish even beyond the deadline for new attempts."""
SHORTEST_ATTEMPT_SECONDS = 60.0
"""Every attempt gets these. Each file and the report get one attempt even after the deadline."""

_runner = DeadlineRunner()


class TransferFailed(Exception):
    """The transfer failed, and a retry is useless or out of time. The message may be reported."""


@dataclass(frozen=True)
class Patience:
    """Limits of retrying: `deadline` seconds for starting new attempts, `timeout` for each socket operation.

    Tests replace the other fields.
    """

    deadline: float = 3600.0
    timeout: float = 60.0
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    rng: Rng = field(default=random.random, repr=False)


class Uploader:
    """Sends files through `session`. One deadline, from the first file on, covers all of them."""

    def __init__(self, session: Any, patience: Patience) -> None:
        self._session = session
        self._patience = patience
        self._end: Optional[float] = None

    def put(self, url: str, open_file: Callable[[], BinaryIO], size: int, sha256: str) -> None:
        """Store `size` bytes of the file that `open_file()` returns at `url`. Raises TransferFailed."""
        failures = 0
        while True:
            outcome = self._attempt(url, open_file, size, sha256)
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

    def _attempt(self, url: str, open_file: Callable[[], BinaryIO], size: int, sha256: str) -> Outcome:
        """Send one PUT, in a thread: `requests` would wait for an answer that drips without end."""
        try:
            body = _Body(open_file(), size)
        except OSError as error:
            return _unreadable_outcome(error)
        try:
            limit = max(self._left(), SHORTEST_ATTEMPT_SECONDS) + size / SLOWEST_BYTES_PER_SECOND
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
            return _unreadable_outcome(error)
        except requests.RequestException as error:
            kind = type(error).__name__
            # Those that are also a ValueError concern an invalid URL.
            return Outcome(Result.REFUSED, code=kind) if isinstance(error, ValueError) else no_answer(kind)
        outcome = classify_response(response, time.time())
        if outcome.status == 413:  # final even from a proxy: the file will not shrink
            return replace(outcome, result=Result.REFUSED)
        return _check_receipt(outcome, json_body(response), sha256) if outcome.delivered else outcome


class _Unreadable(Exception):
    """The file cannot be read. Distinguishes disk errors from network errors, which are OSErrors too."""


class _Body:
    """A file as a request body, which can be closed under a call that exceeded its deadline.

    Its size is the attribute `len`, which requests reads: `len()` is limited to 2 GB on a 32-bit Python.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.len = size

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError) as error:  # ValueError: it's closed
            raise _Unreadable(type(error).__name__) from None

    def __iter__(self) -> Any:
        """Exists only so that requests treats the body as a stream."""
        return iter(lambda: self.read(64 * 1024), b"")

    def close(self) -> None:
        self._file.close()


def _unreadable_outcome(error: Exception) -> Outcome:
    return Outcome(Result.REFUSED, code=f"unreadable: {error}")


def _check_receipt(outcome: Outcome, answer: object, sha256: str) -> Outcome:
    """Require the portal's receipt: a proxy may answer 2xx too."""
    if isinstance(answer, Mapping) and answer.get("status") == "stored" and answer.get("sha256") == sha256:
        return outcome
    return Outcome(Result.RETRY, outcome.status, "not_stored")
