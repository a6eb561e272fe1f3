"""A spool with background delivery, for programs that send something now and then."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import time
from typing import Any, Optional

from vigie_client.http.backoff import FIRST_DELAY, LONGEST_DELAY
from vigie_client.spool.background import BackgroundDelivery
from vigie_client.spool.client import SpoolClient, is_telemetry_off
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import SpoolPath, flush_spool, spool_payload, spool_stats

_CLAIMED_DELAY = 5.0


class Courier:
    """Spools payloads at `spool_path` and delivers them through `client` in a daemon thread.

    The thread starts `deliver_after` seconds later, with all payloads that came meanwhile, and retries once the spool's
    pause is over.
    """

    def __init__(self, client: SpoolClient, spool_path: SpoolPath, limits: SpoolLimits, deliver_after: float) -> None:
        self._client = client
        self._spool_path = os.path.abspath(os.fspath(spool_path))  # the program may change its directory later
        self._limits = limits
        self._delivery = BackgroundDelivery(self.deliver, deliver_after, self._spool_path)

    def spool(self, payload: Mapping[str, Any]) -> bool:
        """Write the payload to disk, like `spool_payload`, and schedule its delivery."""
        if not spool_payload(self._spool_path, payload, limits=self._limits):
            return False
        self._delivery.request()
        return True

    def spool_or_send(self, payload: Mapping[str, Any]) -> bool:
        """Spool the payload, or send it directly if the disk fails. Return True once it is safe."""
        return self.spool(payload) or self._client.send(payload).delivered

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
