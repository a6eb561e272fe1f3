"""The weekly digest, sent even if all is well: a dead man's switch for the scanner itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import panels, protection
from backups.history import job_list_url
from backups.models import ExpectedBackupJob, Scan, Status
from backups.offsite import standing
from backups.panels import ProtectionCounts
from backups.querysets import watched
from backups.reasons import format_reasons, format_warnings
from backups.scanner import notices
from portal.notifications import Notice, Severity, in_portal_language, notify
from portal.work.jobs import Lease

MAX_LISTED = 20
SILENT_FOR = timedelta(hours=2)


def send_weekly_digest(lease: Lease) -> dict[str, int]:
    now = timezone.now()
    jobs = ExpectedBackupJob.objects.watched(now)
    if not jobs.exists():
        return {"messages": 0}
    with transaction.atomic(), in_portal_language():
        lease.extend()
        notice = digest_notice(panels.count_jobs(now), list_problems(now), Scan.objects.last_full(), now)
        return {"messages": notify(notice)}


def list_problems(now: datetime) -> list[str]:
    """Return a line for each failing database, each suspicious one and each that lost its proof.

    Lines on late off-site copies come last.
    """
    jobs = ExpectedBackupJob.objects.order_by("agent_id", "database_name")
    failing, suspicious = list(jobs.filter(protection.failing(now))), list(jobs.filter(protection.suspicious(now)))
    newest = panels.load_latest_entries(suspicious[:MAX_LISTED])
    lines = [f"{notices.describe_job(job)}: {Status(job.current_status).label}" for job in failing]
    for job in suspicious:
        entry = newest[job.pk].latest if job.pk in newest else None
        why = format_warnings(entry.doubts) if entry else ""
        lines.append(_("%(job)s: suspicious. %(why)s") % {"job": notices.describe_job(job), "why": why})
    for job in jobs.filter(watched(now), protection.proof_lost()):
        why = format_reasons(job.proof_lost)
        lines.append(_("%(job)s: not proven. %(why)s") % {"job": notices.describe_job(job), "why": why})
    more = len(lines) - MAX_LISTED
    copies = [late.describe(now) for late in standing.list_late(now)]
    return [*lines[:MAX_LISTED], *([_("and %(count)d more") % {"count": more}] if more > 0 else []), *copies]


def digest_notice(counts: ProtectionCounts, lines: list[str], scan: Scan | None, now: datetime) -> Notice:
    title = ngettext(
        "Backups: %(protected)d of %(all)d database is protected, %(proven)d proven",
        "Backups: %(protected)d of %(all)d databases are protected, %(proven)d proven",
        counts.watched,
    ) % {"protected": counts.protected, "all": counts.watched, "proven": counts.proven}
    if counts.overdue or counts.pending:
        lines = [*lines, _("Pending or overdue: %(count)d") % {"count": counts.overdue + counts.pending}]
    if scan is None or scan.root_is_missing or scan.started_at < now - SILENT_FOR:
        lines = [*lines, _("No recent scan: check the upload area and the workers.")]
    return Notice(
        subject="backups:digest",
        severity=Severity.WARNING if lines else Severity.INFO,
        title=title,
        text="\n".join(lines) or _("All expected backups arrived and were verified."),
        dedupe_key=f"backups:digest:{now:%G-W%V}",
        path=job_list_url(),
    )
