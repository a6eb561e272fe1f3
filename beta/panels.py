"""Contributions to other pages: a tile, the feedback of a machine, and reports that `beta_monitor` prints."""

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
from beta.report.snapshots import take_snapshot
from beta.report.status import FRESH_SECONDS, ProgrammeStatus, running_programmes
from monitoring.terminal.report import other_reports
from portal.base.findings import admin_url
from portal.base.words import EMPTY_VALUE
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles

SHOWN_FEEDBACK = 10


def feedback_by_day(programme: BetaProgramme, now: datetime) -> dict[date, int]:
    """Count the feedback of the days that a chart shows. All types are named, so that `feedback_given` is used."""
    shown = BetaFeedback.objects.filter(programme=programme, type__in=BetaFeedback.Type, given_at__gte=chart_start(now))
    return dict(shown.annotate(day=TruncDate("given_at")).order_by().values_list("day").annotate(Count("pk")))


@tiles.register
def beta_tile(now: datetime) -> Tile:
    """Show the programme that began last, if several run."""
    found = running_programmes(now)
    if not found:
        url = reverse("admin:beta_betaprogramme_changelist")
        return Tile(title=_("Beta"), figure=EMPTY_VALUE, caption=_("no active programme"), url=url)
    programme, status = found[0]
    key = f"beta.days.{programme.pk}"
    by_day = cache.get_or_set(key, lambda: feedback_by_day(programme, now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Beta"),
        figure=wording.verdict_label(status.verdict),
        caption=programme.name,
        url=reverse("admin:beta_betaprogramme_change", args=[programme.pk]),
        facts=tile_facts(status, programme),
        chart=daily_chart(by_day, now, _("feedback per day")),
    )


def tile_facts(status: ProgrammeStatus, programme: BetaProgramme) -> list[tuple[str, str]]:
    figures = status.figures
    taking_part = {
        "count": wording.format_figure(figures.participants),
        "target": wording.format_figure(programme.participants_target),
    }
    return [
        (_("participants"), _("%(count)s (%(target)s required)") % taking_part),
        (_("average score"), wording.format_score(figures.average)),
        (_("Net Promoter Score"), wording.format_signed(status.nps)),
        (_("open critical and high bugs"), wording.format_figure(figures.grave_bugs)),
    ]


@machine_sections.register
def feedback_of_machine(machine_id: str) -> Section:
    found = BetaFeedback.objects.filter(source=machine_subject(machine_id)).order_by("-id")
    newest = display.with_excerpts(found)[:SHOWN_FEEDBACK]
    return Section(
        title=_("Beta feedback"),
        **display.feedback_table(newest, "given number type severity status score comment"),
        url=admin_url("beta_betafeedback_changelist", {"source": machine_subject(machine_id)}),
        empty=_("No feedback from this machine."),
    )


@other_reports.register
def snapshot_running_programmes(now: datetime) -> list[str]:
    """Store a snapshot of each running programme, and return the lines of their reports."""
    found = BetaProgramme.objects.running(timezone.localdate(now)).order_by("name")
    snapshots = (take_snapshot(programme, now, BetaSnapshot.Reason.COMMAND) for programme in found)
    return [line for snapshot in snapshots for line in [*text.render_lines(snapshot.data), ""]]
