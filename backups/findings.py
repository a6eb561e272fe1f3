"""What about backups needs an operator now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import reasons
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan, Status
from backups.panels import newest_of
from backups.protection import DAMAGED, FAILING, suspicious
from backups.querysets import STORED, UNSTORED, watched
from backups.scanner.disk import paths
from backups.scanner.orchestration import held_leases, lease_key
from portal.base.findings import Finding, finding_sources
from portal.base.severity import Severity
from portal.base.words import format_count, format_relative

# Of each kind no more than this: the list behind it shows the rest.
SHOWN = 5
STORED_WITHIN = timedelta(hours=1)
SCANNED_WITHIN = timedelta(minutes=45)
LATE_SCAN = timedelta(minutes=20)
PAUSED_LONG = timedelta(days=30)
LATER_STORED = (*STORED, "removed")
Promotion = BackupEntry.Promotion


def page_of(job: ExpectedBackupJob) -> str:
    return reverse("admin:backups_expectedbackupjob_change", args=[job.pk])


def list_of(**query: str) -> str:
    return reverse("admin:backups_expectedbackupjob_changelist", query=query)


def about(job: ExpectedBackupJob, severity: Severity, text: str, since: datetime | None) -> Finding:
    return Finding(severity, text, since, page_of(job), _("See the database"))


# --- The databases themselves ----------------------------------------------------------------------------------------


@finding_sources.register
def failing_databases(now: datetime) -> Iterator[Finding]:
    """Those whose last good backup is oldest, or that have none, one by one; the others in one sentence."""
    failing = ExpectedBackupJob.objects.filter(watched(now) & FAILING)
    worst = list(failing.order_by(F("last_verified_at").asc(nulls_first=True), "status_since", "pk")[: SHOWN + 1])
    newest = newest_of(worst[:SHOWN]) if worst else {}
    for job in worst[:SHOWN]:
        entry = newest[job.pk].latest
        text = _("%(database)s of %(machine)s: %(status)s. %(why)s %(last)s") % {
            "database": job.database_name,
            "machine": job.agent_id,
            "status": Status(job.current_status).label,
            "why": entry.message if entry else "",
            "last": last_good(job, now),
        }
        yield about(job, Severity.CRITICAL, text, job.status_since)
    if len(worst) > SHOWN:
        yield other_failing(failing, {job.pk for job in worst[:SHOWN]})


def last_good(job: ExpectedBackupJob, now: datetime) -> str:
    if job.last_verified_at is None:
        return _("There is no good backup of it.")
    return _("Its last good backup was verified %(when)s.") % {"when": format_relative(job.last_verified_at, now)}


def other_failing(failing: QuerySet[ExpectedBackupJob], told: set[int]) -> Finding:
    others = failing.exclude(pk__in=told)
    count, since = others.count(), others.aggregate(since=Min("status_since"))["since"]
    text = ngettext(
        "%(count)s more database has no good backup of its last cycle.",
        "%(count)s more databases have no good backup of their last cycle.",
        count,
    )
    return Finding(
        Severity.CRITICAL, text % {"count": format_count(count)}, since, list_of(attention="yes"), _("See them")
    )


@finding_sources.register
def damaged_versions(now: datetime) -> Iterator[Finding]:
    """Current versions that are no longer what was verified, whether anybody waits for the next one or not."""
    for job in ExpectedBackupJob.objects.filter(DAMAGED).order_by("reverified_at")[:SHOWN]:
        text = _("The stored backup of %(job)s is damaged. %(why)s")
        values = {"job": job, "why": reasons.sentences([job.damage])}
        yield about(job, Severity.CRITICAL, text % values, job.reverified_at)


@finding_sources.register
def unstored_backups(now: datetime) -> Iterator[Finding]:
    """Verified dumps that never reached the verified backups; one stored later makes up for them."""
    for entry in unstored(now).select_related("job").order_by("cycle_at")[:SHOWN]:
        text = {
            Promotion.WAITING: _("The verified backup of %(job)s has not been stored yet. %(why)s"),
            Promotion.FAILED: _("The verified backup of %(job)s could not be stored. %(why)s"),
            Promotion.LOST: _("The verified backup of %(job)s was lost before it was stored. %(why)s"),
        }[Promotion(entry.promotion)]
        why = reasons.sentences([entry.promotion_reason]) if entry.promotion_reason else ""
        severity = Severity.WARNING if entry.promotion == Promotion.WAITING else Severity.CRITICAL
        yield about(entry.job, severity, (text % {"job": entry.job, "why": why}).strip(), entry.recorded_at)


def unstored(now: datetime) -> QuerySet[BackupEntry]:
    """A partial index holds those that are not stored, which are few."""
    waiting = Q(promotion=Promotion.WAITING, changed_at__lt=now - STORED_WITHIN)
    stored = BackupEntry.objects.filter(
        job=OuterRef("job"), cycle_at__gt=OuterRef("cycle_at"), promotion__in=LATER_STORED
    )
    not_stored = BackupEntry.objects.filter(promotion__in=UNSTORED)
    return not_stored.filter(waiting | ~Q(promotion=Promotion.WAITING)).exclude(Exists(stored))


@finding_sources.register
def doubtful_backups(now: datetime) -> Iterator[Finding]:
    """Dumps that hash and size call good, and whose content does not look so."""
    doubtful = ExpectedBackupJob.objects.filter(suspicious(now))
    worst = list(doubtful.order_by(F("last_verified_at").asc(nulls_first=True), "status_since", "pk")[: SHOWN + 1])
    newest = newest_of(worst[:SHOWN]) if worst else {}
    for job in worst[:SHOWN]:
        entry = newest[job.pk].good
        text = _("The last backup of %(job)s is suspicious. %(why)s")
        values = {"job": job, "why": reasons.warning_sentences(entry.doubts) if entry else ""}
        yield about(job, Severity.WARNING, text % values, entry.recorded_at if entry else job.status_since)
    if len(worst) > SHOWN:
        count = doubtful.count() - SHOWN
        text = ngettext(
            "%(count)s more last backup is suspicious.", "%(count)s more last backups are suspicious.", count
        ) % {"count": format_count(count)}
        yield Finding(Severity.WARNING, text, None, list_of(attention="doubts"), _("See them"))


@finding_sources.register
def forgotten_pauses(now: datetime) -> Iterator[Finding]:
    """Switched off for so long that somebody may have forgotten it."""
    off = ExpectedBackupJob.objects.filter(is_active=False, watched_since__lt=now - PAUSED_LONG)
    found = off.aggregate(since=Min("watched_since"))["since"]
    if found is None:
        return
    count = off.count()
    text = ngettext(
        "%(count)s database has been paused for more than 30 days: nobody looks at its backups.",
        "%(count)s databases have been paused for more than 30 days: nobody looks at their backups.",
        count,
    )
    yield Finding(Severity.INFO, text % {"count": format_count(count)}, found, list_of(paused="off"), _("See them"))


# --- Scans and deposit areas -----------------------------------------------------------------------------------------


@finding_sources.register
def missing_root(now: datetime) -> Iterator[Finding]:
    newest = Scan.objects.order_by("-id").first()
    if newest is not None and newest.root_is_missing:
        text = _("The deposit root is missing: no backup can be verified. Perhaps its disk is not mounted.")
        yield Finding(Severity.CRITICAL, text, missing_since(newest), list_of(), _("See the expected backups"))


def missing_since(newest: Scan) -> datetime:
    """The first of the scans in a row that found no root."""
    present = Scan.objects.filter(root_is_missing=False).order_by("-id").values_list("pk", flat=True).first() or 0
    first = Scan.objects.filter(pk__gt=present).order_by("id").first()
    return (first or newest).started_at


@finding_sources.register
def silent_scanner(now: datetime) -> Iterator[Finding]:
    """Nothing was looked at for a while; what is shown of the databases may be past."""
    scan = Scan.objects.last_of_all()
    oldest = ExpectedBackupJob.objects.filter(watched(now)).aggregate(since=Min("created_at"))["since"]
    since = max(filter(None, [oldest, scan and scan.finished_at]), default=None) if oldest else None
    if since is not None and since < now - SCANNED_WITHIN:
        text = _("No scan has finished for more than 45 minutes: nobody knows how the backups are.")
        yield Finding(Severity.WARNING, text, since, list_of(), _("See the expected backups"))


@finding_sources.register
def unscanned_machines(now: datetime) -> Iterator[Finding]:
    """Those whose scan was asked for and has not been made, though another quarter of an hour has begun since."""
    late = DepositArea.objects.filter(queued_at__lt=now - LATE_SCAN).order_by("queued_at")
    at_work = set(held_leases(now).values_list("cycle_key", flat=True)) if late.exists() else set()
    waiting = [area for area in late if lease_key(area) not in at_work]
    if waiting:
        text = ngettext(
            "%(machine)s has waited for a scan for more than 20 minutes.",
            "%(count)s machines have waited for a scan for more than 20 minutes, the longest %(machine)s.",
            len(waiting),
        )
        words = {"machine": waiting[0].agent_id, "count": format_count(len(waiting))}
        url = list_of(q=waiting[0].agent_id) if len(waiting) == 1 else list_of()
        yield Finding(Severity.WARNING, text % words, waiting[0].queued_at, url, _("See the expected backups"))


@finding_sources.register
def troubled_areas(now: datetime) -> Iterator[Finding]:
    def one(area: DepositArea) -> Finding:
        text = _("What %(machine)s deposits cannot be read. %(why)s")
        values = {"machine": area.agent_id, "why": reasons.sentences([area.trouble])}
        return of_area(area, Severity.WARNING, text % values, area.troubled_since)

    def others(count: int) -> str:
        return ngettext(
            "What %(count)s more machine deposits cannot be read.",
            "What %(count)s more machines deposit cannot be read.",
            count,
        )

    troubled = DepositArea.objects.filter(trouble__isnull=False).order_by("troubled_since", "agent_id")
    return first_areas(troubled, Severity.WARNING, one, others)


@finding_sources.register
def unread_reports(now: datetime) -> Iterator[Finding]:
    """Files that may be the reports of backups that are called missing."""

    def one(area: DepositArea) -> Finding:
        text = _(
            "%(machine)s leaves JSON files that no scan reads, such as %(name)s. A report is called"
            " OPERATION_YYYYMMDD_HHMM_%(machine)s.json."
        )
        return of_area(area, Severity.WARNING, text % {"machine": area.agent_id, "name": area.unread[-1]})

    def others(count: int) -> str:
        return ngettext(
            "%(count)s more machine leaves JSON files that no scan reads.",
            "%(count)s more machines leave JSON files that no scan reads.",
            count,
        )

    return first_areas(DepositArea.objects.exclude(unread=[]).order_by("agent_id"), Severity.WARNING, one, others)


@finding_sources.register
def report_spellings(now: datetime) -> Iterator[Finding]:
    """Variants of reports that are read though they are not as documented: one finding for each machine."""

    def one(area: DepositArea) -> Finding:
        text = _("Reports of %(machine)s are read, but not written as documented: %(variants)s")
        values = {"machine": area.agent_id, "variants": reasons.spelling_sentences(area.spellings)}
        return of_area(area, Severity.INFO, text % values)

    def others(count: int) -> str:
        return ngettext(
            "Reports of %(count)s more machine are read, but not written as documented.",
            "Reports of %(count)s more machines are read, but not written as documented.",
            count,
        )

    return first_areas(DepositArea.objects.exclude(spellings=[]).order_by("agent_id"), Severity.INFO, one, others)


def of_area(area: DepositArea, severity: Severity, text: str, since: datetime | None = None) -> Finding:
    return Finding(severity, text, since, list_of(q=area.agent_id), _("See its databases"))


def first_areas(
    areas: QuerySet[DepositArea],
    severity: Severity,
    one: Callable[[DepositArea], Finding],
    others: Callable[[int], str],
) -> Iterator[Finding]:
    """A finding for each of the first SHOWN areas, and one that counts the others."""
    found = list(areas[: SHOWN + 1])
    yield from map(one, found[:SHOWN])
    if len(found) > SHOWN:
        count = areas.count() - SHOWN
        yield Finding(severity, others(count) % {"count": format_count(count)}, None, list_of(), _("See the list"))


@finding_sources.register
def unexpected_databases(now: datetime) -> Iterator[Finding]:
    """Somebody backs these up, and nobody would notice if he stopped."""
    areas = list(DepositArea.objects.exclude(unexpected=[]).order_by("agent_id")[: SHOWN + 1])
    known = set(
        ExpectedBackupJob.objects.filter(agent_id__in=[area.agent_id for area in areas]).values_list(
            "agent_id", "database_name"
        )
    )
    known = {(agent_id, paths.normal(name)) for agent_id, name in known}
    pairs = [(area.agent_id, name) for area in areas for name in area.unexpected if (area.agent_id, name) not in known]
    for machine, database in pairs[:SHOWN]:
        text = _("%(machine)s deposits the database %(database)s, which nobody expects.")
        url = reverse("admin:backups_expectedbackupjob_add", query={"agent_id": machine, "database_name": database})
        values = {"machine": machine, "database": database}
        yield Finding(Severity.INFO, text % values, None, url, _("Expect it"))
