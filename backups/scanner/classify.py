"""The verdict on one cycle of one job. Pure: facts in, verdict out, without files or database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from backups.cycles import Cycle
from backups.models import Status
from backups.reasons import DOUBTS, Reason, make_reason
from backups.scanner.claims import Claim
from backups.scanner.report import AgentReport
from backups.scanner.verify import MeasuredFile

SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class SizeLimits:
    """The sizes in bytes that a job expects. `usual` are those of the last successes."""

    min_size: int = 0
    max_shrink_percent: int | None = None
    usual: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class CycleReports:
    """The reports on a cycle.

    `report` is the newest in the cycle that lists the database, and `claim` its section on it. If there is none,
    `other` is a report without the database, or an unreadable one; `absence_reason` explains the missing report, and
    `trouble` why the folder cannot be read. `later` is the name of a later report on the same staged file,
    `is_overwritten` if that one replaced it.
    """

    report: AgentReport | None = None
    claim: Claim | None = None
    other: AgentReport | None = None
    absence_reason: Reason | None = None
    trouble: Reason | None = None
    later: str = ""
    is_overwritten: bool = False


@dataclass(frozen=True, kw_only=True)
class CycleFacts(CycleReports):
    """The facts of a cycle at the moment `now`. `staged` is the measure of the staged file, or why there is none."""

    now: datetime
    cycle: Cycle
    staged: MeasuredFile | Reason | None = None
    previous_hash: str = ""
    may_be_missing: bool = True
    limits: SizeLimits = field(default_factory=SizeLimits)


@dataclass(frozen=True)
class Verdict:
    """A status with its reasons and warnings. `status` is None while the cycle is pending."""

    status: str | None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    late: bool = False

    @property
    def has_doubts(self) -> bool:
        """True if a warning is about the content of the dump."""
        return not DOUBTS.isdisjoint(self.warnings)


PENDING = Verdict(None)


def needs_staged_file(facts: CycleFacts) -> bool:
    claim = facts.claim
    return claim is not None and not (claim.failed or claim.faults or facts.is_overwritten)


def classify_cycle(facts: CycleFacts) -> Verdict:
    """Return the first status that applies: FAILED, UNVERIFIED, TRANSFER_INTEGRITY_FAILED, UNCHANGED, SUCCESS."""
    if facts.report is None or facts.claim is None:
        return classify_without_report(facts)
    claim, found, moment = facts.claim, facts.staged, facts.report.moment
    late = moment > facts.cycle.deadline
    punctuality = (*(("early",) if moment < facts.cycle.at else ()), *(("clock_skew",) if is_skewed(facts) else ()))
    if claim.failed or claim.faults:
        failure = (claim.failed,) if claim.failed else ()
        return Verdict(Status.FAILED, (*failure, *claim.faults), punctuality, late)
    damage = find_damage(found, claim)
    if facts.is_overwritten or (damage and facts.later):
        return Verdict(Status.UNVERIFIED, (make_reason("overwritten", report=facts.later),), punctuality, late)
    if damage or not isinstance(found, MeasuredFile):
        if is_before_deadline(facts):
            return PENDING
        return Verdict(Status.TRANSFER_INTEGRITY_FAILED, damage, punctuality, late)
    contradiction = ("overall_failed",) if facts.report.is_contradictory else ()
    warnings = (*found.doubts, *find_size_doubts(found, facts.limits), *contradiction, *punctuality)
    if found.sha256 == facts.previous_hash:
        return Verdict(Status.UNCHANGED, (make_reason("unchanged"),), warnings, late)
    return Verdict(Status.SUCCESS, (make_reason("verified"),), warnings, late)


def classify_without_report(facts: CycleFacts) -> Verdict:
    """Return the verdict if no report lists the database. A faulty report is a failure, unless it may be incomplete."""
    other = facts.other
    if other is not None and other.fault is not None:
        if is_before_deadline(facts) and not other.is_complete:
            return PENDING
        return Verdict(Status.FAILED, (other.fault,), late=other.moment > facts.cycle.deadline)
    if is_before_deadline(facts) or not facts.may_be_missing:
        return PENDING
    why = facts.absence_reason
    if why is None:
        why = make_reason("no_report") if other is None else make_reason("not_listed", report=other.name)
    return Verdict(Status.MISSING, (why, facts.trouble) if facts.trouble else (why,))


def is_before_deadline(facts: CycleFacts) -> bool:
    return facts.now <= facts.cycle.deadline


def is_skewed(facts: CycleFacts) -> bool:
    return facts.report is not None and facts.report.moment > facts.now + SKEW


def find_damage(found: MeasuredFile | Reason | None, claim: Claim) -> tuple[Reason, ...]:
    """Return every difference between the staged file and the claim."""
    if not isinstance(found, MeasuredFile):
        return (found,) if found else ()
    if not found.is_stable:
        return (make_reason("file_changed"),)
    size = () if found.size == claim.size else (make_reason("size_differs", found=found.size, claimed=claim.size),)
    return size if found.sha256 == claim.sha256 else (*size, make_reason("hash_differs"))


def find_size_doubts(found: MeasuredFile, limits: SizeLimits) -> list[str]:
    doubts = ["too_small"] if found.size < limits.min_size else []
    if limits.max_shrink_percent is not None and limits.usual:
        least = median(limits.usual) * (100 - limits.max_shrink_percent) / 100
        doubts += ["shrunk"] if found.size < least else []
    return doubts
