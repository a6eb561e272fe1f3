"""Report the runs of a program: on disk first, then delivered in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, Union

from vigie_client.machine.token_store import TokenStore
from vigie_client.report.senders import UsageTelemetryClient
from vigie_client.spool.background import BackgroundSpool
from vigie_client.spool.client import DEFAULT_TIMEOUT
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import DEFAULT_LIMITS, SpoolPath


class UsageReporter:
    """Reports runs to the portal at `base_url` through a spool of its own.

    `token` is the machine's `TokenStore`, which is read at each call, or a token, or a session (see `make_session`). A
    run is on disk before `report` returns. A daemon thread delivers it `deliver_after` seconds later, and retries once
    the spool's pause is over. No method raises. Only `flush`, the end of a `with` block, and `report` if the disk fails
    wait for the portal, at most `timeout` seconds.
    """

    def __init__(
        self,
        base_url: str,
        token: Union[str, TokenStore, Any],
        *,
        spool_path: SpoolPath,
        timeout: float = DEFAULT_TIMEOUT,
        limits: SpoolLimits = DEFAULT_LIMITS,
        deliver_after: float = 0.0,
        logger: Optional[Any] = None,
    ) -> None:
        client = UsageTelemetryClient(base_url, token, timeout, logger)
        self._spool = BackgroundSpool(client, spool_path, limits, deliver_after)

    def __enter__(self) -> UsageReporter:
        return self

    def __exit__(self, *_: Any) -> None:
        self._spool.finish()

    def report(self, payload: Mapping[str, Any]) -> bool:
        """Return True once the run is safe: on disk, or in the portal if the disk fails (read-only, full, absent).

        Returns False and logs the reason if both fail; returns False silently with VIGIE_TELEMETRY=off.
        """
        return self._spool.add_or_send(payload)

    def flush(self, *, force: bool = False) -> int:
        """Deliver waiting runs now, in the calling thread, like `flush_spool`. Return the number delivered."""
        return self._spool.flush(force=force)
