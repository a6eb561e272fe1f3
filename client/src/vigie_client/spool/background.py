"""A spool whose items are delivered by a background thread, without blocking the caller."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from time import monotonic, time
from typing import Any, Callable, Optional

from vigie_client.http.backoff import FIRST_DELAY, LONGEST_DELAY
from vigie_client.spool.client import SpoolClient, is_telemetry_off
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import SpoolPath, flush_spool, spool_payload, spool_stats

_CLAIMED_DELAY = 5.0
# The thread that retries, by spool: only one of the threads of a spool does.
_retrying: dict[str, threading.Thread] = {}


class BackgroundDelivery:
    """Calls `flush` in a daemon thread, `delay` seconds after a request, so that it covers later requests too.

    `flush` returns the seconds after which to call it again, or None to end the thread. There is no lock, which a fork
    could leave locked: two threads at once would only flush once too often. A forked child, in which the parent's
    thread does not exist, starts its own. `_requested` ends a pause, `_hurry` the delay, and `_flushed` the wait of
    `finish`.
    """

    def __init__(self, flush: Callable[[], Optional[float]], delay: float, spool: str) -> None:
        self._flush = flush
        self._delay = delay
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
        delay = self._delay
        while True:
            self._hurry.wait(delay)
            pause = self._flush_now()
            delay = self._delay
            if self._is_pending:
                continue
            if pause is None or not self._owns_retries():
                return
            if not self._requested.wait(pause):
                delay = 0

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


class BackgroundSpool:
    """Spools payloads at `spool_path` and delivers them through `client` in a daemon thread.

    The thread starts `deliver_after` seconds later, with all payloads that came meanwhile, and retries once the spool's
    pause is over.
    """

    def __init__(self, client: SpoolClient, spool_path: SpoolPath, limits: SpoolLimits, deliver_after: float) -> None:
        self._client = client
        self._spool_path = os.path.abspath(os.fspath(spool_path))  # the program may change its directory later
        self._limits = limits
        self._delivery = BackgroundDelivery(self.deliver, deliver_after, self._spool_path)

    def add(self, payload: Mapping[str, Any]) -> bool:
        """Write the payload to disk, like `spool_payload`, and schedule its delivery."""
        if not spool_payload(self._spool_path, payload, limits=self._limits):
            return False
        self._delivery.request()
        return True

    def add_or_send(self, payload: Mapping[str, Any]) -> bool:
        """Spool the payload, or send it directly if the disk fails. Return True once it is safe."""
        return self.add(payload) or self._client.send(payload).delivered

    def flush(self, *, force: bool = False) -> int:
        """Flush in the calling thread, like `flush_spool`."""
        return flush_spool(self._spool_path, self._client, force=force, limits=self._limits)

    def finish(self) -> None:
        """Wait until everything spooled was tried once, at most for the timeout of one call."""
        self._delivery.finish(self._client.timeout)

    def deliver(self) -> Optional[float]:
        """Flush, and return the seconds until the next attempt; None if nothing waits."""
        delivered = self.flush()
        if is_telemetry_off():
            return None
        try:
            stats = spool_stats(self._spool_path)
        except Exception:
            return LONGEST_DELAY
        if not stats.pending:
            return None
        if stats.retry_at is not None:
            return min(max(stats.retry_at - time(), FIRST_DELAY), LONGEST_DELAY)
        # Without a pause, either the flush ran out of time, or another process has claimed the items.
        return FIRST_DELAY if delivered else _CLAIMED_DELAY
