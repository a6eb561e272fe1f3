"""Feedback of participants, and its triage."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from beta import display
from beta.admin.feedback_actions import FeedbackActions, record_triage
from beta.admin.feedback_filters import (
    AssigneeFilter,
    GivenFilter,
    NextFilter,
    ProgrammeFilter,
    SeverityFilter,
    StatusFilter,
    TagFilter,
    TypeFilter,
)
from beta.admin.feedback_form import FeedbackForm
from beta.feedback import triage
from beta.models import BetaFeedback, FeedbackTag
from portal.admin.base import BoundedChangeList, SettingsAdmin
from portal.admin.display import exact_moment, join_inline, moment_column, stack_lines
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.panels import Section
from usage.admin.display import clock_note

NUMBER = re.compile(r"#([0-9]{1,18})")
# Rows that a search for a part of a text reads, the newest: no index helps.
SEARCHED = 50_000
SHOWN_OTHERS = 10


class FeedbackChangeList(BoundedChangeList):
    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return display.with_excerpts(super().get_queryset(request, *args, **kwargs))

    def get_results(self, request: HttpRequest) -> None:
        """Prefetch the tags of the rows."""
        super().get_results(request)
        prefetch_related_objects(list(self.result_list), "tags")


@admin.register(BetaFeedback)
class FeedbackAdmin(FeedbackActions, SettingsAdmin):
    form = FeedbackForm

    class Media:
        css = {"all": ("monitoring/monitoring.css", "beta/feedback.css")}

    change_list_template = "monitoring/list.html"
    ordering = ("-id",)
    list_per_page = 25  # each with badges, tags and isolated texts
    sortable_by = ()
    list_display = ("what_was_said", "kind", "score", "stands", "version", moment_column("given_at", _("given")))
    list_display_links = ("what_was_said",)
    list_filter = (
        NextFilter, StatusFilter, TypeFilter, SeverityFilter, AssigneeFilter, ProgrammeFilter, TagFilter, GivenFilter,
    )  # fmt: skip
    lookups = ("source",)
    search_fields = ("source__begins",)
    search_help_text = _("Part of a comment, participant, page or tag, or #number")
    export_columns = (
        "id", "programme__name", "participant", "type", "severity", "nps_score", "comment", "page", "app_version",
        "source", "given_at", "received_at", "clock", "status", "duplicate_of", "assignee__username", "incident",
        "fix_version",
    )  # fmt: skip
    told = (
        (_("Comment"), ("comment_in_full",)),
        (
            _("What was said"),
            (
                "by", "score", "on_page", "version_alone", "programme", "told_by",
                moment_column("given_at", _("given"), show=exact_moment),
                moment_column("received_at", _("received"), show=exact_moment),
                clock_note,
            ),
        ),
    )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        (title, comment), (said, facts) = self.told
        return [
            (title, {"fields": comment, "classes": ["whole"]}),
            (said, {"fields": facts}),
            (_("Triage"), {"fields": (*triage.FIELDS, "tags")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for _title, fields in self.told for name in fields]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FeedbackChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[BetaFeedback]:
        return super().get_queryset(request).select_related("programme", "assignee")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        if number := NUMBER.fullmatch(text):
            return queryset.filter(pk=int(number[1])), False
        tagged = BetaFeedback.tags.through.objects.filter(
            feedbacktag__in=FeedbackTag.objects.filter(name__contains=text.lower())
        )
        newest = BetaFeedback.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        found = Q(participant__contains=text.lower()) | Q(comment__icontains=text) | Q(page__icontains=text)
        found |= Q(source__begins=text) | Q(pk__in=tagged.values("betafeedback"))
        return queryset.filter(found, pk__gt=newest - SEARCHED), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only participants give feedback."""
        return False

    # --- The page of one ---------------------------------------------------------------------------------------------

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

    def note(self, request: HttpRequest, what: str, obj: Any, after: Any) -> None:
        """Leave out changes, which `record_triage` records with their values."""
        if what != "changed":
            super().note(request, what, obj, after)

    def subject_of(self, obj: Any) -> str:
        subject: str = obj.subject
        return subject

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
        page = truncate_text(feedback.page, display.SHOWN_PAGE)
        who = (display.isolate_direction(feedback.participant), display.isolate_direction(page) if page else "")
        return stack_lines(display.feedback_excerpt(feedback), join_inline(*who, display.tag_list(feedback)))

    @admin.display(description=_("type, severity"))
    def kind(self, feedback: BetaFeedback) -> SafeString:
        return stack_lines(display.type_badge(feedback), display.severity_badge(feedback))

    @admin.display(description=_("score"))
    def score(self, feedback: BetaFeedback) -> str:
        return display.score_text(feedback)

    @admin.display(description=_("status, assigned to"))
    def stands(self, feedback: BetaFeedback) -> SafeString:
        return stack_lines(
            display.status_badge(feedback), feedback.assignee.get_username() if feedback.assignee else ""
        )

    @admin.display(description=_("version, programme"))
    def version(self, feedback: BetaFeedback) -> SafeString:
        return stack_lines(feedback.app_version or EMPTY_VALUE, feedback.programme.name)

    @admin.display(description=_("version"))
    def version_alone(self, feedback: BetaFeedback) -> str:
        return feedback.app_version or EMPTY_VALUE

    @admin.display(description=_("comment"))
    def comment_in_full(self, feedback: BetaFeedback) -> SafeString | str:
        return display.full_comment(feedback.comment)

    @admin.display(description=_("participant"))
    def by(self, feedback: BetaFeedback) -> SafeString:
        return display.isolate_direction(feedback.participant)

    @admin.display(description=_("page"))
    def on_page(self, feedback: BetaFeedback) -> SafeString | str:
        return display.isolate_direction(feedback.page) if feedback.page else EMPTY_VALUE

    @admin.display(description=_("told by"))
    def told_by(self, feedback: BetaFeedback) -> SafeString | str:
        return display.source_link(feedback)


# --- Sections --------------------------------------------------------------------------------------------------------


def duplicates_section(feedback: BetaFeedback) -> Section:
    found = list(display.with_excerpts(feedback.duplicates.order_by("-pk"))[: SHOWN_OTHERS + 1])
    return Section(
        title=_now("Duplicates"),
        columns=[_now("Given"), _now("Number"), _now("Participant"), _now("Comment")],
        rows=[
            [
                other.given_at,
                display.feedback_link(other),
                display.isolate_direction(other.participant),
                display.feedback_excerpt(other),
            ]
            for other in found[:SHOWN_OTHERS]
        ],
        empty=_now("Nothing is a duplicate of it."),
        note=_now("Older ones are not shown.") if len(found) > SHOWN_OTHERS else "",
    )


def same_participant_section(feedback: BetaFeedback) -> Section:
    same = BetaFeedback.objects.filter(programme=feedback.programme_id, participant=feedback.participant)
    found = list(display.with_excerpts(same.exclude(pk=feedback.pk).order_by("-pk"))[: SHOWN_OTHERS + 1])
    return Section(
        title=_now("Also said by this participant"),
        columns=[_now("Given"), _now("Number"), _now("Type"), _now("Status"), _now("Score"), _now("Comment")],
        rows=[
            [
                other.given_at,
                display.feedback_link(other),
                display.type_badge(other),
                display.status_badge(other),
                display.score_text(other),
                display.feedback_excerpt(other),
            ]
            for other in found[:SHOWN_OTHERS]
        ],
        empty=_now("Nothing else."),
        note=_now("Older ones are not shown.") if len(found) > SHOWN_OTHERS else "",
    )
