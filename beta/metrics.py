"""Prometheus metrics of running programmes. Programmes are a label: operators create each of them."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from beta.models import BetaFeedback
from beta.report.status import ProgrammeStatus, running_programmes
from beta.report.verdict import VERDICTS
from portal.status.metrics import gauge, metric_sources


@metric_sources.register
def programme_metrics(now: datetime) -> Iterator[Metric]:
    """Yield metrics that are at most a minute old."""
    found = running_programmes(now)
    statuses = {programme.name: status for programme, status in found}
    yield from figure_gauges(statuses)
    verdicts = {(name, code): float(code == each.verdict) for name, each in statuses.items() for code in VERDICTS}
    yield labelled_gauge("verdict", "1 for the verdict of the programme, 0 for the others.", "verdict", verdicts)
    rows = BetaFeedback.objects.filter(programme__in=[programme.pk for programme, _status in found]).order_by()
    counts = {
        (programme, kind): count
        for programme, kind, count in rows.values_list("programme__name", "type").annotate(Count("pk"))
    }
    given = {(name, kind): counts.get((name, kind), 0) for name in statuses for kind in BetaFeedback.Type.values}
    yield labelled_gauge("feedback", "What was said in the programme, by its type.", "type", given)


def figure_gauges(statuses: Mapping[str, ProgrammeStatus]) -> Iterator[Metric]:
    """Yield the gauges of the figures. A programme without scores has neither average nor NPS."""
    people = {name: each.figures.participants for name, each in statuses.items()}
    averages = {name: each.figures.average for name, each in statuses.items()}
    promoters = {name: each.nps for name, each in statuses.items()}
    bugs = {name: each.figures.grave_bugs for name, each in statuses.items()}
    yield gauge("monitoring_beta_participants", "People who said something in the programme.", "programme", people)
    yield gauge(
        "monitoring_beta_score", "Average of their latest scores, from 0 to 10.", "programme", drop_unknown(averages)
    )
    yield gauge("monitoring_beta_nps", "Net Promoter Score, from -100 to 100.", "programme", drop_unknown(promoters))
    yield gauge("monitoring_beta_grave_bugs_open", "Critical and high bugs that are open.", "programme", bugs)


def drop_unknown(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def labelled_gauge(name: str, text: str, label: str, values: Mapping[tuple[str, str], float]) -> Metric:
    """Return a gauge with a value for each programme and value of the label."""
    family = GaugeMetricFamily(f"vigie_monitoring_beta_{name}", text, labels=["programme", label])
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
