"""Delivery in the background: soon, at most once at a time, and never waited for."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Callable, Optional

# The thread that tries again, by spool: of many that tell by one spool a single one does.
_trying_again: dict[str, threading.Thread] = {}


class BackgroundDelivery:
    """Calls `flush` in a daemon thread, `gather` seconds after it was asked to: what comes meanwhile goes along.

    `flush` answers after how many seconds to call it again, or None: then the thread ends. Without a lock, which a fork
    could leave locked: two threads at once would only be one flush too many. A forked child finds its parent's thread
    ended, and starts its own.
    """

    def __init__(self, flush: Callable[[], Optional[float]], gather: float, spool: str) -> None:
        self._flush = flush
        self._gather = gather
        self._spool = spool
        self._thread: Optional[threading.Thread] = None
        self._asked, self._hurry, self._flushed = (threading.Event() for _ in range(3))
        self._wanted = False
        self._flushing = False

    def soon(self) -> None:
        self._wanted = True
        if self._is_alive():
            self._asked.set()
        else:
            self._start()

    def finish(self, timeout: float) -> None:
        """Gather no longer, and wait at most `timeout` seconds until all that was asked for was tried once."""
        deadline = monotonic() + timeout
        while self._wanted or (self._flushing and self._is_alive()):
            if self._wanted:
                self.soon()
                self._hurry.set()
            left = deadline - monotonic()
            if self._thread is None or left <= 0:
                return
            self._flushed.wait(left)
            self._flushed.clear()

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        self._asked, self._hurry, self._flushed = (threading.Event() for _ in range(3))
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
            if self._wanted:
                continue
            if pause is None or not self._owns_retries():
                return
            if not self._asked.wait(pause):
                gather = 0

    def _flush_now(self) -> Optional[float]:
        self._flushing, self._wanted = True, False
        self._asked.clear()
        self._hurry.clear()
        try:
            return self._flush()
        finally:
            self._flushing = False
            self._flushed.set()

    def _owns_retries(self) -> bool:
        """Whether this thread is the one of its spool that does."""
        other = _trying_again.get(self._spool)
        if other is None or not other.is_alive():
            other = _trying_again[self._spool] = threading.current_thread()
        return other is threading.current_thread()
