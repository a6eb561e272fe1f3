"""What is well, every Monday: no news may mean that all is well, or that nobody is looking any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import panels
from backups.models import ExpectedBackupJob, Scan, Status
from backups.panels import Totals
from backups.scanner import tell
from portal.jobs import Lease
from portal.notifications import Notice, Severity, in_our_language, notify

NAMED = 20
SILENT_FOR = timedelta(hours=2)


def send(lease: Lease) -> dict[str, int]:
    now = timezone.now()
    jobs = ExpectedBackupJob.objects.watched(now)
    if not jobs.exists():
        return {"messages": 0}
    with transaction.atomic(), in_our_language():
        lease.extend()
        failing = list(jobs.filter(panels.failing(now)))
        return {"messages": notify(notice(panels.counted(now), failing, Scan.objects.last_of_all(), now))}


def notice(totals: Totals, failing: list[ExpectedBackupJob], scan: Scan | None, now: datetime) -> Notice:
    """Safe is what was verified for its latest cycle, and that lately: a scan that stopped keeps nothing safe."""
    title = ngettext(
        "Backups: %(safe)d of %(all)d database is safe",
        "Backups: %(safe)d of %(all)d databases are safe",
        totals.watched,
    ) % {"safe": totals.safe, "all": totals.watched}
    lines = [f"{tell.name_of(job)}: {Status(job.current_status).label}" for job in failing[:NAMED]]
    if len(failing) > NAMED:
        lines.append(_("and %(count)d more") % {"count": len(failing) - NAMED})
    if totals.waiting:
        lines.append(_("Without a good backup of late: %(count)d") % {"count": totals.waiting})
    if scan is None or scan.root_is_missing or scan.started_at < now - SILENT_FOR:
        lines.append(_("Nobody has looked at them for a while: the deposit area or the workers need you."))
    return Notice(
        subject="backups:digest",
        severity=Severity.WARNING if lines else Severity.INFO,
        title=title,
        text="\n".join(lines) or _("All that was expected arrived and was verified."),
        dedupe_key=f"backups:digest:{now:%G-W%V}",
        path=reverse("admin:backups_expectedbackupjob_changelist"),
    )
