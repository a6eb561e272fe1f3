"""The charts of a licence's page: data for charts.js, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.base.words import EMPTY_VALUE, format_count, format_short_day
from usage.consumption import DAY, Period, UsageTotals
from usage.quotas import QuotaStatus


@dataclass(frozen=True)
class ChartWithTable:
    """The data of a chart, and the table that shows the same values."""

    title: str
    data: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]


def days_in(period: Period) -> list[date]:
    last = timezone.localdate(period.end)
    return [period.first_day + number * DAY for number in range((last - period.first_day).days)]


def month_chart(status: QuotaStatus, by_day: Mapping[date, UsageTotals]) -> ChartWithTable:
    """Draw the pages summed up from the first day of the month, and the forecast from today on."""
    days, today = days_in(status.period), timezone.localdate(status.now)
    pages: list[int | None] = []
    total = 0
    for day in days:
        total += by_day.get(day, UsageTotals()).pages
        pages.append(total if day <= today else None)
    forecast = forecast_line(status, days, today)
    lines = [{"label": _("pages so far"), "values": pages}, {"label": _("at this pace"), "values": forecast}]
    if status.quota is not None:
        lines.append({"label": _("quota"), "values": [status.quota] * len(days)})
    return ChartWithTable(
        title=_("Current month"),
        data={"labels": [format_short_day(day) for day in days], "lines": lines, "unit": _("pages")},
        columns=[_("Day"), _("Pages so far"), _("At this pace")],
        rows=[
            [format_short_day(day), format_pages(actual), format_pages(expected)]
            for day, actual, expected in zip(days, pages, forecast, strict=True)
        ],
    )


def forecast_line(status: QuotaStatus, days: Sequence[date], today: date) -> list[int | None]:
    """Return a straight line from today's pages to the forecast for the end of the month, None for past days."""
    if status.expected is None:
        return [None] * len(days)
    left = [day for day in days if day >= today]
    step = (status.expected - status.pages) / max(len(left) - 1, 1)
    line: list[int | None] = [status.pages + round(number * step) for number in range(len(left))]
    return [None] * (len(days) - len(left)) + line


def format_pages(value: int | None) -> str:
    return EMPTY_VALUE if value is None else format_count(value)


def periods_chart(periods: Sequence[Period], totals: Sequence[UsageTotals]) -> dict[str, Any]:
    """Draw a bar for each month, oldest first."""
    return {
        "labels": [date_format(period.first_day, "N Y") for period in reversed(periods)],
        "values": [each.pages for each in reversed(totals)],
        "unit": _("pages"),
    }
