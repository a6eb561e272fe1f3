"""The portal's own template tags."""

from datetime import datetime
from typing import Any

from django import template
from django.contrib.admin.helpers import Fieldset
from django.utils.formats import localize
from django.utils.html import conditional_escape
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
    """Return whether each column holds numbers, which are aligned right. Cells without a value don't count."""
    columns = zip(*section.rows, strict=True)
    shown = [[value for value in column if value not in (None, "", EMPTY_VALUE)] for column in columns]
    return [bool(values) and all(map(is_number, values)) for values in shown]


@register.filter
def headings(section: Section) -> list[tuple[str, bool]]:
    """Return the columns of a table, and whether they hold numbers."""
    return list(zip(section.columns, number_columns(section), strict=True))


@register.filter
def table_rows(section: Section) -> SafeString:
    """Return the rows of a table. A template takes five times as long for its many cells."""
    numeric = number_columns(section)
    return SafeString("".join(f"<tr>{''.join(map(table_cell, row, numeric))}</tr>" for row in section.rows))


def table_cell(value: Any, is_numeric: bool) -> str:
    start = '<td class="number">' if is_numeric else "<td>"
    return f"{start}{conditional_escape(localize(cell(value)))}</td>"


@register.filter
def form_rows(fieldset: Fieldset) -> SafeString:
    """Return a row for each field of a form of the admin, marked up as Django does it for one field a line.

    Django's template asks so many questions about each field that it takes half of the time of a page.
    """
    return SafeString("".join(form_row(field) for line in fieldset for field in line))


def form_row(field: Any) -> str:
    """Return the row of an `AdminField` or `AdminReadonlyField`."""
    shown, label = field.field, field.label_tag()
    if field.is_readonly:
        name, is_hidden, help_text, place, errors = shown["name"], shown["is_hidden"], shown["help_text"], "", ""
        content = f'{label}<div class="readonly">{field.contents()}</div>'
    else:
        name, is_hidden, help_text, place = shown.name, shown.is_hidden, shown.help_text, shown.id_for_label
        errors, content = field.errors(), f"{shown}{label}" if field.is_checkbox else f"{label}{shown}"
    own = f" field-{name}" if name else ""
    hidden, box = " hidden" if is_hidden else "", " checkbox-row" if field.is_checkbox else ""
    anchor = f' id="{place}_helptext"' if place else ""
    note = f'<div class="help{hidden}"{anchor}><div>{help_text}</div></div>' if help_text else ""
    return (
        f'<div class="form-row{" errors" if errors else ""}{hidden}{own}">{errors}'
        f'<div><div class="flex-container{box}">{content}</div>{note}</div></div>'
    )


@register.filter
def chart_rows(chart: Chart) -> list[tuple[str, float]]:
    """`(21 Nov, 12)`, oldest first: what the table beside a chart says."""
    return [(format_short_day(day), value) for day, value in zip(chart.days, chart.values, strict=True)]


@register.filter
def chart_data(chart: Chart) -> dict[str, Any]:
    """Return the data that charts.js draws."""
    return {"labels": [label for label, _ in chart_rows(chart)], "values": chart.values, "unit": str(chart.unit)}
