"""Scan one machine: examine its open cycles, record the verdicts, store the verified dumps, send notices."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any

from django.db import transaction
from django.utils import timezone

from backups import cycles
from backups.cycles import Cycle
from backups.models import FAILURES, BackupEntry, DepositArea, ExpectedBackupJob, Status
from backups.querysets import STORED, UNSTORED
from backups.reasons import make_reason
from backups.scanner import retention
from backups.scanner.disk import copying, paths
from backups.scanner.disk.opening import is_root_present
from backups.scanner.disk.report_folders import ReportFolders
from backups.scanner.examine import ExaminedCycle, examine_cycle, list_open_cycles
from backups.scanner.job_history import JobHistory, load_histories
from backups.scanner.notices import storage_notice
from backups.scanner.promote import promote_verified, resume_promotion
from backups.scanner.record import record_verdicts
from portal.base.moments import format_iso_seconds
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease, LeaseLost

log = logging.getLogger("vigie.backups")
Promotion = BackupEntry.Promotion
# Verdicts are recorded at least this often, so that a killed scan loses little work.
BATCH, BATCH_BYTES, BATCH_SECONDS = 200, 1024 * 1024 * 1024, 60.0
KEEP_ALIVE_SECONDS = 20.0
AREA_FIELDS = (
    "trouble", "troubled_since", "unexpected", "ahead", "first_seen", "spellings", "unread", "scanned_at",
)  # fmt: skip
STORAGE_FIELDS = ("promotion", "promotion_reason", "stored_path")


class RootMissing(Exception):
    """The deposit root is missing, so that nothing is known of any backup."""


# --- Results ---------------------------------------------------------------------------------------------------------


@dataclass
class ScanResult:
    """Counters and result rows of the scan of one machine, or of several."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    jobs: int = 0
    recorded: int = 0
    pending: int = 0
    failures: int = 0
    promoted: int = 0
    errors: int = 0
    files_read: int = 0
    bytes_hashed: int = 0

    def count_cycle(self, examined: ExaminedCycle) -> None:
        entry = examined.entry
        status = examined.verdict.status or (entry.status if entry else Status.PENDING)
        self.pending += status == Status.PENDING
        self.failures += examined.job.fails_as(status)
        if examined.measured is not None:
            self.files_read += 1
            self.bytes_hashed += examined.measured.size

    def counters(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if name != "rows"}

    def merge(self, other: ScanResult) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def add_rows(self, histories: list[JobHistory], now: datetime) -> None:
        """Add the current cycle of each job, and the earlier ones that this scan has recorded."""
        for history in histories:
            with suppress(ValueError):  # unknown weekdays were counted as an error when the cycles were listed
                current = cycles.current_cycle(history.job.timetable, now).at
                changed = [at for at, entry in history.entries.items() if at < current and entry.changed_at == now]
                for at in [*changed, current]:
                    entry = history.entries.get(at) or BackupEntry(status=Status.PENDING)
                    verdict = (entry.status, entry.late, entry.warnings, entry.promotion)
                    self.rows.append(result_row(history.job.agent_id, history.job.database_name, at, *verdict))


def result_row(
    agent_id: str, database_name: str, cycle_at: datetime, status: str, late: bool, warnings: list[str], promotion: str
) -> dict[str, Any]:
    """Return one line of `scan_backups --json`."""
    return {
        "agent_id": agent_id,
        "database_name": database_name,
        "cycle_at": format_iso_seconds(cycle_at),
        "status": status,
        "late": late,
        "warnings": warnings,
        "promoted": promotion == Promotion.PROMOTED,
    }


# --- One machine -----------------------------------------------------------------------------------------------------


def scan_machine(area: DepositArea, lease: Lease, now: datetime) -> ScanResult:
    """Scan everything that is expected of one machine.

    Raises RootMissing and LeaseLost; what has been recorded by then stays.
    """
    jobs = list(ExpectedBackupJob.objects.watched(now).filter(agent_id=area.agent_id))
    result, keep_alive = ScanResult(jobs=len(jobs)), KeepAlive(lease)
    wanted = {paths.normalize_name(job.database_name) for job in jobs}
    histories, folders = load_histories(jobs, now), ReportFolders(area, wanted, now, keep_alive)
    with in_portal_language():
        resume_interrupted(histories, lease, keep_alive, result)
        for open_cycles in group_open_cycles(histories, now, result, folders):
            for batch in examine_in_batches(open_cycles, folders, now, keep_alive, result):
                conclude_batch(batch, lease, now, keep_alive, result)
    update_area(area, folders, now, result)
    result.add_rows(histories, now)
    return result


class KeepAlive:
    """Extends the lease when it is called, at most once in KEEP_ALIVE_SECONDS. Raises LeaseLost."""

    def __init__(self, lease: Lease) -> None:
        self.lease, self.last = lease, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.last >= KEEP_ALIVE_SECONDS:
            self.lease.extend()
            self.last = time.monotonic()


@contextmanager
def isolating_errors(job: ExpectedBackupJob, result: ScanResult) -> Iterator[None]:
    """Log and count the error of one job, so that the others go on. LeaseLost and RootMissing end the scan."""
    try:
        yield
    except (LeaseLost, RootMissing):
        raise
    except Exception:
        log.exception("the backup %s could not be examined", job.pk)
        result.errors += 1


def update_area(area: DepositArea, folders: ReportFolders, now: datetime, result: ScanResult) -> None:
    """Save what the scan learned of the machine's folders besides its backups."""
    trouble = next(iter(folders.troubles.values()), None) or (make_reason("scan_failed") if result.errors else None)
    if trouble != area.trouble:
        area.trouble, area.troubled_since = trouble, timezone.now() if trouble else None
    if folders.reports:
        area.unexpected, area.ahead = folders.unexpected_databases(), folders.reports_ahead(now)
        area.spellings, area.unread = folders.spellings(), folders.unread_names()
        note_first_seen(area, now)
    area.scanned_at = timezone.now()
    area.save(update_fields=AREA_FIELDS)
    # A request that came during the scan waits for another one.
    DepositArea.objects.filter(pk=area.pk, queued_at=area.queued_at).update(queued_at=None)


def note_first_seen(area: DepositArea, now: datetime) -> None:
    """Note what the area shows for the first time, and forget what has gone: if it comes back, it is new."""
    seen = [f"unexpected/{name}" for name in area.unexpected]
    seen += [f"spellings/{code}" for code in area.spellings]
    seen += ["unread"] if area.unread else []
    known = area.first_seen or {}
    area.first_seen = {name: known.get(name, now.isoformat()) for name in seen}


# --- Cycles ----------------------------------------------------------------------------------------------------------


def group_open_cycles(
    histories: list[JobHistory], now: datetime, result: ScanResult, folders: ReportFolders
) -> Iterator[list[tuple[JobHistory, Cycle]]]:
    """Yield groups with at most one cycle of each job, oldest first: a verdict rests on the cycles before it.

    Reports are read since the oldest of them.
    """
    by_job = []
    for history in histories:
        with isolating_errors(history.job, result):
            own = list(list_open_cycles(history, now))
            by_job.append([(history, cycle) for cycle in own])
            if not history.is_settled(own[-1]):  # only new reports matter to a settled cycle
                folders.since = min([folders.since, *(cycle.opens for cycle in own)])
    for group in zip_longest(*by_job):
        yield [pair for pair in group if pair is not None]


def examine_in_batches(
    open_cycles: Iterable[tuple[JobHistory, Cycle]],
    folders: ReportFolders,
    now: datetime,
    keep_alive: KeepAlive,
    result: ScanResult,
) -> Iterator[list[ExaminedCycle]]:
    """Yield examined cycles in batches limited by number, bytes and time. Raises RootMissing."""
    batch: list[ExaminedCycle] = []
    size, started = 0, time.monotonic()
    for history, cycle in open_cycles:
        with isolating_errors(history.job, result):
            examined = examine_cycle(history, cycle, folders, now, keep_alive)
            batch.append(examined)
            size += examined.measured.size if examined.measured else 0
        if len(batch) >= BATCH or size >= BATCH_BYTES or time.monotonic() - started >= BATCH_SECONDS:
            yield require_root(batch)
            batch, size, started = [], 0, time.monotonic()
    if batch:
        yield require_root(batch)


def require_root(batch: list[ExaminedCycle]) -> list[ExaminedCycle]:
    """Return the batch. Raises RootMissing if it has failures without a root: its files may not be missing at all."""
    with copying.discarding_on_failure(*(examined.copy for examined in batch)):
        if any(examined.verdict.status in FAILURES for examined in batch) and not is_root_present():
            raise RootMissing
    return batch


def conclude_batch(
    batch: list[ExaminedCycle], lease: Lease, now: datetime, keep_alive: KeepAlive, result: ScanResult
) -> None:
    """Record the verdicts, store the dumps, record where they are, and count the batch."""
    with copying.discarding_on_failure(*(examined.copy for examined in batch)):
        result.recorded += record_verdicts(batch, lease, now)
    result.promoted += record_storage(promote_verified(batch, keep_alive), lease, now)
    for examined in batch:
        result.count_cycle(examined)


# --- Storage ---------------------------------------------------------------------------------------------------------


def record_storage(entries: list[BackupEntry], lease: Lease, now: datetime) -> int:
    """Save where the dumps are, send notices of failures, and prune versions. Return how many became current."""
    if not entries:
        return 0
    promoted = [entry for entry in entries if entry.promotion == Promotion.PROMOTED]
    with transaction.atomic():
        lease.extend()
        demote_former_current(promoted)
        BackupEntry.objects.write_fields(entries, STORAGE_FIELDS)
        jobs = ExpectedBackupJob.objects.filter(pk__in=[entry.job_id for entry in promoted])
        jobs.update(damage=None, damaged_since=None, reverified_at=None)
        failed = [entry for entry in entries if entry.promotion_reason and now >= entry.job.created_at]
        notify(*(storage_notice(entry, entry.promotion_reason) for entry in failed))
    for entry in promoted:
        entry.job.damage = None
    retention.prune_versions(entry.job for entry in entries if entry.promotion in STORED)
    return len(promoted)


def demote_former_current(promoted: list[BackupEntry]) -> None:
    """Make the former current versions ARCHIVED, and give up on what could not be stored before."""
    newest = {entry.job_id: entry for entry in promoted}
    others = BackupEntry.objects.filter(job__in=newest).exclude(pk__in=[entry.pk for entry in newest.values()])
    former = list(others.filter(promotion=Promotion.PROMOTED))
    for entry in former:
        successor = newest[entry.job_id]
        if successor.job.damage is not None:
            entry.promotion, entry.promotion_reason = Promotion.NONE, successor.job.damage
            continue
        entry.promotion = Promotion.ARCHIVED
        if entry.stored_path.rpartition("/")[0] == successor.stored_path.rpartition("/")[0]:
            entry.stored_path = entry.path_as_version
    BackupEntry.objects.write_fields(former, STORAGE_FIELDS)
    others.filter(promotion__in=UNSTORED).update(promotion=Promotion.NONE)


def resume_interrupted(histories: list[JobHistory], lease: Lease, keep_alive: KeepAlive, result: ScanResult) -> None:
    """Continue where storing the newest verified dump of a job was interrupted. Older ones are not wanted any more."""
    for history in histories:
        entry = history.newest_unfinished()
        if entry is None:
            continue
        with isolating_errors(history.job, result):
            before = entry.promotion, entry.promotion_reason
            resume_promotion(history, entry, keep_alive)
            if (entry.promotion, entry.promotion_reason) != before:
                result.promoted += record_storage([entry], lease, history.now)
