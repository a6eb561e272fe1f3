"""Delivery in the background: soon, at most once at a time, and never waited for."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any, Callable, Optional


class BackgroundDelivery:
    """Calls `flush` in a daemon thread, `gather` seconds after it was asked to: what comes meanwhile goes along.

    Without a lock, which a fork could leave locked: two threads at once would only be one flush too many. A forked
    child finds its parent's thread ended, and starts its own.
    """

    def __init__(self, flush: Callable[[], Any], gather: float) -> None:
        self._flush = flush
        self._gather = gather
        self._thread: Optional[threading.Thread] = None
        self._now = threading.Event()
        self._wanted = False

    def soon(self) -> None:
        self._wanted = True
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def finish(self, timeout: float) -> None:
        """Gather no longer, and wait at most `timeout` seconds until all that was asked for is done."""
        deadline = monotonic() + timeout
        while self._wanted or (self._thread is not None and self._thread.is_alive()):
            self.soon()
            self._now.set()
            left = deadline - monotonic()
            if self._thread is None or left <= 0:
                return
            self._thread.join(left)

    def _start(self) -> None:
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._now,), name="vigie-activity", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to spare, or the interpreter is ending
            self._thread = None

    def _run(self, now: threading.Event) -> None:
        while self._wanted:
            now.wait(self._gather)
            self._wanted = False
            self._flush()
