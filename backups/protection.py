"""Which databases are protected. The page, the list, the tile, the digest, metrics, API and messages all ask here."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from backups.models import FAILURES, VERIFIED, ExpectedBackupJob, Status
from backups.querysets import watched

# The status of a job that needs an operator: `ExpectedBackupJob.is_failing`, asked of the table.
FAILING = Q(current_status__in=FAILURES) | Q(
    current_status=Status.HASH_MISMATCH, unchanged_policy=ExpectedBackupJob.UnchangedPolicy.ALERT
)
DAMAGED = Q(damage__isnull=False)
ARRIVED = Q(current_status__in=VERIFIED) & ~FAILING & ~DAMAGED


def protected(now: datetime) -> Q:
    """Watched, verified for the latest cycle, without doubts about its content, and not stale.

    A scan that stopped protects nothing, nor does a stored version that is damaged.
    """
    return watched(now) & ARRIVED & Q(in_doubt=False) & fresh(now)


def fresh(now: datetime) -> Q:
    """Verified lately. Null is named first: a condition that is negated must not be unknown."""
    return Q(last_verified_at__isnull=False, last_verified_at__gte=now - F("fresh_for"))


def suspicious(now: datetime) -> Q:
    """Watched, and the latest backup is verified with doubts about its content."""
    return watched(now) & ARRIVED & Q(in_doubt=True)


def failing(now: datetime) -> Q:
    """Watched, and without a good backup of the latest cycle, or with a current version that is damaged."""
    return watched(now) & (FAILING | DAMAGED)


def waiting(now: datetime) -> Q:
    """Watched, and none of the above: pending, late or stale."""
    return watched(now) & ~failing(now) & ~suspicious(now) & ~protected(now)
