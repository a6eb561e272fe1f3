"""Review verdicts periodically: store a snapshot of a changed verdict and notify; store a last one at the end."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import snapshots, wording
from beta.report.gather import Report, build_report
from beta.report.verdict import GO, INSUFFICIENT_DATA, NO_GO
from portal.base.moments import midnight
from portal.notifications import Notice, Severity, in_portal_language, notify
from portal.work.jobs import Lease, LeaseLost, exclusive_lease

# One review at a time, whatever its cycle: two at once would store and send everything twice.
REVIEW_LEASE = "monitoring.beta_turn"
# Triage shortly after the end may still change the verdict; later changes send no notification.
RECENT = timedelta(days=2)
BEST_FIRST = (GO, INSUFFICIENT_DATA, NO_GO)
log = logging.getLogger("vigie.beta")
Reason = BetaSnapshot.Reason


def review_verdicts(lease: Lease) -> dict[str, int]:
    """Run the periodic job; return the number of snapshots. Raises LeaseLost and AlreadyRunning.

    If a programme fails, the others are reviewed all the same, and the first failure is raised at the end.
    """
    now, kept, failures = timezone.now(), 0, list[Exception]()
    with exclusive_lease(REVIEW_LEASE) as own:
        for programme in programmes_to_review(now):
            try:
                kept += review_programme(programme, now, [lease, own])
            except LeaseLost:
                raise
            except Exception as error:
                log.exception("%s could not be reviewed", programme.subject)
                failures.append(error)
    if failures:
        raise failures[0]
    return {"kept": kept}


def programmes_to_review(now: datetime) -> list[BetaProgramme]:
    """Return programmes that run or ended lately, and those without a final snapshot, with one query.

    Programmes whose feedback is deleted are left out: their snapshot would say that there was none.
    """
    today = timezone.localdate(now)
    feedback = BetaFeedback.objects.filter(programme=OuterRef("pk"))
    reports = BetaSnapshot.objects.filter(programme=OuterRef("pk"))
    of_the_end = reports.filter(taken_at__date__gt=OuterRef("ends"))
    is_recent = Q(ends=None) | Q(ends__gte=today - RECENT)
    is_missed = (Exists(feedback) | Exists(reports)) & ~Exists(of_the_end)
    begun = BetaProgramme.objects.filter(starts__lte=today).exclude(ends__lt=snapshots.retention_cutoff(now))
    return list(begun.filter(is_recent | is_missed))


def review_programme(programme: BetaProgramme, now: datetime, leases: list[Lease]) -> bool:
    """Return True if a snapshot was stored, in one transaction with its notification and the leases' fences.

    The report is built outside the transaction, which blocks all other writers on SQLite.
    """
    report = build_report(programme, now)
    with transaction.atomic(), in_portal_language():
        for lease in leases:
            lease.extend()
        before = last_notified_verdict(programme)
        reason = snapshot_reason(programme, report, before, now)
        if reason is None:
            return False
        snapshot = snapshots.write_snapshot(programme, report, now, reason)
        if before and reason == Reason.VERDICT:
            notify(verdict_change_notice(snapshot, before))
    return True


def store_verdict(programme: BetaProgramme, now: datetime, lease: Lease) -> None:
    """Store a verdict that changed since the last notification, and notify nobody: it follows from old feedback."""
    report = build_report(programme, now)
    with transaction.atomic():
        lease.extend()
        before = last_notified_verdict(programme)
        if before and before != report["verdict"]:
            snapshots.write_snapshot(programme, report, now, Reason.VERDICT)


def last_notified_verdict(programme: BetaProgramme) -> str:
    """Return the verdict of the last notification, empty before the first. Exports notify nobody."""
    notified = BetaSnapshot.objects.filter(programme=programme, reason=Reason.VERDICT).order_by("-id")
    return notified.values_list("verdict", flat=True).first() or ""


def snapshot_reason(programme: BetaProgramme, report: Report, before: str, now: datetime) -> Reason | None:
    is_recent = programme.ends is None or programme.ends >= timezone.localdate(now) - RECENT
    is_news = is_recent and before != report["verdict"]
    if is_news and (before or BetaFeedback.objects.filter(programme=programme).exists()):
        return Reason.VERDICT
    if programme.ends and now >= (over := midnight(programme.ends + timedelta(days=1))):
        taken = BetaSnapshot.objects.filter(programme=programme, taken_at__gte=over)
        return None if taken.exists() else Reason.CLOSED
    return None


def verdict_change_notice(snapshot: BetaSnapshot, before: str) -> Notice:
    """Build the notification of a changed verdict; `before` is the previous one's code."""
    programme, after = snapshot.programme, snapshot.verdict
    is_worse = BEST_FIRST.index(after) > BEST_FIRST.index(before)
    verdicts = {"before": wording.verdict_label(before), "after": wording.verdict_label(after)}
    return Notice(
        subject=programme.subject,
        severity=Severity.WARNING if is_worse else Severity.INFO,
        title=_("%(programme)s: %(before)s → %(after)s") % {"programme": programme.name, **verdicts},
        text=wording.explain_verdict(snapshot.data["conditions"]),
        dedupe_key=f"{programme.subject}:{snapshot.pk}",
        path=reverse("admin:beta_betaprogramme_change", args=[programme.pk]),
    )
