"""Prometheus metrics of targets, incidents and rounds. Targets are labelled by name, since operators add each one."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count
from prometheus_client.metrics_core import Metric

from monitoring.models import Incident, Round, Target
from portal.status.metrics import age_seconds, gauge, metric_sources, single_gauge

State = Target.State
PAUSED = "paused"


@metric_sources.register
def target_metrics(now: datetime) -> Iterator[Metric]:
    """Count targets by state. Targets not checked yet and paused ones are neither up nor down."""
    counts = dict.fromkeys([*State.values, PAUSED], 0)
    up, latencies = {}, {}
    columns = ("name", "is_active", "state", "last_latency_ms")
    for name, is_active, state, latency_ms in Target.objects.order_by().values_list(*columns):
        counts[state if is_active else PAUSED] += 1
        if not is_active or state == State.UNKNOWN:
            continue
        up[name] = float(state != State.DOWN)
        if latency_ms is not None:
            latencies[name] = latency_ms / 1_000
    yield gauge("monitoring_targets", "Targets, by how they stand.", "state", counts)
    yield gauge("monitoring_target_up", "0 while the target has an incident for being down, else 1.", "target", up)
    text = "How long the last check took, of targets whose last check went well."
    yield gauge("monitoring_target_latency_seconds", text, "target", latencies)


@metric_sources.register
def incident_metrics(now: datetime) -> Iterator[Metric]:
    counts = dict(Incident.objects.open().order_by().values_list("rule").annotate(Count("pk")))
    values = {rule: counts.get(rule, 0) for rule in Incident.Rule.values}
    yield gauge("monitoring_incidents_open", "Open incidents, by the rule that was broken.", "rule", values)


@metric_sources.register
def round_metrics(now: datetime) -> Iterator[Metric]:
    last = Round.objects.latest_first().first()
    if last is None:
        return
    yield single_gauge(
        "monitoring_round_age_seconds", "Since the last round finished.", age_seconds(last.finished_at, now)
    )
    yield single_gauge("monitoring_round_checks", "Checks of the last round that count.", last.checks)
    yield single_gauge("monitoring_round_failures", "How many of them failed.", last.failures)
    text = "Failed attempts of the last round after which a retry held."
    yield single_gauge("monitoring_round_retried", text, last.retried)
    yield single_gauge("monitoring_round_excused", "Failures of the last round that do not count.", last.excused)
    if last.p95_ms is not None:
        text = "How long 95 of 100 checks of the last round took at most."
        yield single_gauge("monitoring_round_p95_seconds", text, last.p95_ms / 1_000)
