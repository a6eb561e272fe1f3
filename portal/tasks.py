"""The portal's own tasks, and `run` under the name that queued tasks and schedules have stored."""

from datetime import datetime, timedelta

from django.db import models

from portal.base.encryption import decrypt
from portal.models import TaskAttempt
from portal.privacy.erasing import erase
from portal.privacy.subjects import parse_subject
from portal.work.queue import run as run
from portal.work.queue import task, tasks
from portal.work.retention import Retention, retentions

ERASE = "privacy.erase_subject"
ROUTINE_KEPT = timedelta(hours=1)


@task(ERASE)
def erase_subject(encrypted: str, actor: str) -> None:
    """Erase whom an operator has named. The name stands in no queue: the argument is encrypted."""
    erase(parse_subject(decrypt(encrypted)), lambda label, rows: None, actor)


@task("portal.beat", is_routine=True)
def give_heartbeat(cluster: str) -> None:
    """Do nothing: each starting task writes its cluster's heartbeat, and this one starts when no other does."""


def outdated_routine(now: datetime) -> models.QuerySet[TaskAttempt]:
    names = [registered.name for registered in tasks.all() if registered.is_routine]
    return TaskAttempt.objects.filter(name__in=names, error="", finished_at__lt=now - ROUTINE_KEPT)


retentions.register(Retention("routine_attempts", outdated_routine))
