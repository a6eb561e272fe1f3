"""Scans as a whole: which machines are looked at, by whom, and what is known when all of it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from backups import cycles
from backups.cycles import PLANNED_BY, plan_of
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan
from backups.querysets import UNFINISHED
from backups.scanner import notices
from backups.scanner.scan import Outcome, RootMissing, result, root_is_there, scan_machine
from portal.models import JobRun
from portal.notifications import in_portal_language, notify
from portal.querysets import JobRunQuerySet
from portal.work.jobs import Lease, claim_cycle, claimable_cycles
from portal.work.processes import current_process
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.backups")
TASK, LEASE_NAME = "backups.scan_agent", "backups.agent"
WAIT_SECONDS = 0.5
PATIENCE, TASK_PATIENCE = timedelta(minutes=30), timedelta(seconds=20)
# Longer than a scan by command is between two machines.
ABANDONED_AFTER = timedelta(minutes=5)


class Busy(Exception):
    """Somebody else is at the machine, for longer than one may wait."""


def ask(source: str, agent_id: str = "") -> Scan:
    """Has all machines looked at, or one of them: a task for each, in the transaction of the caller."""
    now = timezone.now()
    with transaction.atomic():
        scan = begin(source, now, agent_id)
        if not scan.root_is_missing:
            queue(scan, agents_of(scan), now)
    return scan


def look_around() -> Scan:
    """The periodic scan: machines where nothing can have changed cost one query for all of them."""
    now = timezone.now()
    end_abandoned(now)
    with transaction.atomic():
        scan = begin(Scan.Source.SCHEDULE, now, "")
        if not scan.root_is_missing:
            _settled, agents = sort_out(scan)
            DepositArea.objects.expect_none_but(agents)
            queued = {agent for agent, _scan in queued_calls(TASK, claimed=True)}
            queue(scan, [agent for agent in agents if agent not in queued], now)
    return scan


def queue(scan: Scan, agents: list[str], now: datetime) -> None:
    DepositArea.objects.of(agents)
    DepositArea.objects.filter(agent_id__in=agents, queued_at=None).update(queued_at=now)
    Scan.objects.filter(pk=scan.pk).update(agents=len(agents))
    for agent in agents:
        enqueue(TASK, agent, scan.pk, cluster="slow")
    finish(scan.pk)


def scan_now(now: datetime, agent_id: str = "") -> tuple[Scan, Outcome]:
    """A scan in this very process, with `now` in the place of now: machines one after the other."""
    scan, total = begin(Scan.Source.COMMAND, now, agent_id), Outcome()
    if scan.root_is_missing:
        return scan, total
    settled, agents = ([], agents_of(scan)) if agent_id else sort_out(scan)
    add_settled(total, settled)
    Scan.objects.filter(pk=scan.pk).update(agents=len(agents))
    areas = DepositArea.objects.of(agents)
    for agent in agents:
        try:
            total.add(scan_one(areas[agent], scan.pk, now))
        except Busy:
            total.add(failed(scan.pk))
    finish(scan.pk)
    scan.refresh_from_db()
    total.results.sort(key=lambda one: (one["cycle_at"], one["agent_id"], one["database_name"]))
    return scan, total


def scan_queued(agent_id: str, scan_pk: int) -> None:
    """The task of one machine. Raises Busy for a scan that somebody asked for; the schedule's is then being made."""
    area = DepositArea.objects.of([agent_id])[agent_id]
    is_asked_for = not Scan.objects.filter(pk=scan_pk, source=Scan.Source.SCHEDULE).exists()
    try:
        scan_one(area, scan_pk, timezone.now(), TASK_PATIENCE if is_asked_for else timedelta(0))
    except Busy:
        if is_asked_for:
            raise
        Scan.objects.add(scan_pk, agents_done=1)
    finish(scan_pk)


def begin(source: str, now: datetime, agent_id: str) -> Scan:
    """The scan's row; and once, whether the deposit root has gone or come back."""
    with transaction.atomic(), in_portal_language():
        previous = Scan.objects.order_by("-pk").first()
        was_missing = previous is not None and previous.root_is_missing
        scan = Scan.objects.create(
            source=source,
            at=now,
            agent_id=agent_id,
            root_is_missing=not root_is_there(),
            holder=current_process() if source == Scan.Source.COMMAND else "",
        )
        if scan.root_is_missing != was_missing:
            # Two scans at once both follow on the same one before: their message is one.
            notify(notices.of_root(scan.root_is_missing, str(previous.pk if previous else 0)))
        if scan.root_is_missing:
            Scan.objects.filter(pk=scan.pk).update(finished_at=timezone.now())
    return scan


def agents_of(scan: Scan) -> list[str]:
    jobs = ExpectedBackupJob.objects.watched(scan.at).of(scan.agent_id)
    return sorted(set(jobs.values_list("agent_id", flat=True)))


def sort_out(scan: Scan) -> tuple[list[int], list[str]]:
    """Jobs with nothing to find out, by their machines as a whole, which the scan has looked at with that; and the
    machines where there may be something.
    """
    jobs, now = ExpectedBackupJob.objects.watched(scan.at).of(scan.agent_id), scan.at
    unstored = set(BackupEntry.objects.filter(promotion__in=UNFINISHED).values_list("job_id", flat=True))
    settled: dict[str, list[int]] = {}
    busy = set()
    columns = ("pk", "agent_id", "settled_at", *PLANNED_BY, "early_minutes", "window_minutes")
    for job in jobs.values_list(*columns, named=True):
        if job.pk in unstored or not is_settled(job, now):
            busy.add(job.agent_id)
        settled.setdefault(job.agent_id, []).append(job.pk)
    idle = [pk for agent, pks in settled.items() if agent not in busy for pk in pks]
    ExpectedBackupJob.objects.filter(pk__in=idle).update(last_checked_at=now)
    Scan.objects.add(scan.pk, jobs=len(idle), settled=len(idle))
    return idle, sorted(busy)


def is_settled(job: Any, now: datetime) -> bool:
    """A job whose days cannot be read is looked at, so that somebody hears of it."""
    try:
        return job.settled_at is not None and job.settled_at == cycles.current(plan_of(job), now).at
    except ValueError:
        return False


def add_settled(total: Outcome, settled: list[int]) -> None:
    known = set(settled)
    entries = BackupEntry.objects.filter(cycle_at=F("job__settled_at"), job__is_active=True)
    columns = ("job__agent_id", "job__database_name", "cycle_at", "status", "late", "warnings", "promotion")
    rows = entries.values_list("job_id", *columns).iterator(chunk_size=2_000)
    total.results += [result(*row) for job, *row in rows if job in known]


def scan_one(area: DepositArea, scan_pk: int, now: datetime, patience: timedelta = PATIENCE) -> Outcome:
    """One machine, with nobody else at it. One that cannot be scanned is an error of the scan, and stops no other.

    Raises Busy.
    """
    try:
        with held(area, patience) as lease:
            outcome = scan_machine(area, lease, now)
    except Busy:
        raise
    except RootMissing:
        return failed(scan_pk)
    except Exception:
        log.exception("the machine %s could not be scanned", area.agent_id)
        return failed(scan_pk)
    Scan.objects.add(scan_pk, agents_done=1, **outcome.figures())
    return outcome


def failed(scan_pk: int) -> Outcome:
    Scan.objects.add(scan_pk, agents_done=1, errors=1)
    return Outcome(errors=1)


@contextmanager
def held(area: DepositArea, patience: timedelta) -> Iterator[Lease]:
    """The lease of a machine; waits for whoever has it. Raises Busy."""
    deadline = time.monotonic() + patience.total_seconds()
    while (lease := claim_cycle(LEASE_NAME, lease_key(area))) is None:
        if time.monotonic() > deadline:
            raise Busy(area.agent_id)
        time.sleep(WAIT_SECONDS)
    try:
        yield lease
    finally:
        lease.release()


def finish(scan_pk: int) -> None:
    """Notes the end of a scan whose machines are all done."""
    done = Scan.objects.filter(Q(agents_done__gte=F("agents")), pk=scan_pk, finished_at=None)
    done.update(finished_at=timezone.now())


# --- Whether somebody is at it ---------------------------------------------------------------------------------------


def lease_key(area: DepositArea) -> str:
    """By what the lease of whoever looks at the machine is known."""
    return f"area {area.pk}"


def held_leases(now: datetime) -> JobRunQuerySet:
    """Of the machines that somebody looks at now."""
    running = JobRun.objects.filter(job=LEASE_NAME, status=JobRun.Status.RUNNING)
    return running.exclude(pk__in=claimable_cycles(running, now).values_list("pk", flat=True))


def ongoing(scans: Iterable[Scan], now: datetime) -> list[Scan]:
    """Those that somebody is at: tasks of it have not ended, or whoever gave the command has a machine's lease."""
    unfinished = [scan for scan in scans if scan.finished_at is None]
    if not unfinished:
        return []
    queued = {scan for _agent, scan in queued_calls(TASK, claimed=True)}
    holders = set(held_leases(now).values_list("holder", flat=True))
    return [scan for scan in unfinished if scan.pk in queued or scan.holder in holders]


def end_abandoned(now: datetime) -> None:
    """Ends scans that nobody is at any more; the machines they did not get to are errors."""
    unfinished = list(Scan.objects.filter(finished_at=None, started_at__lt=now - ABANDONED_AFTER))
    alive = {scan.pk for scan in ongoing(unfinished, now)}
    for scan in unfinished:
        if scan.pk not in alive:
            left = F("errors") + F("agents") - F("agents_done")
            Scan.objects.filter(pk=scan.pk, finished_at=None).update(finished_at=now, errors=left)
