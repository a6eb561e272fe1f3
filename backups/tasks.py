"""Tasks of the workers. If the machine's lease is held, the task goes back to the end of the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backups.drills import runs
from backups.offsite import runs as offsite_runs
from backups.scanner import orchestration, reverify
from portal.work.queue import enqueue, task


@contextmanager
def requeue_if_busy(name: str, *args: Any) -> Iterator[None]:
    try:
        yield
    except orchestration.MachineBusy:
        enqueue(name, *args, cluster="slow")


@task(orchestration.TASK)
def scan_agent(agent_id: str, scan: int) -> None:
    with requeue_if_busy(orchestration.TASK, agent_id, scan):
        orchestration.run_queued_scan(agent_id, scan)


@task("backups.reverify")
def reverify_current(job: int) -> None:
    with requeue_if_busy("backups.reverify", job):
        reverify.reverify_job(job)


@task(runs.TASK)
def run_drills() -> None:
    runs.run_due()


@task(offsite_runs.TASK)
def copy_offsite() -> None:
    offsite_runs.run_due()
