"""Periodic work, declared in code: each app's `schedules.py` registers its jobs, and django-q2's rows follow.

A single malformed `Schedule` row stops all of django-q2's schedules, so a row is either what a declaration says or it
is removed: at each start, and every half minute by the pulse. A firing runs the job through the lease of the cycle it
falls into; firings that overlap have one effect. django-q2 looks every 30 seconds: what must be quicker is a pulse.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone
from django_q.models import Schedule

from portal import audit
from portal.base.conventions import Collected
from portal.base.logs import redact_tokens
from portal.models import JobRun
from portal.work import retention
from portal.work.clusters import Cluster
from portal.work.jobs import LEASE, Lease, claim_cycle

log = logging.getLogger("vigie.schedules")
RUN = "portal.tasks.run"
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LONGEST = 32_767 * MINUTE  # a small integer in the row


@dataclass(frozen=True)
class Job:
    """Runs `body` once per cycle. Cycles begin `offset` after Monday 00:00 UTC and every `every` from there on.

    The body must extend its lease before `lease` has passed without it; what it returns is kept, as JSON.
    """

    name: str
    body: Callable[[Lease], Any]
    every: timedelta
    cluster: Cluster = "quick"
    offset: timedelta = timedelta(0)
    lease: timedelta = LEASE

    def __post_init__(self) -> None:
        if self.every % MINUTE or not MINUTE <= self.every <= LONGEST:
            raise ValueError(f"{self.name}: a period is whole minutes, {LONGEST.days} days at most")

    def cycle_at(self, moment: datetime) -> datetime:
        """Return when the cycle that the moment falls into began."""
        start = MONDAY + self.offset
        return start + (moment - start) // self.every * self.every

    def cycle_key(self, moment: datetime) -> str:
        return self.cycle_at(moment).isoformat()

    def row(self) -> dict[str, Any]:
        """Return the fields of the job's Schedule row, except for when it is due."""
        return {
            "func": RUN,
            "args": repr((self.name,)),
            "kwargs": repr({"q_options": {"task_name": self.name, "save": False}}),
            "hook": None,
            "schedule_type": Schedule.MINUTES,
            "minutes": self.every // MINUTE,
            "repeats": -1,
            "cron": None,
            "cluster": self.cluster,
            "intended_date_kwarg": None,
        }

    def next_run(self, planned: datetime | None, now: datetime) -> datetime:
        """Return the planned start, at least the current cycle's; if `planned` starts no cycle, the next cycle's."""
        current = self.cycle_at(now)
        if planned is None or planned > current + self.every or self.cycle_at(planned) != planned:
            return current + self.every
        return max(planned, current)


jobs: Collected[Job] = Collected("schedules")


def run_cycle(job: Job) -> None:
    """Run the job for the current cycle, unless that is done or held by another process."""
    lease = claim_cycle(job.name, job.cycle_key(timezone.now()), job.lease)
    if lease is None:
        return
    try:
        lease.finish(job.body(lease))
    except BaseException as error:
        lease.fail(error)
        raise


def synchronise_schedules(now: datetime) -> int:
    """Make the Schedule rows what the declarations say. Return the number of rows changed."""
    missing, changed = {job.name: job for job in jobs.all()}, 0
    for row in Schedule.objects.order_by("pk"):
        job = missing.pop(row.name or "", None)
        changed += remove_row(row) if job is None else correct_row(row, job, now)
    for job in missing.values():
        Schedule.objects.create(name=job.name, next_run=job.next_run(None, now), **job.row())
    return changed + len(missing)


def remove_row(row: Schedule) -> bool:
    """Remove a row without a declaration, or a duplicate."""
    deleted, _ = Schedule.objects.filter(pk=row.pk).delete()
    if deleted:
        log.warning("removed the schedule %s, which is not declared", redact_tokens(row.name or str(row.pk)))
        record_change("schedule.removed", row)
    return bool(deleted)


def correct_row(row: Schedule, job: Job, now: datetime) -> bool:
    """Write what differs from the declaration, so that a firing at the same moment keeps what it wrote."""
    wanted = job.row() | {"next_run": job.next_run(row.next_run, now)}
    differing = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if differing and Schedule.objects.filter(pk=row.pk, next_run=row.next_run).update(**differing):
        log.warning("mended the schedule %s: %s", job.name, ", ".join(differing))
        if set(differing) != {"next_run"}:
            record_change("schedule.mended", row)
    return bool(differing)


def record_change(action: str, row: Schedule) -> None:
    before = {
        name: redact_tokens(str(getattr(row, name)))[:200] for name in ("func", "schedule_type", "minutes", "cluster")
    }
    subject = f"schedule:{redact_tokens(row.name or str(row.pk))}"
    audit.record_event(action, subject, actor="system", before=before)


# --- The portal's own jobs -------------------------------------------------------------------------------------------

MINUTELY_KEPT = timedelta(days=1)


def outdated_minutely(now: datetime) -> models.QuerySet[Any]:
    """Select old runs of what is done every minute, which would be most of all runs that are kept."""
    minutely = [job.name for job in jobs.all() if job.every == MINUTE]
    return JobRun.objects.ended_before(now - MINUTELY_KEPT).superseded().filter(job__in=minutely)


retention.retentions.register(retention.Retention("minutely_runs", outdated_minutely))
jobs.register(Job("portal.retention", retention.prune_rows, every=timedelta(hours=1), cluster="slow"))
