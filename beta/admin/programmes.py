"""Beta programmes, with their verdicts."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from beta.admin import sections
from beta.admin.confirmations import describe_replacement
from beta.admin.display import ReportPresentation, present_report, verdict_badge
from beta.admin.programme_form import ProgrammeForm
from beta.admin.report_export import ReportExportAdmin
from beta.display import isolate_direction
from beta.feedback import triage
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot, new_key
from beta.report import snapshots, wording
from beta.report.gather import Report
from beta.report.recent import keep_for_a_minute, recent_statuses
from monitoring.admin.base import SingleDeletionAdmin
from monitoring.admin.display import row_column
from portal import audit
from portal.admin.base import SettingsAdmin
from portal.admin.confirm import confirm_first
from portal.admin.display import GOOD, QUIET, badge, join_inline, stack_lines
from portal.admin.filters import ChoiceFilter
from portal.admin.searching import search_by
from portal.base.words import format_count, format_short_day, readers_zone
from portal.desk.history import history_section
from portal.desk.panels import Section

THRESHOLDS = ("participants_target", "score_target", "latency_target_ms", "error_percent_target")


class RunningFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "time"
    options = {"running": _("running"), "ended": _("ended"), "upcoming": _("not started")}

    def condition(self, value: str, now: datetime) -> Q:
        today = timezone.localdate(now)
        return {
            "running": Q(starts__lte=today) & (Q(ends=None) | Q(ends__gte=today)),
            "ended": Q(ends__lt=today),
            "upcoming": Q(starts__gt=today),
        }[value]


def running_badge(programme: BetaProgramme) -> SafeString:
    """Show whether the programme runs, with its first or last day."""
    today = timezone.localdate()
    if programme.starts > today:
        return stack_lines(
            badge(_now("not started"), QUIET), _now("from %(day)s") % {"day": format_short_day(programme.starts)}
        )
    until = "" if programme.ends is None else _now("until %(day)s") % {"day": format_short_day(programme.ends)}
    if programme.is_running(today):
        since = _now("since %(day)s") % {"day": format_short_day(programme.starts)}
        return stack_lines(badge(_now("running"), GOOD), until or since)
    return stack_lines(badge(_now("ended"), QUIET), until)


@admin.register(BetaProgramme)
class BetaProgrammeAdmin(SingleDeletionAdmin, ReportExportAdmin, SettingsAdmin):
    menu_order = 1
    form = ProgrammeForm

    change_list_template = "beta/programmes.html"
    change_form_template = "beta/programme.html"
    add_label = _("New beta programme")
    purpose = _(
        "A beta programme collects feedback on a product and compares it with release criteria. "
        "Feedback that arrives before any programme exists goes into a programme named “default”."
    )
    ordering = ("-id",)
    list_per_page = 25
    sortable_by = ("programme", "when")
    list_display = ("programme", "verdict", "participants", "average", "nps", "grave_bugs", "when")
    list_display_links = ("programme",)
    list_filter = (RunningFilter,)
    search_fields = ("name__fragment",)
    search_help_text = search_by(_("name"))
    actions = ("replace_key", "export_chosen", "export_chosen_xlsx")
    object_actions = ("replace_key",)
    counted = ((BetaFeedback, "programme"), (BetaSnapshot, "programme"))
    fieldsets = (
        (_("Product and dates"), {"fields": ("name", "product", "ends")}),
        (
            _("Advanced"),
            {
                "fields": ("starts", *THRESHOLDS, "takes_public", "allowed_origins"),
                "classes": ["collapse"],
                "description": _(
                    "Start date, release criteria and public feedback. The defaults suit most programmes."
                ),
            },
        ),
    )

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach the status of each programme."""
        found = recent_statuses(rows, timezone.now())
        for programme in rows:
            programme.status = found[programme.pk]

    # --- The change page ---------------------------------------------------------------------------------------------

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        programme = kwargs.get("obj")
        if programme is not None:
            if request.method == "POST":
                # A refused form has changed the instance: the verdict is on what is stored.
                kwargs["obj"] = programme = BetaProgramme.objects.get(pk=programme.pk)
            now = timezone.now()
            shown = self.recent_presentation(programme, now)
            context |= {
                "original": programme,
                "shown": shown,
                "is_empty": shown.is_empty,
                "time": running_badge(programme),
                "formats": self.format_buttons(request, programme),
                "keeps": not snapshots.is_past_retention(programme, now),
                "is_running": programme.is_running(timezone.localdate()),
                "page_url": settings.PORTAL_URL + reverse("feedback-page", args=[programme.public_key]),
                "call_url": f"{settings.PORTAL_URL}{reverse('beta-feedback')}?key={programme.public_key}",
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def recent_presentation(self, programme: BetaProgramme, now: datetime) -> ReportPresentation:
        """Return what the page shows of the report, in the reader's language and time zone."""
        kind = f"page.{get_language()}.{readers_zone()}"
        return keep_for_a_minute(
            kind, [programme], now, lambda: present_report(snapshots.current_report(programme, now))
        )

    def get_sections(self, request: HttpRequest, obj: BetaProgramme) -> list[Section]:
        return [
            sections.feedback_section(obj),
            sections.snapshots_section(obj),
            sections.targets_section(obj),
            history_section(obj.subject),
        ]

    def report_for(self, request: HttpRequest, obj: BetaProgramme) -> Report:
        """Store the report as a snapshot, so that an export can be looked up later."""
        kept = snapshots.take_snapshot(obj, timezone.now(), BetaSnapshot.Reason.EXPORTED, request.user.get_username())
        report: Report = kept.data
        return report

    def subject_of(self, obj: Any) -> str:
        return str(obj.subject)

    # --- The public key ----------------------------------------------------------------------------------------------

    @confirm_first(describe_replacement)
    @admin.action(description=_("Replace public key…"), permissions=["change"])
    def replace_key(self, request: HttpRequest, queryset: QuerySet[BetaProgramme]) -> None:
        found = list(queryset.order_by("pk"))
        for programme in found:
            BetaProgramme.objects.filter(pk=programme.pk).update(public_key=new_key())
            audit.record_event("beta.key_replaced", programme.subject, request=request)
        text = ngettext(
            "Public key replaced: old links and forms stop working.",
            "%(count)d public keys replaced: old links and forms stop working.",
            len(found),
        )
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)

    replace_key.dangerous = True  # type: ignore[attr-defined]

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for a running programme: participants may be sending feedback."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.is_running(timezone.localdate()))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete the feedback without reading it: there may be much, and other writers wait."""
        triage.lock_programmes([obj.pk])
        feedback = BetaFeedback.objects.filter(programme=obj)
        BetaFeedback.objects.filter(duplicate_of__in=feedback.values("pk")).update(duplicate_of=None)
        BetaFeedback.tags.through.objects.filter(betafeedback__in=feedback.values("pk")).delete()
        feedback._raw_delete(feedback.db)
        super().delete_model(request, obj)

    # --- Columns -----------------------------------------------------------------------------------------------------

    @admin.display(description=_("programme"), ordering="name")
    def programme(self, programme: BetaProgramme) -> SafeString:
        return stack_lines(
            isolate_direction(programme.name), isolate_direction(programme.product) if programme.product else ""
        )

    verdict = row_column(_("verdict"), lambda row: verdict_badge(row.status.verdict))
    average = row_column(_("average score"), lambda row: wording.format_score(row.status.figures.average))
    nps = row_column(_("NPS"), lambda row: wording.format_signed(row.status.nps))
    grave_bugs = row_column(_("critical/high bugs"), lambda row: format_count(row.status.figures.grave_bugs))
    when = row_column(_("status"), running_badge, ordering="starts")

    @admin.display(description=_("participants"))
    def participants(self, programme: Any) -> SafeString:
        needed = _now("of %(count)s") % {"count": format_count(programme.participants_target)}
        return join_inline(format_count(programme.status.figures.participants), needed)
