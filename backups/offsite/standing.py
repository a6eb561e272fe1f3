"""The standing of the off-site copies: which are late and why, for findings, metrics, digest and pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.models import OffsiteCopy
from backups.reasons import format_reason, make_reason
from portal.base.words import format_count, format_span

# Without an error, the first copies of many versions may take a while.
LATE_AFTER, FAILED_AFTER = timedelta(days=1), timedelta(hours=1)
LOSS_SHOWN = timedelta(days=7)


@dataclass(frozen=True)
class Lateness:
    """The late copies with one cause, which is empty for those that only wait."""

    error: str
    error_code: str
    backups: int
    databases: int
    since: datetime

    def describe(self, now: datetime) -> str:
        """Return `12 backups of 3 databases have had no off-site copy for 2 days: the store refuses the key.`"""
        databases = ngettext("%(count)s database", "%(count)s databases", self.databases)
        text = ngettext(
            "%(count)s backup of %(databases)s has had no off-site copy for %(span)s: %(why)s.",
            "%(count)s backups of %(databases)s have had no off-site copy for %(span)s: %(why)s.",
            self.backups,
        )
        return text % {
            "count": format_count(self.backups),
            "databases": databases % {"count": format_count(self.databases)},
            "span": format_span(now - self.since),
            "why": explain_missing_copy(self.error, self.error_code),
        }


def explain_missing_copy(error: str, code: str = "") -> str:
    """Return the cause as a clause, with the store's own word."""
    text = format_reason(make_reason(f"offsite_{error or 'waiting'}"))
    return _("%(text)s (%(code)s)") % {"text": text, "code": code} if code else text


def list_late(now: datetime) -> list[Lateness]:
    """Return the causes of late copies, the oldest first; none without a store."""
    if settings.OFFSITE_URL is None:
        return []
    late = Q(since__lt=now - LATE_AFTER) | Q(state=OffsiteCopy.State.FAILED, since__lt=now - FAILED_AFTER)
    causes = OffsiteCopy.objects.missing().filter(late).order_by().values("error")
    counted = causes.annotate(
        code=Max("error_code"), backups=Count("pk"), databases=Count("entry__job", distinct=True), oldest=Min("since")
    )
    rows = [Lateness(row["error"], row["code"], row["backups"], row["databases"], row["oldest"]) for row in counted]
    return sorted(rows, key=lambda found: found.since)


def lately_lost(now: datetime) -> QuerySet[OffsiteCopy]:
    """Select the copies that were found to be gone or altered, none without a store."""
    lost = OffsiteCopy.objects.filter(lost_at__gte=now - LOSS_SHOWN)
    return lost if settings.OFFSITE_URL is not None else lost.none()
