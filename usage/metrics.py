"""Prometheus metrics of runs, licences and tracking. None counts a whole table of runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, Sum
from prometheus_client.metrics_core import Metric

from portal.status.metrics import counter, metric_sources, single_gauge
from usage.models import Licence, Run, TrackingWriter
from usage.quotas import UNNAMED, near_quota, over_quota

RECENT = timedelta(minutes=5)
WRITER_ALIVE = timedelta(minutes=10)


@metric_sources.register
def run_metrics(now: datetime) -> Iterator[Metric]:
    highest = Run.objects.aggregate(highest=Max("pk"))["highest"] or 0
    text = "Runs received, by the highest id given: at most this many, for a repeated report may use up an id."
    yield counter("runs_received", text, highest)
    recent = Run.objects.filter(received_at__gt=now - RECENT).aggregate(runs=Count("pk"), pages=Sum("total_pages"))
    yield single_gauge("recent_runs", "Runs received in the last five minutes, counted.", recent["runs"])
    yield single_gauge("recent_pages", "Pages of the runs received in the last five minutes.", recent["pages"] or 0)


@metric_sources.register
def licence_metrics(now: datetime) -> Iterator[Metric]:
    counts = Licence.objects.aggregate(
        all=Count("pk"),
        over=Count("pk", filter=over_quota(now)),
        near=Count("pk", filter=near_quota(now)),
        unnamed=Count("pk", filter=UNNAMED),
    )
    yield single_gauge("licences", "Licences that are known.", counts["all"])
    yield single_gauge("licences_over_quota", "Licences that have used the quota of the current month.", counts["over"])
    yield single_gauge(
        "licences_near_quota", "Licences that have used 80 % of it or more, but not all.", counts["near"]
    )
    yield single_gauge("licences_unnamed", "Licences without a customer.", counts["unnamed"])


@metric_sources.register
def tracking_metrics(now: datetime) -> Iterator[Metric]:
    alive = Q(seen_at__gt=now - WRITER_ALIVE)
    found = TrackingWriter.objects.aggregate(dropped=Sum("dropped"), queued=Sum("queued", filter=alive))
    yield counter("tracking_dropped", "Tracking records that were dropped.", found["dropped"] or 0)
    yield single_gauge(
        "tracking_queued", "Tracking records that wait in the processes to be written.", found["queued"] or 0
    )
