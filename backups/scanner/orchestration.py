"""Scans as a whole: choose the machines, queue a task or hold a lease for each, and finish with the last."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from backups import cycles
from backups.cycles import TIMETABLE_FIELDS, timetable_of
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan
from backups.querysets import UNFINISHED
from backups.scanner import notices
from backups.scanner.disk.opening import is_root_present
from backups.scanner.scan import RootMissing, ScanResult, result_row, scan_machine
from portal.models import JobRun
from portal.notifications import in_portal_language, notify
from portal.querysets import JobRunQuerySet
from portal.work.jobs import AlreadyRunning, Lease, claim_when_free, claimable_cycles
from portal.work.processes import current_process
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.backups")
TASK, LEASE_NAME = "backups.scan_agent", "backups.agent"
PATIENCE, TASK_PATIENCE = timedelta(minutes=30), timedelta(seconds=20)
# Longer than the pause of a command's scan between two machines.
ABANDONED_AFTER = timedelta(minutes=5)


class MachineBusy(Exception):
    """Another process holds the machine's lease for longer than the caller may wait."""


def request_scan(source: str, agent_id: str = "") -> Scan:
    """Queue a scan of all machines, or of one: a task for each, in the caller's transaction."""
    now = timezone.now()
    with transaction.atomic():
        scan = create_scan(source, now, agent_id)
        if not scan.root_is_missing:
            queue_machines(scan, list_machines(scan), now)
    return scan


def request_scan_after_report(agent_id: str) -> None:
    """Queue a scan of the machine that uploaded a report, unless nothing is expected of it or a scan is queued.

    A queued scan that has begun may have read the folder before the report came: another one is queued.
    """
    machines = ExpectedBackupJob.objects.watched(timezone.now()).of_machine(agent_id).values_list("agent_id", flat=True)
    with transaction.atomic():
        areas = list(DepositArea.objects.get_or_create_for(sorted(set(machines))).values())
        unqueued = [area.pk for area in areas if area.queued_at is None or has_scan_begun(area)]
        if unqueued:
            DepositArea.objects.filter(pk__in=unqueued).update(queued_at=None)
            request_scan(Scan.Source.API, agent_id)


def has_scan_begun(area: DepositArea) -> bool:
    """Return True if the machine's lease was claimed since its queued scan was requested, whatever became of it."""
    leases = JobRun.objects.filter(job=LEASE_NAME, cycle_key=lease_key(area))
    return leases.filter(started_at__gte=area.queued_at).exists()


def queue_periodic_scan() -> Scan:
    """Queue the periodic scan. Machines where nothing can have changed cost one query together."""
    now = timezone.now()
    end_abandoned_scans(now)
    with transaction.atomic():
        scan = create_scan(Scan.Source.SCHEDULE, now, "")
        if not scan.root_is_missing:
            _settled, machines = split_settled(scan)
            DepositArea.objects.clear_queue_except(machines)
            queued = {machine for machine, _scan in queued_calls(TASK, claimed=True)}
            queue_machines(scan, [machine for machine in machines if machine not in queued], now)
    return scan


def queue_machines(scan: Scan, machines: list[str], now: datetime) -> None:
    DepositArea.objects.get_or_create_for(machines)
    DepositArea.objects.filter(agent_id__in=machines, queued_at=None).update(queued_at=now)
    Scan.objects.filter(pk=scan.pk).update(agents=len(machines))
    for machine in machines:
        enqueue(TASK, machine, scan.pk, cluster="slow")
    finish_scan(scan.pk)  # at once if there is no machine


def scan_now(now: datetime, agent_id: str = "") -> tuple[Scan, ScanResult]:
    """Scan in this process, one machine after the other, as of `now`. Return the scan and its results."""
    scan, total = create_scan(Scan.Source.COMMAND, now, agent_id), ScanResult()
    if scan.root_is_missing:
        return scan, total
    settled, machines = ([], list_machines(scan)) if agent_id else split_settled(scan)
    add_settled_rows(total, settled)
    Scan.objects.filter(pk=scan.pk).update(agents=len(machines))
    areas = DepositArea.objects.get_or_create_for(machines)
    for machine in machines:
        try:
            total.merge(scan_with_lease(areas[machine], scan.pk, now))
        except MachineBusy:
            total.merge(count_failed_machine(scan.pk))
    finish_scan(scan.pk)
    scan.refresh_from_db()
    total.rows.sort(key=lambda row: (row["cycle_at"], row["agent_id"], row["database_name"]))
    return scan, total


def run_queued_scan(agent_id: str, scan_pk: int) -> None:
    """Run the task of one machine.

    Raises MachineBusy for a requested scan. A periodic one counts as done then, since the machine is being scanned.
    """
    area = DepositArea.objects.get_or_create_for([agent_id])[agent_id]
    periodic = Scan.objects.filter(pk=scan_pk, source=Scan.Source.SCHEDULE).first()
    try:
        scan_with_lease(area, scan_pk, timezone.now(), timedelta(0) if periodic else TASK_PATIENCE)
    except MachineBusy:
        if periodic is None:
            raise
        DepositArea.objects.filter(pk=area.pk, queued_at=periodic.at).update(queued_at=None)
        Scan.objects.add_counts(scan_pk, agents_done=1)
    finish_scan(scan_pk)


def create_scan(source: str, now: datetime, agent_id: str) -> Scan:
    """Create the scan's row, and send one notice when the deposit root disappears or comes back."""
    with transaction.atomic(), in_portal_language():
        previous = Scan.objects.order_by("-pk").first()
        was_missing = previous is not None and previous.root_is_missing
        scan = Scan.objects.create(
            source=source,
            at=now,
            agent_id=agent_id,
            root_is_missing=not is_root_present(),
            holder=current_process() if source == Scan.Source.COMMAND else "",
        )
        if scan.root_is_missing != was_missing:
            # Simultaneous scans have the same predecessor, and so one deduplicated notice.
            notify(notices.root_notice(scan.root_is_missing, str(previous.pk if previous else 0)))
        if scan.root_is_missing:
            Scan.objects.filter(pk=scan.pk).update(finished_at=timezone.now())
    return scan


def list_machines(scan: Scan) -> list[str]:
    jobs = ExpectedBackupJob.objects.watched(scan.at).of_machine(scan.agent_id)
    return sorted(set(jobs.values_list("agent_id", flat=True)))


def split_settled(scan: Scan) -> tuple[list[int], list[str]]:
    """Return the jobs of machines without open cycles, marked as checked, and the other machines."""
    jobs, now = ExpectedBackupJob.objects.watched(scan.at).of_machine(scan.agent_id), scan.at
    unstored = set(BackupEntry.objects.filter(promotion__in=UNFINISHED).values_list("job_id", flat=True))
    by_machine: dict[str, list[int]] = {}
    open_machines = set()
    columns = ("pk", "agent_id", "settled_at", *TIMETABLE_FIELDS, "early_minutes", "window_minutes")
    for job in jobs.values_list(*columns, named=True):
        if job.pk in unstored or not is_settled(job, now):
            open_machines.add(job.agent_id)
        by_machine.setdefault(job.agent_id, []).append(job.pk)
    settled = [pk for machine, pks in by_machine.items() if machine not in open_machines for pk in pks]
    ExpectedBackupJob.objects.filter(pk__in=settled).update(last_checked_at=now)
    Scan.objects.add_counts(scan.pk, jobs=len(settled), settled=len(settled))
    return settled, sorted(open_machines)


def is_settled(job: Any, now: datetime) -> bool:
    """Return True if the current cycle needs no scan. Unknown weekdays do, so that the error is reported."""
    try:
        return job.settled_at is not None and job.settled_at == cycles.current_cycle(timetable_of(job), now).at
    except ValueError:
        return False


def add_settled_rows(total: ScanResult, settled: list[int]) -> None:
    known = set(settled)
    entries = BackupEntry.objects.filter(cycle_at=F("job__settled_at"), job__is_active=True)
    columns = ("job__agent_id", "job__database_name", "cycle_at", "status", "late", "warnings", "promotion")
    rows = entries.values_list("job_id", *columns).iterator(chunk_size=2_000)
    total.rows += [result_row(*row) for job, *row in rows if job in known]


def scan_with_lease(area: DepositArea, scan_pk: int, now: datetime, patience: timedelta = PATIENCE) -> ScanResult:
    """Scan one machine under its lease. A machine that cannot be scanned counts as an error.

    Raises MachineBusy.
    """
    try:
        with machine_lease(area, patience) as lease:
            result = scan_machine(area, lease, now)
    except MachineBusy:
        raise
    except Exception as error:
        if not isinstance(error, RootMissing):
            log.exception("the machine %s could not be scanned", area.agent_id)
        return count_failed_machine(scan_pk)
    Scan.objects.add_counts(scan_pk, agents_done=1, **result.counters())
    return result


def count_failed_machine(scan_pk: int) -> ScanResult:
    Scan.objects.add_counts(scan_pk, agents_done=1, errors=1)
    return ScanResult(errors=1)


@contextmanager
def machine_lease(area: DepositArea, patience: timedelta) -> Iterator[Lease]:
    """Hold the lease of a machine, waiting up to `patience` for it. Raises MachineBusy."""
    try:
        lease = claim_when_free(LEASE_NAME, lease_key(area), patience)
    except AlreadyRunning:
        raise MachineBusy(area.agent_id) from None
    try:
        yield lease
    finally:
        lease.release()


def finish_scan(scan_pk: int) -> None:
    """Finish a scan once all its machines are done."""
    done = Scan.objects.filter(Q(agents_done__gte=F("agents")), pk=scan_pk, finished_at=None)
    done.update(finished_at=timezone.now())


# --- Leases ----------------------------------------------------------------------------------------------------------


def lease_key(area: DepositArea) -> str:
    return f"area {area.pk}"


def active_leases(now: datetime) -> JobRunQuerySet:
    """Return the leases of machines that are being scanned."""
    running = JobRun.objects.filter(job=LEASE_NAME, status=JobRun.Status.RUNNING)
    return running.exclude(pk__in=claimable_cycles(running, now).values_list("pk", flat=True))


def find_ongoing(scans: Iterable[Scan], now: datetime) -> list[Scan]:
    """Return the unfinished scans that still have tasks, or whose command holds the lease of a machine."""
    unfinished = [scan for scan in scans if scan.finished_at is None]
    if not unfinished:
        return []
    queued = {scan for _agent, scan in queued_calls(TASK, claimed=True)}
    holders = set(active_leases(now).values_list("holder", flat=True))
    return [scan for scan in unfinished if scan.pk in queued or scan.holder in holders]


def end_abandoned_scans(now: datetime) -> None:
    """Finish abandoned scans. The machines that they did not reach count as errors."""
    unfinished = list(Scan.objects.filter(finished_at=None, started_at__lt=now - ABANDONED_AFTER))
    alive = {scan.pk for scan in find_ongoing(unfinished, now)}
    for scan in unfinished:
        if scan.pk not in alive:
            errors = F("errors") + F("agents") - F("agents_done")
            Scan.objects.filter(pk=scan.pk, finished_at=None).update(finished_at=now, errors=errors)
