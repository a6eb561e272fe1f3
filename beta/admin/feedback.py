"""Feedback of participants, and its triage."""

import re
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import Case, Q, QuerySet, TextChoices, Value, When, prefetch_related_objects
from django.http import HttpRequest, HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from beta import display
from beta.admin.feedback_actions import FeedbackActions, record_triage
from beta.admin.feedback_filters import (
    AssigneeFilter,
    GivenFilter,
    PriorityFilter,
    ProgrammeFilter,
    SeverityFilter,
    StatusFilter,
    TagFilter,
    TypeFilter,
)
from beta.admin.feedback_form import SingleTriageForm
from beta.feedback import triage
from beta.models import BetaFeedback, FeedbackTag
from monitoring.admin.display import row_column
from portal.admin.base import SettingsAdmin
from portal.admin.changelist import BoundedChangeList
from portal.admin.confirm import is_confirmed
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.matching import Search
from portal.desk.panels import Section
from usage.admin.display import clock_note

NUMBER = re.compile(r"#([0-9]{1,18})")
SHOWN_OTHERS = 10
SENT = pgettext_lazy("date", "sent")


def rank(field: str, choices: type[TextChoices]) -> Case:
    """Return an order by the place of a value among the choices; others come last."""
    places = [When(**{field: value, "then": Value(place)}) for place, value in enumerate(choices.values)]
    return Case(*places, default=Value(len(places)))


class FeedbackChangeList(BoundedChangeList):
    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return display.with_excerpts(super().get_queryset(request, *args, **kwargs))


@admin.register(BetaFeedback)
class FeedbackAdmin(FeedbackActions, SettingsAdmin):
    menu_order = 2
    form = SingleTriageForm

    class Media:
        css = {"all": ("beta/feedback.css",)}

    purpose = _("Feedback from participants of beta programmes, sent by applications or on the public feedback page.")
    empty_link = ("admin:beta_betaprogramme_changelist", _("View beta programmes"))
    ordering = ("-id",)
    list_per_page = 25  # each with badges, tags and isolated texts
    sortable_by = ("sender", "kind", "score", "stands", "given_at")
    list_display = (
        "what_was_said", "sender", "kind", "score", "stands", "version",
        moment_column("given_at", SENT, ordering="given_at"),
    )  # fmt: skip
    list_display_links = ("what_was_said",)
    list_filter = (
        PriorityFilter, StatusFilter, TypeFilter, SeverityFilter, AssigneeFilter, ProgrammeFilter, TagFilter,
        GivenFilter,
    )  # fmt: skip
    lookups = ("source",)
    is_large = True
    search_fields = ("participant__fragment", "comment__fragment", "page__fragment", "source__fragment")
    search_help_text = search_by(_("comment"), _("participant"), _("page"), _("tag"), _("#number"))
    export_columns = (
        "id", "programme__name", "participant", "type", "severity", "nps_score", "comment", "page", "app_version",
        "source", "given_at", "received_at", "clock", "status", "duplicate_of", "assignee__username", "incident",
        "fix_version",
    )  # fmt: skip
    read_only_fieldsets = (
        (_("Comment"), ("comment_in_full",)),
        (
            _("Feedback"),
            (
                "by", "score", "on_page", "version_alone", "programme", "told_by",
                moment_column("given_at", SENT, show=exact_moment),
                moment_column("received_at", _("received"), show=exact_moment),
                clock_note,
            ),
        ),
    )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        (title, comment), (said, facts) = self.read_only_fieldsets
        return [
            (title, {"fields": comment, "classes": ["whole"]}),
            (said, {"fields": facts}),
            (_("Triage"), {"fields": (*triage.FIELDS, "tags")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for _title, fields in self.read_only_fieldsets for name in fields]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FeedbackChangeList

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Prefetch the tags of the rows."""
        prefetch_related_objects(rows, "tags")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BetaFeedback]:
        rows = super().get_queryset(request).select_related("programme", "assignee")
        return display.with_excerpts(rows) if is_confirmed(request) else rows

    def search(self, request: HttpRequest, queryset: QuerySet[Any], search: Search) -> QuerySet[Any]:
        if number := NUMBER.fullmatch(search.text):
            return queryset.filter(pk=int(number[1]))
        tags = search.matching_values(FeedbackTag, ["name__fragment"])
        tagged = BetaFeedback.tags.through.objects.filter(feedbacktag__in=tags).order_by("-betafeedback")
        keys = search.take(tagged.values_list("betafeedback", flat=True))
        return queryset.filter(search.matches(self.model, self.search_fields) | Q(pk__in=keys))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only participants give feedback."""
        return False

    # --- The change page ---------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Lock the row for a POST. Return None if it was deleted meanwhile."""
        found = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST":
            triage.lock_programmes([found.programme_id])
            return BetaFeedback.objects.select_for_update().filter(pk=found.pk).first()
        return found

    def act_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponseBase:
        """Keep the locks of `get_object` until the action is done."""
        with transaction.atomic():
            return super().act_view(request, object_id, action)

    def get_sections(self, request: HttpRequest, obj: BetaFeedback) -> list[Section]:
        return [duplicates_section(obj), same_participant_section(obj), history_section(obj.subject)]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        record_triage(request, triage.apply_triage(obj, form.wanted))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save nothing: triage has changed the tags."""

    def note(self, request: HttpRequest, what: str, obj: Any, *values: Any) -> None:
        """Leave out changes, which `record_triage` records with their values."""
        if what != "changed":
            super().note(request, what, obj, *values)

    def subject_of(self, obj: Any) -> str:
        return str(obj.subject)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """List the numbers only."""
        numbers = [str(feedback) for feedback in objs]
        return numbers, {self.opts.verbose_name_plural: len(numbers)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        record_triage(request, triage.reopen_duplicates([obj]))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rows = BetaFeedback.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        record_triage(request, triage.reopen_duplicates(rows))
        super().delete_queryset(request, rows)

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("feedback"))
    def what_was_said(self, feedback: BetaFeedback) -> SafeString:
        return stack_lines(display.feedback_excerpt(feedback), display.tag_list(feedback))

    what_was_said.export_value = lambda row: row.beginning  # type: ignore[attr-defined]

    sender = row_column(_("participant, page"), display.participant_and_page, ordering="participant")
    kind = row_column(
        _("type, severity"),
        lambda row: stack_lines(display.type_badge(row), display.severity_badge(row)),
        ordering=rank("severity", BetaFeedback.Severity),
    )
    score = row_column(_("score"), display.score_text, ordering="nps_score", export=lambda row: row.nps_score)
    stands = row_column(
        _("status, assigned to"),
        lambda row: stack_lines(display.status_badge(row), row.assignee and str(row.assignee)),
        ordering=rank("status", BetaFeedback.Status),
    )
    version = row_column(
        _("version, programme"), lambda row: stack_lines(row.app_version or EMPTY_VALUE, row.programme.name)
    )
    version_alone = row_column(_("version"), lambda row: row.app_version or EMPTY_VALUE)
    comment_in_full = row_column(_("comment"), lambda row: display.full_comment(row.comment))
    by = row_column(_("participant"), lambda row: display.isolate_direction(row.participant))
    on_page = row_column(_("page"), lambda row: display.isolate_direction(row.page) if row.page else EMPTY_VALUE)
    told_by = row_column(_("source"), display.source_link)


# --- Sections --------------------------------------------------------------------------------------------------------


def duplicates_section(feedback: BetaFeedback) -> Section:
    found = list(display.with_excerpts(feedback.duplicates.order_by("-pk"))[: SHOWN_OTHERS + 1])
    return Section(
        title=_now("Duplicates"),
        **display.feedback_table(found[:SHOWN_OTHERS], "given number participant comment"),
        empty=_now("No duplicates."),
        note=_now("Older ones are not shown.") if len(found) > SHOWN_OTHERS else "",
    )


def same_participant_section(feedback: BetaFeedback) -> Section:
    same = BetaFeedback.objects.filter(programme=feedback.programme_id, participant=feedback.participant)
    found = list(display.with_excerpts(same.exclude(pk=feedback.pk).order_by("-pk"))[: SHOWN_OTHERS + 1])
    return Section(
        title=_now("More from this participant"),
        **display.feedback_table(found[:SHOWN_OTHERS], "given number type status score comment"),
        empty=_now("No other feedback."),
        note=_now("Older ones are not shown.") if len(found) > SHOWN_OTHERS else "",
    )
