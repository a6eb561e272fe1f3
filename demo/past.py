"""A history for the services: weeks of rollups and a few incidents, as if the portal had monitored them.

The figures are invented here and written by a process of the portal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.commands import run_in_portal

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS = 42
# Checks every 10 seconds. SAMPLES latencies represent all of them.
CHECKS = {MINUTE: 6, HOUR: 360}
SAMPLES = 6
# Load by the hour of the day (UTC).
BUSY = [0.7] * 7 + [1.0, 1.3, 1.4, 1.4, 1.3, 1.2, 1.3, 1.4, 1.4, 1.3, 1.1] + [0.8] * 6


@dataclass(frozen=True)
class Outage:
    """An outage `ago` before now. `detail` is the portal's text, `cause` the operator's."""

    ago: timedelta
    minutes: int
    error_kind: str
    detail: str = ""
    cause: str = ""

    def share_down(self, start: datetime, length: timedelta, now: datetime) -> float:
        """Return the share of a minute or an hour for which the service was down."""
        begin = now - self.ago
        overlap = min(start + length, begin + self.minutes * MINUTE) - max(start, begin)
        return max(overlap, timedelta(0)) / length

    def incident(self, now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the fields of the incident, and those of the events of its timeline."""
        opened, error = now - self.ago, {"error_kind": self.error_kind, "detail": self.detail}
        resolved, acknowledged_at = opened + self.minutes * MINUTE, opened + self.minutes * MINUTE / 4
        events: list[dict[str, Any]] = [{"kind": "opened", "at": opened, **error}]
        if self.cause:
            events.append({"kind": "acknowledged", "at": acknowledged_at, "actor": "operator"})
            events.append({"kind": "noted", "at": resolved, "actor": "operator", "text": self.cause})
        events.append({"kind": "resolved", "at": resolved})
        fields = {"rule": "unavailable", "opened_at": opened, "resolved_at": resolved, "told_at": opened, **error}
        acknowledged = {"acknowledged_at": acknowledged_at, "acknowledged_by": "operator"} if self.cause else {}
        return {**fields, **acknowledged, "cause": self.cause, "seconds": 60 * self.minutes}, events


@dataclass(frozen=True)
class Past:
    """The usual latency of a service, and its outages."""

    latency_ms: float
    outages: tuple[Outage, ...] = ()

    def make_history(self, now: datetime, rng: random.Random) -> dict[str, Any]:
        hour, minute = now.replace(minute=0, second=0, microsecond=0), now.replace(second=0, microsecond=0)
        return {
            "minutes": list(self.rows(minute - DAY, minute, MINUTE, now, rng)),
            "hours": list(self.rows(hour - DAYS * DAY, hour, HOUR, now, rng)),
            "incidents": [outage.incident(now) for outage in self.outages],
        }

    def rows(
        self, start: datetime, end: datetime, length: timedelta, now: datetime, rng: random.Random
    ) -> Iterator[tuple[datetime, int, int, list[float]]]:
        """Yield the start, checks, failures and some latencies of each minute or hour."""
        while start < end:
            share = min(1.0, sum(outage.share_down(start, length, now) for outage in self.outages))
            usual = self.latency_ms * BUSY[start.hour]
            latencies = [round(usual * rng.lognormvariate(0, 0.3), 1) for _ in range(SAMPLES)]
            yield start, CHECKS[length], round(share * CHECKS[length]), latencies
            start += length


def write_history(services: list[dict[str, Any]], pasts: list[Past], seed: int = 7) -> str:
    """Create missing services with their history, and update the URLs of all.

    Return the URL of the last one's badge.
    """
    rng, now = random.Random(seed), datetime.now(UTC)  # noqa: S311 - a play, not a secret
    histories = [fields | {"past": past.make_history(now, rng)} for fields, past in zip(services, pasts, strict=True)]
    return run_in_portal("history", histories)
