"""What a programme came to day by day, drawn, and the same as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from beta.report import wording
from beta.report.gather import Report
from monitoring.admin.display import day_of

# A longer time is drawn without the days on which nothing happened.
MOST_DAYS = 731
DAY = timedelta(days=1)
TOLD = '<tr><th scope="row">%s</th>' + '<td class="number">%s</td>' * 3 + "</tr>"


@dataclass(frozen=True)
class DrawnChart:
    """`key` tells it apart on the page, `data` is for charts.js, `rows` are those of its table."""

    key: str
    title: str
    data: dict[str, Any]
    columns: list[str]
    rows: SafeString


def trend_of(report: Report) -> DrawnChart | None:
    """The average at the end of each day; None without a score."""
    days = {date.fromisoformat(day["day"]): day for day in report["trend"]}
    if not days:
        return None
    target, averages = report["score"]["target"], list[float]()
    drawn = every_day(list(days))
    for day in drawn:
        averages.append(days[day]["average"] if day in days else averages[-1])
    needed = _("at least %(target)s") % {"target": wording.score(target)}
    return DrawnChart(
        key="chart-trend",
        title=_("Average score over time"),
        data={
            "labels": [day_of(day) for day in drawn],
            "lines": [
                {"label": _("Average score"), "values": averages},
                {"label": needed, "values": [target] * len(drawn)},
            ],
            "unit": _("of 10"),
        },
        columns=[_("Day"), _("Participants"), _("Average score"), _("Net Promoter Score")],
        rows=told(
            [
                wording.day_of(day["day"]),
                wording.count(day["participants"]),
                wording.score(day["average"]),
                wording.signed(day["nps"]),
            ]
            for day in report["trend"]
        ),
    )


def times_of(report: Report) -> DrawnChart | None:
    """How fast the targets answered, day by day; None where nothing was checked."""
    days = {date.fromisoformat(day["day"]): day for day in report["performance"]["days"]}
    if not days:
        return None
    drawn = every_day(list(days))
    known = [days.get(day) for day in drawn]
    lines = [{"label": _("Mean response time"), "values": [day["mean_ms"] if day else None for day in known]}]
    for condition in report["conditions"]:
        if condition["name"] == "latency":
            lines.append({"label": wording.target_of(condition), "values": [condition["target"]] * len(drawn)})
    return DrawnChart(
        key="chart-times",
        title=_("Response times"),
        data={
            "labels": [day_of(day) for day in drawn],
            "lines": lines,
            "marks": {"label": _("failed checks"), "values": [day["failures"] if day else 0 for day in known]},
            "unit": "ms",
        },
        columns=[_("Day (UTC)"), _("Mean response time"), _("Checks"), _("Failed")],
        rows=told(
            [
                wording.day_of(day["day"]),
                wording.milliseconds(day["mean_ms"]),
                wording.count(day["checks"]),
                wording.count(day["failures"]),
            ]
            for day in report["performance"]["days"]
        ),
    )


def told(rows: Iterable[list[str]]) -> SafeString:
    """As a table says them: a year has many days, and a template takes ten times as long."""
    return SafeString("".join(TOLD % tuple(map(escape, row)) for row in rows))


def every_day(days: Sequence[date]) -> list[date]:
    """From the first to the last; of a time too long to draw, only these."""
    length = (days[-1] - days[0]).days + 1
    return list(days) if length > MOST_DAYS else [days[0] + number * DAY for number in range(length)]
