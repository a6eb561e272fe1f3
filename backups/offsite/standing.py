"""The standing of the off-site copies: which are late and why, for findings, metrics, digest and pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.models import BackupEntry, OffsiteCopy
from backups.reasons import format_reason, make_reason
from portal.base.words import format_count, format_span

# Without an error, the first copies of many versions may take a while.
LATE_AFTER, FAILED_AFTER = timedelta(days=1), timedelta(hours=1)
LOSS_SHOWN = timedelta(days=7)
VERIFY_EVERY = timedelta(days=7)
# Two verifications: where copies have to be read back, they may take a week.
UNVERIFIED_AFTER = 2 * VERIFY_EVERY


@dataclass(frozen=True)
class Lateness:
    """The late copies with one cause, which is empty for those that only wait.

    They are missing, or have not been verified since `since` (`is_copied`).
    """

    is_copied: bool
    error: str
    error_code: str
    backups: int
    databases: int
    since: datetime

    @property
    def key(self) -> str:
        return f"{'offsite_unverified' if self.is_copied else 'offsite'}:{self.error}"

    def describe(self, now: datetime) -> str:
        """Return `12 backups of 3 databases have had no off-site copy for 2 days: the store refuses the key.`"""
        databases = ngettext("%(count)s database", "%(count)s databases", self.databases)
        if self.is_copied:
            text = ngettext(
                "%(count)s off-site copy of %(databases)s has not been verified for %(span)s: %(why)s.",
                "%(count)s off-site copies of %(databases)s have not been verified for %(span)s: %(why)s.",
                self.backups,
            )
        else:
            text = ngettext(
                "%(count)s backup of %(databases)s has had no off-site copy for %(span)s: %(why)s.",
                "%(count)s backups of %(databases)s have had no off-site copy for %(span)s: %(why)s.",
                self.backups,
            )
        return text % {
            "count": format_count(self.backups),
            "databases": databases % {"count": format_count(self.databases)},
            "span": format_span(now - self.since),
            "why": explain_failure(self.error or ("unverified" if self.is_copied else "waiting"), self.error_code),
        }


def explain_failure(word: str, code: str = "") -> str:
    """Return the cause as a clause, with the store's own word."""
    text = format_reason(make_reason(f"offsite_{word}"))
    return _("%(text)s (%(code)s)") % {"text": text, "code": code} if code else text


def list_late(now: datetime) -> list[Lateness]:
    """Return the causes of missing and of unverified copies, the oldest first; none without a store."""
    if settings.OFFSITE_URL is None:
        return []
    late = Q(since__lt=now - LATE_AFTER) | Q(state=OffsiteCopy.State.FAILED, since__lt=now - FAILED_AFTER)
    missing = group_by_cause(OffsiteCopy.objects.missing().filter(late), "since", is_copied=False)
    copied = OffsiteCopy.objects.copied().filter(place=settings.OFFSITE_URL.place)
    unverified = group_by_cause(copied.filter(verified_at__lt=now - UNVERIFIED_AFTER), "verified_at", is_copied=True)
    return sorted([*missing, *unverified], key=lambda found: found.since)


def group_by_cause(copies: QuerySet[OffsiteCopy], since: str, *, is_copied: bool) -> Iterator[Lateness]:
    counted = (
        copies.order_by()
        .values("error")
        .annotate(
            code=Max("error_code"), backups=Count("pk"), databases=Count("entry__job", distinct=True), oldest=Min(since)
        )
    )
    for row in counted:
        yield Lateness(is_copied, row["error"], row["code"], row["backups"], row["databases"], row["oldest"])


def lately_lost(now: datetime) -> QuerySet[OffsiteCopy]:
    """Select the copies that were found to be gone or altered and are made again, none without a store."""
    lost = OffsiteCopy.objects.filter(lost_at__gte=now - LOSS_SHOWN).exclude(pk__in=OffsiteCopy.objects.lost())
    return lost if settings.OFFSITE_URL is not None else lost.none()


def lost_for_good() -> QuerySet[OffsiteCopy]:
    """Select the last good copies of databases that were found to be gone or altered, none without a store."""
    lost = OffsiteCopy.objects.lost()
    has_another = BackupEntry.objects.good().filter(offsite_copy__state=OffsiteCopy.State.COPIED).values("job")
    return lost.exclude(entry__job__in=has_another) if settings.OFFSITE_URL is not None else lost.none()
