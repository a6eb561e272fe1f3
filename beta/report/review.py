"""Looks at each programme's verdict: a new one is kept as a snapshot and told, and so that of the end is kept."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import notices, snapshots
from beta.report.gather import Report, report_of
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease, LeaseLost, exclusive_lease
from usage.consumption import midnight

# One looks at a time, whatever cycle it is for: of two, each would keep and tell what the other does.
TURN = "monitoring.beta_turn"
# What is triaged shortly after the end may still change the verdict; later nobody is told any more.
RECENT = timedelta(days=2)
log = logging.getLogger("vigie.beta")
Reason = BetaSnapshot.Reason


def review(lease: Lease) -> dict[str, int]:
    """The periodic job; how many snapshots were kept. Raises LeaseLost, and Busy: whoever has the turn may be dead.

    Where a programme fails the others are looked at all the same, and the first failure is raised in the end.
    """
    now, kept, failures = timezone.now(), 0, list[Exception]()
    with exclusive_lease(TURN) as own:
        for programme in watched(now):
            try:
                kept += see_to(programme, now, [lease, own])
            except LeaseLost:
                raise
            except Exception as error:
                log.exception("%s could not be looked at", programme.subject)
                failures.append(error)
    if failures:
        raise failures[0]
    return {"kept": kept}


def watched(now: datetime) -> list[BetaProgramme]:
    """Those that run or ended lately, and those that ended and have no report of their end; one query.

    None whose feedback is deleted: what would be kept of it is that nobody said anything.
    """
    today = timezone.localdate(now)
    feedback = BetaFeedback.objects.filter(programme=OuterRef("pk"))
    reports = BetaSnapshot.objects.filter(programme=OuterRef("pk"))
    of_the_end = reports.filter(taken_at__date__gt=OuterRef("ends"))
    is_recent = Q(ends=None) | Q(ends__gte=today - RECENT)
    is_missed = (Exists(feedback) | Exists(reports)) & ~Exists(of_the_end)
    begun = BetaProgramme.objects.filter(starts__lte=today).exclude(ends__lt=snapshots.forgotten_before(now))
    return list(begun.filter(is_recent | is_missed))


def see_to(programme: BetaProgramme, now: datetime, leases: list[Lease]) -> bool:
    """Whether a snapshot was kept. It and its message are written in one transaction with the leases' fences.

    The report is made outside of it: a transaction of SQLite keeps everybody else from writing.
    """
    report = report_of(programme, now)
    with transaction.atomic(), in_portal_language():
        for lease in leases:
            lease.extend()
        before = last_verdict(programme)
        reason = reason_to_keep(programme, report, before, now)
        if reason is None:
            return False
        snapshot = snapshots.write(programme, report, now, reason)
        if before and reason == Reason.VERDICT:
            notify(notices.changed(snapshot, before))
    return True


def last_verdict(programme: BetaProgramme) -> str:
    """The one that was told last, "" before the first. Of what somebody exported meanwhile nobody else was told."""
    told = BetaSnapshot.objects.filter(programme=programme, reason=Reason.VERDICT).order_by("-id")
    return told.values_list("verdict", flat=True).first() or ""


def reason_to_keep(programme: BetaProgramme, report: Report, before: str, now: datetime) -> Reason | None:
    is_recent = programme.ends is None or programme.ends >= timezone.localdate(now) - RECENT
    is_news = is_recent and before != report["verdict"]
    if is_news and (before or BetaFeedback.objects.filter(programme=programme).exists()):
        return Reason.VERDICT
    if programme.ends and now >= (over := end_of(programme.ends)):
        taken = BetaSnapshot.objects.filter(programme=programme, taken_at__gte=over)
        return None if taken.exists() else Reason.CLOSED
    return None


def end_of(day: date) -> datetime:
    """Midnight after it, in the portal's time zone."""
    return midnight(day + timedelta(days=1))
