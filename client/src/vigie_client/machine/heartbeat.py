"""Telling the portal that this machine is alive, without ever disturbing the program that lives."""

from __future__ import annotations

import logging
import math
import random
import socket
import threading
from typing import Any, Optional

from vigie_client.disk.logs import log
from vigie_client.http.backoff import AUTH_PAUSE, Rng, backoff_delay, jittered
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
    """Send one heartbeat; the seconds until the portal wants the next. Raises PortalError.

    By the host name the portal notices that computers share a token, as the copies of a disk do.
    """
    given = {"version": version, "os_info": os_info, "hostname": hostname}
    body = {key: value for key, value in given.items() if value is not None}
    answer = post_json(session, base_url.rstrip("/") + HEARTBEAT_PATH, body, timeout)
    return _interval(answer.get("next_heartbeat_seconds"))


class HeartbeatThread(threading.Thread):
    """Heartbeats from a daemon thread until `stop()`. Nothing it meets reaches the host but a line in the log.

    The pace is the portal's, which spreads its machines itself; failures back off from 1 s, and a refused token waits
    for a person. Start it in the process that lives: a thread doesn't survive a fork.
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
        known = {"version": version, "os_info": os_info, "hostname": socket.gethostname()}
        self._fields: dict[str, Any] = {**known, "timeout": timeout}
        self._logger = logger
        self._rng = rng
        self._failures = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.beat())

    def stop(self, timeout: float = 1.0) -> None:
        """End the heartbeats, waiting at most `timeout` seconds for one that is under way."""
        self._stopping.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(timeout)

    def beat(self) -> float:
        """One heartbeat; the seconds to wait before the next. Never raises."""
        try:
            interval = send_heartbeat(self._base_url, self._session, **self._fields)
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
        return max(error.retry_after or 0.0, jittered(AUTH_PAUSE, self._rng))


def _interval(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return DEFAULT_INTERVAL
    return min(max(float(value), 1.0), LONGEST_INTERVAL)
