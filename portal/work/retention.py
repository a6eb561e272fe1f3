"""Retention: each app's `schedules.py` declares which rows are outdated; one job deletes them in small batches."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.db.models import Max
from django.utils import timezone
from django_q.models import Task as FailedTask

from portal.base.conventions import Collected
from portal.models import AuditEvent, AuthFailure, GuessWindow, Heartbeat, JobRun, TaskAttempt
from portal.querysets import NODE
from portal.work.jobs import Lease

# Small enough that a writer behind it waits for a few milliseconds.
BATCH = 500


@dataclass(frozen=True)
class Retention:
    """`outdated` gives the rows that may go at this moment; its condition should be served by an index."""

    name: str
    outdated: Callable[[datetime], models.QuerySet[Any]]


retentions: Collected[Retention] = Collected("schedules")


def prune_rows(lease: Lease) -> dict[str, int]:
    """Delete all outdated rows. Return their numbers by the name of the retention."""
    now = timezone.now()
    return {retention.name: delete_all(retention.outdated(now), lease) for retention in retentions.all()}


def delete_all(outdated: models.QuerySet[Any], lease: Lease) -> int:
    total = 0
    while batch := delete_batch(outdated, lease):
        total += batch
    return total


def delete_batch(outdated: models.QuerySet[Any], lease: Lease) -> int:
    """Delete one batch, in one transaction with the check that the lease is still ours."""
    with transaction.atomic():
        lease.extend()
        chosen = list(outdated.order_by("pk").values_list("pk", flat=True)[:BATCH])
        outdated.model._default_manager.filter(pk__in=chosen).delete()
        return len(chosen)


# --- The portal's own retention --------------------------------------------------------------------------------------

AUTH_FAILURES_KEPT = timedelta(hours=1)


def outdated_audit(now: datetime) -> models.QuerySet[Any]:
    return AuditEvent.objects.filter(at__lt=now - timedelta(days=settings.AUDIT_RETENTION_DAYS))


def outdated_signed_in(now: datetime) -> models.QuerySet[Any]:
    """Select rows of the users' lists whose sessions have ended."""
    listed: models.QuerySet[Any] = UserSession.objects.all()
    return listed.exclude(session_key__in=Session.objects.values("session_key"))


def jobs_kept_since(now: datetime) -> datetime:
    return now - timedelta(days=settings.JOB_RETENTION_DAYS)


def outdated_runs(now: datetime) -> models.QuerySet[Any]:
    """Select all but the latest run of each job and its latest success, which tell how the job stands."""
    done = JobRun.objects.filter(status=JobRun.Status.DONE)
    newest_done = done.values("job").annotate(newest=Max("pk")).values("newest")
    return JobRun.objects.ended_before(jobs_kept_since(now)).superseded().exclude(pk__in=newest_done)


def outdated_nodes(now: datetime) -> models.QuerySet[Any]:
    """Select heartbeats of nodes, which are kept for as long as the runs that name a node."""
    return Heartbeat.objects.filter(component__startswith=NODE, at__lt=jobs_kept_since(now))


retentions.register(Retention("audit", outdated_audit))
retentions.register(Retention("sessions", lambda now: Session.objects.filter(expire_date__lt=now)))
retentions.register(Retention("signed_in_sessions", outdated_signed_in))
retentions.register(
    Retention("auth_failures", lambda now: AuthFailure.objects.filter(window_started_at__lt=now - AUTH_FAILURES_KEPT))
)
retentions.register(Retention("guess_windows", GuessWindow.objects.forgotten))
retentions.register(Retention("job_runs", outdated_runs))
retentions.register(
    Retention("task_attempts", lambda now: TaskAttempt.objects.filter(started_at__lt=jobs_kept_since(now)))
)
retentions.register(Retention("nodes", outdated_nodes))
retentions.register(Retention("failed_tasks", lambda now: FailedTask.objects.filter(stopped__lt=jobs_kept_since(now))))
