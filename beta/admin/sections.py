"""Sections below the report of a programme: latest feedback, snapshots and targets."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from django.db.models import F, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from beta import display
from beta.admin.display import verdict_badge
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import wording
from monitoring.admin.display import last_error, last_latency, link_to_target, target_state
from monitoring.models import Target
from portal.admin.display import join_inline, relative_moment, stack_lines
from portal.base.words import format_moment
from portal.desk.panels import Section

SHOWN_FEEDBACK, SHOWN_SNAPSHOTS = 10, 20
# Place in the report, and format, of each figure of a snapshot's row.
FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "participants": ("data__participants__count", wording.format_figure),
    "average": ("data__score__average", wording.format_score),
    "nps": ("data__score__nps", wording.format_signed),
    "grave_bugs": ("data__bugs__critical_high_open", wording.format_figure),
}


def feedback_section(programme: BetaProgramme) -> Section:
    found = BetaFeedback.objects.filter(programme=programme).order_by("-id")
    return Section(
        title=_("Latest feedback"),
        columns=[pgettext("date", "Sent"), _("Participant"), _("Type"), _("Score"), _("Comment"), _("Status")],
        rows=[
            [
                display.feedback_link(feedback, relative_moment(feedback.given_at)),
                display.isolate_direction(feedback.participant),
                stack_lines(display.type_badge(feedback), feedback.get_severity_display()),
                display.score_text(feedback),
                display.feedback_excerpt(feedback),
                display.status_badge(feedback),
            ]
            for feedback in display.with_excerpts(found)[:SHOWN_FEEDBACK]
        ],
        url=reverse("admin:beta_betafeedback_changelist", query={"programme": programme.pk}),
        empty=_("No feedback yet."),
    )


def with_snapshot_figures(snapshots: QuerySet[BetaSnapshot]) -> QuerySet[BetaSnapshot]:
    """Read the figures that a row shows, without the rest of the report."""
    return snapshots.defer("data").annotate(**{name: F(path) for name, (path, _show) in FIGURES.items()})


def snapshots_section(programme: BetaProgramme) -> Section:
    newest = with_snapshot_figures(BetaSnapshot.objects.filter(programme=programme)).order_by("-id")
    found = [*newest[: SHOWN_SNAPSHOTS + 1]]
    before = {snapshot.pk: older.verdict for snapshot, older in pairwise(found)}
    return Section(
        title=_("Saved reports"),
        columns=[
            _("Saved"), _("Verdict"), _("Participants"), _("Average score"), _("Net Promoter Score"),
            _("Critical/high bugs"), _("Reason"), _("By"),
        ],
        rows=[snapshot_row(snapshot, before.get(snapshot.pk, "")) for snapshot in found[:SHOWN_SNAPSHOTS]],
        url=reverse("admin:beta_betasnapshot_changelist", query={"programme": programme.pk}),
        empty=_("No saved reports yet. Exporting the report saves it."),
        note=_("Older ones are not shown.") if len(found) > SHOWN_SNAPSHOTS else "",
    )  # fmt: skip


def snapshot_row(snapshot: BetaSnapshot, before: str) -> list[object]:
    """Return the cells of a snapshot; `before` is the previous verdict."""
    url = reverse("admin:beta_betasnapshot_change", args=[snapshot.pk])
    changed = _("was %(verdict)s") % {"verdict": wording.verdict_label(before)} if before else ""
    return [
        format_html('<a href="{}">{}</a>', url, format_moment(snapshot.taken_at)),
        stack_lines(verdict_badge(snapshot.verdict), changed if before != snapshot.verdict else ""),
        *figure_cells(snapshot),
        snapshot.get_reason_display(),
        snapshot.taken_by,
    ]


def figure_cells(snapshot: BetaSnapshot) -> list[str]:
    """Return participants, average, NPS and open bugs of a snapshot of `with_snapshot_figures`."""
    return [show(getattr(snapshot, name)) for name, (_path, show) in FIGURES.items()]


def targets_section(programme: BetaProgramme) -> Section:
    now = timezone.now()
    return Section(
        title=_("Targets"),
        columns=[_("Target"), _("Status"), _("Last check"), _("Error")],
        rows=[
            [
                link_to_target(target),
                target_state(target, now, in_maintenance=False),
                join_inline(relative_moment(target.last_check_at), last_latency(target)),
                last_error(target),
            ]
            for target in Target.objects.filter(beta_programme=programme)
        ],
        url=reverse("admin:monitoring_target_changelist", query={"beta_programme": programme.pk}),
        empty=_("No targets linked. Choose this programme on a target’s page to link it."),
    )
