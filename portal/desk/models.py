"""The acknowledgement of a finding by an operator, and what can be assigned to a user."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.base.findings import Finding, Severity

# An acknowledgement lapses after this time, as a reminder.
VALID_FOR = timedelta(days=30)


class Assignable(models.Model):
    """Something that one user takes care of."""

    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("assigned to"),
    )

    class Meta:
        abstract = True


class FindingAcknowledgement(Assignable):
    """Says who has taken a finding on. `key` is the finding's, `severity` the one that was acknowledged."""

    key = models.CharField(max_length=200, unique=True)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices)
    acknowledged_at = models.DateTimeField()
    acknowledged_by = models.CharField(max_length=150)
    comment = models.CharField(_("comment"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("acknowledgement")
        verbose_name_plural = _("acknowledgements")
        permissions = [("acknowledge_finding", _("Can acknowledge and assign findings"))]

    def __str__(self) -> str:
        return self.key

    def covers(self, finding: Finding, now: datetime) -> bool:
        """Return False once the finding has become worse, came back, has another cause too, or the time is over."""
        began = finding.renewed_at or finding.since
        is_new = began is None or began > self.acknowledged_at
        is_over = now - self.acknowledged_at > VALID_FOR
        return finding.severity >= self.severity and not is_new and not is_over
