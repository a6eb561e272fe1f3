"""What the beta shows elsewhere: its tile, the feedback of a machine, and its part of a printed report."""

from __future__ import annotations

from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.enrolment import machine_subject
from beta import display
from beta.formats import text
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import wording
from beta.report.snapshots import keep
from beta.report.standing import FRESH_SECONDS, Standing, running
from monitoring.terminal.report import other_reports
from portal.base.findings import admin_url
from portal.base.words import EMPTY_VALUE
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles

SHOWN_FEEDBACK = 10


def feedback_by_day(programme: BetaProgramme, now: datetime) -> dict[date, int]:
    """Of the days that a chart shows. An index on programme, type and moment bounds what this reads."""
    shown = BetaFeedback.objects.filter(programme=programme, type__in=BetaFeedback.Type, given_at__gte=chart_start(now))
    return dict(shown.annotate(day=TruncDate("given_at")).order_by().values_list("day").annotate(Count("pk")))


@tiles.register
def beta_tile(now: datetime) -> Tile:
    """Of several programmes that run, the one that began last."""
    found = running(now)
    if not found:
        url = reverse("admin:beta_betaprogramme_changelist")
        return Tile(title=_("Beta"), figure=EMPTY_VALUE, caption=_("no programme runs"), url=url)
    programme, standing = found[0]
    key = f"beta.days.{programme.pk}"
    by_day = cache.get_or_set(key, lambda: feedback_by_day(programme, now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Beta"),
        figure=wording.verdict_of(standing.verdict),
        caption=programme.name,
        url=reverse("admin:beta_betaprogramme_change", args=[programme.pk]),
        facts=facts_of(standing, programme),
        chart=daily_chart(by_day, now, _("feedback a day")),
    )


def facts_of(standing: Standing, programme: BetaProgramme) -> list[tuple[str, str]]:
    figures = standing.figures
    taking_part = {
        "count": wording.count(figures.participants),
        "target": wording.count(programme.participants_target),
    }
    return [
        (_("participants"), _("%(count)s of %(target)s") % taking_part),
        (_("average score"), wording.score(figures.average)),
        (_("Net Promoter Score"), wording.signed(standing.nps)),
        (_("critical and high bugs open"), wording.count(figures.grave_bugs)),
    ]


@machine_sections.register
def feedback_of_machine(machine_id: str) -> Section:
    """An index on `source` finds it."""
    found = BetaFeedback.objects.filter(source=machine_subject(machine_id)).order_by("-id")
    return Section(
        title=_("Beta feedback"),
        columns=[_("Given"), _("Number"), _("Type"), _("Severity"), _("Status"), _("Score"), _("Comment")],
        rows=[
            [
                feedback.given_at,
                display.link_to(feedback),
                display.type_badge(feedback),
                display.severity_badge(feedback),
                display.status_badge(feedback),
                display.score(feedback),
                display.brief(feedback),
            ]
            for feedback in display.in_brief(found)[:SHOWN_FEEDBACK]
        ],
        url=admin_url("beta_betafeedback_changelist", {"source": machine_subject(machine_id)}),
        empty=_("None came from this machine."),
    )


@other_reports.register
def running_programmes(now: datetime) -> list[str]:
    """Keep the report of each programme that runs, and return its lines."""
    found = BetaProgramme.objects.running(timezone.localdate(now)).order_by("name")
    snapshots = (keep(programme, now, BetaSnapshot.Reason.COMMAND) for programme in found)
    return [line for snapshot in snapshots for line in [*text.lines_of(snapshot.data), ""]]
