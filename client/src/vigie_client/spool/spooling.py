"""Spool items on disk, and flush them to the portal.

Spool first, then flush: an item that is on disk before it is sent survives a crash and an absent portal.
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
from vigie_client.spool.client import SpoolClient, is_telemetry_off
from vigie_client.spool.flush import Flush, ForeignClient
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.lines import count_waiting
from vigie_client.spool.store import SpoolStats, SpoolStore, quarantine_path

SpoolPath = Union[str, "os.PathLike[str]"]

DEFAULT_LIMITS = SpoolLimits()


def spool_payload(path: SpoolPath, payload: Mapping[str, Any], *, limits: SpoolLimits = DEFAULT_LIMITS) -> bool:
    """Write a run to disk and return True once it is synced. Never raises.

    Returns False and logs the reason if the disk fails, the payload is not JSON, or it is larger than the spool.
    Returns False and writes nothing with VIGIE_TELEMETRY=off.
    """
    if is_telemetry_off():
        return False
    try:
        body = json.dumps(dict(payload), allow_nan=False).encode("ascii")
        stored, dropped = open_store(path, limits).append(body)
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
    """Deliver the runs that wait at `path` and return the number delivered. Never raises.

    `client` is a `UsageTelemetryClient`, or any object with `report(payload) -> bool` and optionally
    `report_batch(runs)`, whose calls must then end by themselves. The flush ends within `timeout` seconds, by default
    those of the client: the rest waits for the next flush.

    Threads and processes may flush at once: each run is sent by one of them. Returns 0 at once during a pause after
    failures, unless `force`. Delivers only runs that were spooled before it began. With VIGIE_TELEMETRY=off it returns
    0 and changes nothing.
    """
    if is_telemetry_off():
        return 0
    flush = None
    try:
        store = open_store(path, limits, now)
        claim = store.start_flush(force=force) if os.path.exists(path) else None
        if claim is None:
            return 0
        sender = client if isinstance(client, SpoolClient) else ForeignClient(client)
        flush = Flush(store, claim, sender, sender.timeout if timeout is None else timeout)
        try:
            while flush.send_next_batch():
                pass
        finally:
            try:
                store.finish_flush(claim, flush.outcomes, flush.tried, rng)
            finally:
                claim.end()  # even if the disk failed: a long-lived process must not keep its range
    except Exception as error:
        log(logging.ERROR, "the spool can't be flushed: %s", describe_error(error))
    return flush.delivered if flush else 0


def spool_stats(path: SpoolPath) -> SpoolStats:
    """Count the items that wait at `path`, are in its quarantine, or were dropped so far. Raises OSError."""
    return open_store(path).stats()


def count_quarantined(path: SpoolPath) -> Optional[int]:
    """Count the quarantine without a lock, which a read-only folder may lack. Return None if it is unreadable."""
    try:
        return count_waiting(quarantine_path(os.path.realpath(path))).lines
    except OSError:
        return None


def open_store(
    path: SpoolPath, limits: SpoolLimits = DEFAULT_LIMITS, clock: Callable[[], float] = time.time
) -> SpoolStore:
    return SpoolStore(os.fspath(path), limits, clock)
