"""Decide what a drill proves: compare it with the last proof, and record both in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from backups import protection, querysets
from backups.drills.outcomes import MARIADB, MYSQL, Outcome, SandboxUnavailable
from backups.models import DrillSandbox, ExpectedBackupJob, RestoreDrill
from backups.reasons import Reason, format_reasons, make_reason
from backups.scanner.notices import describe_job, job_notice
from portal.notifications import Severity, State, in_portal_language, notify
from portal.work.jobs import Lease

# How much longer than the period between two drills a proof counts.
GRACE = timedelta(days=2)
RETRY_AFTER = timedelta(days=1)
RETRY_SANDBOX_AFTER = timedelta(hours=1)
MOST_EXPIRED = 500
PLANNED = ("proven_until", "next_drill_at")
# Reasons about what changed since the last proof, which may be intended.
ACCEPTABLE_LOSSES = frozenset({"table_gone", "rows_lost", "more_losses"})
# False assertions come first, so that what is left out are changes.
MOST_LOSSES = 10
PROOF_FIELDS = ("proven_at", "proven_until", "proof_lost", "proof_lost_at")


def record_outcome(drill: RestoreDrill, outcome: Outcome, lease: Lease) -> bool:
    """Record the end of a drill and what it means for the proof of its database. Raises LeaseLost.

    Return False for a database that was deleted meanwhile.
    """
    copy_outcome(drill, outcome)
    with transaction.atomic(), in_portal_language():
        lease.extend()
        job = ExpectedBackupJob.objects.select_for_update().filter(pk=drill.job_id).first()
        if job is None:
            return False
        drill.finished_at = now = timezone.now()
        drill.losses = list_losses(job, drill)
        if drill.schema:  # a failed drill may have none
            job.drills.with_schema().update(schema="")
        drill.save(force_update=True)
        job.unavailable_sandbox = None
        if drill.is_proof:
            record_proof(job, now)
        elif drill.status != RestoreDrill.Status.UNSUPPORTED:
            record_loss(job, drill.losses, now)
        plan_next(job, now, is_good=drill.is_proof or drill.status == RestoreDrill.Status.UNSUPPORTED)
        if job.drill_requested_at is not None and job.drill_requested_at <= drill.started_at:
            job.drill_requested_at = None
        planned = ("next_drill_at", "drill_requested_at", "unavailable_sandbox")
        ExpectedBackupJob.objects.write_fields([job], (*PROOF_FIELDS, *planned))
        DrillSandbox.objects.filter(jobs=None).delete()
    return True


def copy_outcome(drill: RestoreDrill, outcome: Outcome) -> None:
    """Copy a report into the row."""
    for name in (
        "status", "engine", "version", "restored_with", "format", "duration_ms", "rows", "errors",
        "errors_omitted", "warnings", "schema",
    ):  # fmt: skip
        setattr(drill, name, getattr(outcome, name))
    # The text of a failed query may hold values of rows: the form of the assertion shows it, on an empty copy.
    drill.assertions = [
        {"name": found["name"], "ok": found["ok"], "value": found["value"], "failed": "error" in found}
        for found in outcome.assertions
    ]
    drill.size = outcome.size or None
    drill.tables = len(outcome.rows)


def list_losses(job: ExpectedBackupJob, drill: RestoreDrill) -> list[Reason]:
    """Return why the drill is no proof; nothing for one that is, or that no sandbox supports."""
    if drill.status == RestoreDrill.Status.UNSUPPORTED:
        return []
    if drill.status == RestoreDrill.Status.FAILED:
        cause = {key: value for key, value in drill.errors[0].items() if key != "line"} if drill.errors else ""
        return [make_reason("not_restorable", error=cause)]
    proof = previous_proof(drill)
    found = compare_rows(proof.rows, drill.rows, job.max_shrink_percent) if proof else []
    false = [make_reason("assertion_false", name=result["name"]) for result in drill.assertions if not result["ok"]]
    losses = [*false, *found]
    more = [make_reason("more_losses", count=len(losses) - MOST_LOSSES)] if len(losses) > MOST_LOSSES else []
    return [*losses[:MOST_LOSSES], *more]


def previous_proof(drill: RestoreDrill) -> RestoreDrill | None:
    """Return the last proof of the database before this drill."""
    return RestoreDrill.objects.proofs().filter(job=drill.job_id, pk__lt=drill.pk).newest()


def compare_rows(before: Mapping[str, int], now: Mapping[str, int], max_shrink_percent: int | None) -> list[Reason]:
    """Return which tables are gone or have lost more rows than allowed."""
    losses = [make_reason("table_gone", table=table) for table in before if table not in now]
    if max_shrink_percent is None:
        return losses
    return losses + [
        make_reason("rows_lost", table=table, before=rows, now=now[table])
        for table, rows in before.items()
        if table in now and now[table] * 100 < rows * (100 - max_shrink_percent)
    ]


def may_accept(drill: RestoreDrill) -> bool:
    """Return True for the latest drill of its database if only changes keep it from being a proof."""
    is_latest = not RestoreDrill.objects.filter(job=drill.job_id, pk__gt=drill.pk).exists()
    return is_latest and bool(drill.losses) and changes(drill) == drill.losses


def changes(drill: RestoreDrill) -> list[Reason]:
    """Return which losses are changes since the last proof."""
    return [loss for loss in drill.losses if loss["code"] in ACCEPTABLE_LOSSES]


def accept_changes(drill: RestoreDrill) -> None:
    """Take a drill as proof, with which later ones are compared."""
    drill.losses = []
    with transaction.atomic(), in_portal_language():
        job = ExpectedBackupJob.objects.select_for_update().get(pk=drill.job_id)
        drill.save(update_fields=["losses"])
        record_proof(job, drill.finished_at or timezone.now())
        ExpectedBackupJob.objects.write_fields([job], PROOF_FIELDS)


# --- Proofs ----------------------------------------------------------------------------------------------------------


def record_proof(job: ExpectedBackupJob, now: datetime) -> None:
    if job.proof_lost is not None:
        title = _("Backup of %(job)s can be restored again") % {"job": describe_job(job)}
        text = _("The latest restore drill succeeded.")
        notify(job_notice(job, Severity.CRITICAL, title, text, f"proof:{now:%Y%m%dT%H%M%S.%f}", State.CLOSED))
    job.proven_at, job.proof_lost, job.proof_lost_at = now, None, None
    job.proven_until = proof_end(job)


def record_loss(job: ExpectedBackupJob, losses: list[Reason], now: datetime) -> None:
    """Note why the proof is lost, and send a notice unless the same was sent before, or the database is paused."""
    if job.proof_lost != losses and job.is_watched(now):
        title = _("Backup of %(job)s is not proven") % {"job": describe_job(job)}
        key = f"proof:{now:%Y%m%dT%H%M%S.%f}"
        notify(job_notice(job, Severity.CRITICAL, title, format_reasons(losses), key, State.OPENED))
    job.proof_lost, job.proof_lost_at = losses, job.proof_lost_at or now


def proof_end(job: ExpectedBackupJob) -> datetime | None:
    """Return until when the last proof counts; None is for ever, as without drills."""
    if job.proven_at is None or not job.drill_every_days:
        return None
    return job.proven_at + timedelta(days=job.drill_every_days) + GRACE


def plan_next(job: ExpectedBackupJob, now: datetime, *, is_good: bool) -> None:
    """Set when the next drill is due: after a failure tomorrow, since another backup will have come by then."""
    every = timedelta(days=job.drill_every_days)
    job.next_drill_at = now + (every if is_good else min(every, RETRY_AFTER)) if every else None


def replan(job: ExpectedBackupJob) -> None:
    """Set PLANNED of a job whose `drill_every_days` has changed, without saving it."""
    job.proven_until = proof_end(job)
    last = job.drills.filter(finished_at__isnull=False).newest()
    plan_next(job, last.finished_at if last and last.finished_at else timezone.now(), is_good=last is not None)


def expire_proofs(now: datetime) -> int:
    """Record the proofs of monitored databases that have grown too old. Return their number.

    After a pause, a database has GRACE to be drilled again.
    """
    is_resumed = Q(watched_since__gt=now - GRACE) | Q(paused_until__gt=now - GRACE)
    old = ExpectedBackupJob.objects.filter(querysets.watched(now), protection.proven(), proven_until__lt=now)
    expired = 0
    for pk in list(old.exclude(is_resumed).order_by("proven_until").values_list("pk", flat=True)[:MOST_EXPIRED]):
        with transaction.atomic(), in_portal_language():
            job = old.select_for_update().filter(pk=pk).first()
            if job is not None:  # it was not drilled meanwhile
                record_loss(job, [make_reason("proof_expired")], now)
                ExpectedBackupJob.objects.write_fields([job], PROOF_FIELDS)
                expired += 1
    return expired


def record_unavailable_sandbox(drill: RestoreDrill, error: SandboxUnavailable, lease: Lease) -> None:
    """Forget a drill whose sandbox cannot be used, which says nothing about the backup, and try again later.

    Raises LeaseLost.
    """
    with transaction.atomic():
        lease.extend()
        DrillSandbox.objects.filter(jobs=None).delete()  # it is unavailable anew
        sandbox, _is_new = DrillSandbox.objects.update_or_create(
            engine=sandbox_engine(error.engine), defaults={"trouble": error.why}
        )
        RestoreDrill.objects.filter(pk=drill.pk).delete()
        postpone(drill.job_id, drill.started_at, RETRY_SANDBOX_AFTER, unavailable_sandbox=sandbox)


def postpone(job_id: int, started_at: datetime, delay: timedelta, **changes: Any) -> None:
    """Put a database off after an attempt without outcome. What was requested since its start is kept."""
    jobs = ExpectedBackupJob.objects.filter(pk=job_id)
    jobs.update(next_drill_at=timezone.now() + delay, **changes)
    jobs.filter(drill_requested_at__lte=started_at).update(drill_requested_at=None)


def sandbox_engine(engine: str) -> str:
    """Return the engine whose sandbox restores such dumps: DRILL_MYSQL_URL is for MariaDB too."""
    return MYSQL if engine == MARIADB else engine
