"""The scan of one machine: cycles, locate, read, verify, classify, record, promote, tell."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone

from backups import cycles
from backups.cycles import Cycle
from backups.models import FAILURES, BackupEntry, DepositArea, ExpectedBackupJob, Status
from backups.querysets import STORED, UNSTORED
from backups.reasons import Reason, reason
from backups.scanner import examine, notices, retention
from backups.scanner.disk import copying, paths
from backups.scanner.disk.report_folders import Shelf
from backups.scanner.examine import Judged, Past
from backups.scanner.promote import promote, resume
from backups.scanner.record import record
from portal.base.moments import format_iso_seconds
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease, LeaseLost

log = logging.getLogger("vigie.backups")
Promotion = BackupEntry.Promotion
# What was found out is recorded at least so often: a scan that is killed has not worked for nothing.
BATCH, BATCH_BYTES, BATCH_SECONDS = 200, 1024 * 1024 * 1024, 60.0
KEEP_ALIVE_SECONDS = 20.0
AREA_FIELDS = (
    "trouble",
    "troubled_since",
    "unexpected",
    "ahead",
    "spellings",
    "unread",
    "scanned_at",
    "queued_at",
)


class RootMissing(Exception):
    """The deposit root is not there: nothing can be told of any backup."""


FIGURES = ("jobs", "recorded", "pending", "failures", "promoted", "errors", "files_read", "bytes_hashed")


@dataclass
class Outcome:
    """What the scan of a machine saw."""

    results: list[dict[str, Any]] = field(default_factory=list)
    jobs: int = 0
    recorded: int = 0
    pending: int = 0
    failures: int = 0
    promoted: int = 0
    errors: int = 0
    files_read: int = 0
    bytes_hashed: int = 0

    def note(self, one: Judged) -> None:
        entry = one.entry
        status = one.verdict.status or (entry.status if entry else Status.PENDING)
        self.pending += status == Status.PENDING
        self.failures += one.job.fails_as(status)
        if one.measured is not None:
            self.files_read += 1
            self.bytes_hashed += one.measured.size

    def figures(self) -> dict[str, int]:
        """What of it a scan sums up."""
        return {name: getattr(self, name) for name in FIGURES}

    def add(self, other: Outcome) -> None:
        self.results += other.results
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add_results(self, pasts: list[Past], now: datetime) -> None:
        """The current cycle of each job, and the earlier ones this scan has recorded."""
        for past in pasts:
            with suppress(ValueError):  # days that cannot be read were an error when its cycles were asked for
                current = cycles.current(past.job.plan, now).at
                earlier = [at for at, entry in past.entries.items() if at < current and entry.changed_at == now]
                self.results += [result_of(past.job, at, past.entries.get(at)) for at in [*earlier, current]]


def result(
    agent_id: str, database_name: str, cycle_at: datetime, status: str, late: bool, warnings: list[str], promotion: str
) -> dict[str, Any]:
    """One line of what a scan says."""
    return {
        "agent_id": agent_id,
        "database_name": database_name,
        "cycle_at": format_iso_seconds(cycle_at),
        "status": status,
        "late": late,
        "warnings": warnings,
        "promoted": promotion == Promotion.PROMOTED,
    }


def result_of(job: ExpectedBackupJob, cycle_at: datetime, entry: BackupEntry | None) -> dict[str, Any]:
    """PENDING where nothing is on record."""
    found = (entry.status, entry.late, entry.warnings, entry.promotion) if entry else (Status.PENDING, False, [], "")
    return result(job.agent_id, job.database_name, cycle_at, *found)


def root_is_there() -> bool:
    """An empty root where something was deposited before is a disk that is not mounted."""
    try:
        with os.scandir(settings.DEPOSITS_ROOT) as entries:
            has_any = any(True for _entry in entries)
    except OSError:
        return False
    arrived = Q(last_verified_at__isnull=False) | Q(in_doubt=True)
    return has_any or not ExpectedBackupJob.objects.filter(arrived).exists()


def scan_machine(area: DepositArea, lease: Lease, now: datetime) -> Outcome:
    """Looks at all that is expected of one machine. Raises RootMissing and LeaseLost: what is recorded stays."""
    jobs = list(ExpectedBackupJob.objects.watched(now).filter(agent_id=area.agent_id))
    outcome, keep_alive = Outcome(jobs=len(jobs)), KeepAlive(lease)
    wanted = {paths.normal(job.database_name) for job in jobs}
    pasts, shelf = pasts_of(jobs, now), Shelf(area, wanted, now, keep_alive)
    with in_portal_language():
        finish_storing(pasts, lease, keep_alive, outcome)
        for cases in rounds(pasts, now, outcome, shelf):
            for batch in batches(cases, shelf, now, keep_alive, outcome):
                conclude(batch, lease, now, keep_alive, outcome)
    note_area(area, shelf, now, outcome)
    outcome.add_results(pasts, now)
    return outcome


class KeepAlive:
    """Extends the lease now and then, however often it is called. Raises LeaseLost."""

    def __init__(self, lease: Lease) -> None:
        self.lease, self.last = lease, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.last >= KEEP_ALIVE_SECONDS:
            self.lease.extend()
            self.last = time.monotonic()


def pasts_of(jobs: list[ExpectedBackupJob], now: datetime) -> list[Past]:
    shared = shared_storage(jobs)
    pasts = {job.pk: Past(job, now, refused=shared.get(job.pk)) for job in jobs}
    for entry in BackupEntry.objects.recent(jobs, now):
        past = pasts[entry.job_id]
        entry.job = past.job
        past.entries[entry.cycle_at] = entry
    return list(pasts.values())


def shared_storage(jobs: list[ExpectedBackupJob]) -> dict[int, Reason]:
    """The jobs whose folder another active job has too: each would take the other's backup for its own."""
    folders = {job.pk: "/".join(paths.storage_folder(job)).upper() for job in jobs}
    named = ExpectedBackupJob.objects.annotate(upper=Upper("storage_folder")).filter(is_active=True)
    owners: dict[str, list[tuple[int, str]]] = {}
    rows = named.filter(upper__in=set(folders.values())).values_list("upper", "pk", "agent_id", "database_name")
    for folder, pk, agent_id, database in rows:
        owners.setdefault(folder, []).append((pk, f"{agent_id} {database}"))
    others = {job.pk: [name for pk, name in owners.get(folders[job.pk], []) if pk != job.pk] for job in jobs}
    return {pk: reason("storage_shared", job=names[0]) for pk, names in others.items() if names}


def rounds(pasts: list[Past], now: datetime, outcome: Outcome, shelf: Shelf) -> Iterator[list[tuple[Past, Cycle]]]:
    """At most one cycle of each job at a time, oldest first: a verdict rests on those before it."""
    open_cycles = []
    for past in pasts:
        with isolated(past.job, outcome):
            found = list(examine.cycles_to_judge(past, now))
            open_cycles.append([(past, cycle) for cycle in found])
            if not past.is_settled(found[-1]):  # of a settled cycle, only reports that are new matter
                shelf.since = min([shelf.since, *(cycle.opens for cycle in found)])
    for together in zip_longest(*open_cycles):
        yield [case for case in together if case is not None]


@contextmanager
def isolated(job: ExpectedBackupJob, outcome: Outcome) -> Iterator[None]:
    """A job that fails never stops the others; that somebody else has taken over does."""
    try:
        yield
    except (LeaseLost, RootMissing):
        raise
    except Exception:
        log.exception("the backup %s could not be judged", job.pk)
        outcome.errors += 1


def batches(
    cases: Iterable[tuple[Past, Cycle]], shelf: Shelf, now: datetime, keep_alive: KeepAlive, outcome: Outcome
) -> Iterator[list[Judged]]:
    """Verdicts, in portions small enough that a scan that is killed has not worked for nothing."""
    batch: list[Judged] = []
    size, started = 0, time.monotonic()
    for past, cycle in cases:
        with isolated(past.job, outcome):
            one = examine.judged(past, cycle, shelf, now, keep_alive)
            batch.append(one)
            size += one.measured.size if one.measured else 0
        if len(batch) >= BATCH or size >= BATCH_BYTES or time.monotonic() - started >= BATCH_SECONDS:
            yield batch
            batch, size, started = [], 0, time.monotonic()
    if batch:
        yield batch


def conclude(batch: list[Judged], lease: Lease, now: datetime, keep_alive: KeepAlive, outcome: Outcome) -> None:
    """Record, promote, tell."""
    with copying.discarded_on_failure(*(one.copy for one in batch)):
        if any(one.verdict.status in FAILURES for one in batch) and not root_is_there():
            raise RootMissing  # it went while we looked: what seemed missing may not be
        outcome.recorded += len(record(batch, lease, now))
    outcome.promoted += store_entries(promote(batch, keep_alive), lease, now)
    for one in batch:
        outcome.note(one)


def store_entries(entries: list[BackupEntry], lease: Lease, now: datetime) -> int:
    """Records where the dumps now are, and notifies of those that could not be stored; how many became current."""
    if not entries:
        return 0
    promoted = [entry for entry in entries if entry.promotion == Promotion.PROMOTED]
    with transaction.atomic():
        lease.extend()
        give_way(promoted)
        BackupEntry.objects.write(entries, ("promotion", "promotion_reason", "stored_path"))
        ExpectedBackupJob.objects.filter(pk__in=[one.job_id for one in promoted]).update(
            damage=None, reverified_at=None
        )
        failed = [entry for entry in entries if entry.promotion_reason and now >= entry.job.created_at]
        notify(*(notices.of_storage(entry, entry.promotion_reason) for entry in failed))
    for entry in promoted:
        entry.job.damage = None
    retention.prune(entry.job for entry in entries if entry.promotion in STORED)
    return len(promoted)


def give_way(promoted: list[BackupEntry]) -> None:
    """The former current versions are versions now; what could not be stored before is no longer wanted."""
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
            entry.stored_path = copying.version_path(entry)
    BackupEntry.objects.write(former, ("promotion", "promotion_reason", "stored_path"))
    others.filter(promotion__in=UNSTORED).update(promotion=Promotion.NONE)


def finish_storing(pasts: list[Past], lease: Lease, keep_alive: KeepAlive, outcome: Outcome) -> None:
    """Goes on where storing a verified dump was cut short. What is older than the newest is no longer wanted."""
    for past in pasts:
        entry = past.newest_unfinished()
        if entry is None:
            continue
        with isolated(past.job, outcome):
            before = entry.promotion, entry.promotion_reason
            resume(past, entry, keep_alive)
            if (entry.promotion, entry.promotion_reason) != before:
                outcome.promoted += store_entries([entry], lease, past.now)


def note_area(area: DepositArea, shelf: Shelf, now: datetime, outcome: Outcome) -> None:
    """What is to be known of the machine's folders beside its backups."""
    trouble = next(iter(shelf.troubles.values()), None) or (reason("scan_failed") if outcome.errors else None)
    if trouble != area.trouble:
        area.trouble, area.troubled_since = trouble, timezone.now() if trouble else None
    if shelf.folders:
        area.unexpected, area.ahead = shelf.unexpected(), shelf.ahead(now)
        area.spellings, area.unread = shelf.spellings(), shelf.unread_names()
    area.scanned_at, area.queued_at = timezone.now(), None
    area.save(update_fields=AREA_FIELDS)
