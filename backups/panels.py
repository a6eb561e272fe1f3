"""Which databases are protected: on the landing page, and on the page of each machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import TruncDate
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Scan, Status
from backups.protection import failing, protected, suspicious
from backups.querysets import watched
from backups.scanner.orchestration import ongoing
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.words import format_count, format_relative
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles

FRESH_SECONDS = 60
SHOWN_DATABASES = 50
NEWEST_SCANS = 10


@dataclass(frozen=True)
class Totals:
    """How many databases there are of each kind. Those watched are protected, suspicious, failing, or waiting."""

    protected: int
    suspicious: int
    failing: int
    watched: int
    paused: int

    @property
    def waiting(self) -> int:
        return self.watched - self.protected - self.suspicious - self.failing

    @property
    def sentence(self) -> str:
        values = {"protected": format_count(self.protected), "watched": format_count(self.watched)}
        return _("%(protected)s of %(watched)s") % values


def counted(now: datetime) -> Totals:
    """One pass over the expected backups."""
    kinds = {"protected": protected, "suspicious": suspicious, "failing": failing, "watched": watched}
    figures = ExpectedBackupJob.objects.aggregate(
        paused=Count("pk", filter=~watched(now)),
        **{name: Count("pk", filter=condition(now)) for name, condition in kinds.items()},
    )
    return Totals(**figures)


def totals(now: datetime) -> Totals:
    """A minute old at most."""
    return cache.get_or_set("backups.totals", lambda: counted(now), FRESH_SECONDS) or counted(now)


# --- The newest entries ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Newest:
    """The entry of a job's latest cycle, and of the latest whose dump was verified."""

    latest: BackupEntry | None = None
    good: BackupEntry | None = None

    @property
    def size(self) -> int | None:
        return self.good.server_size if self.good else None


def newest_of(jobs: Iterable[ExpectedBackupJob]) -> dict[int, Newest]:
    """By the job's pk, in two queries. The index on job and cycle answers each half of the first one."""
    own = BackupEntry.objects.filter(job=OuterRef("pk")).order_by("-cycle_at")
    rows = list(
        ExpectedBackupJob.objects.filter(pk__in=[job.pk for job in jobs])
        .order_by()
        .values_list("pk", Subquery(own.values("pk")[:1]), Subquery(own.filter(status__in=VERIFIED).values("pk")[:1]))
    )
    entries = BackupEntry.objects.in_bulk({pk for _job, *found in rows for pk in found if pk})
    return {job: Newest(entries.get(latest), entries.get(good)) for job, latest, good in rows}


# --- The last scan ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scans:
    """The last finished scan of all machines, one that runs now, and whether the newest found no deposit root."""

    last: Scan | None
    running: Scan | None
    root_is_missing: bool


def scans(now: datetime) -> Scans:
    newest = list(Scan.objects.order_by("-id")[:NEWEST_SCANS])
    running = ongoing(newest, now)
    return Scans(
        last=Scan.objects.last_of_all(),
        running=running[0] if running else None,
        root_is_missing=bool(newest) and newest[0].root_is_missing,
    )


# --- States ----------------------------------------------------------------------------------------------------------

TONES = {
    Status.PENDING: QUIET,
    Status.MISSING: BAD,
    Status.FAILED: BAD,
    Status.TRANSFER_INTEGRITY_FAILED: BAD,
    Status.HASH_MISMATCH: GOOD,
    Status.UNVERIFIED: WARNING,
    Status.SUCCESS: GOOD,
}


def status_badge(job: ExpectedBackupJob, status: str, *, has_doubts: bool = False) -> SafeString:
    """A status as it counts for this job: an unchanged dump is bad news only where the job says so."""
    if has_doubts and status in VERIFIED:
        return badge(_("suspicious"), WARNING)
    return badge(Status(status).label, BAD if job.fails_as(status) else TONES[Status(status)])


def job_badge(job: ExpectedBackupJob, now: datetime) -> SafeString:
    if not job.is_watched(now):
        return badge(_("paused"), QUIET)
    return status_badge(job, job.current_status, has_doubts=job.in_doubt)


def next_of(job: ExpectedBackupJob, now: datetime) -> datetime | None:
    """When the next backup is expected; None where nobody waits for one."""
    try:
        return job.expected_next(now) if job.is_watched(now) else None
    except ValueError:  # days that are none, written past the form
        return None


# --- Where it is shown -----------------------------------------------------------------------------------------------


def verified_by_day(now: datetime) -> dict[date, int]:
    """An index on status and cycle holds all that this reads."""
    recent = BackupEntry.objects.filter(status__in=VERIFIED, cycle_at__gte=chart_start(now))
    days = recent.annotate(day=TruncDate("cycle_at")).order_by().values_list("day").annotate(Count("pk"))
    return dict(days)


@tiles.register
def backups_tile(now: datetime) -> Tile:
    figures, scan = totals(now), Scan.objects.last_of_all()
    by_day = cache.get_or_set("backups.by_day", lambda: verified_by_day(now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Backups"),
        figure=figures.sentence,
        caption=_("databases are protected"),
        url=reverse("admin:backups_expectedbackupjob_changelist"),
        facts=[
            (_("failing"), format_count(figures.failing)),
            (_("suspicious"), format_count(figures.suspicious)),
            (_("waiting or late"), format_count(figures.waiting)),
            (_("paused"), format_count(figures.paused)),
            (_("last scan"), format_relative(scan.finished_at, now) if scan and scan.finished_at else _("never")),
        ],
        chart=daily_chart(by_day, now, _("verified backups a day")),
    )


@machine_sections.register
def databases_of_machine(machine_id: str) -> Section:
    now = timezone.now()
    jobs = list(ExpectedBackupJob.objects.of(machine_id)[: SHOWN_DATABASES + 1])
    newest = newest_of(jobs) if jobs else {}
    rows = [
        [
            format_html(
                '<a href="{}">{}</a>',
                reverse("admin:backups_expectedbackupjob_change", args=[job.pk]),
                job.database_name,
            ),
            job_badge(job, now),
            job.last_verified_at or _("never"),
            size_of(newest[job.pk].size),
            next_of(job, now),
        ]
        for job in jobs[:SHOWN_DATABASES]
    ]
    return Section(
        title=_("Databases"),
        columns=[_("Database"), _("Status"), _("Last good backup"), _("Size"), _("Next expected")],
        rows=rows,
        url=reverse("admin:backups_expectedbackupjob_changelist", query={"q": machine_id}),
        empty=_("No backup of this machine is expected."),
        note=_("More databases are not shown.") if len(jobs) > SHOWN_DATABASES else "",
    )


def size_of(size: int | None) -> str:
    """Bytes as people read them; nothing where there are none to tell of."""
    return "" if size is None else filesizeformat(size)
