"""Sections of a target's page: its uptime, its latest checks, its incidents; and the timeline of an incident."""

from collections.abc import Mapping
from datetime import datetime

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from monitoring.admin import display
from monitoring.admin.filters import checks_around
from monitoring.alerts.notices import incident_reason
from monitoring.figures.uptime import UptimeFigures, format_percent
from monitoring.models import CheckResult, Incident, Target
from monitoring.panels import format_milliseconds
from portal.admin.display import exact_moment
from portal.base.words import format_count, format_moment
from portal.desk.panels import Section

SHOWN_CHECKS = 12
SHOWN_INCIDENTS = 10
SHOWN_EVENTS = 200


def window_names() -> dict[str, str]:
    return {"24h": _("24 hours"), "7d": _("7 days"), "30d": _("30 days"), "90d": _("90 days")}


def figures_section(figures: Mapping[str, UptimeFigures]) -> Section:
    return Section(
        title=_("Uptime and response times"),
        columns=[
            _("Period"), _("Uptime"), _("Checks"), _("Failed"), _("Retried"), _("Excluded"), _("Mean"),
            "p50", "p95", "p99",
        ],
        rows=[[name, *figures_row(figures[window])] for window, name in window_names().items()],
        note=" ".join(
            (
                _("p50, p95, p99: 50 %, 95 % and 99 % of the responses were at least this fast."),
                _("Retried checks failed at first and succeeded at a retry."),
            )
        ),
    )  # fmt: skip


def figures_row(found: UptimeFigures) -> list[str]:
    times = (found.mean_ms, found.p50_ms, found.p95_ms, found.p99_ms)
    return [
        format_percent(found.uptime),
        format_count(found.checks),
        format_count(found.failures),
        format_count(found.retried),
        format_count(found.excused),
        *(format_milliseconds(time) for time in times),
    ]


def checks_section(target: Target) -> Section:
    url = reverse("admin:monitoring_checkresult_changelist", query={"target": target.pk})
    return list_checks(_("Recent checks"), CheckResult.objects.filter(target=target), url)


def incident_checks_section(incident: Incident) -> Section:
    """Return the last checks of the incident's time, with a link to all of them."""
    checks = CheckResult.objects.filter(**checks_around(incident))
    query = {"target": incident.target_id, "incident": incident.pk}
    return list_checks(
        _("Checks during the incident"), checks, reverse("admin:monitoring_checkresult_changelist", query=query)
    )


def list_checks(title: str, checks: QuerySet[CheckResult], url: str) -> Section:
    found = list(checks.order_by("-at", "-id")[: SHOWN_CHECKS + 1])
    rows = [
        [
            check.at,
            display.check_outcome(check),
            str(check.status or ""),
            format_milliseconds(check.latency_ms),
            check.message,
        ]
        for check in found[:SHOWN_CHECKS]
    ]
    return Section(
        title=title,
        columns=[_("Time"), _("Result"), _("Status code"), _("Response time"), _("Reason")],
        rows=rows,
        url=url,
        empty=_("No checks yet."),
        note=_("Older entries are not shown.") if len(found) > SHOWN_CHECKS else "",
    )


def incidents_section(target: Target, now: datetime) -> Section:
    found = list(Incident.objects.filter(target=target).order_by("-id")[: SHOWN_INCIDENTS + 1])
    rows = [
        [
            display.link_to_incident(incident, format_moment(incident.opened_at)),
            display.incident_badge(incident),
            incident.get_rule_display(),
            display.incident_duration(incident, now),
            format_html('<div class="why">{}</div>', incident_reason(incident)),
            incident.cause,
        ]
        for incident in found[:SHOWN_INCIDENTS]
    ]
    return Section(
        title=_("Incidents"),
        columns=[_("Opened"), _("Status"), _("Rule"), _("Duration"), _("Reason"), _("Root cause")],
        rows=rows,
        url=reverse("admin:monitoring_incident_changelist", query={"target": target.pk}),
        empty=_("No incidents."),
        note=_("Older entries are not shown.") if len(found) > SHOWN_INCIDENTS else "",
    )


def timeline_section(incident: Incident) -> Section:
    newest = list(incident.timeline.order_by("-id")[: SHOWN_EVENTS + 1])
    rows = [
        [exact_moment(event.at), event.get_kind_display(), display.event_text(event), event.actor]
        for event in reversed(newest[:SHOWN_EVENTS])
    ]
    return Section(
        title=_("Timeline"),
        columns=[_("Time"), _("Event"), _("Details"), _("Actor")],
        rows=rows,
        note=_("Older entries are not shown.") if len(newest) > SHOWN_EVENTS else "",
        empty=_("No activity."),
    )
