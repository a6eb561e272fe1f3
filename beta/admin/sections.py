"""What stands below the report of a programme: what was said lately, its targets, and the reports that were kept."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Left
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from beta import display
from beta.admin.display import verdict_badge
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import wording
from monitoring.admin.display import last_latency, link_to_target, target_state, why
from monitoring.models import Target
from portal.admin.display import join_inline, relative_moment, stack_lines
from portal.base.words import format_moment
from portal.desk.panels import Section

SHOWN_FEEDBACK, SHOWN_SNAPSHOTS = 10, 20
FIGURES = {
    "participants": "data__participants__count",
    "average": "data__score__average",
    "nps": "data__score__nps",
    "grave_bugs": "data__bugs__critical_high_open",
}


def feedback_of(programme: BetaProgramme) -> Section:
    """The latest, without reading comments that nobody sees the end of here."""
    rows = BetaFeedback.objects.filter(programme=programme).defer("comment")
    beginning = Left("comment", display.READ_OF_COMMENT)
    found: QuerySet[Any] = rows.annotate(beginning=beginning).order_by("-id")[:SHOWN_FEEDBACK]
    return Section(
        title=_("Latest feedback"),
        columns=[_("When"), _("Who"), _("Type"), _("Score"), _("Comment"), _("Status")],
        rows=[
            [
                display.link_to(feedback, relative_moment(feedback.given_at)),
                display.isolated(feedback.participant),
                stack_lines(display.type_badge(feedback), feedback.get_severity_display()),
                display.score(feedback),
                display.said(feedback.beginning),
                display.status_badge(feedback),
            ]
            for feedback in found
        ],
        url=reverse("admin:beta_betafeedback_changelist", query={"programme": programme.pk}),
        empty=_("Nobody has said anything yet."),
    )


def with_figures(snapshots: QuerySet[BetaSnapshot]) -> QuerySet[BetaSnapshot]:
    """Each with the figures that a row shows, and without the rest of its report."""
    return snapshots.defer("data").annotate(**{name: F(path) for name, path in FIGURES.items()})


def snapshots_of(programme: BetaProgramme) -> Section:
    newest = with_figures(BetaSnapshot.objects.filter(programme=programme)).order_by("-id")
    found = [*newest[: SHOWN_SNAPSHOTS + 1]]
    before = {snapshot.pk: older.verdict for snapshot, older in pairwise(found)}
    return Section(
        title=_("Reports that were kept"),
        columns=[
            _("When"), _("Verdict"), _("Participants"), _("Average score"), _("Net Promoter Score"), _("Open bugs"),
            _("Why"), _("By"),
        ],
        rows=[snapshot_row(snapshot, before.get(snapshot.pk, "")) for snapshot in found[:SHOWN_SNAPSHOTS]],
        url=reverse("admin:beta_betasnapshot_changelist", query={"programme": programme.pk}),
        empty=_("None yet. Whoever exports the report keeps it."),
        note=_("Older ones are not shown.") if len(found) > SHOWN_SNAPSHOTS else "",
    )  # fmt: skip


def snapshot_row(snapshot: BetaSnapshot, before: str) -> list[object]:
    """`before` is the verdict of the one before it."""
    url = reverse("admin:beta_betasnapshot_change", args=[snapshot.pk])
    changed = _("was %(verdict)s") % {"verdict": wording.verdict_of(before)} if before else ""
    return [
        format_html('<a href="{}">{}</a>', url, format_moment(snapshot.taken_at)),
        stack_lines(verdict_badge(snapshot.verdict), changed if before != snapshot.verdict else ""),
        *figures_of(snapshot),
        snapshot.get_reason_display(),
        snapshot.taken_by,
    ]


def figures_of(snapshot: BetaSnapshot) -> list[str]:
    """Participants, average, NPS and open bugs, of one that was read `with_figures`."""
    found = {name: getattr(snapshot, name) for name in FIGURES}
    return [
        wording.count(found["participants"]),
        wording.score(found["average"]),
        wording.signed(found["nps"]),
        wording.count(found["grave_bugs"]),
    ]


def targets_of(programme: BetaProgramme) -> Section:
    now = timezone.now()
    return Section(
        title=_("Targets"),
        columns=[_("Target"), _("State"), _("Last check"), _("Why")],
        rows=[
            [
                link_to_target(target),
                target_state(target, now, in_maintenance=False),
                join_inline(relative_moment(target.last_check_at), last_latency(target)),
                why(target),
            ]
            for target in Target.objects.filter(beta_programme=programme)
        ],
        url=reverse("admin:monitoring_target_changelist", query={"beta_programme": programme.pk}),
        empty=_("None belongs to it. Which programme a target belongs to is set on the page of the target."),
    )
