"""Health findings of backups: problems that need an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import reasons
from backups.history import job_list_url, job_url
from backups.models import BackupEntry, DepositArea, DrillSandbox, ExpectedBackupJob, Scan, Status
from backups.offsite import standing
from backups.panels import load_latest_entries
from backups.protection import DAMAGED, FAILING, overdue, proof_lost, suspicious
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


def job_finding(job: ExpectedBackupJob, severity: Severity, text: str, since: datetime | None, kind: str) -> Finding:
    """Return a finding on one database. `kind` tells its findings apart, which are acknowledged one by one."""
    action = _("View %(database)s") % {"database": job.database_name}
    return Finding(severity, text.strip(), since, job_url(job), action, key=f"backups.{kind}:{job.pk}")


def describe_names(job: ExpectedBackupJob) -> str:
    return _("%(database)s on %(machine)s") % {"database": job.database_name, "machine": job.agent_id}


# --- The databases themselves ----------------------------------------------------------------------------------------


@finding_sources.register
def failing_databases(now: datetime) -> Iterator[Finding]:
    """Report the databases with the oldest good backup, or none, one by one, and the others together."""
    failing = ExpectedBackupJob.objects.filter(watched(now) & FAILING)
    worst, has_others = split_shown(failing.order_by(*OLDEST_GOOD_FIRST))
    newest = load_latest_entries(worst) if worst else {}
    for job in worst:
        entry = newest[job.pk].latest
        text = _("%(job)s: %(status)s. %(why)s %(last)s") % {
            "job": describe_names(job),
            "status": Status(job.current_status).label,
            "why": entry.message if entry else "",
            "last": describe_last_verified(job, now),
        }
        yield job_finding(job, Severity.CRITICAL, text, job.status_since, "job")
    if has_others:
        others = failing.count() - SHOWN
        text = ngettext(
            "%(count)s more database has no verified backup for its last scheduled time.",
            "%(count)s more databases have no verified backup for their last scheduled time.",
            others,
        )
        since = failing.exclude(pk__in=[job.pk for job in worst]).aggregate(since=Min("status_since"))["since"]
        yield count_finding(Severity.CRITICAL, text, others, since, job_list_url(attention="yes"))


def describe_last_verified(job: ExpectedBackupJob, now: datetime) -> str:
    if job.last_verified_at is None:
        return _("No verified backup yet.")
    return _("Last verified backup: %(when)s.") % {"when": format_relative(job.last_verified_at, now)}


@finding_sources.register
def overdue_databases(now: datetime) -> Iterator[Finding]:
    """Report databases whose last verified backup is too old, although none is missing."""
    jobs = ExpectedBackupJob.objects.filter(overdue(now))
    worst, has_others = split_shown(jobs.order_by(*OLDEST_GOOD_FIRST))
    for job in worst:
        text = _("%(job)s: overdue. %(last)s")
        values = {"job": describe_names(job), "last": describe_last_verified(job, now)}
        # Monitoring that was resumed, or a changed schedule, makes it overdue anew.
        since = max(filter(None, [job.last_verified_at, job.counts_from(now)]))
        yield job_finding(job, Severity.WARNING, text % values, since, "overdue")
    if has_others:
        others = jobs.count() - SHOWN
        text = ngettext("%(count)s more database is overdue.", "%(count)s more databases are overdue.", others)
        yield count_finding(Severity.WARNING, text, others, url=job_list_url(attention="overdue"))


@finding_sources.register
def damaged_versions(now: datetime) -> Iterator[Finding]:
    """Report current versions that are no longer what was verified, of paused jobs too."""
    for job in ExpectedBackupJob.objects.filter(DAMAGED).order_by("damaged_since")[:SHOWN]:
        text = _("%(job)s: stored backup corrupted. %(why)s")
        values = {"job": describe_names(job), "why": reasons.format_reasons([job.damage])}
        yield job_finding(job, Severity.CRITICAL, text % values, job.damaged_since, "stored")


@finding_sources.register
def unstored_backups(now: datetime) -> Iterator[Finding]:
    """Report verified dumps that were not stored, unless a later one was."""
    for entry in unstored_entries(now).select_related("job").order_by("cycle_at")[:SHOWN]:
        text = {
            Promotion.WAITING: _("%(job)s: verified backup not stored yet. %(why)s"),
            Promotion.FAILED: _("%(job)s: verified backup could not be stored. %(why)s"),
            Promotion.LOST: _("%(job)s: verified backup lost before it was stored. %(why)s"),
        }[Promotion(entry.promotion)]
        why = reasons.format_reasons([entry.promotion_reason]) if entry.promotion_reason else ""
        severity = Severity.WARNING if entry.promotion == Promotion.WAITING else Severity.CRITICAL
        values = {"job": describe_names(entry.job), "why": why}
        yield job_finding(entry.job, severity, text % values, entry.recorded_at, f"unstored.{entry.pk}")


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
        entry = newest[job.pk].latest
        text = _("%(job)s: last backup suspicious. %(why)s %(last)s")
        values = {
            "job": describe_names(job),
            "why": reasons.format_warnings(entry.doubts) if entry else "",
            "last": describe_last_verified(job, now),
        }
        yield job_finding(job, Severity.WARNING, text % values, job.status_since, "suspicious")
    if has_others:
        others = doubtful.count() - SHOWN
        text = ngettext(
            "The last backup of %(count)s more database is suspicious.",
            "The last backups of %(count)s more databases are suspicious.",
            others,
        )
        yield count_finding(Severity.WARNING, text, others, url=job_list_url(attention="doubts"))


@finding_sources.register
def unproven_databases(now: datetime) -> Iterator[Finding]:
    """Report databases whose backup a restore drill could not restore, or whose last proof is too old."""
    jobs = ExpectedBackupJob.objects.filter(watched(now), proof_lost())
    worst, has_others = split_shown(jobs.order_by("proof_lost_at", "pk"))
    for job in worst:
        text = _("%(job)s: backup not proven. %(why)s")
        values = {"job": describe_names(job), "why": reasons.format_reasons(job.proof_lost)}
        yield job_finding(job, Severity.CRITICAL, text % values, job.proof_lost_at, "proof")
    if has_others:
        others = jobs.count() - SHOWN
        text = ngettext(
            "The backup of %(count)s more database is not proven.",
            "The backups of %(count)s more databases are not proven.",
            others,
        )
        yield count_finding(Severity.CRITICAL, text, others, url=job_list_url(proof="lost"))


@finding_sources.register
def unavailable_sandboxes(now: datetime) -> Iterator[Finding]:
    """Report sandboxes that cannot be used although drills are due, which says nothing about the backups."""
    waiting = ExpectedBackupJob.objects.watched(now).filter(unavailable_sandbox=OuterRef("pk"), drill_every_days__gt=0)
    for sandbox in DrillSandbox.objects.filter(Exists(waiting)).order_by("engine"):
        text = (
            _("No restore drills of %(engine)s: the sandbox can’t be used. %(why)s")
            if sandbox.engine
            else _("No restore drills. %(why)s")
        )
        values = {"engine": sandbox, "why": reasons.format_error(sandbox.trouble)}
        yield list_finding(Severity.WARNING, text % values, sandbox.troubled_since, f"sandbox:{sandbox.engine}")


@finding_sources.register
def late_offsite_copies(now: datetime) -> Iterator[Finding]:
    """Report for each cause how many off-site copies are missing or unverified, and since when."""
    for late in standing.list_late(now):
        yield list_finding(Severity.WARNING, late.describe(now), late.since, late.key)


@finding_sources.register
def lost_offsite_copies(now: datetime) -> Iterator[Finding]:
    """Report copies that someone or something has removed or changed in the store, although they are made again."""
    lost = standing.lately_lost(now).aggregate(count=Count("pk"), first=Min("lost_at"))
    if lost["count"]:
        text = ngettext(
            "%(count)s off-site copy had been removed or altered in the store. It is copied again.",
            "%(count)s off-site copies had been removed or altered in the store. They are copied again.",
            lost["count"],
        )
        text %= {"count": format_count(lost["count"])}
        yield list_finding(Severity.WARNING, text, lost["first"], "offsite_lost")


@finding_sources.register
def last_offsite_copies_lost(now: datetime) -> Iterator[Finding]:
    """Report databases whose last good copy is gone, until it is found again or another one is there."""
    lost = standing.lost_for_good().aggregate(databases=Count("entry__job", distinct=True), first=Min("lost_at"))
    if lost["databases"]:
        text = ngettext(
            "The last good off-site copy of %(count)s database was removed or altered in the store. The version is no "
            "longer stored here.",
            "The last good off-site copies of %(count)s databases were removed or altered in the store. The versions "
            "are no longer stored here.",
            lost["databases"],
        )
        text %= {"count": format_count(lost["databases"])}
        yield list_finding(Severity.WARNING, text, lost["first"], "offsite_last_lost")


@finding_sources.register
def forgotten_pauses(now: datetime) -> Iterator[Finding]:
    """Report jobs that have been paused for so long that they may be forgotten."""
    paused = ExpectedBackupJob.objects.filter(is_active=False, watched_since__lt=now - PAUSED_LONG)
    off = paused.aggregate(count=Count("pk"), since=Min("watched_since"))
    if not off["count"]:
        return
    text = ngettext(
        "%(count)s database has been paused for more than 30 days: its backups aren’t monitored.",
        "%(count)s databases have been paused for more than 30 days: their backups aren’t monitored.",
        off["count"],
    )
    yield count_finding(Severity.INFO, text, off["count"], off["since"], job_list_url(paused="off"))


# --- Scans and deposit areas -----------------------------------------------------------------------------------------


@finding_sources.register
def missing_root(now: datetime) -> Iterator[Finding]:
    newest = Scan.objects.order_by("-id").first()
    if newest is not None and newest.root_is_missing:
        text = _("The upload area is unavailable: no backup can be verified. Check that its disk is mounted.")
        yield list_finding(Severity.CRITICAL, text, missing_since(newest), "root")


def list_finding(severity: Severity, text: str, since: datetime | None, kind: str, url: str = "") -> Finding:
    return Finding(severity, text, since, url or job_list_url(), _("View expected backups"), key=f"backups.{kind}")


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
        text = _("No scan has finished for more than 45 minutes: backup status is unknown.")
        yield list_finding(Severity.WARNING, text, since, "scanner")


@finding_sources.register
def unscanned_machines(now: datetime) -> Iterator[Finding]:
    """Report machines that have waited for a queued scan for longer than the scan interval."""
    late = DepositArea.objects.filter(queued_at__lt=now - LATE_SCAN).order_by("queued_at")
    at_work = set(active_leases(now).values_list("cycle_key", flat=True)) if late.exists() else set()
    waiting = [area for area in late if lease_key(area) not in at_work]
    if waiting:
        text = ngettext(
            "%(machine)s has been waiting for a scan for more than 20 minutes.",
            "%(count)s machines have been waiting for a scan for more than 20 minutes, %(machine)s the longest.",
            len(waiting),
        )
        words = {"machine": waiting[0].agent_id, "count": format_count(len(waiting))}
        url = job_list_url(q=waiting[0].agent_id) if len(waiting) == 1 else job_list_url()
        yield list_finding(Severity.WARNING, text % words, waiting[0].queued_at, "queue", url)


@finding_sources.register
def troubled_areas(now: datetime) -> Iterator[Finding]:
    areas = DepositArea.objects.filter(trouble__isnull=False).order_by("troubled_since", "agent_id")
    worst, others_count = first_areas(areas)
    for area in worst:
        text = _("Can’t read uploads from %(machine)s: %(why)s.")
        values = {"machine": area.agent_id, "why": reasons.join_reasons([area.trouble])}
        yield area_finding(area, Severity.WARNING, text % values, "area", area.troubled_since)
    text = ngettext(
        "Can’t read uploads from %(count)s more machine.",
        "Can’t read uploads from %(count)s more machines.",
        others_count,
    )
    yield from other_areas(Severity.WARNING, text, others_count)


@finding_sources.register
def unread_reports(now: datetime) -> Iterator[Finding]:
    """Report JSON files that may be the reports of missing backups."""
    areas, others_count = first_areas(DepositArea.objects.exclude(unread=[]).order_by("agent_id"))
    for area in areas:
        text = _(
            "%(machine)s uploads JSON files that aren’t reports, such as %(name)s. Reports must be named"
            " OPERATION_YYYYMMDD_HHMM_%(machine)s.json."
        )
        words = {"machine": area.agent_id, "name": area.unread[-1]}
        yield area_finding(area, Severity.WARNING, text % words, "unread", first_seen(area, "unread"))
    text = ngettext(
        "%(count)s more machine uploads JSON files that aren’t reports.",
        "%(count)s more machines upload JSON files that aren’t reports.",
        others_count,
    )
    yield from other_areas(Severity.WARNING, text, others_count)


@finding_sources.register
def report_spellings(now: datetime) -> Iterator[Finding]:
    """Report the undocumented variants that a machine's reports use."""
    areas, others_count = first_areas(DepositArea.objects.exclude(spellings=[]).order_by("agent_id"))
    for area in areas:
        text = _("Reports from %(machine)s are accepted, but differ from the documentation: %(variants)s")
        values = {"machine": area.agent_id, "variants": reasons.format_spellings(area.spellings)}
        seen = [at for at in (first_seen(area, f"spellings/{code}") for code in area.spellings) if at is not None]
        found = area_finding(area, Severity.INFO, text % values, "spellings", min(seen, default=None))
        yield replace(found, renewed_at=max(seen, default=None))
    text = ngettext(
        "Reports from %(count)s more machine are accepted, but differ from the documentation.",
        "Reports from %(count)s more machines are accepted, but differ from the documentation.",
        others_count,
    )
    yield from other_areas(Severity.INFO, text, others_count)


def area_finding(area: DepositArea, severity: Severity, text: str, kind: str, since: datetime | None = None) -> Finding:
    action = _("View databases of %(machine)s") % {"machine": area.agent_id}
    return Finding(severity, text, since, job_list_url(q=area.agent_id), action, key=f"backups.{kind}:{area.pk}")


def first_seen(area: DepositArea, name: str) -> datetime | None:
    text = (area.first_seen or {}).get(name)
    return datetime.fromisoformat(text) if text else None


def first_areas(areas: QuerySet[DepositArea]) -> tuple[list[DepositArea], int]:
    """Return the areas with a finding each, and the number of the others."""
    first, has_others = split_shown(areas)
    return first, areas.count() - SHOWN if has_others else 0


def other_areas(severity: Severity, text: str, count: int) -> Iterator[Finding]:
    """Yield a finding that counts the areas without one of their own."""
    if count:
        yield Finding(severity, text % {"count": format_count(count)}, None, job_list_url(), _("View expected backups"))


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
    pairs = [(area, name) for area in areas for name in area.unexpected if (area.agent_id, name) not in known]
    for area, database in pairs[:SHOWN]:
        machine, since = area.agent_id, first_seen(area, f"unexpected/{database}")
        text = _("Unknown database %(database)s received from %(machine)s.")
        url = reverse("admin:backups_expectedbackupjob_add", query={"agent_id": machine, "database_name": database})
        values = {"machine": machine, "database": database}
        action = _("Add %(database)s") % {"database": database}
        yield Finding(Severity.INFO, text % values, since, url, action, key=f"backups.unknown:{machine}/{database}")
