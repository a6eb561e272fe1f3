"""Examine one cycle of one job: collect the facts from reports and the staged file, and classify them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from backups import cycles
from backups.cycles import Cycle
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.querysets import CURRENT_OR_TO_BE
from backups.reasons import DOUBTS, Reason, make_reason
from backups.scanner.claims import Claim
from backups.scanner.classify import PENDING, CycleFacts, SizeLimits, Verdict, classify_cycle, needs_staged_file
from backups.scanner.disk import copying, paths
from backups.scanner.disk.copying import DumpCopy
from backups.scanner.disk.opening import UnusablePath, file_state, open_staged_file
from backups.scanner.disk.report_folders import ReportFolders
from backups.scanner.job_history import JobHistory
from backups.scanner.unpack import MAGIC_BYTES, ContentCheck
from backups.scanner.verify import MeasuredFile, measure_file

SETTLED = (*VERIFIED, Status.UNVERIFIED)
LATER = "later_failed"
MAX_CATCH_UP = 14


@dataclass
class ExaminedCycle:
    """A verdict with the facts behind it. `copy` is a sealed copy of the dump, or records why there is none.

    With `keeps_entry`, only reasons, warnings and the bad-file key of the entry change: it keeps its status and dump.
    """

    history: JobHistory
    cycle: Cycle
    facts: CycleFacts
    verdict: Verdict
    staged_name: str = ""
    copy: DumpCopy | None = None
    keeps_entry: bool = False

    @property
    def job(self) -> ExpectedBackupJob:
        return self.history.job

    @property
    def entry(self) -> BackupEntry | None:
        return self.history.entries.get(self.cycle.at)

    @property
    def measured(self) -> MeasuredFile | None:
        return self.facts.staged if isinstance(self.facts.staged, MeasuredFile) else None

    @property
    def bad_file_key(self) -> list[Any] | None:
        """The key that recognizes the same bad file next time; None for a settled verdict or without a file."""
        if self.measured is None or (self.verdict.status in SETTLED and not self.keeps_entry):
            return None
        return make_bad_file_key(self.facts, self.measured.state)

    def discard_copy(self) -> None:
        if self.copy is not None:
            self.copy.discard()
            self.copy = None


def list_open_cycles(history: JobHistory, now: datetime) -> Iterator[Cycle]:
    """Yield the unrecorded earlier cycles, oldest first, then the current one; only that one if it is settled.

    Catches up at most MAX_CATCH_UP cycles, and none before the job was watched. Raises ValueError for unknown weekdays.
    """
    timetable = history.job.timetable
    current = cycles.current_cycle(timetable, now)
    if not history.is_settled(current):
        start = history.job.counts_from(now)
        recent = islice(cycles.earlier_cycles(timetable, current), MAX_CATCH_UP)
        earlier = list(takewhile(lambda cycle: cycle.at >= start, recent))
        yield from (cycle for cycle in reversed(earlier) if is_open(history, cycle, cycle == earlier[0]))
    yield current


def is_open(history: JobHistory, cycle: Cycle, is_previous: bool) -> bool:
    """Return True if an earlier cycle needs a verdict: a better backup may come in the last minutes of the previous."""
    entry = history.entries.get(cycle.at)
    return entry is None or (is_previous and entry.status != Status.UNVERIFIED)


def examine_cycle(
    history: JobHistory, cycle: Cycle, folders: ReportFolders, now: datetime, keep_alive: Callable[[], None]
) -> ExaminedCycle:
    """Read what must be read, and return the verdict on the cycle."""
    entry = history.entries.get(cycle.at)
    facts = collect_facts(history, cycle, folders, now)
    verified = entry if entry is not None and entry.is_verified else None
    if verified is not None and not brings_new_dump(facts, verified):
        return ExaminedCycle(history, cycle, facts, PENDING)
    if facts.claim is None or not needs_staged_file(facts):
        examined = ExaminedCycle(history, cycle, facts, classify_cycle(facts))
    else:
        examined = examine_staged_file(history, facts, facts.claim, keep_alive)
    return examined if verified is None or is_better(examined, verified) else keep_recorded(examined, verified)


def collect_facts(history: JobHistory, cycle: Cycle, folders: ReportFolders, now: datetime) -> CycleFacts:
    job = history.job
    return CycleFacts(
        now=now,
        cycle=cycle,
        **vars(folders.find_reports(job, cycle)),
        previous_hash=history.previous_hash(cycle),
        may_be_missing=now < job.created_at or cycle.at >= job.counts_from(now),
        limits=SizeLimits(job.min_size_bytes, job.max_shrink_percent, history.usual_sizes(cycle)),
    )


# --- A later report of a verified cycle ------------------------------------------------------------------------------


def brings_new_dump(facts: CycleFacts, entry: BackupEntry) -> bool:
    """Return True if the newest report of a verified cycle is not the recorded one, and claims another dump."""
    report, claim = facts.report, facts.claim
    if report is None or claim is None or (entry.report_at is not None and report.moment < entry.report_at):
        return False
    return claim.sha256 not in (entry.agent_sha256, entry.server_sha256)


def is_better(examined: ExaminedCycle, entry: BackupEntry) -> bool:
    """Return True if the new dump may replace the recorded one.

    Of two dumps in doubt, a smaller one may not: an empty file must not replace most of a database.
    """
    if examined.verdict.status not in VERIFIED or examined.measured is None:
        return False
    is_larger = examined.measured.size >= (entry.server_size or 0)
    return not examined.verdict.has_doubts or (entry.has_doubts and is_larger)


def keep_recorded(examined: ExaminedCycle, entry: BackupEntry) -> ExaminedCycle:
    """Keep the recorded verdict, with a warning: a later report never undoes what was verified and stored."""
    if examined.copy is not None:
        examined.copy.discard()
    verdict, report = examined.verdict, examined.facts.report
    if verdict.status is None or verdict.status == Status.UNVERIFIED or report is None:
        return replace(examined, verdict=PENDING, copy=None)
    recorded = takewhile(lambda why: why["code"] != LATER, entry.reasons)
    doubts = tuple(make_reason(code) for code in verdict.warnings if code in DOUBTS)
    why = doubts if verdict.status in VERIFIED else verdict.reasons
    warnings = [code for code in entry.warnings if code != LATER]
    reasons = (*recorded, make_reason(LATER, report=report.name), *why)
    kept = Verdict(entry.status, reasons, (*warnings, LATER), entry.late)
    return replace(examined, verdict=kept, copy=None, keeps_entry=True)


# --- The staged file -------------------------------------------------------------------------------------------------


def examine_staged_file(
    history: JobHistory, facts: CycleFacts, claim: Claim, keep_alive: Callable[[], None]
) -> ExaminedCycle:
    """Measure the staged file, copying it if it will be stored, and classify the cycle."""
    name, found, copy = measure_staged_file(history, facts, claim, keep_alive)
    if found is None:
        return ExaminedCycle(history, facts.cycle, facts, PENDING, name)
    facts = replace(facts, staged=found)
    verdict = classify_cycle(facts)
    if copy is not None and verdict.status in VERIFIED:
        copy.seal()
    elif copy is not None:
        copy.discard()
        copy = None
    return ExaminedCycle(history, facts.cycle, facts, verdict, name, copy)


def measure_staged_file(
    history: JobHistory, facts: CycleFacts, claim: Claim, keep_alive: Callable[[], None]
) -> tuple[str, MeasuredFile | Reason | None, DumpCopy | None]:
    """Return the name and measure of the staged file, or why there is none; None for the same bad file as last time."""
    job, entry = history.job, history.entries.get(facts.cycle.at)
    names = [claim.staged_name] if claim.staged_name else paths.default_staged_names(job.database_name)
    try:
        name, descriptor = open_staged_file(paths.dump_folder(job), names, claim.size)
    except UnusablePath as error:
        return names[0], error.why, None
    with open(descriptor, "rb", buffering=0):
        opened = os.fstat(descriptor)
        state = file_state(opened)
        if entry is not None and entry.judged == make_bad_file_key(facts, state):
            return name, None, None
        is_wanted = (
            opened.st_size == claim.size
            and not history.has_current_version(claim.sha256)
            and not history.has_later_entry(facts.cycle, blocks_older_dumps)
        )
        copy = DumpCopy.start(job, name, claim.size or 0, history.storage_refusal) if is_wanted else None
        return name, *measure_open_file(descriptor, name, copy, job.deep_check, keep_alive)


def measure_open_file(
    descriptor: int, name: str, copy: DumpCopy | None, deep: bool, keep_alive: Callable[[], None]
) -> tuple[MeasuredFile | Reason, DumpCopy | None]:
    try:
        with copying.discarding_on_failure(copy):
            write = copy.write if copy is not None else None
            check = ContentCheck(name, os.pread(descriptor, MAGIC_BYTES, 0), deep=deep)
            return measure_file(descriptor, copy=write, check=check, keep_alive=keep_alive), copy
    except OSError:
        return make_reason("file_unreadable", name=name), None


def blocks_older_dumps(entry: BackupEntry) -> bool:
    """Return True if no older dump may take the place of this one: it is the current version, or will be."""
    return entry.promotion in CURRENT_OR_TO_BE and not entry.has_doubts


def make_bad_file_key(facts: CycleFacts, state: tuple[int, ...]) -> list[Any]:
    """Return what recognizes a bad staged file, and the claim about it, so that it is not hashed again."""
    claimed = [facts.claim.sha256, facts.claim.size] if facts.claim else []
    return [facts.report.name if facts.report else "", *claimed, *state]
