"""Runs, as Prometheus sees them, without ever counting millions of rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Max, Sum
from prometheus_client.metrics_core import Metric

from portal.metrics import single, sources, total
from usage.models import Run

RECENT = timedelta(minutes=5)


@sources.register
def runs(now: datetime) -> Iterator[Metric]:
    highest = Run.objects.aggregate(highest=Max("pk"))["highest"] or 0
    text = "Runs received, by the highest id given: at most this many, for a repeated report may use up an id."
    yield total("runs_received", text, highest)
    recent = Run.objects.filter(received_at__gt=now - RECENT).aggregate(runs=Count("pk"), pages=Sum("total_pages"))
    yield single("recent_runs", "Runs received in the last five minutes, counted.", recent["runs"])
    yield single("recent_pages", "Pages of the runs received in the last five minutes.", recent["pages"] or 0)
