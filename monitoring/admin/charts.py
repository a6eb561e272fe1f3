"""Chart of a target's response times."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dates import MONTHS_AP
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from monitoring.figures.uptime import CHART_SPANS, LatencySeries, load_series
from monitoring.models import Rollup
from portal.base.words import EMPTY_VALUE, round_half_up

DEFAULT_SPAN = "24h"
# Share of the time range that an incident's chart shows after its end.
AFTER = 0.1
BY_TIME, BY_BOTH = ("3h", "24h"), ("7d", "30d")


@dataclass(frozen=True)
class ResponseChart:
    """Data of the chart, the same as table rows, and the time ranges to choose from."""

    data: dict[str, Any]
    rows: SafeString
    spans: list[tuple[str, Any, bool]]
    is_empty: bool


def response_chart(target: int, now: datetime, span: str, *, is_fixed: bool = False) -> ResponseChart:
    """Return the chart of the time before `now`. A fixed one offers no other time ranges."""
    chosen = span if span in CHART_SPANS else DEFAULT_SPAN
    found = load_series(target, now, chosen)
    data = chart_data(found, [point_label(start, chosen) for start in found.starts])
    return ResponseChart(
        data=data,
        rows=chart_rows(data),
        spans=[] if is_fixed else [(key, value.label, key == chosen) for key, value in CHART_SPANS.items()],
        is_empty=not any(value is not None for value in found.p50) and not any(found.failures),
    )


def incident_chart(target: int, opened_at: datetime, end: datetime) -> ResponseChart:
    """Return the chart of an incident's time, with some time before it: by the minute, or by the hour if minutes are
    no longer kept.
    """
    covering = [key for key, value in CHART_SPANS.items() if (end - opened_at) * 2 <= value.length] or ["1y"]
    hourly = next((key for key in covering if CHART_SPANS[key].period != Rollup.Period.MINUTE), "1y")
    chart = chart_around(target, end, covering[0])
    return chart_around(target, end, hourly) if chart.is_empty and hourly != covering[0] else chart


def chart_around(target: int, end: datetime, span: str) -> ResponseChart:
    return response_chart(target, end + CHART_SPANS[span].length * AFTER, span, is_fixed=True)


def point_label(moment: datetime, span: str) -> str:
    """Label a point by its time, its day, or both, depending on the time range."""
    local = timezone.localtime(moment)
    if span in BY_TIME:
        return f"{local:%H:%M}"
    # The same as date_format in a tenth of the time: a year has many days.
    day = f"{local.day} {MONTHS_AP[local.month]}"
    return f"{day} {local:%H:%M}" if span in BY_BOTH else f"{day} {local.year}"


def chart_data(found: LatencySeries, labels: list[str]) -> dict[str, Any]:
    """Return the data for charts.js."""
    return {
        "labels": labels,
        "lines": [
            {"label": "p50", "values": round_latencies(found.p50)},
            {"label": "p95", "values": round_latencies(found.p95)},
        ],
        "marks": {"label": _("failed checks"), "values": found.failures},
        "unit": "ms",
    }


def round_latencies(values: list[float | None]) -> list[float | None]:
    return [None if value is None else round_half_up(value, 1) for value in values]


def chart_rows(data: dict[str, Any]) -> SafeString:
    """Return the same data as table rows, without times that have no check."""
    p50, p95 = (line["values"] for line in data["lines"])
    rows = zip(data["labels"], p50, p95, data["marks"]["values"], strict=True)
    return SafeString(
        "".join(
            f'<tr><th scope="row">{escape(label)}</th>'
            f"<td>{format_value(fast)}</td><td>{format_value(slow)}</td><td>{failures}</td></tr>"
            for label, fast, slow, failures in rows
            if fast is not None or failures
        )
    )


def format_value(value: float | None) -> str:
    return EMPTY_VALUE if value is None else str(value)
