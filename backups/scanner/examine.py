"""One cycle of one job, from what lies in the deposit area to a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from django.utils import timezone

from backups import cycles
from backups.cycles import Cycle
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.querysets import CURRENT_OR_TO_BE, STORED, UNFINISHED
from backups.reasons import DOUBTS, Reason, reason
from backups.scanner import verify
from backups.scanner.claims import Claim
from backups.scanner.classify import (
    PENDING,
    SUCCESS,
    UNCHANGED,
    UNVERIFIED,
    Facts,
    Limits,
    Verdict,
    classify,
    needs_file,
)
from backups.scanner.disk import copying, opening, paths
from backups.scanner.disk.copying import Copy
from backups.scanner.disk.report_folders import Shelf
from backups.scanner.unpack import MAGIC_BYTES, ContentCheck
from backups.scanner.verify import Measured

SETTLED = (*VERIFIED, Status.UNVERIFIED)
LATER = "later_failed"
CATCH_UP = 14
COMPARED_SUCCESSES = 7


@dataclass
class Past:
    """What is known of a job: its entries by their cycle, kept up to date while later cycles are judged.

    `refused` is why nothing of it may be stored. `superseded` are the paths of stored dumps that a later dump of their
    own cycle replaces.
    """

    job: ExpectedBackupJob
    now: datetime
    entries: dict[datetime, BackupEntry] = field(default_factory=dict)
    refused: Reason | None = None
    superseded: set[str] = field(default_factory=set)

    def successes_before(self, cycle: Cycle) -> list[BackupEntry]:
        """Latest first."""
        found = [one for one in self.entries.values() if one.status == Status.SUCCESS and one.cycle_at < cycle.at]
        return sorted(found, key=lambda one: one.cycle_at, reverse=True)

    def previous_hash(self, cycle: Cycle) -> str:
        """Of the latest good backup of an earlier cycle; what was imported stands in where there is none."""
        for entry in self.successes_before(cycle):
            if not entry.has_doubts:
                return entry.server_sha256
        known = self.job.last_success_at is None or self.job.last_success_at < cycle.opens
        return self.job.previous_successful_hash.lower() if known else ""

    def usual_sizes(self, cycle: Cycle) -> list[int]:
        """Dumps in doubt count too: a database that shrank for good becomes the usual one."""
        return [one.server_size or 0 for one in islice(self.successes_before(cycle), COMPARED_SUCCESSES)]

    def is_settled(self, cycle: Cycle) -> bool:
        """Whether all is known of a cycle, unless a later report says more."""
        entry = self.entries.get(cycle.at)
        return entry is not None and (entry.is_good or entry.status == Status.UNVERIFIED)

    def has_later(self, cycle: Cycle, matters: Callable[[BackupEntry], bool]) -> bool:
        """Whether an entry of a later cycle matters. One of the future does not: a scan with `--at` has made it."""
        latest = max(self.now, timezone.now()) + timedelta(minutes=self.job.early_minutes)
        return any(cycle.at < one.cycle_at <= latest and matters(one) for one in self.entries.values())

    @property
    def current(self) -> BackupEntry | None:
        """The entry whose dump is the current version."""
        stored = (one for one in self.entries.values() if one.promotion == BackupEntry.Promotion.PROMOTED)
        return max(stored, key=lambda one: one.cycle_at, default=None)

    def holds(self, sha256: str) -> bool:
        """Whether this is the current version, sound and in the folder where it belongs."""
        entry = self.current
        if entry is None or entry.server_sha256 != sha256 or self.job.damage is not None:
            return False
        return entry.stored_path == copying.current_path(self.job, entry.staged_name) and copying.is_there(entry)

    def has_better(self, entry: BackupEntry) -> bool:
        """Whether a dump in doubt must not become the current version: one without doubts or a later one is stored.

        A current version that is damaged is no better.
        """
        if not entry.has_doubts:
            return False
        others = BackupEntry.objects.filter(job=self.job).stored().exclude(pk=entry.pk)
        if self.job.damage is not None:
            others = others.exclude(promotion=BackupEntry.Promotion.PROMOTED)
        return any(not one.has_doubts or one.cycle_at > entry.cycle_at for one in others)

    def newest_unfinished(self) -> BackupEntry | None:
        """The latest verified dump that is not stored, unless a later one is."""
        verified = [one for one in self.entries.values() if one.promotion in (*UNFINISHED, *STORED)]
        newest = max(verified, key=lambda one: one.cycle_at, default=None)
        return newest if newest is not None and newest.promotion in UNFINISHED else None


@dataclass
class Judged:
    """A verdict with what it rests on. `copy` is a sealed copy of the dump, or why there is none.

    `keeps` says that the entry stays as it is, but for a warning about a later report.
    """

    past: Past
    cycle: Cycle
    facts: Facts
    verdict: Verdict
    staged_name: str = ""
    copy: Copy | None = None
    keeps: bool = False

    @property
    def job(self) -> ExpectedBackupJob:
        return self.past.job

    @property
    def entry(self) -> BackupEntry | None:
        return self.past.entries.get(self.cycle.at)

    @property
    def measured(self) -> Measured | None:
        return self.facts.found if isinstance(self.facts.found, Measured) else None

    @property
    def known_by(self) -> list[Any] | None:
        """By what the same bad file is known again; None where the verdict is settled, or no file was read."""
        if self.measured is None or (self.verdict.status in SETTLED and not self.keeps):
            return None
        return judged_as(self.facts, self.measured.state)


def cycles_to_judge(past: Past, now: datetime) -> Iterator[Cycle]:
    """The current cycle, and until it is settled the earlier ones that nobody has recorded, oldest first.

    Of those before the job was watched there is nothing to catch up.
    """
    plan = past.job.plan
    current = cycles.current(plan, now)
    if not past.is_settled(current):
        start = past.job.counts_from(now)
        earlier = list(takewhile(lambda one: one.at >= start, islice(cycles.earlier(plan, current), CATCH_UP)))
        yield from (one for one in reversed(earlier) if is_open(past, one, one == earlier[0]))
    yield current


def is_open(past: Past, cycle: Cycle, is_previous: bool) -> bool:
    """Whether an earlier cycle is to be judged. A better backup may have come in the last minutes of its cycle."""
    entry = past.entries.get(cycle.at)
    return entry is None or (is_previous and entry.status != Status.UNVERIFIED)


def judged(past: Past, cycle: Cycle, shelf: Shelf, now: datetime, keep_alive: Callable[[], None]) -> Judged:
    """Reads what must be read, and says how the cycle stands."""
    job, entry = past.job, past.entries.get(cycle.at)
    found = shelf.look_up(job, cycle)
    facts = Facts(
        now=now,
        cycle=cycle,
        report=found.report,
        claim=found.claim,
        other=found.other,
        absent=found.absent,
        trouble=found.trouble,
        later=found.later,
        is_overwritten=found.is_overwritten,
        previous_hash=past.previous_hash(cycle),
        may_be_missing=now < job.created_at or cycle.at >= job.counts_from(now),
        limits=Limits(job.min_size_bytes, job.max_shrink_percent, past.usual_sizes(cycle)),
    )
    verified = entry if entry is not None and entry.is_verified else None
    if verified is not None and not says_more(facts, verified):
        return Judged(past, cycle, facts, PENDING)
    if found.claim is None or not needs_file(facts):
        one = Judged(past, cycle, facts, classify(facts))
    else:
        one = with_file(past, facts, found.claim, keep_alive)
    return one if verified is None or is_better(one, verified) else keeping(one, verified)


# --- A later report of a verified cycle ------------------------------------------------------------------------------


def says_more(facts: Facts, entry: BackupEntry) -> bool:
    """Whether the newest report of a verified cycle is another one than the recorded, about another dump."""
    report, claim = facts.report, facts.claim
    if report is None or claim is None or (entry.report_at is not None and report.moment < entry.report_at):
        return False
    return claim.sha256 not in (entry.agent_sha256, entry.server_sha256)


def is_better(one: Judged, entry: BackupEntry) -> bool:
    """Of two dumps in doubt a smaller one is no better: an empty file must not replace most of a database."""
    if one.verdict.status not in VERIFIED or one.measured is None:
        return False
    return not one.verdict.has_doubts or (entry.has_doubts and one.measured.size >= (entry.server_size or 0))


def keeping(one: Judged, entry: BackupEntry) -> Judged:
    """The recorded verdict with a warning: what was verified and stored is not undone by a later report."""
    if one.copy is not None:
        one.copy.discard()
    if one.verdict.status is None or one.verdict.status == UNVERIFIED or one.facts.report is None:
        return replace(one, verdict=PENDING, copy=None)
    recorded = list(takewhile(lambda why: why["code"] != LATER, entry.reasons))
    doubts = tuple(reason(code) for code in one.verdict.warnings if code in DOUBTS)
    why = doubts if one.verdict.status in VERIFIED else one.verdict.reasons
    warnings = [code for code in entry.warnings if code != LATER]
    verdict = Verdict(
        entry.status, (*recorded, reason(LATER, report=one.facts.report.name), *why), (*warnings, LATER), entry.late
    )
    return replace(one, verdict=verdict, copy=None, keeps=True)


def with_file(past: Past, facts: Facts, claim: Claim, keep_alive: Callable[[], None]) -> Judged:
    """The verdict where it hangs on the staged file, which is copied on the way where it will be wanted."""
    name, found, copy = examined(past, facts, claim, keep_alive)
    if found is None:
        return Judged(past, facts.cycle, facts, PENDING, name)
    facts = replace(facts, found=found)
    verdict = classify(facts)
    if copy is not None and verdict.status in (SUCCESS, UNCHANGED):
        copy.seal()
    elif copy is not None:
        copy.discard()
        copy = None
    return Judged(past, facts.cycle, facts, verdict, name, copy)


def examined(
    past: Past, facts: Facts, claim: Claim, keep_alive: Callable[[], None]
) -> tuple[str, Measured | Reason | None, Copy | None]:
    """Name and measure of the staged file, or why there is none; None for the same bad file as the last time."""
    job, entry = past.job, past.entries.get(facts.cycle.at)
    names = [claim.staged_name] if claim.staged_name else paths.staged_names(job.database_name)
    try:
        with opening.deposit_folder(paths.dump_folder(job)) as folder:
            name, descriptor = staged_in(folder, names, claim.size)
    except opening.Unusable as error:
        return names[0], error.why, None
    with open(descriptor, "rb", buffering=0):
        state = verify.state_of(os.fstat(descriptor))
        if entry is not None and entry.judged == judged_as(facts, state):
            return name, None, None
        is_wanted = (
            state[2] == claim.size and not past.holds(claim.sha256) and not past.has_later(facts.cycle, is_stored)
        )
        copy = Copy.begin(past.job, name, claim.size or 0, past.refused) if is_wanted else None
        return name, *measured(descriptor, name, copy, job.deep_check, keep_alive)


def measured(
    descriptor: int, name: str, copy: Copy | None, deep: bool, keep_alive: Callable[[], None]
) -> tuple[Measured | Reason, Copy | None]:
    try:
        with copying.discarded_on_failure(copy):
            write = copy.write if copy is not None else None
            check = ContentCheck(name, os.pread(descriptor, MAGIC_BYTES, 0), deep=deep)
            return verify.measure(descriptor, copy=write, check=check, keep_alive=keep_alive), copy
    except OSError:
        return reason("file_unreadable", name=name), None


def staged_in(folder: int, names: list[str], size: int | None) -> tuple[str, int]:
    """The staged file: of several it may be, the one of the claimed size, else the first. Raises Unusable.

    An agent that went over to another format leaves the last dump in the old one behind.
    """
    found: list[tuple[str, int]] = []
    trouble: opening.Unusable | None = None
    for name in names:
        try:
            found.append((name, opening.opened_file(name, folder)))
        except opening.Unusable as error:
            if trouble is None or (is_absence(trouble) and not is_absence(error)):
                trouble = error
    if not found:
        raise trouble or opening.Unusable(reason("file_absent", name=""))
    chosen = next((one for one in found if os.fstat(one[1]).st_size == size), found[0])
    for one in found:
        if one is not chosen:
            os.close(one[1])
    return chosen


def is_absence(error: opening.Unusable) -> bool:
    return bool(error.why["code"] == "file_absent")


def is_stored(entry: BackupEntry) -> bool:
    """Whether it is the current version or is about to be, so that no older dump may take its place."""
    return entry.promotion in CURRENT_OR_TO_BE and not entry.has_doubts


def judged_as(facts: Facts, state: tuple[int, ...]) -> list[Any]:
    """By what a bad staged file, and what was said of it, is known again."""
    claim = facts.claim
    said = [claim.sha256, claim.size] if claim else []
    return [facts.report.name if facts.report else "", *said, *state]
