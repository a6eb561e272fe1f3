"""Conditions on the protection of a database, shared by pages, tile, digest, metrics, API and messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from django.db.models import Case, CharField, F, Q, QuerySet, Value, When

from backups.models import FAILURES, VERIFIED, ExpectedBackupJob, Status
from backups.querysets import watched

# `ExpectedBackupJob.fails_as` its status, as a condition.
FAILING = Q(current_status__in=FAILURES) | Q(
    current_status=Status.UNCHANGED, unchanged_policy=ExpectedBackupJob.UnchangedPolicy.ALERT
)
DAMAGED = Q(damage__isnull=False)
ARRIVED = Q(current_status__in=VERIFIED) & ~FAILING & ~DAMAGED


class Standing(StrEnum):
    """The protection of a database, the most urgent first. Each database has exactly one."""

    FAILING = "failing"
    OVERDUE = "overdue"
    SUSPICIOUS = "suspicious"
    PENDING = "pending"
    PROTECTED = "protected"
    PAUSED = "paused"


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
    """Select the other watched jobs: overdue or pending."""
    return watched(now) & ~failing(now) & ~suspicious(now) & ~protected(now)


def overdue(now: datetime) -> Q:
    """Select jobs whose last verified backup is older than the schedule allows, although none is missing.

    That happens if scans have stopped, after a pause, or if the schedule was changed.
    """
    return waiting(now) & ~recent(now)


def pending(now: datetime) -> Q:
    """Select jobs whose first backup, or first one after a change, is not due yet."""
    return waiting(now) & recent(now)


def recent(now: datetime) -> Q:
    """Select jobs verified within `fresh_for`, or never verified and monitored for a shorter time."""
    return fresh(now) | Q(last_verified_at=None, watched_since__gte=now - F("fresh_for"))


def paused(now: datetime) -> Q:
    return ~watched(now)


CONDITIONS: dict[Standing, Callable[[datetime], Q]] = {
    Standing.FAILING: failing,
    Standing.OVERDUE: overdue,
    Standing.SUSPICIOUS: suspicious,
    Standing.PENDING: pending,
    Standing.PROTECTED: protected,
    Standing.PAUSED: paused,
}


def standing_case(now: datetime) -> Case:
    return Case(
        *(When(condition(now), then=Value(standing.value)) for standing, condition in CONDITIONS.items()),
        default=Value(Standing.PAUSED.value),
        output_field=CharField(),
    )


def with_standing(jobs: QuerySet[ExpectedBackupJob], now: datetime) -> QuerySet[ExpectedBackupJob]:
    """Annotate jobs with `standing`: the one rule that pages, findings and figures share."""
    return jobs.annotate(standing=standing_case(now))


# --- Proofs ----------------------------------------------------------------------------------------------------------


def proven() -> Q:
    """Select jobs whose last restore drill proves that their backups can be restored."""
    return Q(proven_at__isnull=False, proof_lost__isnull=True)


def proof_lost() -> Q:
    """Select jobs whose last drill found that a backup cannot be restored, or whose proof is too old."""
    return Q(proof_lost__isnull=False)


def never_drilled() -> Q:
    return Q(proven_at=None, proof_lost__isnull=True)
