"""The response times of a target over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from monitoring.models import Target
from monitoring.panels import milliseconds
from monitoring.uptime import SPANS, Series, series
from portal.paginator import grouped

DEFAULT_SPAN = "24h"


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
    labels = [label(start) for label in [labels_of(chosen)] for start in found.starts]
    return ResponseChart(
        data=drawn(found, labels),
        rows=told(found, labels),
        spans=[(key, value.label, key == chosen) for key, value in SPANS.items()],
        is_empty=not any(value is not None for value in found.p50) and not any(found.failures),
    )


def labels_of(span: str) -> Callable[[datetime], str]:
    """How a moment is called below the chart: by its time, by its day, or by both."""
    kind = {"3h": "H:i", "24h": "H:i", "7d": "j N H:i", "30d": "j N H:i"}.get(span, "j N Y")
    return lambda moment: date_format(timezone.localtime(moment), kind)


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
    return [None if value is None else round(value, 1) for value in values]


def told(found: Series, labels: list[str]) -> SafeString:
    """The same in rows; times without a check are left out."""
    rows = zip(labels, found.p50, found.p95, found.failures, strict=True)
    return format_html_join(
        "",
        '<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>',
        (
            (label, milliseconds(p50), milliseconds(p95), grouped(failures))
            for label, p50, p95, failures in rows
            if p50 is not None or failures
        ),
    )
