"""Deliver in a background thread, one delivery at a time, without blocking the caller."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Callable, Optional

# The thread that retries, by spool: only one of the threads of a spool does.
_retrying: dict[str, threading.Thread] = {}


class BackgroundDelivery:
    """Calls `flush` in a daemon thread, `gather` seconds after a request, so that it covers later requests too.

    `flush` returns the seconds after which to call it again, or None to end the thread. There is no lock, which a fork
    could leave locked: two threads at once would only flush once too often. A forked child, in which the parent's
    thread does not exist, starts its own.
    """

    def __init__(self, flush: Callable[[], Optional[float]], gather: float, spool: str) -> None:
        self._flush = flush
        self._gather = gather
        self._spool = spool
        self._thread: Optional[threading.Thread] = None
        self._requested, self._hurry, self._flushed = (threading.Event() for _ in range(3))
        self._is_pending = False
        self._is_flushing = False

    def request(self) -> None:
        self._is_pending = True
        if self._is_alive():
            self._requested.set()
        else:
            self._start()

    def finish(self, timeout: float) -> None:
        """Flush at once, and wait at most `timeout` seconds until everything requested was tried once."""
        deadline = monotonic() + timeout
        while self._is_pending or (self._is_flushing and self._is_alive()):
            if self._is_pending:
                self.request()
                self._hurry.set()
            left = deadline - monotonic()
            if self._thread is None or left <= 0:
                return
            self._flushed.wait(left)
            self._flushed.clear()

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        self._requested, self._hurry, self._flushed = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, name="vigie-delivery", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to spare, or the interpreter is ending
            self._thread = None

    def _run(self) -> None:
        gather = self._gather
        while True:
            self._hurry.wait(gather)
            pause = self._flush_now()
            gather = self._gather
            if self._is_pending:
                continue
            if pause is None or not self._owns_retries():
                return
            if not self._requested.wait(pause):
                gather = 0

    def _flush_now(self) -> Optional[float]:
        self._is_flushing, self._is_pending = True, False
        self._requested.clear()
        self._hurry.clear()
        try:
            return self._flush()
        finally:
            self._is_flushing = False
            self._flushed.set()

    def _owns_retries(self) -> bool:
        """Return True if this thread is the one that retries for its spool."""
        other = _retrying.get(self._spool)
        if other is None or not other.is_alive():
            other = _retrying[self._spool] = threading.current_thread()
        return other is threading.current_thread()
