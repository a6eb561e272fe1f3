"""Protected databases on the landing page and on the page of each machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import TruncDate
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from backups.cycles import next_expected_time
from backups.history import job_list_url, job_url
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Scan, Status
from backups.protection import failing, protected, suspicious
from backups.querysets import watched
from backups.scanner.orchestration import find_ongoing
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.words import format_count, format_relative
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles

FRESH_SECONDS = 60
SHOWN_DATABASES = 50
NEWEST_SCANS = 10


@dataclass(frozen=True)
class ProtectionCounts:
    """Numbers of databases. Each watched one is protected, suspicious, failing or waiting."""

    protected: int
    suspicious: int
    failing: int
    watched: int
    paused: int

    @property
    def waiting(self) -> int:
        return self.watched - self.protected - self.suspicious - self.failing

    @property
    def summary(self) -> str:
        values = {"protected": format_count(self.protected), "watched": format_count(self.watched)}
        return _("%(protected)s of %(watched)s") % values


def count_jobs(now: datetime) -> ProtectionCounts:
    kinds = {"protected": protected, "suspicious": suspicious, "failing": failing, "watched": watched}
    counts = ExpectedBackupJob.objects.aggregate(
        paused=Count("pk", filter=~watched(now)),
        **{name: Count("pk", filter=condition(now)) for name, condition in kinds.items()},
    )
    return ProtectionCounts(**counts)


def cached_counts(now: datetime) -> ProtectionCounts:
    """Return the counts, at most a minute old."""
    return cache.get_or_set("backups.totals", lambda: count_jobs(now), FRESH_SECONDS) or count_jobs(now)


# --- The newest entries ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LatestEntries:
    """The entry of a job's latest cycle, and of its latest verified backup."""

    latest: BackupEntry | None = None
    verified: BackupEntry | None = None

    @property
    def size(self) -> int | None:
        return self.verified.server_size if self.verified else None


def load_latest_entries(jobs: Iterable[ExpectedBackupJob]) -> dict[int, LatestEntries]:
    """Return the latest entries by the job's pk, in two queries on the index of job and cycle."""
    own = BackupEntry.objects.filter(job=OuterRef("pk")).order_by("-cycle_at")
    rows = list(
        ExpectedBackupJob.objects.filter(pk__in=[job.pk for job in jobs])
        .order_by()
        .values_list("pk", Subquery(own.values("pk")[:1]), Subquery(own.filter(status__in=VERIFIED).values("pk")[:1]))
    )
    entries = BackupEntry.objects.in_bulk({pk for _job, *found in rows for pk in found if pk})
    return {job: LatestEntries(entries.get(latest), entries.get(good)) for job, latest, good in rows}


# --- The last scan ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanStatus:
    """The last finished scan of all machines, a running one, and a missing deposit root as the newest scan saw it."""

    last: Scan | None
    running: Scan | None
    root_is_missing: bool


def load_scan_status(now: datetime) -> ScanStatus:
    newest = list(Scan.objects.order_by("-id")[:NEWEST_SCANS])
    running = find_ongoing(newest, now)
    return ScanStatus(
        last=Scan.objects.last_full(),
        running=running[0] if running else None,
        root_is_missing=bool(newest) and newest[0].root_is_missing,
    )


# --- States ----------------------------------------------------------------------------------------------------------

TONES = {
    Status.PENDING: QUIET,
    Status.MISSING: BAD,
    Status.FAILED: BAD,
    Status.TRANSFER_INTEGRITY_FAILED: BAD,
    Status.UNCHANGED: GOOD,
    Status.UNVERIFIED: WARNING,
    Status.SUCCESS: GOOD,
}


def status_badge(job: ExpectedBackupJob, status: str, *, has_doubts: bool = False) -> SafeString:
    """Return the badge of a status, which is bad for an unchanged dump if the job's policy is ALERT."""
    if has_doubts and status in VERIFIED:
        return badge(_("suspicious"), WARNING)
    return badge(Status(status).label, BAD if job.fails_as(status) else TONES[Status(status)])


def job_badge(job: ExpectedBackupJob, now: datetime) -> SafeString:
    if not job.is_watched(now):
        return badge(_("paused"), QUIET)
    return status_badge(job, job.current_status, has_doubts=job.in_doubt)


def find_next_expected(job: ExpectedBackupJob, now: datetime) -> datetime | None:
    """Return when the next backup is expected, or None for a job that is not watched."""
    try:
        return next_expected_time(job.timetable, now) if job.is_watched(now) else None
    except ValueError:  # unknown weekdays, saved without the form
        return None


def link_to_job(job: ExpectedBackupJob) -> SafeString:
    return format_html('<a href="{}">{}</a>', job_url(job), job.database_name)


# --- Tile and section ------------------------------------------------------------------------------------------------


def count_verified_by_day(now: datetime) -> dict[date, int]:
    """Count verified backups per day from an index on status and cycle alone."""
    recent = BackupEntry.objects.filter(status__in=VERIFIED, cycle_at__gte=chart_start(now))
    days = recent.annotate(day=TruncDate("cycle_at")).order_by().values_list("day").annotate(Count("pk"))
    return dict(days)


@tiles.register
def backups_tile(now: datetime) -> Tile:
    counts, scan = cached_counts(now), Scan.objects.last_full()
    by_day = cache.get_or_set("backups.by_day", lambda: count_verified_by_day(now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Backups"),
        figure=counts.summary,
        caption=_("databases are protected"),
        url=job_list_url(),
        facts=[
            (_("failing"), format_count(counts.failing)),
            (_("suspicious"), format_count(counts.suspicious)),
            (_("waiting or late"), format_count(counts.waiting)),
            (_("paused"), format_count(counts.paused)),
            (_("last scan"), format_relative(scan.finished_at, now) if scan and scan.finished_at else _("never")),
        ],
        chart=daily_chart(by_day, now, _("verified backups a day")),
    )


@machine_sections.register
def machine_databases_section(machine_id: str) -> Section:
    now = timezone.now()
    jobs = list(ExpectedBackupJob.objects.of_machine(machine_id)[: SHOWN_DATABASES + 1])
    newest = load_latest_entries(jobs) if jobs else {}
    rows = [
        [
            link_to_job(job),
            job_badge(job, now),
            job.last_verified_at or _("never"),
            format_size(newest[job.pk].size),
            find_next_expected(job, now),
        ]
        for job in jobs[:SHOWN_DATABASES]
    ]
    return Section(
        title=_("Databases"),
        columns=[_("Database"), _("Status"), _("Last good backup"), _("Size"), _("Next expected")],
        rows=rows,
        url=job_list_url(q=machine_id),
        empty=_("No backup of this machine is expected."),
        note=_("More databases are not shown.") if len(jobs) > SHOWN_DATABASES else "",
    )


def format_size(size: int | None) -> str:
    """Format a number of bytes; None gives an empty text."""
    return "" if size is None else filesizeformat(size)
