"""Filters whose choices stand in code: a filter that asks the table for its values reads all of it."""

import abc
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class ChoiceFilter(admin.SimpleListFilter, abc.ABC):
    """Each choice is a condition; a value that is no choice filters nothing."""

    options: ClassVar[dict[str, str | Promise]]

    @abc.abstractmethod
    def condition(self, value: str, now: datetime) -> Q:
        """Return the condition of this choice."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.options.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(self.condition(value, timezone.now())) if value in self.options else queryset


class FieldFilter(ChoiceFilter):
    """A filter by the values of a field."""

    field: ClassVar[str]

    def condition(self, value: str, now: datetime) -> Q:
        return Q(**{self.field: value})


class PeriodFilter(ChoiceFilter):
    """A filter by age, on an indexed field."""

    field: ClassVar[str]
    options = {
        "hour": _("last hour"),
        "day": _("last 24 hours"),
        "week": _("last 7 days"),
        "month": _("last 30 days"),
    }
    lengths: ClassVar[dict[str, timedelta]] = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(days=7),
        "month": timedelta(days=30),
    }

    def condition(self, value: str, now: datetime) -> Q:
        return Q(**{f"{self.field}__gte": now - self.lengths[value]})
