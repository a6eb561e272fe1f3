"""What is well, every Monday: no news may mean that all is well, or that nobody is looking any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import panels, protection
from backups.models import ExpectedBackupJob, Scan, Status
from backups.panels import Totals
from backups.reasons import warning_sentences
from backups.scanner import notices
from portal.notifications import Notice, Severity, in_portal_language, notify
from portal.work.jobs import Lease

NAMED = 20
SILENT_FOR = timedelta(hours=2)


def send(lease: Lease) -> dict[str, int]:
    now = timezone.now()
    jobs = ExpectedBackupJob.objects.watched(now)
    if not jobs.exists():
        return {"messages": 0}
    with transaction.atomic(), in_portal_language():
        lease.extend()
        return {"messages": notify(notice(panels.counted(now), lines_of(now), Scan.objects.last_of_all(), now))}


def lines_of(now: datetime) -> list[str]:
    """The databases that are failing, then those whose latest backup is suspicious, each with why."""
    jobs = ExpectedBackupJob.objects.order_by("agent_id", "database_name")
    failing, suspicious = list(jobs.filter(protection.failing(now))), list(jobs.filter(protection.suspicious(now)))
    newest = panels.newest_of(suspicious[:NAMED])
    lines = [f"{notices.name_of(job)}: {Status(job.current_status).label}" for job in failing]
    for job in suspicious:
        entry = newest[job.pk].latest if job.pk in newest else None
        why = warning_sentences(entry.doubts) if entry else ""
        lines.append(_("%(job)s: suspicious. %(why)s") % {"job": notices.name_of(job), "why": why})
    more = len(lines) - NAMED
    return [*lines[:NAMED], *([_("and %(count)d more") % {"count": more}] if more > 0 else [])]


def notice(totals: Totals, lines: list[str], scan: Scan | None, now: datetime) -> Notice:
    title = ngettext(
        "Backups: %(protected)d of %(all)d database is protected",
        "Backups: %(protected)d of %(all)d databases are protected",
        totals.watched,
    ) % {"protected": totals.protected, "all": totals.watched}
    if totals.waiting:
        lines = [*lines, _("Without a good backup of late: %(count)d") % {"count": totals.waiting}]
    if scan is None or scan.root_is_missing or scan.started_at < now - SILENT_FOR:
        lines = [*lines, _("Nobody has looked at them for a while: the deposit area or the workers need you.")]
    return Notice(
        subject="backups:digest",
        severity=Severity.WARNING if lines else Severity.INFO,
        title=title,
        text="\n".join(lines) or _("All that was expected arrived and was verified."),
        dedupe_key=f"backups:digest:{now:%G-W%V}",
        path=reverse("admin:backups_expectedbackupjob_changelist"),
    )
