"""Protected databases on the landing page and on the page of each machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.cycles import next_expected_time
from backups.history import job_list_url, job_url
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Scan, Status
from backups.protection import CONDITIONS, Standing, proven, with_standing
from backups.querysets import watched
from backups.scanner.orchestration import find_ongoing
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.words import EMPTY_VALUE, format_count, format_relative
from portal.desk import checklist
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles

FRESH_SECONDS = 60
SHOWN_DATABASES = 50
MOST_UNFINISHED = 100


@dataclass(frozen=True)
class ProtectionCounts:
    """Numbers of databases by standing."""

    failing: int
    overdue: int
    suspicious: int
    pending: int
    protected: int
    paused: int
    proven: int

    @property
    def watched(self) -> int:
        return self.failing + self.overdue + self.suspicious + self.pending + self.protected

    @property
    def summary(self) -> str:
        """Return `3 of 4`, and a dash if no database is monitored, which is no good news."""
        if not self.watched:
            return EMPTY_VALUE
        values = {"protected": format_count(self.protected), "watched": format_count(self.watched)}
        return _("%(protected)s of %(watched)s") % values

    @property
    def caption(self) -> str:
        """Return the words below the summary: `databases protected, 2 proven`."""
        text = ngettext("database protected, %(proven)s proven", "databases protected, %(proven)s proven", self.watched)
        return text % {"proven": format_count(self.proven)}


def count_jobs(now: datetime) -> ProtectionCounts:
    counts = {standing.value: Count("pk", filter=condition(now)) for standing, condition in CONDITIONS.items()}
    counts["proven"] = Count("pk", filter=watched(now) & proven())
    return ProtectionCounts(**ExpectedBackupJob.objects.aggregate(**counts))


def cached_counts(now: datetime) -> ProtectionCounts:
    """Return the counts, at most a minute old."""
    return cache.get_or_set("backups.totals", lambda: count_jobs(now), FRESH_SECONDS) or count_jobs(now)


# --- The newest entries ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LatestEntries:
    """The entry of a job's latest cycle, and of its latest verified backup without doubts."""

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
        .values_list("pk", Subquery(own.values("pk")[:1]), Subquery(own.good().values("pk")[:1]))
    )
    entries = BackupEntry.objects.in_bulk({pk for _job, *found in rows for pk in found if pk})
    return {job: LatestEntries(entries.get(latest), entries.get(good)) for job, latest, good in rows}


# --- The last scan ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScanStatus:
    """The last finished scan of all machines, a running one, and a missing deposit root as the newest scan saw it.

    A running scan of all machines comes before one of a single machine.
    """

    last: Scan | None
    running: Scan | None
    root_is_missing: bool


def load_scan_status(now: datetime) -> ScanStatus:
    newest = Scan.objects.order_by("-id").first()
    running = find_ongoing(Scan.objects.filter(finished_at=None).order_by("agent_id", "-id")[:MOST_UNFINISHED], now)
    return ScanStatus(
        last=Scan.objects.last_full(),
        running=running[0] if running else None,
        root_is_missing=newest is not None and newest.root_is_missing,
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


def describe_status(job: ExpectedBackupJob, status: str, *, has_doubts: bool = False) -> tuple[str, str]:
    """Return the word and the tone of a status, which is bad for an unchanged dump if the job's policy is ALERT."""
    if has_doubts and status in VERIFIED:
        return _("suspicious"), WARNING
    return str(Status(status).label), BAD if job.fails_as(status) else TONES[Status(status)]


def describe_job_state(job: ExpectedBackupJob, now: datetime) -> tuple[str, str]:
    """Return the word and the tone of a job with its standing.

    That is its status, unless the job is paused, its stored backup is corrupted, or its last verified one too old.
    """
    if not job.is_watched(now):
        return _("paused"), QUIET
    if job.damage:
        return _("stored backup corrupted"), BAD
    if standing_of(job) == Standing.OVERDUE:
        return _("overdue"), WARNING
    return describe_status(job, job.current_status, has_doubts=job.in_doubt)


def describe_proof(job: ExpectedBackupJob) -> tuple[str, str]:
    """Return the word and the tone of what restore drills found; quiet if none has run."""
    if job.is_proven:
        return _("proven"), GOOD
    return (_("not proven"), BAD) if job.proof_lost else (_("no drill yet"), QUIET)


def job_badge(job: ExpectedBackupJob, now: datetime) -> SafeString:
    return badge(*describe_job_state(job, now))


def standing_of(job: ExpectedBackupJob) -> str:
    """Return the annotation by `with_standing`."""
    return str(getattr(job, "standing", ""))


def find_next_expected(job: ExpectedBackupJob, now: datetime) -> datetime | None:
    """Return when the next backup is expected, or None for a job that is not watched."""
    try:
        return next_expected_time(job.timetable, now) if job.is_watched(now) else None
    except ValueError:  # unknown weekdays, saved without the form
        return None


def link_to_job(job: ExpectedBackupJob) -> SafeString:
    return format_html('<a href="{}">{}</a>', job_url(job), job.database_name)


# --- Checklist, tile and section -------------------------------------------------------------------------------------


@checklist.register
def first_backup(request: HttpRequest) -> checklist.Step:
    sentence = _("Add a database. Its page shows how the server delivers its backups.")
    url = reverse("admin:backups_expectedbackupjob_add")
    return checklist.Step("backup", _("Add an expected backup"), sentence, url, ExpectedBackupJob.objects.exists())


def count_verified_by_day(now: datetime) -> dict[date, int]:
    recent = BackupEntry.objects.good().filter(cycle_at__gte=chart_start(now))
    days = recent.annotate(day=TruncDate("cycle_at")).order_by().values_list("day").annotate(Count("pk"))
    return dict(days)


@tiles.register
def backups_tile(now: datetime) -> Tile:
    counts, scan = cached_counts(now), Scan.objects.last_full()
    by_day = cache.get_or_set("backups.by_day", lambda: count_verified_by_day(now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Backups"),
        figure=counts.summary,
        caption=counts.caption if counts.watched else _("no database is monitored"),
        url=job_list_url(),
        facts=[
            (_("failing"), format_count(counts.failing)),
            (_("overdue"), format_count(counts.overdue)),
            (_("suspicious"), format_count(counts.suspicious)),
            (_("pending"), format_count(counts.pending)),
            (_("paused"), format_count(counts.paused)),
            (_("last scan"), format_relative(scan.finished_at, now) if scan and scan.finished_at else _("never")),
        ],
        chart=daily_chart(by_day, now, _("verified backups per day")),
    )


@machine_sections.register
def machine_databases_section(machine_id: str) -> Section:
    now = timezone.now()
    jobs = list(with_standing(ExpectedBackupJob.objects.of_machine(machine_id), now)[: SHOWN_DATABASES + 1])
    newest = load_latest_entries(jobs) if jobs else {}
    rows = [
        [
            link_to_job(job),
            job_badge(job, now),
            badge(*describe_proof(job)),
            job.last_verified_at or _("never"),
            format_size(newest[job.pk].size),
            find_next_expected(job, now),
        ]
        for job in jobs[:SHOWN_DATABASES]
    ]
    return Section(
        title=_("Databases"),
        columns=[
            _("Database"),
            _("Status"),
            _("Restore drill"),
            _("Last verified backup"),
            _("Size"),
            _("Next scheduled"),
        ],
        rows=rows,
        url=job_list_url(q=machine_id),
        empty=_("No expected backups for this machine."),
        note=_("More databases are not shown.") if len(jobs) > SHOWN_DATABASES else "",
    )


def format_size(size: int | None) -> str:
    """Format a number of bytes; None gives an empty text."""
    return "" if size is None else filesizeformat(size)
