"""What a licence consumed, as charts.js draws it, and the same as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.base.words import EMPTY_VALUE, format_count
from usage.consumption import DAY, Period, Standing, Sums


@dataclass(frozen=True)
class Drawn:
    """`data` is what is drawn; `columns` and `rows` are its table."""

    title: str
    data: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]


def day_label(day: date) -> str:
    return date_format(day, "j N")


def days_of(period: Period) -> list[date]:
    last = timezone.localdate(period.end)
    return [period.first_day + number * DAY for number in range((last - period.first_day).days)]


def month_chart(standing: Standing, by_day: Mapping[date, Sums]) -> Drawn:
    """Pages from the first day of the month up to each day; from today on as they will be at this pace."""
    days, today = days_of(standing.period), timezone.localdate(standing.now)
    pages: list[int | None] = []
    so_far = 0
    for day in days:
        so_far += by_day.get(day, Sums()).pages
        pages.append(so_far if day <= today else None)
    ahead = expectation(standing, days, today)
    lines = [{"label": _("pages so far"), "values": pages}, {"label": _("at this pace"), "values": ahead}]
    if standing.quota is not None:
        lines.append({"label": _("quota"), "values": [standing.quota] * len(days)})
    return Drawn(
        title=_("This month"),
        data={"labels": [day_label(day) for day in days], "lines": lines, "unit": _("pages")},
        columns=[_("Day"), _("Pages so far"), _("At this pace")],
        rows=[
            [day_label(day), shown(so_far), shown(then)] for day, so_far, then in zip(days, pages, ahead, strict=True)
        ],
    )


def expectation(standing: Standing, days: Sequence[date], today: date) -> list[int | None]:
    """From what there is today straight to what is expected when the month ends."""
    if standing.expected is None:
        return [None] * len(days)
    left = [day for day in days if day >= today]
    step = (standing.expected - standing.pages) / max(len(left) - 1, 1)
    ahead: list[int | None] = [standing.pages + round(number * step) for number in range(len(left))]
    return [None] * (len(days) - len(left)) + ahead


def shown(value: int | None) -> str:
    return EMPTY_VALUE if value is None else format_count(value)


def periods_chart(periods: Sequence[Period], sums: Sequence[Sums]) -> dict[str, Any]:
    """A bar for each month, oldest first."""
    return {
        "labels": [date_format(period.first_day, "M Y") for period in reversed(periods)],
        "values": [found.pages for found in reversed(sums)],
        "unit": _("pages"),
    }
