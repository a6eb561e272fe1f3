"""Conditions on the protection of a database, shared by pages, tile, digest, metrics, API and messages."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from backups.models import FAILURES, VERIFIED, ExpectedBackupJob, Status
from backups.querysets import watched

# `ExpectedBackupJob.is_failing` as a condition.
FAILING = Q(current_status__in=FAILURES) | Q(
    current_status=Status.UNCHANGED, unchanged_policy=ExpectedBackupJob.UnchangedPolicy.ALERT
)
DAMAGED = Q(damage__isnull=False)
ARRIVED = Q(current_status__in=VERIFIED) & ~FAILING & ~DAMAGED


def protected(now: datetime) -> Q:
    """Select watched jobs whose latest backup is verified without doubts and fresh.

    A scanner that has stopped protects nothing, nor does a damaged version.
    """
    return watched(now) & ARRIVED & Q(in_doubt=False) & fresh(now)


def fresh(now: datetime) -> Q:
    """Select jobs verified within `fresh_for`. The null check keeps the negated condition from being unknown."""
    return Q(last_verified_at__isnull=False, last_verified_at__gte=now - F("fresh_for"))


def suspicious(now: datetime) -> Q:
    """Select watched jobs whose latest backup is verified with doubts about its content."""
    return watched(now) & ARRIVED & Q(in_doubt=True)


def failing(now: datetime) -> Q:
    """Select watched jobs without a good backup of the latest cycle, or with a damaged current version."""
    return watched(now) & (FAILING | DAMAGED)


def waiting(now: datetime) -> Q:
    """Select the other watched jobs: pending, late or stale."""
    return watched(now) & ~failing(now) & ~suspicious(now) & ~protected(now)
