"""Connectivity of the portal itself: without a network or a resolver, failures of targets prove nothing.

A portal in a closed network never reaches the outside and cannot tell. There every failure counts.
"""

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
# A verdict holds for failures before it, and for this long after it if all is well.
FRESH_SECONDS = 10.0
# This name never exists (RFC 6761), and every working resolver says so. A target's own name proves nothing.
CONTROL_NAME = "vigie.invalid."
# Errors that a dead resolver gives for every name.
RESOLVER_ERRORS = {(ErrorKind.DNS, "EAI_AGAIN"), (ErrorKind.DNS, "timeout")}


def can_reach_any(endpoints: Sequence[Endpoint]) -> bool:
    """Open a connection to each endpoint at once, and send nothing. Takes PATIENCE_SECONDS at most."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(endpoints)))
    try:
        attempts = [pool.submit(can_reach, endpoint) for endpoint in endpoints]
        return any(attempt.result() for attempt in as_completed(attempts))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def can_reach(endpoint: Endpoint) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(endpoint, timeout=PATIENCE_SECONDS).close()
        return True
    return False


def is_resolver_answering() -> bool:
    """Return whether the resolver answers, be it with "no such name". Takes PATIENCE_SECONDS at most."""
    try:
        system_resolver(CONTROL_NAME, time.monotonic() + PATIENCE_SECONDS)
    except socket.gaierror as error:
        return error.errno != socket.EAI_AGAIN
    except OSError:
        return False
    return True


class Connectivity:
    """Probes our own network in the background. `is_online` and `resolves` are None until a probe has ended."""

    def __init__(self, endpoints: Sequence[Endpoint], *, was_ever_online: bool) -> None:
        self.endpoints = endpoints
        self.was_ever_online = was_ever_online
        self.is_online: bool | None = None
        self.resolves: bool | None = None
        self.answered_at = float("-inf")
        self.prober: threading.Thread | None = None

    def start_probe(self) -> None:
        """Start a probe, unless one is under way."""
        if self.endpoints and (self.prober is None or not self.prober.is_alive()):
            self.prober = threading.Thread(target=self.probe, daemon=True, name="connectivity")
            self.prober.start()

    def probe(self) -> None:
        control = threading.Thread(target=self.probe_resolver, daemon=True, name="connectivity-resolver")
        control.start()
        is_online = can_reach_any(self.endpoints)
        control.join()
        self.was_ever_online = self.was_ever_online or is_online
        self.is_online, self.answered_at = is_online, time.monotonic()

    def probe_resolver(self) -> None:
        self.resolves = is_resolver_answering()

    def status(self) -> bool | None:
        """Return whether we are online. None if there was no probe, or if no probe ever succeeded."""
        return self.is_online if self.was_ever_online else None

    def may_explain(self, failed_at: float) -> bool | None:
        """Return whether our own network may have caused a failure at this monotonic moment. None if not known yet.

        Only a probe that ended after the failure proves an outage of ours. That we are online is believed for
        FRESH_SECONDS.
        """
        return self.is_outage_at(failed_at, self.is_online)

    def may_explain_lookup(self, failed_at: float) -> bool | None:
        """Return the same for a failed lookup while the network is reached: the resolver may fail every name."""
        return self.is_outage_at(failed_at, self.resolves)

    def is_outage_at(self, failed_at: float, works: bool | None) -> bool | None:
        """Return the verdict on what works or not, and start a probe if the last one is too old for it."""
        if not self.endpoints or not self.was_ever_online:
            return False
        if works and self.answered_at >= failed_at - FRESH_SECONDS:
            return False
        if works is False and self.answered_at >= failed_at:
            return True
        self.start_probe()
        return None
