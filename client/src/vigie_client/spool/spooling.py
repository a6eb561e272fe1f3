"""The spool: runs wait on disk, so that neither a crash nor an absent portal loses any.

Spool first, then flush: a run that is on disk before it is sent survives whatever happens in between.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Mapping
from typing import Any, Callable, Optional, Union

from vigie_client.disk.logs import describe_error, log
from vigie_client.http.backoff import Rng
from vigie_client.spool.client import DEFAULT_TIMEOUT, SpoolClient, is_telemetry_off
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.lines import tally
from vigie_client.spool.replay import Replay
from vigie_client.spool.store import SpoolStats, SpoolStore, quarantine_path

SpoolPath = Union[str, "os.PathLike[str]"]

DEFAULT_LIMITS = SpoolLimits()


def spool_payload(path: SpoolPath, payload: Mapping[str, Any], *, limits: SpoolLimits = DEFAULT_LIMITS) -> bool:
    """Put a run on disk; True once it is there for good. Never raises.

    False (and a log line) when it can't be: the disk fails, the payload isn't JSON, or it is larger than the spool.
    False, and nothing on the disk, with VIGIE_TELEMETRY=off.
    """
    if is_telemetry_off():
        return False
    try:
        body = json.dumps(dict(payload), allow_nan=False).encode("ascii")
        stored, dropped = _store(path, limits).append(body)
    except Exception as error:
        log(logging.ERROR, "an item can't be spooled: %s", describe_error(error))
        return False
    if dropped:
        log(logging.WARNING, "the spool is full: dropped %s", dict(dropped))
    return stored


def flush_spool(
    path: SpoolPath,
    client: Any,
    *,
    force: bool = False,
    timeout: Optional[float] = None,
    limits: SpoolLimits = DEFAULT_LIMITS,
    now: Callable[[], float] = time.time,
    rng: Rng = random.random,
) -> int:
    """Deliver the runs that wait at `path`; the number delivered. Never raises.

    `client` is a `UsageTelemetryClient`, or anything with `report(payload) -> bool` and perhaps `report_batch(runs)`,
    whose calls must then end by themselves. The flush as a whole ends within `timeout` seconds, by default those of the
    client: what was not sent by then waits for the next flush.

    Any number of threads and processes may flush at once: each run is in the hands of one. Returns 0 at once during a
    pause after failures, unless `force`. It ends with the runs that were there when it began. With VIGIE_TELEMETRY=off
    it returns 0 and leaves everything as it is.
    """
    if is_telemetry_off():
        return 0
    replay = None
    try:
        store = _store(path, limits, now)
        flight = store.start_flight(force=force) if os.path.exists(path) else None
        if flight is None:
            return 0
        if timeout is None:
            timeout = client.timeout if isinstance(client, SpoolClient) else DEFAULT_TIMEOUT
        replay = Replay(store, flight, client, store.failures(), timeout)
        try:
            while replay.send_next_batch():
                pass
        finally:
            try:
                store.land(flight, replay.outcomes, replay.tried, rng)
            finally:
                flight.end()  # even if the disk has failed: this process may live long, and must not keep its part
    except Exception as error:
        log(logging.ERROR, "the spool can't be flushed: %s", describe_error(error))
    return replay.delivered if replay else 0


def spool_stats(path: SpoolPath) -> SpoolStats:
    """Count what waits at `path`, what is in its quarantine, and what it dropped so far. Raises OSError."""
    return _store(path, DEFAULT_LIMITS).stats()


def quarantined(path: SpoolPath) -> list[dict[str, Any]]:
    """Items that the portal refused for good: `code`, `status`, `at` (Unix time) and `payload`, oldest first.

    Raises OSError. A damaged line has its text as `line` in place of `payload`.
    """
    return _store(path, DEFAULT_LIMITS).quarantined()


def count_quarantined(path: SpoolPath) -> Optional[int]:
    """The number of items in the quarantine, without a lock, which a read-only folder may lack; None if unreadable."""
    try:
        return tally(quarantine_path(os.path.realpath(path))).lines
    except OSError:
        return None


def retry_quarantined(path: SpoolPath, code: Optional[str] = None) -> int:
    """Put what is in the quarantine, of this `code` alone if one is given, back in the spool; the number of items.

    Damaged lines stay, and so does what the spool has no room for. Raises OSError.
    """
    return _store(path, DEFAULT_LIMITS).retry_quarantined(code)


def drop_quarantined(path: SpoolPath, code: Optional[str] = None) -> int:
    """Delete what is in the quarantine, of this `code` alone if one is given; the number of items. Raises OSError."""
    return _store(path, DEFAULT_LIMITS).drop_quarantined(code)


def _store(path: SpoolPath, limits: SpoolLimits, clock: Callable[[], float] = time.time) -> SpoolStore:
    return SpoolStore(os.fspath(path), limits, clock)
