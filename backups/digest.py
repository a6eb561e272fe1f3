"""What is well, every Monday: no news may mean that all is well, or that nobody is looking any more."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.models import VERIFIED, ExpectedBackupJob, Status
from backups.scanner import tell
from portal.jobs import Lease
from portal.notifications import Notice, Severity, in_our_language, notify

NAMED = 20


def send(lease: Lease) -> dict[str, int]:
    now = timezone.now()
    jobs = list(ExpectedBackupJob.objects.watched(now))
    with transaction.atomic(), in_our_language():
        lease.extend()
        return {"messages": notify(notice(jobs, now)) if jobs else 0}


def notice(jobs: list[ExpectedBackupJob], now: datetime) -> Notice:
    well = [job for job in jobs if job.current_status in VERIFIED and not job.is_failing]
    failing = [job for job in jobs if job.is_failing]
    waiting = len(jobs) - len(well) - len(failing)
    title = ngettext(
        "Backups: %(well)d of %(all)d database is safe", "Backups: %(well)d of %(all)d databases are safe", len(jobs)
    ) % {"well": len(well), "all": len(jobs)}
    lines = [f"{tell.name_of(job)}: {Status(job.current_status).label}" for job in failing[:NAMED]]
    if len(failing) > NAMED:
        lines.append(_("and %(count)d more") % {"count": len(failing) - NAMED})
    if waiting:
        lines.append(_("Without a verdict so far: %(count)d") % {"count": waiting})
    return Notice(
        subject="backups:digest",
        severity=Severity.WARNING if failing else Severity.INFO,
        title=title,
        text="\n".join(lines) or _("All that was expected arrived and was verified."),
        dedupe_key=f"backups:digest:{now:%G-W%V}",
        path=reverse("admin:backups_expectedbackupjob_changelist"),
    )
