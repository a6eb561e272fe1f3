"""Charts of a report day by day, each with its table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from beta.report import wording
from beta.report.gather import Report
from portal.base.words import format_short_day

# A longer period is drawn without the days on which nothing happened.
MOST_DAYS = 731
DAY = timedelta(days=1)
TABLE_ROW = '<tr><th scope="row">%s</th>' + '<td class="number">%s</td>' * 3 + "</tr>"


@dataclass(frozen=True)
class DrawnChart:
    """`key` identifies the chart on the page, `data` is for charts.js, `rows` are those of its table."""

    key: str
    title: str
    data: dict[str, Any]
    columns: list[str]
    rows: SafeString


def trend_chart(report: Report) -> DrawnChart | None:
    """Chart the average score at the end of each day; None without scores."""
    days = {date.fromisoformat(day["day"]): day for day in report["trend"]}
    if not days:
        return None
    target, averages = report["score"]["target"], list[float]()
    drawn = fill_days(list(days))
    for day in drawn:
        averages.append(days[day]["average"] if day in days else averages[-1])
    needed = _("at least %(target)s") % {"target": wording.format_score(target)}
    return DrawnChart(
        key="chart-trend",
        title=_("Average score over time"),
        data={
            "labels": [format_short_day(day) for day in drawn],
            "lines": [
                {"label": _("Average score"), "values": averages},
                {"label": needed, "values": [target] * len(drawn)},
            ],
            "unit": _("of 10"),
        },
        columns=[_("Day"), _("Participants"), _("Average score"), _("Net Promoter Score")],
        rows=table_rows(
            [
                wording.format_day(day["day"]),
                wording.format_figure(day["participants"]),
                wording.format_score(day["average"]),
                wording.format_signed(day["nps"]),
            ]
            for day in report["trend"]
        ),
    )


def response_chart(report: Report) -> DrawnChart | None:
    """Chart the response times of the targets day by day; None without checks."""
    days = {date.fromisoformat(day["day"]): day for day in report["performance"]["days"]}
    if not days:
        return None
    drawn = fill_days(list(days))
    known = [days.get(day) for day in drawn]
    lines = [{"label": _("Average response time"), "values": [day["mean_ms"] if day else None for day in known]}]
    if condition := wording.find_condition(report, "latency"):
        lines.append({"label": wording.condition_target(condition), "values": [condition["target"]] * len(drawn)})
    return DrawnChart(
        key="chart-times",
        title=_("Response times"),
        data={
            "labels": [format_short_day(day) for day in drawn],
            "lines": lines,
            "marks": {"label": _("failed checks"), "values": [day["failures"] if day else 0 for day in known]},
            "unit": "ms",
        },
        columns=[_("Day (UTC)"), _("Average response time"), _("Checks"), _("Failed")],
        rows=table_rows(
            [
                wording.format_day(day["day"]),
                wording.format_milliseconds(day["mean_ms"]),
                wording.format_figure(day["checks"]),
                wording.format_figure(day["failures"]),
            ]
            for day in report["performance"]["days"]
        ),
    )


def table_rows(rows: Iterable[list[str]]) -> SafeString:
    """Render table rows. A template would take ten times as long for a year of days."""
    return SafeString("".join(TABLE_ROW % tuple(map(escape, row)) for row in rows))


def fill_days(days: Sequence[date]) -> list[date]:
    """Return all days from the first to the last, or `days` alone if the period is too long."""
    length = (days[-1] - days[0]).days + 1
    return list(days) if length > MOST_DAYS else [days[0] + number * DAY for number in range(length)]
