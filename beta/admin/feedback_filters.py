"""Filters of the list of feedback."""

import re
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from beta.models import BetaFeedback, BetaProgramme, FeedbackTag
from portal.admin.filters import ChoiceFilter, FieldFilter, PeriodFilter

UNSETTLED = Q(status__in=BetaFeedback.UNSETTLED)
BUGS = Q(type=BetaFeedback.Type.BUG)
KEY = re.compile(r"[0-9]{1,18}")
SHOWN_PROGRAMMES = 20
SHOWN_TAGS = 30


class OwnFilter(ChoiceFilter):
    """A filter with a choice for the rows that are assigned to the user."""

    own: ClassVar[str]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows = super().queryset(request, queryset)
        return rows.filter(assignee=request.user.pk) if self.value() == self.own else rows


class PriorityFilter(OwnFilter):
    title = _("view")
    parameter_name = "next"
    own = "mine"
    options = {"grave": _("critical and high bugs"), "unjudged": _("untriaged bugs"), "mine": _("assigned to me")}

    def condition(self, value: str, now: datetime) -> Q:
        return (
            UNSETTLED
            & {
                "grave": BUGS & Q(severity__in=BetaFeedback.GRAVE),
                "unjudged": BUGS & Q(severity=""),
                "mine": Q(),
            }[value]
        )


class RelatedRowFilter(ChoiceFilter):
    """A filter by the rows of a small table. A row that is not among the choices works, too."""

    options = {}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(self.condition(value, timezone.now())) if value else queryset


class ProgrammeFilter(RelatedRowFilter):
    title = _("programme")
    parameter_name = "programme"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        newest = BetaProgramme.objects.values_list("pk", "name")[:SHOWN_PROGRAMMES]
        return [(str(pk), name) for pk, name in newest]

    def condition(self, value: str, now: datetime) -> Q:
        return Q(programme=int(value)) if KEY.fullmatch(value) else Q()


class StatusFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "status"
    options = {"unsettled": _("open or planned"), **dict(BetaFeedback.Status.choices)}

    def condition(self, value: str, now: datetime) -> Q:
        return UNSETTLED if value == "unsettled" else Q(status=value)


class TypeFilter(FieldFilter):
    title = _("type")
    parameter_name = "type"
    field = "type"
    options = dict(BetaFeedback.Type.choices)


class SeverityFilter(ChoiceFilter):
    title = _("severity")
    parameter_name = "severity"
    options = {**dict(BetaFeedback.Severity.choices), "none": _("untriaged")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(severity="" if value == "none" else value)


class AssigneeFilter(OwnFilter):
    title = _("assigned to")
    parameter_name = "assignee"
    own = "me"
    options = {"me": _("me"), "nobody": _("no one")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(assignee=None) if value == "nobody" else Q()


class TagFilter(RelatedRowFilter):
    """Filter by the tags in use, sorted."""

    title = _("tag")
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        used = Exists(BetaFeedback.tags.through.objects.filter(feedbacktag=OuterRef("pk")))
        names = FeedbackTag.objects.filter(used).values_list("name", flat=True)[:SHOWN_TAGS]
        return [(name, name) for name in names]

    def condition(self, value: str, now: datetime) -> Q:
        return Q(tags__name=value)


class GivenFilter(PeriodFilter):
    title = pgettext_lazy("date", "sent")
    parameter_name = "given"
    field = "given_at"
    options = {"day": _("last 24 hours"), "week": _("last 7 days"), "month": _("last 30 days")}
