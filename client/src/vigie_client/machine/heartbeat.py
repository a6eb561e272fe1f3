"""Send heartbeats to the portal without disturbing the host program."""

from __future__ import annotations

import logging
import math
import random
import socket
import threading
from typing import Any, Optional

from vigie_client.disk.logs import log
from vigie_client.http.backoff import AUTH_PAUSE, Rng, add_jitter, backoff_delay
from vigie_client.http.calls import PortalError, post_json
from vigie_client.http.outcomes import Result

HEARTBEAT_PATH = "/api/v1/agents/heartbeat"
DEFAULT_INTERVAL = 300.0
LONGEST_INTERVAL = 86_400.0


def send_heartbeat(
    base_url: str,
    session: Any,
    *,
    version: Optional[str] = None,
    os_info: Optional[str] = None,
    hostname: Optional[str] = None,
    timeout: float = 4.0,
) -> float:
    """Send one heartbeat. Return the seconds until the portal expects the next. Raises PortalError.

    The host name shows the portal when computers share a token, such as copies of one disk image.
    """
    fields = {"version": version, "os_info": os_info, "hostname": hostname}
    body = {key: value for key, value in fields.items() if value is not None}
    answer = post_json(session, base_url.rstrip("/") + HEARTBEAT_PATH, body, timeout)
    return _clamp_interval(answer.get("next_heartbeat_seconds"))


class HeartbeatThread(threading.Thread):
    """Sends heartbeats from a daemon thread until `stop()`. Failures only reach the log.

    The portal sets the interval and spreads its machines. Failures back off from 1 s, a refused token pauses for
    AUTH_PAUSE. Start it in the process that goes on: threads do not survive a fork.
    """

    def __init__(
        self,
        base_url: str,
        session: Any,
        *,
        version: Optional[str] = None,
        os_info: Optional[str] = None,
        timeout: float = 4.0,
        logger: Optional[Any] = None,
        rng: Rng = random.random,
    ) -> None:
        super().__init__(name="vigie-heartbeat", daemon=True)
        self._base_url = base_url
        self._session = session
        self._call_options: dict[str, Any] = {
            "version": version, "os_info": os_info, "hostname": socket.gethostname(), "timeout": timeout
        }  # fmt: skip
        self._logger = logger
        self._rng = rng
        self._failures = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.beat())

    def stop(self, timeout: float = 1.0) -> None:
        """Stop, waiting at most `timeout` seconds for a heartbeat under way."""
        self._stopping.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(timeout)

    def beat(self) -> float:
        """Send one heartbeat. Return the seconds to wait before the next. Never raises."""
        try:
            interval = send_heartbeat(self._base_url, self._session, **self._call_options)
        except PortalError as error:
            return self._pause_after(error)
        except Exception as error:
            log(logging.ERROR, "heartbeat failed: %s", type(error).__name__, logger=self._logger)
            return DEFAULT_INTERVAL
        self._failures = 0
        return interval

    def _pause_after(self, error: PortalError) -> float:
        self._failures += 1
        log(logging.WARNING, "heartbeat not delivered: %s", error, logger=self._logger)
        if error.outcome.result is Result.RETRY:
            return max(error.retry_after or 0.0, backoff_delay(self._failures, self._rng))
        return max(error.retry_after or 0.0, add_jitter(AUTH_PAUSE, self._rng))


def _clamp_interval(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return DEFAULT_INTERVAL
    return min(max(float(value), 1.0), LONGEST_INTERVAL)
