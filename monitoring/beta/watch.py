"""Looks at each programme's verdict: a new one is kept as a snapshot and told, and so that of the end is kept."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.db import transaction
from django.utils import timezone

from monitoring.beta import snapshots, tell
from monitoring.beta.report import Report, report_of
from monitoring.models import BetaFeedback, BetaProgramme, BetaSnapshot
from portal.jobs import Busy, Lease, turn
from portal.notifications import in_our_language, notify

# One looks at a time, whatever cycle it is for: of two, each would keep and tell what the other does.
TURN = "monitoring.beta_turn"
# What is triaged shortly after the end may still change the verdict.
RECENT = timedelta(days=2)
Reason = BetaSnapshot.Reason


def review(lease: Lease) -> dict[str, int]:
    """The periodic job; how many snapshots were kept. Raises LeaseLost."""
    now = timezone.now()
    try:
        with turn(TURN) as own:
            return {"kept": sum(see_to(programme, now, [lease, own]) for programme in watched(now))}
    except Busy:
        return {"kept": 0}


def watched(now: datetime) -> list[BetaProgramme]:
    """Those that run, and those that ended within the last two days."""
    today = timezone.localdate(now)
    return list(BetaProgramme.objects.filter(starts__lte=today).exclude(ends__lt=today - RECENT))


def see_to(programme: BetaProgramme, now: datetime, leases: list[Lease]) -> bool:
    """Whether a snapshot was kept. It and its message are written in one transaction with the leases' fences.

    The report is made outside of it: a transaction of SQLite keeps everybody else from writing.
    """
    report = report_of(programme, now)
    with transaction.atomic(), in_our_language():
        for lease in leases:
            lease.extend()
        before = last_verdict(programme)
        reason = reason_to_keep(programme, report, before, now)
        if reason is None:
            return False
        snapshot = snapshots.write(programme, report, now, reason)
        if before and before != snapshot.verdict:
            notify(tell.changed(snapshot, before))
    return True


def last_verdict(programme: BetaProgramme) -> str:
    """The one that was told last, "" before the first. Of what somebody exported meanwhile nobody else was told."""
    told = BetaSnapshot.objects.filter(programme=programme, reason=Reason.VERDICT).order_by("-id")
    return told.values_list("verdict", flat=True).first() or ""


def reason_to_keep(programme: BetaProgramme, report: Report, before: str, now: datetime) -> Reason | None:
    if before != report["verdict"] and (before or BetaFeedback.objects.filter(programme=programme).exists()):
        return Reason.VERDICT
    if programme.ends and now >= (over := end_of(programme.ends)):
        taken = BetaSnapshot.objects.filter(programme=programme, taken_at__gte=over)
        return None if taken.exists() else Reason.CLOSED
    return None


def end_of(day: date) -> datetime:
    """Midnight after it, in the portal's time zone."""
    return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
