"""Querysets of the beta."""

from datetime import date
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from portal.querysets import IdempotentQuerySet

if TYPE_CHECKING:
    from beta import models as m  # noqa: F401 - named in strings


class BetaProgrammeQuerySet(models.QuerySet["m.BetaProgramme"]):
    def running(self, day: date) -> Self:
        return self.filter(starts__lte=day).filter(Q(ends=None) | Q(ends__gte=day))


class BetaFeedbackQuerySet(IdempotentQuerySet["m.BetaFeedback"]):
    identity = "feedback_id"

    def bugs(self) -> Self:
        return self.filter(type="bug")

    def unsettled(self) -> Self:
        """Return feedback that waits: neither fixed, declined nor a duplicate."""
        return self.filter(status__in=["open", "planned"])

    def grave(self) -> Self:
        return self.filter(severity__in=["critical", "high"])
