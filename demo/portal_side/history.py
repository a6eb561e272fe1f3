"""Write the history of services: targets, rollups and incidents."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from monitoring.figures import badge, histogram, rollups, uptime
from monitoring.models import Incident, IncidentEvent, Rollup, Target

Row = tuple[str, int, int, list[float]]
Tallies = dict[tuple[int, datetime], rollups.RollupTally]


def make_tally(checks: int, failures: int, latencies: list[float]) -> rollups.RollupTally:
    weight = (checks - failures) / len(latencies)
    tally = rollups.RollupTally(checks, failures, latency_sum_ms=sum(latencies) * weight)
    for number, latency in enumerate(latencies):
        key = str(histogram.bucket_number(latency))
        count = int(weight * (number + 1)) - int(weight * number)
        tally.histogram[key] = tally.histogram.get(key, 0) + count
    return tally


def make_tallies(target: Target, rows: Iterable[Row]) -> Tallies:
    return {
        (target.pk, datetime.fromisoformat(start)): make_tally(checks, failures, latencies)
        for start, checks, failures, latencies in rows
    }


def write_rollups(target: Target, minutes: list[Row], hours: list[Row]) -> None:
    by_hour, by_day = make_tallies(target, hours), Tallies()
    for (pk, start), tally in by_hour.items():
        by_day.setdefault((pk, uptime.floor_to_step(start, uptime.DAY)), rollups.RollupTally()).add(tally)
    rollups.store_rollups(Rollup.Period.MINUTE, make_tallies(target, minutes))
    rollups.store_rollups(Rollup.Period.HOUR, by_hour)
    rollups.store_rollups(Rollup.Period.DAY, by_day)


def write_incident(target: Target, fields: dict[str, Any], events: list[dict[str, Any]]) -> None:
    length = timedelta(seconds=fields.pop("seconds"))
    incident = Incident.objects.create(subject=target.subject, target=target, duration=length, **fields)
    IncidentEvent.objects.bulk_create(IncidentEvent(incident=incident, **event) for event in events)


def main() -> None:
    """Create missing targets with their history, publish the badge of the last one, and print its URL."""
    incidents = []
    for service in json.load(sys.stdin):
        past = service.pop("past")
        with transaction.atomic():
            target, is_new = Target.objects.get_or_create(name=service.pop("name"), defaults=service)
            Target.objects.filter(pk=target.pk).update(url=service["url"])
            if is_new:
                write_rollups(target, past["minutes"], past["hours"])
                incidents += [(target, *incident) for incident in past["incidents"]]
    for incident in sorted(incidents, key=lambda each: each[1]["opened_at"]):
        write_incident(*incident)
    badge.publish_badges(Target.objects.filter(pk=target.pk))
    sys.stdout.write(badge.badge_url(Target.objects.get(pk=target.pk)))
