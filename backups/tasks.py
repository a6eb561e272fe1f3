"""What the workers do for backups."""

from __future__ import annotations

from backups import reverify
from backups.scanner import rounds
from portal.tasks import task


@task(rounds.TASK)
def scan_agent(agent_id: str, scan: int) -> None:
    rounds.scan_queued(agent_id, scan)


@task("backups.reverify")
def reverify_current(job: int) -> None:
    reverify.reverify(job)
