"""Snapshots of reports, read only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from beta.admin.display import present_report, verdict_badge
from beta.admin.report_export import ReportExportAdmin
from beta.admin.sections import with_snapshot_figures
from beta.display import isolate_direction
from beta.models import BetaSnapshot
from beta.report import wording
from beta.report.gather import Report
from beta.report.verdict import VERDICTS
from monitoring.admin.display import row_column
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.filters import FieldFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.base.moments import format_iso
from portal.base.words import EMPTY_VALUE
from portal.desk.panels import Section


class VerdictFilter(FieldFilter):
    title = _("verdict")
    parameter_name = "verdict"
    field = "verdict"
    options = VERDICTS


class ReasonFilter(FieldFilter):
    title = _("reason")
    parameter_name = "reason"
    field = "reason"
    options = dict(BetaSnapshot.Reason.choices)


class TakenFilter(PeriodFilter):
    title = _("saved")
    parameter_name = "kept"
    field = "taken_at"


@admin.register(BetaSnapshot)
class BetaSnapshotAdmin(ReportExportAdmin, ReadOnlyAdmin):
    menu_order = 3
    change_form_template = "beta/snapshot.html"
    purpose = _("Snapshots made by an export, a changed verdict or the end of a programme.")
    empty_link = ("admin:beta_betaprogramme_changelist", _("View beta programmes"))
    ordering = ("-id",)
    sortable_by = ("what", "taken_at", "verdict_kept", "participants", "average", "nps", "grave_bugs")
    list_select_related = ("programme",)
    list_display = (
        "what", moment_column("taken_at", _("saved"), ordering="id"), "verdict_kept", "participants", "average", "nps",
        "grave_bugs", "reason", "by",
    )  # fmt: skip
    list_display_links = ("what",)
    list_filter = (VerdictFilter, ReasonFilter, TakenFilter)
    lookups = ("programme",)
    search_fields = ("programme__name__fragment",)
    search_help_text = search_by(_("programme"))
    facts = ("of", moment_column("taken_at", _("saved"), show=exact_moment), "reason", "by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BetaSnapshot]:
        return with_snapshot_figures(super().get_queryset(request).select_related("programme"))

    def subject_of(self, obj: Any) -> str:
        return str(obj.programme.subject)

    # --- The change page ---------------------------------------------------------------------------------------------

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        snapshot = kwargs.get("obj")
        if snapshot is not None:
            context |= {"shown": present_report(snapshot.data), "formats": self.format_buttons(request, snapshot)}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, obj: BetaSnapshot) -> list[Section]:
        before = BetaSnapshot.objects.filter(programme=obj.programme_id, pk__lt=obj.pk).order_by("-id").first()
        return [differences_section(before, obj)] if before else []

    def report_for(self, request: HttpRequest, obj: BetaSnapshot) -> Report:
        """Return the stored report."""
        report: Report = obj.data
        return report

    def audit_details(self, obj: BetaSnapshot) -> dict[str, Any]:
        return {"report": format_iso(obj.taken_at)}

    # --- Columns and facts -------------------------------------------------------------------------------------------

    what = row_column(_("programme"), lambda row: isolate_direction(row.programme.name), ordering="programme__name")
    verdict_kept = row_column(_("verdict"), lambda row: verdict_badge(row.verdict), ordering="verdict")
    participants = row_column(
        _("participants"), lambda row: wording.format_figure(row.participants), ordering="participants"
    )
    average = row_column(_("average score"), lambda row: wording.format_score(row.average), ordering="average")
    nps = row_column(_("NPS"), lambda row: wording.format_signed(row.nps), ordering="nps")
    grave_bugs = row_column(
        _("critical/high bugs"), lambda row: wording.format_figure(row.grave_bugs), ordering="grave_bugs"
    )
    by = row_column(_("by"), lambda row: row.taken_by or EMPTY_VALUE)

    @admin.display(description=_("programme"))
    def of(self, snapshot: BetaSnapshot) -> SafeString:
        url = reverse("admin:beta_betaprogramme_change", args=[snapshot.programme_id])
        return format_html('<a href="{}">{}</a>', url, isolate_direction(snapshot.programme.name))


# --- What differs ----------------------------------------------------------------------------------------------------


def differences_section(before: BetaSnapshot, after: BetaSnapshot) -> Section:
    """Show what differs from the previous report."""
    former, latter = comparable_texts(before.data), comparable_texts(after.data)
    url = reverse("admin:beta_betasnapshot_change", args=[before.pk])
    link = format_html('<a href="{}">{}</a>', url, _now("View the previous report"))
    return Section(
        title=_now("Changes since the previous report"),
        columns=[_now("Figure"), _now("Previous report"), _now("This report")],
        rows=[
            [name, former.get(name, ""), latter.get(name, "")]
            for name in former | latter
            if former.get(name) != latter.get(name)
        ],
        empty=_now("No changes in verdict and figures."),
        note=stack_lines(link),
    )


def comparable_texts(report: Report) -> dict[str, str]:
    """Return the texts by which two reports are compared."""
    needed = _now("%(condition)s (required)")
    targets = {
        needed % {"condition": wording.condition_name(condition)}: wording.condition_target(condition)
        for condition in report["conditions"]
    }
    return {
        _now("Verdict"): wording.verdict_label(report["verdict"]),
        _now("Period"): wording.format_period(report),
        **{fact.label: fact.value for fact in wording.list_facts(report)},
        **targets,
    }
