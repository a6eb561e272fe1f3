"""Values as the admin shows them: states as badges, times both relative to now and exact."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal.base.words import EMPTY_VALUE, format_duration, format_moment, format_relative

GOOD, WARNING, BAD, QUIET = "good", "warning", "bad", "quiet"
BENEATH = '<span class="beneath">{}</span>'
Text = Any  # a string, or one whose translation is looked up when shown


def badge(text: Any, tone: str) -> SafeString:
    """Return a state as a coloured badge with its word."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)


def stack_lines(*parts: Text) -> SafeString:
    """Return the first part, and the others below it in smaller lines."""
    shown = [part for part in parts if part]
    return format_html("{}" + BENEATH * (len(shown) - 1), *shown)


def join_inline(*parts: Text) -> SafeString:
    shown = [part for part in parts if part]
    return format_html(" ".join(["{}"] * len(shown)), *shown) if shown else SafeString("")


def relative_moment(moment: datetime | None, empty: Text = EMPTY_VALUE) -> SafeString:
    """Return `40 min ago` with the exact time: below it in a table, beside it in text."""
    if moment is None:
        return format_html("{}", empty)
    return time_element(moment, format_relative(moment, timezone.now()))


def duration_since(moment: datetime) -> SafeString:
    """Return `for 4 days`, the time since then, with the exact moment."""
    passed = max(0.0, (timezone.now() - moment).total_seconds())
    return time_element(moment, _("for %(time)s") % {"time": format_duration(passed)})


def time_element(moment: datetime, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}">{}<span class="exact"> {}</span></time>', moment.isoformat(), text, format_moment(moment)
    )


def exact_moment(moment: datetime | None, empty: Text = EMPTY_VALUE) -> SafeString:
    """Return the exact time with the relative one beside it, for a row's own page."""
    if moment is None:
        return format_html("{}", empty)
    return format_html(
        '{} <span class="quiet">· {}</span>', format_moment(moment), format_relative(moment, timezone.now())
    )


def moment_column(
    field: str,
    description: Text,
    *,
    ordering: str | None = None,
    empty: Text = EMPTY_VALUE,
    show: Callable[[datetime | None, Text], SafeString] = relative_moment,
) -> Callable[[Any], SafeString]:
    """Return a column for a field with a time, or with `show=exact_moment` a line of a row's page."""

    @admin.display(description=description, ordering=ordering)
    def column(row: Any) -> SafeString:
        return show(getattr(row, field), empty)

    column.__name__ = field
    column.export_value = lambda row: getattr(row, field)  # type: ignore[attr-defined]
    return column
