"""The response times of a target over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dates import MONTHS_AP
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from monitoring.figures.uptime import SPANS, Series, series
from monitoring.models import Target
from portal.base.words import EMPTY_VALUE, round_half_up

DEFAULT_SPAN = "24h"
BY_TIME, BY_BOTH = ("3h", "24h"), ("7d", "30d")


@dataclass(frozen=True)
class ResponseChart:
    """What is drawn, the same as rows of a table, and the spans one may choose."""

    data: dict[str, Any]
    rows: SafeString
    spans: list[tuple[str, Any, bool]]
    is_empty: bool


def response_chart(target: Target, now: datetime, span: str) -> ResponseChart:
    chosen = span if span in SPANS else DEFAULT_SPAN
    found = series(target.pk, now, chosen)
    data = drawn(found, [label_of(start, chosen) for start in found.starts])
    return ResponseChart(
        data=data,
        rows=told(data),
        spans=[(key, value.label, key == chosen) for key, value in SPANS.items()],
        is_empty=not any(value is not None for value in found.p50) and not any(found.failures),
    )


def label_of(moment: datetime, span: str) -> str:
    """How a moment is called below the chart: by its time, by its day, or by both."""
    local = timezone.localtime(moment)
    if span in BY_TIME:
        return f"{local:%H:%M}"
    # What date_format would say, in a tenth of its time: a year has many days.
    day = f"{local.day} {MONTHS_AP[local.month]}"
    return f"{day} {local:%H:%M}" if span in BY_BOTH else f"{day} {local.year}"


def drawn(found: Series, labels: list[str]) -> dict[str, Any]:
    """What charts.js draws."""
    return {
        "labels": labels,
        "lines": [
            {"label": "p50", "values": rounded(found.p50)},
            {"label": "p95", "values": rounded(found.p95)},
        ],
        "marks": {"label": _("failed checks"), "values": found.failures},
        "unit": "ms",
    }


def rounded(values: list[float | None]) -> list[float | None]:
    return [None if value is None else round_half_up(value, 1) for value in values]


def told(data: dict[str, Any]) -> SafeString:
    """The same in rows, its figures as they are drawn; times without a check are left out."""
    p50, p95 = (line["values"] for line in data["lines"])
    rows = zip(data["labels"], p50, p95, data["marks"]["values"], strict=True)
    return SafeString(
        "".join(
            f'<tr><th scope="row">{escape(label)}</th>'
            f"<td>{shown(fast)}</td><td>{shown(slow)}</td><td>{failures}</td></tr>"
            for label, fast, slow, failures in rows
            if fast is not None or failures
        )
    )


def shown(value: float | None) -> str:
    return EMPTY_VALUE if value is None else str(value)
