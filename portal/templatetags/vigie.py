"""The portal's own template tags."""

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from portal.access.accounts.staff_tokens import staff_tokens_note
from portal.admin.display import duration_since, relative_moment
from portal.base.words import EMPTY_VALUE, format_count, format_short_day
from portal.desk.panels import Chart, Section

register = template.Library()
register.filter(duration_since)
register.filter("ago", relative_moment)


@register.simple_tag(takes_context=True)
def own_staff_tokens(context: dict[str, Any]) -> SafeString:
    """Return how many staff tokens of the user who looks work."""
    user = context["request"].user
    return staff_tokens_note(user, is_linked=user.has_perm("portal.view_apitoken"))


@register.filter
def cell(value: Any) -> Any:
    """A value in a table: moments by their distance, counts in groups of digits, and a dash for what is not there."""
    if isinstance(value, datetime):
        return relative_moment(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return format_count(value)
    return EMPTY_VALUE if value is None or value == "" else value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number_columns(section: Section) -> list[bool]:
    """Return of each column whether it holds numbers, beside cells without a value: they are aligned at their right."""
    columns = zip(*section.rows, strict=True)
    shown = [[value for value in column if value not in (None, "", EMPTY_VALUE)] for column in columns]
    return [bool(values) and all(map(is_number, values)) for values in shown]


@register.filter
def headings(section: Section) -> list[tuple[str, bool]]:
    """Return the columns of a table, and whether they hold numbers."""
    return list(zip(section.columns, number_columns(section), strict=True))


@register.filter
def lines(section: Section) -> list[list[tuple[Any, bool]]]:
    """Return the rows of a table: each value with whether its column holds numbers."""
    numeric = number_columns(section)
    return [list(zip(row, numeric, strict=True)) for row in section.rows]


@register.filter
def chart_rows(chart: Chart) -> list[tuple[str, float]]:
    """`(21 Nov, 12)`, oldest first: what the table beside a chart says."""
    return [(format_short_day(day), value) for day, value in zip(chart.days, chart.values, strict=True)]


@register.filter
def chart_data(chart: Chart) -> dict[str, Any]:
    """Return the data that charts.js draws."""
    return {"labels": [label for label, _ in chart_rows(chart)], "values": chart.values, "unit": str(chart.unit)}
