"""The verdict on one cycle of one job. Pure: facts in, verdict out, no file and no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from backups.cycles import Cycle
from backups.reasons import DOUBTS, Reason, reason
from backups.scanner.claims import Claim
from backups.scanner.report import Report
from backups.scanner.verify import Measured

SKEW = timedelta(minutes=5)
# The priority: the first that applies is the status.
MISSING, FAILED, DAMAGED = "MISSING", "FAILED", "TRANSFER_INTEGRITY_FAILED"
UNVERIFIED, UNCHANGED, SUCCESS = "UNVERIFIED", "HASH_MISMATCH", "SUCCESS"


@dataclass(frozen=True)
class Limits:
    """What a job expects of a dump; sizes in bytes. `usual` are the sizes of the last successes."""

    min_size: int = 0
    max_shrink_percent: int | None = None
    usual: Sequence[int] = ()


@dataclass(frozen=True)
class Facts:
    """What is known of a cycle at the moment `now`.

    `report` is the newest in the cycle that lists the database, `claim` what it says; where there is none, `other` is
    one that does not list it, or that cannot be read at all. `later` is the name of a later report on the same staged
    file, and `is_overwritten` says whether that one claims to have replaced it. `found` is what was measured, or why
    nothing could be. `absent` is why no report lists the database, by what is there instead, and `trouble` what keeps
    the reports from being read.
    """

    now: datetime
    cycle: Cycle
    report: Report | None = None
    claim: Claim | None = None
    other: Report | None = None
    absent: Reason | None = None
    trouble: Reason | None = None
    later: str = ""
    is_overwritten: bool = False
    found: Measured | Reason | None = None
    previous_hash: str = ""
    may_be_missing: bool = True
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Verdict:
    """`status` is None where nothing can be said yet: pending."""

    status: str | None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    late: bool = False

    @property
    def has_doubts(self) -> bool:
        """Whether a warning is about the content of the dump."""
        return not DOUBTS.isdisjoint(self.warnings)


PENDING = Verdict(None)


def needs_file(facts: Facts) -> bool:
    """Whether the verdict hangs on the staged file."""
    claim = facts.claim
    return claim is not None and not (claim.failed or claim.faults or facts.is_overwritten)


def classify(facts: Facts) -> Verdict:
    if facts.report is None or facts.claim is None:
        return without_report(facts)
    claim, found, moment = facts.claim, facts.found, facts.report.moment
    late = moment > facts.cycle.deadline
    punctuality = (*(("early",) if moment < facts.cycle.at else ()), *(("clock_skew",) if is_skewed(facts) else ()))
    if claim.failed or claim.faults:
        said = (claim.failed,) if claim.failed else ()
        return Verdict(FAILED, (*said, *claim.faults), punctuality, late)
    damage = damages(found, claim)
    if facts.is_overwritten or (damage and facts.later):
        return Verdict(UNVERIFIED, (reason("overwritten", report=facts.later),), punctuality, late)
    if damage or not isinstance(found, Measured):
        return PENDING if is_before_deadline(facts) else Verdict(DAMAGED, damage, punctuality, late)
    contradiction = ("overall_failed",) if facts.report.is_contradictory else ()
    warnings = (*found.doubts, *doubts_by_size(found, facts.limits), *contradiction, *punctuality)
    if found.sha256 == facts.previous_hash:
        return Verdict(UNCHANGED, (reason("unchanged"),), warnings, late)
    return Verdict(SUCCESS, (reason("verified"),), warnings, late)


def without_report(facts: Facts) -> Verdict:
    """Nothing lists the database. A report that is there and wrong is a failure, unless it may be in writing still."""
    other = facts.other
    if other is not None and other.fault is not None:
        if is_before_deadline(facts) and not other.is_whole:
            return PENDING
        return Verdict(FAILED, (other.fault,), late=other.moment > facts.cycle.deadline)
    if is_before_deadline(facts) or not facts.may_be_missing:
        return PENDING
    why = facts.absent or (reason("not_listed", report=other.name) if other is not None else reason("no_report"))
    return Verdict(MISSING, (why, facts.trouble) if facts.trouble else (why,))


def is_before_deadline(facts: Facts) -> bool:
    return facts.now <= facts.cycle.deadline


def is_skewed(facts: Facts) -> bool:
    return facts.report is not None and facts.report.moment > facts.now + SKEW


def damages(found: Measured | Reason | None, claim: Claim) -> tuple[Reason, ...]:
    """In what the staged file differs from what the machine says, all of it."""
    if not isinstance(found, Measured):
        return (found,) if found else ()
    if not found.is_stable:
        return (reason("file_changed"),)
    size = () if found.size == claim.size else (reason("size_differs", found=found.size, claimed=claim.size),)
    return size if found.sha256 == claim.sha256 else (*size, reason("hash_differs"))


def doubts_by_size(found: Measured, limits: Limits) -> list[str]:
    doubts = ["too_small"] if found.size < limits.min_size else []
    if limits.max_shrink_percent is not None and limits.usual:
        least = median(limits.usual) * (100 - limits.max_shrink_percent) / 100
        doubts += ["shrunk"] if found.size < least else []
    return doubts
