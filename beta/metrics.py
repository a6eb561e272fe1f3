"""The programmes that run, as Prometheus sees them. They are named: somebody wrote each of them down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from beta.models import BetaFeedback
from beta.report.standing import Standing, running
from beta.report.verdict import VERDICTS
from portal.status.metrics import gauge, metric_sources


@metric_sources.register
def programmes(now: datetime) -> Iterator[Metric]:
    """As they stood a minute ago at most."""
    found = running(now)
    standings = {programme.name: standing for programme, standing in found}
    yield from figures(standings)
    verdicts = {(name, code): float(code == each.verdict) for name, each in standings.items() for code in VERDICTS}
    yield of_each("verdict", "1 for the verdict of the programme, 0 for the others.", "verdict", verdicts)
    rows = BetaFeedback.objects.filter(programme__in=[programme.pk for programme, _standing in found]).order_by()
    counts = {
        (programme, kind): count
        for programme, kind, count in rows.values_list("programme__name", "type").annotate(Count("pk"))
    }
    given = {(name, kind): counts.get((name, kind), 0) for name in standings for kind in BetaFeedback.Type.values}
    yield of_each("feedback", "What was said in the programme, by its type.", "type", given)


def figures(standings: Mapping[str, Standing]) -> Iterator[Metric]:
    """A programme in which nobody gave a score has neither average nor NPS."""
    people = {name: each.figures.participants for name, each in standings.items()}
    averages = {name: each.figures.average for name, each in standings.items()}
    promoters = {name: each.nps for name, each in standings.items()}
    bugs = {name: each.figures.grave_bugs for name, each in standings.items()}
    yield gauge("monitoring_beta_participants", "People who said something in the programme.", "programme", people)
    yield gauge("monitoring_beta_score", "Average of their latest scores, from 0 to 10.", "programme", known(averages))
    yield gauge("monitoring_beta_nps", "Net Promoter Score, from -100 to 100.", "programme", known(promoters))
    yield gauge("monitoring_beta_grave_bugs_open", "Critical and high bugs that are open.", "programme", bugs)


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def of_each(name: str, text: str, label: str, values: Mapping[tuple[str, str], float]) -> Metric:
    """One value for each programme and value of the label."""
    family = GaugeMetricFamily(f"vigie_monitoring_beta_{name}", text, labels=["programme", label])
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
