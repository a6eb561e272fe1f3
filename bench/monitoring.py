"""Measure the pages and calls that read monitoring, with a year of rollups."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bench.figures import Figure
from bench.load import Address, latency_figure, request_bytes
from bench.server import sign_in_operator

OTHERS, CALLS = 50, 100
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# Period, step, how far back, and checks of a target that is checked every 30 seconds.
YEAR = [("minute", MINUTE, 30 * DAY, 2), ("hour", HOUR, 365 * DAY, 120), ("day", DAY, 365 * DAY, 2_880)]
QUARTER = [("hour", HOUR, 8 * DAY, 120), ("day", DAY, 90 * DAY, 2_880)]


def measure(address: Address) -> Iterator[Figure]:
    # Imported late: Django's models exist only once the server's settings do.
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    busiest = create_targets(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    token, session = sign_in_operator("monitoring")
    requests = {
        "a target's page with a year of rollups": page_bytes(f"/admin/monitoring/target/{busiest}/change/", session),
        f"the admin's list of {OTHERS + 1} targets": page_bytes("/admin/monitoring/target/", session),
        f"GET monitoring/targets of {OTHERS}": request_bytes("GET", "/api/v1/monitoring/targets", token),
        "GET monitoring/status": request_bytes("GET", "/api/v1/monitoring/status", token),
    }
    for name, request in requests.items():
        yield latency_figure(address, f"{name}, p95", request, CALLS, 100)


def page_bytes(path: str, session: str) -> bytes:
    return request_bytes("GET", path).removesuffix(b"\r\n") + f"Cookie: sessionid={session}\r\n\r\n".encode()


def create_targets(now: datetime) -> int:
    """Create targets that were checked every 30 seconds. Return the primary key of the one with a year of rollups."""
    from monitoring.models import Incident, Round, Target  # noqa: PLC0415

    drawn = random.Random(4)
    fields = {"url": "https://api.example.org/", "interval": 30, "state": "up", "last_check_at": now}
    targets = Target.objects.bulk_create(Target(name=f"Service {n}", **fields) for n in range(OTHERS + 1))
    busiest = targets[0]
    add_rollups([busiest], YEAR, now, drawn)
    add_rollups(targets[1:], QUARTER, now, drawn)
    add_checks(busiest, now, drawn)
    Incident.objects.bulk_create(
        Incident(subject=target.subject, target=target, rule="unavailable", opened_at=now - DAY, resolved_at=now)
        for target in [busiest] * 100 + targets
    )
    figures = {"checks": 100, "failures": 1, "p95_ms": 180.0}
    Round.objects.bulk_create(
        Round(number=n, started_at=now - n * MINUTE, finished_at=now - n * MINUTE, **figures) for n in range(1, 10_001)
    )
    return busiest.pk


def add_rollups(targets: list[Any], periods: list[Any], now: datetime, drawn: random.Random) -> None:
    from monitoring.figures.uptime import floor_to_step  # noqa: PLC0415
    from monitoring.models import Rollup  # noqa: PLC0415

    for period, step, length, checks in periods:
        known = [latencies_of(checks, drawn) for _ in range(20)]
        last = floor_to_step(now, step)
        rows = (
            Rollup(
                target=target,
                period=period,
                start=last - back * step,
                checks=checks,
                failures=int(back % 50 == 0),
                latency_sum_ms=150.0 * checks,
                histogram=drawn.choice(known),
            )
            for target in targets
            for back in range(length // step)
        )
        Rollup.objects.bulk_create(rows, batch_size=5_000)


def latencies_of(checks: int, drawn: random.Random) -> dict[str, int]:
    from monitoring.figures import histogram  # noqa: PLC0415

    counted: dict[str, int] = {}
    for _ in range(checks):
        histogram.add_latency(counted, drawn.lognormvariate(5, 0.5))
    return counted


def add_checks(target: Any, now: datetime, drawn: random.Random) -> None:
    """Add checks of a week, as long as they are kept."""
    from monitoring.models import CheckResult  # noqa: PLC0415

    CheckResult.objects.bulk_create(
        (
            CheckResult(target=target, at=now - n * MINUTE / 2, status=200, latency_ms=drawn.lognormvariate(5, 0.5))
            for n in range(7 * DAY // (MINUTE / 2))
        ),
        batch_size=5_000,
    )
