"""A spool and its delivery in the background, for programs that tell something now and then."""

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

_OTHERS_PAUSE = 5.0


class Courier:
    """Puts payloads on disk at `spool_path`, and has a daemon thread deliver them by `client`, `deliver_after` seconds
    later with what came meanwhile; what could not be delivered, once the spool's pause is over.
    """

    def __init__(self, client: SpoolClient, spool_path: SpoolPath, limits: SpoolLimits, deliver_after: float) -> None:
        self._client = client
        self._spool_path = os.path.abspath(os.fspath(spool_path))  # the program may change its directory later
        self._limits = limits
        self._delivery = BackgroundDelivery(self.deliver, deliver_after, self._spool_path)

    def take(self, payload: Mapping[str, Any]) -> bool:
        """Put it on disk; True once it is there. As `spool_payload`."""
        if not spool_payload(self._spool_path, payload, limits=self._limits):
            return False
        self._delivery.soon()
        return True

    def spool_or_send(self, payload: Mapping[str, Any]) -> bool:
        """Put it on disk, or send it in one call where the disk takes nothing; True once it is safe."""
        return self.take(payload) or self._client.send(payload).delivered

    def flush(self, *, force: bool = False) -> int:
        """As `flush_spool`, in the thread that calls it."""
        return flush_spool(self._spool_path, self._client, force=force, limits=self._limits)

    def finish(self) -> None:
        """Wait until what was taken was tried once, for the time at most that a call may take."""
        self._delivery.finish(self._client.timeout)

    def deliver(self) -> Optional[float]:
        """Seconds until another attempt is worth it; None where nothing waits."""
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
        # Without a pause either the flush's time was up, or another process has in its hands what waits.
        return FIRST_DELAY if delivered else _OTHERS_PAUSE
