"""Health findings of backups: problems that need an operator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import reasons
from backups.history import job_list_url, job_url
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan, Status
from backups.panels import load_latest_entries
from backups.protection import DAMAGED, FAILING, suspicious
from backups.querysets import STORED, UNSTORED, watched
from backups.scanner.disk import paths
from backups.scanner.orchestration import active_leases, lease_key
from portal.base.findings import SHOWN, Finding, Severity, count_finding, finding_sources, split_shown
from portal.base.words import format_count, format_relative

STORED_WITHIN = timedelta(hours=1)
SCANNED_WITHIN = timedelta(minutes=45)
LATE_SCAN = timedelta(minutes=20)
PAUSED_LONG = timedelta(days=30)
OLDEST_GOOD_FIRST = (F("last_verified_at").asc(nulls_first=True), "status_since", "pk")
LATER_STORED = (*STORED, "removed")
Promotion = BackupEntry.Promotion


def job_finding(job: ExpectedBackupJob, severity: Severity, text: str, since: datetime | None) -> Finding:
    return Finding(severity, text, since, job_url(job), _("See the database"))


# --- The databases themselves ----------------------------------------------------------------------------------------


@finding_sources.register
def failing_databases(now: datetime) -> Iterator[Finding]:
    """Report the databases with the oldest good backup, or none, one by one, and the others together."""
    failing = ExpectedBackupJob.objects.filter(watched(now) & FAILING)
    worst, has_others = split_shown(failing.order_by(*OLDEST_GOOD_FIRST))
    newest = load_latest_entries(worst) if worst else {}
    for job in worst:
        entry = newest[job.pk].latest
        text = _("%(database)s of %(machine)s: %(status)s. %(why)s %(last)s") % {
            "database": job.database_name,
            "machine": job.agent_id,
            "status": Status(job.current_status).label,
            "why": entry.message if entry else "",
            "last": describe_last_good(job, now),
        }
        yield job_finding(job, Severity.CRITICAL, text, job.status_since)
    if has_others:
        others = failing.count() - SHOWN
        text = ngettext(
            "%(count)s more database has no good backup of its last cycle.",
            "%(count)s more databases have no good backup of their last cycle.",
            others,
        )
        since = failing.exclude(pk__in=[job.pk for job in worst]).aggregate(since=Min("status_since"))["since"]
        yield count_finding(Severity.CRITICAL, text, others, since, job_list_url(attention="yes"))


def describe_last_good(job: ExpectedBackupJob, now: datetime) -> str:
    if job.last_verified_at is None:
        return _("There is no good backup of it.")
    return _("Its last good backup was verified %(when)s.") % {"when": format_relative(job.last_verified_at, now)}


@finding_sources.register
def damaged_versions(now: datetime) -> Iterator[Finding]:
    """Report current versions that are no longer what was verified, of paused jobs too."""
    for job in ExpectedBackupJob.objects.filter(DAMAGED).order_by("reverified_at")[:SHOWN]:
        text = _("The stored backup of %(job)s is damaged. %(why)s")
        values = {"job": job, "why": reasons.format_reasons([job.damage])}
        yield job_finding(job, Severity.CRITICAL, text % values, job.reverified_at)


@finding_sources.register
def unstored_backups(now: datetime) -> Iterator[Finding]:
    """Report verified dumps that were not stored, unless a later one was."""
    for entry in unstored_entries(now).select_related("job").order_by("cycle_at")[:SHOWN]:
        text = {
            Promotion.WAITING: _("The verified backup of %(job)s has not been stored yet. %(why)s"),
            Promotion.FAILED: _("The verified backup of %(job)s could not be stored. %(why)s"),
            Promotion.LOST: _("The verified backup of %(job)s was lost before it was stored. %(why)s"),
        }[Promotion(entry.promotion)]
        why = reasons.format_reasons([entry.promotion_reason]) if entry.promotion_reason else ""
        severity = Severity.WARNING if entry.promotion == Promotion.WAITING else Severity.CRITICAL
        yield job_finding(entry.job, severity, (text % {"job": entry.job, "why": why}).strip(), entry.recorded_at)


def unstored_entries(now: datetime) -> QuerySet[BackupEntry]:
    """Select entries that are not stored, by a small partial index."""
    waiting = Q(promotion=Promotion.WAITING, changed_at__lt=now - STORED_WITHIN)
    stored = BackupEntry.objects.filter(
        job=OuterRef("job"), cycle_at__gt=OuterRef("cycle_at"), promotion__in=LATER_STORED
    )
    not_stored = BackupEntry.objects.filter(promotion__in=UNSTORED)
    return not_stored.filter(waiting | ~Q(promotion=Promotion.WAITING)).exclude(Exists(stored))


@finding_sources.register
def doubtful_backups(now: datetime) -> Iterator[Finding]:
    """Report dumps whose hash and size are right, and whose content looks wrong."""
    doubtful = ExpectedBackupJob.objects.filter(suspicious(now))
    worst, has_others = split_shown(doubtful.order_by(*OLDEST_GOOD_FIRST))
    newest = load_latest_entries(worst) if worst else {}
    for job in worst:
        entry = newest[job.pk].verified
        text = _("The last backup of %(job)s is suspicious. %(why)s")
        values = {"job": job, "why": reasons.format_warnings(entry.doubts) if entry else ""}
        yield job_finding(job, Severity.WARNING, text % values, entry.recorded_at if entry else job.status_since)
    if has_others:
        others = doubtful.count() - SHOWN
        text = ngettext(
            "%(count)s more last backup is suspicious.", "%(count)s more last backups are suspicious.", others
        )
        yield count_finding(Severity.WARNING, text, others, url=job_list_url(attention="doubts"))


@finding_sources.register
def forgotten_pauses(now: datetime) -> Iterator[Finding]:
    """Report jobs that have been switched off for so long that they may be forgotten."""
    paused = ExpectedBackupJob.objects.filter(is_active=False, watched_since__lt=now - PAUSED_LONG)
    off = paused.aggregate(count=Count("pk"), since=Min("watched_since"))
    if not off["count"]:
        return
    text = ngettext(
        "%(count)s database has been paused for more than 30 days: nobody looks at its backups.",
        "%(count)s databases have been paused for more than 30 days: nobody looks at their backups.",
        off["count"],
    )
    yield count_finding(Severity.INFO, text, off["count"], off["since"], job_list_url(paused="off"))


# --- Scans and deposit areas -----------------------------------------------------------------------------------------


@finding_sources.register
def missing_root(now: datetime) -> Iterator[Finding]:
    newest = Scan.objects.order_by("-id").first()
    if newest is not None and newest.root_is_missing:
        text = _("The deposit root is missing: no backup can be verified. Perhaps its disk is not mounted.")
        yield Finding(Severity.CRITICAL, text, missing_since(newest), job_list_url(), _("See the expected backups"))


def missing_since(newest: Scan) -> datetime:
    """Return the start of the first scan in the streak without a root."""
    present = Scan.objects.filter(root_is_missing=False).order_by("-id").values_list("pk", flat=True).first() or 0
    first = Scan.objects.filter(pk__gt=present).order_by("id").first()
    return (first or newest).started_at


@finding_sources.register
def silent_scanner(now: datetime) -> Iterator[Finding]:
    """Report that no scan has finished lately, so that every status may be outdated."""
    scan = Scan.objects.last_full()
    oldest = ExpectedBackupJob.objects.filter(watched(now)).aggregate(since=Min("created_at"))["since"]
    since = max(filter(None, [oldest, scan and scan.finished_at]), default=None) if oldest else None
    if since is not None and since < now - SCANNED_WITHIN:
        text = _("No scan has finished for more than 45 minutes: nobody knows how the backups are.")
        yield Finding(Severity.WARNING, text, since, job_list_url(), _("See the expected backups"))


@finding_sources.register
def unscanned_machines(now: datetime) -> Iterator[Finding]:
    """Report machines that have waited for a queued scan for longer than the scan interval."""
    late = DepositArea.objects.filter(queued_at__lt=now - LATE_SCAN).order_by("queued_at")
    at_work = set(active_leases(now).values_list("cycle_key", flat=True)) if late.exists() else set()
    waiting = [area for area in late if lease_key(area) not in at_work]
    if waiting:
        text = ngettext(
            "%(machine)s has waited for a scan for more than 20 minutes.",
            "%(count)s machines have waited for a scan for more than 20 minutes, the longest %(machine)s.",
            len(waiting),
        )
        words = {"machine": waiting[0].agent_id, "count": format_count(len(waiting))}
        url = job_list_url(q=waiting[0].agent_id) if len(waiting) == 1 else job_list_url()
        yield Finding(Severity.WARNING, text % words, waiting[0].queued_at, url, _("See the expected backups"))


@finding_sources.register
def troubled_areas(now: datetime) -> Iterator[Finding]:
    areas = DepositArea.objects.filter(trouble__isnull=False).order_by("troubled_since", "agent_id")
    worst, others_count = first_areas(areas)
    for area in worst:
        text = _("What %(machine)s deposits cannot be read. %(why)s")
        values = {"machine": area.agent_id, "why": reasons.format_reasons([area.trouble])}
        yield area_finding(area, Severity.WARNING, text % values, area.troubled_since)
    text = ngettext(
        "What %(count)s more machine deposits cannot be read.",
        "What %(count)s more machines deposit cannot be read.",
        others_count,
    )
    yield from other_areas(Severity.WARNING, text, others_count)


@finding_sources.register
def unread_reports(now: datetime) -> Iterator[Finding]:
    """Report JSON files that may be the reports of missing backups."""
    areas, others_count = first_areas(DepositArea.objects.exclude(unread=[]).order_by("agent_id"))
    for area in areas:
        text = _(
            "%(machine)s leaves JSON files that no scan reads, such as %(name)s. A report is called"
            " OPERATION_YYYYMMDD_HHMM_%(machine)s.json."
        )
        yield area_finding(area, Severity.WARNING, text % {"machine": area.agent_id, "name": area.unread[-1]})
    text = ngettext(
        "%(count)s more machine leaves JSON files that no scan reads.",
        "%(count)s more machines leave JSON files that no scan reads.",
        others_count,
    )
    yield from other_areas(Severity.WARNING, text, others_count)


@finding_sources.register
def report_spellings(now: datetime) -> Iterator[Finding]:
    """Report the undocumented variants that a machine's reports use."""
    areas, others_count = first_areas(DepositArea.objects.exclude(spellings=[]).order_by("agent_id"))
    for area in areas:
        text = _("Reports of %(machine)s are read, but not written as documented: %(variants)s")
        values = {"machine": area.agent_id, "variants": reasons.format_spellings(area.spellings)}
        yield area_finding(area, Severity.INFO, text % values)
    text = ngettext(
        "Reports of %(count)s more machine are read, but not written as documented.",
        "Reports of %(count)s more machines are read, but not written as documented.",
        others_count,
    )
    yield from other_areas(Severity.INFO, text, others_count)


def area_finding(area: DepositArea, severity: Severity, text: str, since: datetime | None = None) -> Finding:
    return Finding(severity, text, since, job_list_url(q=area.agent_id), _("See its databases"))


def first_areas(areas: QuerySet[DepositArea]) -> tuple[list[DepositArea], int]:
    """Return the areas with a finding each, and the number of the others."""
    first, has_others = split_shown(areas)
    return first, areas.count() - SHOWN if has_others else 0


def other_areas(severity: Severity, text: str, count: int) -> Iterator[Finding]:
    """Yield a finding that counts the areas without one of their own."""
    if count:
        yield Finding(severity, text % {"count": format_count(count)}, None, job_list_url(), _("See the list"))


@finding_sources.register
def unexpected_databases(now: datetime) -> Iterator[Finding]:
    """Report databases that arrive without a job: nobody would notice if they stopped."""
    areas = list(DepositArea.objects.exclude(unexpected=[]).order_by("agent_id")[: SHOWN + 1])
    known = set(
        ExpectedBackupJob.objects.filter(agent_id__in=[area.agent_id for area in areas]).values_list(
            "agent_id", "database_name"
        )
    )
    known = {(agent_id, paths.normalize_name(name)) for agent_id, name in known}
    pairs = [(area.agent_id, name) for area in areas for name in area.unexpected if (area.agent_id, name) not in known]
    for machine, database in pairs[:SHOWN]:
        text = _("%(machine)s deposits the database %(database)s, which nobody expects.")
        url = reverse("admin:backups_expectedbackupjob_add", query={"agent_id": machine, "database_name": database})
        values = {"machine": machine, "database": database}
        yield Finding(Severity.INFO, text % values, None, url, _("Expect it"))
