"""A past for the services: weeks of figures and a few incidents, entered as if the portal had watched them.

What the portal computes from checks is made up here and written by the portal's own process, which alone knows how.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.commands import within

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS = 42
# Checks every 10 seconds, of which so many latencies stand for all.
CHECKS = {MINUTE: 6, HOUR: 360}
SAMPLES = 6
# By the hour of the day (UTC): offices are open by day.
BUSY = [0.7] * 7 + [1.0, 1.3, 1.4, 1.4, 1.3, 1.2, 1.3, 1.4, 1.4, 1.3, 1.1] + [0.8] * 6

WRITER = """
import json, sys
from datetime import datetime, timedelta
from django.db import transaction
from monitoring import badge, histogram, rollups, uptime
from monitoring.models import Incident, IncidentEvent, Rollup, Target

def tally(checks, failures, latencies):
    weight = (checks - failures) / len(latencies)
    found = rollups.Tally(checks, failures, latency_sum_ms=sum(latencies) * weight)
    for number, latency in enumerate(latencies):
        key = str(histogram.bucket(latency))
        count = int(weight * (number + 1)) - int(weight * number)
        found.histogram[key] = found.histogram.get(key, 0) + count
    return found

def tallies(target, rows):
    return {(target.pk, datetime.fromisoformat(start)): tally(*figures) for start, *figures in rows}

def write_figures(target, minutes, hours):
    by_hour, by_day = tallies(target, hours), {}
    for (pk, start), each in by_hour.items():
        by_day.setdefault((pk, uptime.floor(start, uptime.DAY)), rollups.Tally()).add(each)
    rollups.write(Rollup.Period.MINUTE, tallies(target, minutes))
    rollups.write(Rollup.Period.HOUR, by_hour)
    rollups.write(Rollup.Period.DAY, by_day)

def write_incident(target, fields, events):
    length = timedelta(seconds=fields.pop("seconds"))
    incident = Incident.objects.create(subject=target.subject, target=target, duration=length, **fields)
    IncidentEvent.objects.bulk_create(IncidentEvent(incident=incident, **event) for event in events)

incidents = []
for service in json.load(sys.stdin):
    past = service.pop("past")
    with transaction.atomic():
        target, is_new = Target.objects.get_or_create(name=service.pop("name"), defaults=service)
        Target.objects.filter(pk=target.pk).update(url=service["url"])
        if is_new:
            write_figures(target, past["minutes"], past["hours"])
            incidents += [(target, *incident) for incident in past["incidents"]]
for incident in sorted(incidents, key=lambda each: each[1]["opened_at"]):
    write_incident(*incident)
badge.publish(Target.objects.filter(pk=target.pk))
print(badge.badge_url(Target.objects.get(pk=target.pk)))
"""


@dataclass(frozen=True)
class Outage:
    """`ago` before now, for so many minutes; what it was is told in the portal's words, and in those of an operator."""

    ago: timedelta
    minutes: int
    error_kind: str
    detail: str = ""
    cause: str = ""

    def share_of(self, start: datetime, length: timedelta, now: datetime) -> float:
        """Of a minute or an hour, which part the service was down for."""
        begin = now - self.ago
        overlap = min(start + length, begin + self.minutes * MINUTE) - max(start, begin)
        return max(overlap, timedelta(0)) / length

    def incident(self, now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The fields of the incident, and of the events of its timeline."""
        opened, error = now - self.ago, {"error_kind": self.error_kind, "detail": self.detail}
        resolved, seen = opened + self.minutes * MINUTE, opened + self.minutes * MINUTE / 4
        events: list[dict[str, Any]] = [{"kind": "opened", "at": opened, **error}]
        if self.cause:
            events.append({"kind": "acknowledged", "at": seen, "actor": "operator"})
            events.append({"kind": "noted", "at": resolved, "actor": "operator", "text": self.cause})
        events.append({"kind": "resolved", "at": resolved})
        fields = {"rule": "unavailable", "opened_at": opened, "resolved_at": resolved, "told_at": opened, **error}
        acknowledged = {"acknowledged_at": seen, "acknowledged_by": "operator"} if self.cause else {}
        return {**fields, **acknowledged, "cause": self.cause, "seconds": 60 * self.minutes}, events


@dataclass(frozen=True)
class Past:
    """What a service usually takes (milliseconds), and when it was down."""

    latency_ms: float
    outages: tuple[Outage, ...] = ()

    def written(self, now: datetime, rng: random.Random) -> dict[str, Any]:
        hour, minute = now.replace(minute=0, second=0, microsecond=0), now.replace(second=0, microsecond=0)
        return {
            "minutes": list(self.rows(minute - DAY, minute, MINUTE, now, rng)),
            "hours": list(self.rows(hour - DAYS * DAY, hour, HOUR, now, rng)),
            "incidents": [outage.incident(now) for outage in self.outages],
        }

    def rows(
        self, start: datetime, end: datetime, length: timedelta, now: datetime, rng: random.Random
    ) -> Iterator[tuple[datetime, int, int, list[float]]]:
        """When each began, its checks, its failures, and some of its latencies."""
        while start < end:
            share = min(1.0, sum(outage.share_of(start, length, now) for outage in self.outages))
            usual = self.latency_ms * BUSY[start.hour]
            latencies = [round(usual * rng.lognormvariate(0, 0.3), 1) for _ in range(SAMPLES)]
            yield start, CHECKS[length], round(share * CHECKS[length]), latencies
            start += length


def enter(services: list[dict[str, Any]], pasts: list[Past], seed: int = 7) -> str:
    """Enters those services that are not there yet, each with its past, and where all of them answer now.

    The address of the last one's badge.
    """
    rng, now = random.Random(seed), datetime.now(UTC)  # noqa: S311 - a play, not a secret
    entered = [fields | {"past": past.written(now, rng)} for fields, past in zip(services, pasts, strict=True)]
    return within(WRITER, entered)
