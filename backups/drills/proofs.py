"""Decide what a drill proves: compare it with the last proof, and record both in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from backups import protection, querysets
from backups.drills.outcomes import FATAL_DOUBTS, MARIADB, MYSQL, Outcome
from backups.models import DrillSandbox, ExpectedBackupJob, RestoreDrill
from backups.reasons import Reason, format_reasons, format_warnings, make_reason
from backups.scanner.notices import describe_job, job_notice
from portal.notifications import Severity, State, in_portal_language, notify
from portal.work.jobs import Lease

# How much longer than the period between two drills a proof counts.
EXTRA = timedelta(days=2)
RETRY_AFTER = timedelta(days=1)
RETRY_SANDBOX_AFTER = timedelta(hours=1)
MOST_EXPIRED = 500
PLANNED = ("proven_until", "next_drill_at")
# Reasons about what changed since the last proof, which may be intended.
CHANGES = frozenset({"table_gone", "rows_lost"})
PROOF_FIELDS = ("proven_at", "proven_until", "proof_lost", "proof_lost_at", "next_drill_at", "drill_requested_at")


def record_outcome(drill: RestoreDrill, outcome: Outcome, lease: Lease) -> None:
    """Record the end of a drill and what it means for the proof of its database. Raises LeaseLost."""
    job, now = drill.job, timezone.now()
    copy_outcome(drill, outcome)
    drill.finished_at = now
    drill.losses = list_losses(job, drill)
    with transaction.atomic(), in_portal_language():
        lease.extend()
        RestoreDrill.objects.filter(job=job).exclude(schema="").update(schema="")
        drill.save()
        sandbox = MYSQL if outcome.engine == MARIADB else outcome.engine  # DRILL_MYSQL_URL is for both
        DrillSandbox.objects.filter(engine=sandbox).delete()
        if drill.is_proof:
            record_proof(job, now)
        elif drill.status != RestoreDrill.Status.UNSUPPORTED:
            record_loss(job, drill.losses, now)
        plan_next(job, now, is_good=drill.is_proof or drill.status == RestoreDrill.Status.UNSUPPORTED)
        job.drill_requested_at = None
        ExpectedBackupJob.objects.write_fields([job], PROOF_FIELDS)


def copy_outcome(drill: RestoreDrill, outcome: Outcome) -> None:
    """Copy a report into the row. Its doubts become errors, in English as all errors of servers."""
    for name in (
        "status", "engine", "version", "restored_with", "format", "duration_ms", "rows", "errors_omitted",
        "warnings", "schema",
    ):  # fmt: skip
        setattr(drill, name, getattr(outcome, name))
    with override("en"):
        doubts = [format_warnings([code]) for code in outcome.doubts if code in FATAL_DOUBTS]
    drill.errors = [*outcome.errors, *({"line": None, "message": text} for text in doubts)]
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
        first = drill.errors[0]["message"].rstrip(".") if drill.errors else ""
        return [make_reason("not_restorable", error=first)]
    proof = previous_proof(drill)
    found = compare_rows(proof.rows, drill.rows, job.max_shrink_percent) if proof else []
    false = [result["name"] for result in drill.assertions if not result["ok"]]
    return [*found, *(make_reason("assertion_false", name=name) for name in false)]


def previous_proof(drill: RestoreDrill) -> RestoreDrill | None:
    """Return the last proof of the database before this drill."""
    proofs = RestoreDrill.objects.filter(job=drill.job_id, status=RestoreDrill.Status.PROVEN, losses=[])
    return proofs.filter(pk__lt=drill.pk).order_by("-id").first()


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


def last_restore(job: ExpectedBackupJob) -> RestoreDrill | None:
    """Return the last drill that restored the backup, proof or not."""
    return RestoreDrill.objects.filter(job=job, status=RestoreDrill.Status.PROVEN).order_by("-id").first()


def may_accept(drill: RestoreDrill) -> bool:
    """Return True for the latest drill of its database if only changes keep it from being a proof."""
    is_latest = not RestoreDrill.objects.filter(job=drill.job_id, pk__gt=drill.pk).exists()
    return is_latest and bool(drill.losses) and {loss["code"] for loss in drill.losses} <= CHANGES


def accept_changes(drill: RestoreDrill) -> None:
    """Take a drill as proof, with which later ones are compared."""
    drill.losses = []
    drill.save(update_fields=["losses"])
    with in_portal_language():
        record_proof(drill.job, timezone.now())
    ExpectedBackupJob.objects.write_fields([drill.job], PROOF_FIELDS)


# --- Proofs ----------------------------------------------------------------------------------------------------------


def record_proof(job: ExpectedBackupJob, now: datetime) -> None:
    if job.proof_lost is not None:
        title = _("Backup of %(job)s can be restored again") % {"job": describe_job(job)}
        text = _("The latest restore drill succeeded.")
        notify(job_notice(job, Severity.CRITICAL, title, text, f"proof:{now:%Y%m%dT%H%M%S}", State.CLOSED))
    job.proven_at, job.proof_lost, job.proof_lost_at = now, None, None
    job.proven_until = proof_end(job)


def record_loss(job: ExpectedBackupJob, losses: list[Reason], now: datetime) -> None:
    """Note why the proof is lost, and send a notice unless the same was sent before."""
    if job.proof_lost != losses:
        title = _("Backup of %(job)s is not proven") % {"job": describe_job(job)}
        key = f"proof:{now:%Y%m%dT%H%M%S}"
        notify(job_notice(job, Severity.CRITICAL, title, format_reasons(losses), key, State.OPENED))
    job.proof_lost, job.proof_lost_at = losses, job.proof_lost_at or now


def proof_end(job: ExpectedBackupJob) -> datetime | None:
    """Return until when the last proof counts; None is for ever, as without drills."""
    if job.proven_at is None or not job.drill_every_days:
        return None
    return job.proven_at + timedelta(days=job.drill_every_days) + EXTRA


def plan_next(job: ExpectedBackupJob, now: datetime, *, is_good: bool) -> None:
    """Set when the next drill is due: after a failure tomorrow, since another backup will have come by then."""
    every = timedelta(days=job.drill_every_days)
    job.next_drill_at = now + (every if is_good else min(every, RETRY_AFTER)) if every else None


def replan(job: ExpectedBackupJob) -> None:
    """Set PLANNED of a job whose `drill_every_days` has changed, without saving it."""
    job.proven_until = proof_end(job)
    last = RestoreDrill.objects.filter(job=job, finished_at__isnull=False).order_by("-id").first()
    plan_next(job, last.finished_at if last and last.finished_at else timezone.now(), is_good=last is not None)


def expire_proofs(now: datetime) -> int:
    """Record the proofs of monitored databases that have grown too old. Return their number."""
    old = ExpectedBackupJob.objects.filter(querysets.watched(now), protection.proven(), proven_until__lt=now)
    expired = list(old.order_by("proven_until")[:MOST_EXPIRED])
    for job in expired:
        with transaction.atomic(), in_portal_language():
            record_loss(job, [make_reason("proof_expired")], now)
            ExpectedBackupJob.objects.write_fields([job], PROOF_FIELDS)
    return len(expired)


def record_down(drill: RestoreDrill, engine: str, trouble: str) -> None:
    """Forget a drill whose sandbox cannot be used, which says nothing about the backup, and try again later."""
    now = timezone.now()
    with transaction.atomic():
        DrillSandbox.objects.update_or_create(engine=engine, defaults={"trouble": trouble[:300]})
        RestoreDrill.objects.filter(pk=drill.pk).delete()
        later = {"next_drill_at": now + RETRY_SANDBOX_AFTER, "drill_requested_at": None}
        ExpectedBackupJob.objects.filter(pk=drill.job_id).update(**later)
