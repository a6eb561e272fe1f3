"""Scans as a whole: which machines are looked at, by whom, and what is known when all of it is done."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from backups.models import DepositArea, ExpectedBackupJob, Scan
from portal.tasks import enqueue

TASK = "backups.scan_agent"


def ask(source: str, agent_id: str = "") -> Scan:
    """Has all machines looked at, or one of them: a task for each, in the transaction of the caller."""
    now = timezone.now()
    with transaction.atomic():
        jobs = ExpectedBackupJob.objects.watched(now)
        jobs = jobs.filter(agent_id=agent_id) if agent_id else jobs
        agents = sorted(set(jobs.values_list("agent_id", flat=True)))
        scan = Scan.objects.create(source=source, at=now, agent_id=agent_id, agents=len(agents))
        DepositArea.objects.of(agents)
        for agent in agents:
            enqueue(TASK, agent, scan.pk, cluster="slow")
    return scan
