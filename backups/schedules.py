"""Periodic jobs and retention of backups."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery

from backups.drills import runs
from backups.models import RestoreDrill, Scan
from backups.offsite import runs as offsite_runs
from backups.scanner import digest, orchestration
from portal.work.jobs import Lease
from portal.work.retention import Retention, retentions
from portal.work.schedules import Job, jobs


def run_periodic_scan(lease: Lease) -> dict[str, int]:
    return {"scan": orchestration.queue_periodic_scan().pk}


def queue_drills(lease: Lease) -> dict[str, int]:
    return {"expired": runs.queue_due()}


def queue_offsite_copies(lease: Lease) -> dict[str, int]:
    return {"missing": offsite_runs.queue_due()}


def outdated_drills(now: datetime) -> models.QuerySet[Any]:
    """Select old drills but the last proof of each database, with which later ones are compared."""
    proofs = RestoreDrill.objects.proofs().filter(job=OuterRef("job"))
    last = Subquery(proofs.order_by("-id").values("pk")[:1])
    old = RestoreDrill.objects.filter(started_at__lt=now - timedelta(days=settings.AUDIT_RETENTION_DAYS))
    return old.annotate(proof=last).filter(Q(proof=None) | ~Q(pk=F("proof")))


def outdated_scans(now: datetime) -> models.QuerySet[Any]:
    return Scan.objects.filter(started_at__lt=now - timedelta(days=settings.JOB_RETENTION_DAYS))


jobs.register(Job("backups.scan", run_periodic_scan, every=timedelta(minutes=15)))
jobs.register(Job("backups.drills_due", queue_drills, every=timedelta(minutes=15), offset=timedelta(minutes=5)))
jobs.register(
    Job("backups.offsite_due", queue_offsite_copies, every=timedelta(minutes=15), offset=timedelta(minutes=10))
)
jobs.register(Job("backups.digest", digest.send_weekly_digest, every=timedelta(days=7), offset=timedelta(hours=7)))
retentions.register(Retention("backup_scans", outdated_scans))
retentions.register(Retention("restore_drills", outdated_drills))
