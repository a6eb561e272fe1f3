"""Display of targets, checks and incidents in the admin: badges, uptime bars, latencies, links."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from monitoring.error_texts import describe_error
from monitoring.figures import uptime
from monitoring.figures.uptime import DayBar
from monitoring.models import CheckResult, Incident, IncidentEvent, Target
from monitoring.panels import format_milliseconds
from portal.admin.display import (
    BAD,
    GOOD,
    QUIET,
    WARNING,
    badge,
    duration_since,
    exact_moment,
    join_inline,
    stack_lines,
)
from portal.base.findings import Severity
from portal.base.text import truncate_text
from portal.base.words import (
    EMPTY_VALUE,
    format_count,
    format_moment,
    format_short_day,
    format_span,
    round_half_up,
    round_to_integer,
)

State = Target.State
TONES = {
    State.UNKNOWN: QUIET,
    State.UP: GOOD,
    State.SLOW: WARNING,
    State.FAILING: WARNING,
    State.UNSTABLE: BAD,
    State.DOWN: BAD,
}
SHOWN_CAUSE, SHOWN_ADDRESS = 80, 48
BAR_WIDTH, BAR_GAP, BAR_HEIGHT, EMPTY_HEIGHT = 4, 1, 20, 5


def row_column(
    description: Any,
    show: Callable[[Any], Any],
    *,
    ordering: Any = None,
    export: Callable[[Any], Any] | None = None,
    cells: dict[Any, Callable[[Any], Any]] | None = None,
) -> Callable[[Any, Any], Any]:
    """Return a method of an admin class: a column of its list or a line of a row's page, as `show` makes it.

    `export` returns the value that an export holds, where the text of the column is not enough. `cells` are the values
    by their titles, where that is not one under the title of the column.
    """

    @admin.display(description=description, ordering=ordering)
    def column(model_admin: Any, row: Any) -> Any:
        return show(row)

    if export is not None:
        column.export_value = export  # type: ignore[attr-defined]
    if cells is not None:
        column.export_cells = cells  # type: ignore[attr-defined]
    return column


# --- Targets ---------------------------------------------------------------------------------------------------------


def state_text(target: Target) -> str:
    """Return the state in words. A failing target has its failure streak and the limit that makes it down."""
    if not target.is_active:
        return _("paused")
    state = State(target.state)
    if state != State.FAILING:
        return str(state.label)
    return _("failing %(count)d of %(needed)d") % {
        "count": min(target.failures_in_row, target.failures_to_open),
        "needed": target.failures_to_open,
    }


def state_badge(target: Target) -> SafeString:
    return badge(state_text(target), TONES[State(target.state)] if target.is_active else QUIET)


def silence_badge(target: Target, now: datetime) -> SafeString:
    if target.silenced_until is None or not target.is_silenced(now):
        return SafeString("")
    until = _("until %(moment)s") % {"moment": format_moment(target.silenced_until)}
    return format_html('<span title="{}">{}</span>', until, badge(_("silenced"), QUIET))


def target_state(target: Target, now: datetime, *, in_maintenance: bool, with_since: bool = True) -> SafeString:
    """Return the state, since when, and badges for silence and maintenance."""
    since = duration_since(target.state_since) if with_since and target.state_since else ""
    maintenance = badge(_("in maintenance"), QUIET) if in_maintenance else ""
    overdue = badge(_("overdue"), WARNING) if target.is_overdue(now) else ""
    return stack_lines(join_inline(state_badge(target), overdue, silence_badge(target, now), maintenance), since)


def last_error(target: Target) -> str:
    """Return why the last check failed, or ""."""
    return describe_error(target.last_error_kind, target.last_detail) if target.last_error_kind else ""


def link_to_target(target: Target) -> SafeString:
    url = reverse("admin:monitoring_target_change", args=[target.pk])
    return format_html('<a href="{}">{}</a>', url, target.name)


def short_address(target: Target) -> str:
    """Return the address without its scheme, shortened for the list."""
    return truncate_text(target.url.partition("://")[2], SHOWN_ADDRESS)


def address_link(target: Target) -> SafeString:
    """Return a link without a referrer, so that the other side does not learn the portal's address."""
    link = format_html('<a href="{}" rel="noreferrer noopener" target="_blank">{}</a>', target.url, target.url)
    return join_inline("" if target.method == Target.Method.GET else target.method, link)


def last_latency(target: Target) -> SafeString | str:
    if target.last_latency_ms is None:
        return ""
    return format_html('<span class="quiet">· {}</span>', format_milliseconds(target.last_latency_ms))


def next_check(target: Target, now: datetime) -> SafeString | str:
    """Return when the target is checked next: a paused one is not. An overdue one is marked."""
    if not target.is_active:
        return EMPTY_VALUE
    overdue = badge(_("overdue"), WARNING) if target.is_overdue(now) else ""
    return join_inline(overdue, exact_moment(target.next_check_at))


def certificate_end(target: Target, now: datetime) -> SafeString | str:
    """Return when the certificate ends, marked if that is within the target's limit."""
    until = target.certificate_until
    if until is None:
        return EMPTY_VALUE
    if until <= now:
        return join_inline(badge(_("expired"), BAD), exact_moment(until))
    is_soon = target.tls_expiry_days is not None and until <= now + timedelta(days=target.tls_expiry_days)
    return join_inline(badge(_("expires soon"), WARNING) if is_soon else "", exact_moment(until))


# --- Figures ---------------------------------------------------------------------------------------------------------


def format_share(part: float | None) -> str:
    """Format as `0.4 %`. A share above 0 never shows as 0 %, and one below 1 never as 100 %."""
    if part is None:
        return EMPTY_VALUE
    percent = max(part * 100, 0.01) if part else 0
    if 0 < percent < 10:
        figure = Decimal(f"{round_half_up(percent, 1 - math.floor(math.log10(percent))):g}")
    else:
        figure = Decimal(100 if part == 1 else min(round_to_integer(percent), 99))
    return _("%(figure)s %%") % {"figure": number_format(figure, use_l10n=True)}


def percent_number(share: float | None) -> float | None:
    """Return the number of an uptime in percent, for an export."""
    return None if share is None else uptime.round_percent(share)


def describe_bar(bar: DayBar) -> str:
    """Return a title such as `3 Nov: 99.93 %, 2 of 2,880 checks failed`."""
    day = format_short_day(bar.day)
    if bar.state == "none":
        return _("%(day)s: no checks") % {"day": day}
    uptime_of_day = uptime.format_percent(bar.uptime)
    if not bar.failures:
        return f"{day}: {uptime_of_day}"
    words = {
        "day": day,
        "uptime": uptime_of_day,
        "failures": format_count(bar.failures),
        "checks": format_count(bar.checks),
    }
    return _("%(day)s: %(uptime)s, %(failures)s of %(checks)s checks failed") % words


def describe_bars(bars: Sequence[DayBar]) -> str:
    """Return the text alternative of the bars."""
    states = [bar.state for bar in bars]
    words = [
        (states.count("up"), _("no failures: %(count)d")),
        (states.count("partial"), _("some failures: %(count)d")),
        (states.count("down"), _("many failures: %(count)d")),
        (states.count("none"), _("no checks: %(count)d")),
    ]
    told = ", ".join(text % {"count": count} for count, text in words if count)
    days = ngettext("Last %(count)d day", "Last %(count)d days", len(bars)) % {"count": len(bars)}
    return f"{days}: {told}"


@lru_cache(maxsize=20_000)
def draw_bar(bar: DayBar, x: int, language: str | None) -> SafeString:
    """Draw one day. Cached by day and language, since past days do not change and a list shows 1,500 of them."""
    height = EMPTY_HEIGHT if bar.state == "none" else BAR_HEIGHT
    return format_html(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        *(bar.state, x, BAR_HEIGHT - height, BAR_WIDTH, height, describe_bar(bar)),
    )


def uptime_bars(bars: Sequence[DayBar]) -> SafeString:
    """Draw a bar for each day, oldest first. The class is the state of the day, the title its figures."""
    step, language = BAR_WIDTH + BAR_GAP, get_language()
    drawn = SafeString("".join(draw_bar(bar, number * step, language) for number, bar in enumerate(bars)))
    return format_html(
        '<svg class="uptime" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        max(1, len(bars) * step - BAR_GAP),
        BAR_HEIGHT,
        describe_bars(bars),
        drawn,
    )


# --- Checks ----------------------------------------------------------------------------------------------------------


def check_outcome(check: CheckResult) -> SafeString:
    if check.retried:
        retries = ngettext("after 1 retry", "after %(count)d retries", check.retried) % {"count": check.retried}
        return stack_lines(badge(_("OK"), WARNING), retries)
    if not check.error_kind:
        return badge(_("OK"), GOOD)
    if check.excuse:
        return stack_lines(badge(_("failed"), QUIET), _("excluded: %(why)s") % {"why": check.get_excuse_display()})
    return badge(_("failed"), BAD)


# --- Incidents -------------------------------------------------------------------------------------------------------


def incident_badge(incident: Incident) -> SafeString:
    """Return the state as a badge, coloured by severity until someone acknowledges the incident."""
    if incident.is_withdrawn:
        return badge(_("monitoring stopped"), QUIET)
    if incident.resolved_at is not None:
        return badge(_("resolved"), GOOD)
    if incident.acknowledged_at is not None:
        return badge(_("acknowledged"), WARNING)
    return badge(_("open"), BAD if incident.severity == Severity.CRITICAL else WARNING)


def incident_owner(incident: Incident) -> tuple[str, str, str]:
    """Return to whom the incident is assigned, who acknowledged it, and the comment of the acknowledgement."""
    who = incident.acknowledged_by
    acknowledged = _("Acknowledged by %(who)s") % {"who": who} if who else ""
    comment = truncate_text(first_line(incident.comment), SHOWN_CAUSE)
    return str(incident.assignee or EMPTY_VALUE), acknowledged, comment


def event_text(event: IncidentEvent) -> str:
    """Return what an operator wrote, or the error."""
    return event.text or (describe_error(event.error_kind, event.detail) if event.error_kind else "")


def incident_duration(incident: Incident, now: datetime) -> str:
    """Return how long the incident lasted, or has lasted so far."""
    if incident.duration is not None:
        return format_span(incident.duration)
    return _("%(time)s so far") % {"time": format_span(max(now - incident.opened_at, timedelta(0)))}


def seconds_lasted(incident: Incident) -> int | None:
    """Return the duration for an export. An open incident has none: it would be another one in every file."""
    return None if incident.duration is None else round_to_integer(incident.duration.total_seconds())


def link_to_incident(incident: Incident, text: str = "") -> SafeString:
    url = reverse("admin:monitoring_incident_change", args=[incident.pk])
    return format_html('<a href="{}">{}</a>', url, text or str(incident))


def first_line(text: str) -> str:
    return text.partition("\n")[0]


def short_cause(text: str) -> str:
    """Return the first line, shortened."""
    return truncate_text(first_line(text.strip()), SHOWN_CAUSE)
