"""Connectivity of the portal itself. If it reaches no network or no resolver, it is not everybody else who is down.

A portal that never reached the outside, in a closed network, cannot tell: there, what fails counts as failed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from monitoring.probe.kinds import ErrorKind
from portal.egress.lookup import system_resolver

Endpoint = tuple[str, int]
PATIENCE_SECONDS = 2.0
# A verdict is believed for what failed before it, and for a little longer where all goes well.
FRESH_SECONDS = 10.0
# There is no such name (RFC 6761), and every resolver that works says so. It says nothing of any target's own name.
CONTROL_NAME = "vigie.invalid."
# Errors of a lookup that a dead resolver gives to every name.
RESOLVER_ERRORS = {(ErrorKind.DNS, "EAI_AGAIN"), (ErrorKind.DNS, "timeout")}


def can_reach_any(endpoints: Sequence[Endpoint]) -> bool:
    """Opens a connection to each at once, and sends nothing. Takes PATIENCE_SECONDS at most."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(endpoints)))
    try:
        asked = [pool.submit(can_reach, endpoint) for endpoint in endpoints]
        return any(answer.result() for answer in as_completed(asked))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def can_reach(endpoint: Endpoint) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(endpoint, timeout=PATIENCE_SECONDS).close()
        return True
    return False


def is_resolver_answering() -> bool:
    """Return whether the resolver answers, be it that there is no such name. Take PATIENCE_SECONDS at most."""
    try:
        system_resolver(CONTROL_NAME, time.monotonic() + PATIENCE_SECONDS)
    except socket.gaierror as error:
        return error.errno != socket.EAI_AGAIN
    except OSError:
        return False
    return True


class Connectivity:
    """Asked in the background; `is_online` and `resolves` are None until there was an answer."""

    def __init__(self, endpoints: Sequence[Endpoint], *, was_online: bool) -> None:
        self.endpoints = endpoints
        self.was_online = was_online
        self.is_online: bool | None = None
        self.resolves: bool | None = None
        self.answered_at = float("-inf")
        self.asking: threading.Thread | None = None

    def ask(self) -> None:
        """Begins to find out, unless that is under way."""
        if self.endpoints and (self.asking is None or not self.asking.is_alive()):
            self.asking = threading.Thread(target=self.find_out, daemon=True, name="connectivity")
            self.asking.start()

    def find_out(self) -> None:
        control = threading.Thread(target=self.ask_resolver, daemon=True, name="connectivity-resolver")
        control.start()
        is_online = can_reach_any(self.endpoints)
        control.join()
        self.was_online = self.was_online or is_online
        self.is_online, self.answered_at = is_online, time.monotonic()

    def ask_resolver(self) -> None:
        self.resolves = is_resolver_answering()

    def verdict(self) -> bool | None:
        """Whether we are online; None where nobody asked, or where there never was an answer to compare with."""
        return self.is_online if self.was_online else None

    def excuses(self, failed_at: float) -> bool | None:
        """Whether what failed at this monotonic moment may have failed for us; None as long as that is not known.

        An outage is found by an answer that came after the failure. That we are online is believed a little longer.
        """
        return self.confirmed(self.is_online, failed_at)

    def excuses_lookup(self, failed_at: float) -> bool | None:
        """Return the same for a lookup that failed though the network is reached: the resolver may fail every name."""
        return self.confirmed(self.resolves, failed_at)

    def confirmed(self, works: bool | None, failed_at: float) -> bool | None:
        if not self.endpoints or not self.was_online:
            return False
        if works and self.answered_at >= failed_at - FRESH_SECONDS:
            return False
        if works is False and self.answered_at >= failed_at:
            return True
        self.ask()
        return None
