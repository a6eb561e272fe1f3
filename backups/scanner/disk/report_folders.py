"""The reports of one machine: each log folder listed once a scan, each report parsed once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backups.cycles import Cycle
from backups.models import DepositArea, ExpectedBackupJob
from backups.reasons import Reason, quoted, reason
from backups.scanner import hints, report
from backups.scanner.claims import Claim
from backups.scanner.classify import SKEW
from backups.scanner.disk import opening, paths
from backups.scanner.report import Report

# A name may be in local time and tell the beginning of a long operation: it is believed to the day.
NAME_TOLERANCE = timedelta(days=1)
# Reports of fourteen weeks, one an hour. Of more, the newest.
MOST_REPORTS, MOST_BYTES = 2_500, 64 * 1024 * 1024
MOST_AHEAD, AHEAD_KEPT = 100, timedelta(days=30)
MOST_UNREAD = 20


@dataclass(frozen=True)
class Found:
    """What the reports say of one cycle of one job; see classify.Facts. `absent` is why none lists the database."""

    report: Report | None = None
    claim: Claim | None = None
    other: Report | None = None
    later: str = ""
    is_overwritten: bool = False
    trouble: Reason | None = None
    absent: Reason | None = None


@dataclass
class Shelf:
    """Reports whose name is not older than `since`, by their folder. `unread` are JSON files that no rule reads.

    The area remembers reports that were there before the cycle they speak of had opened: a clock that is ahead must not
    make yesterday's backup tomorrow's.
    """

    area: DepositArea
    wanted: Collection[str]
    since: datetime
    keep_alive: Callable[[], None]
    folders: dict[tuple[str, ...], list[Report]] = field(default_factory=dict)
    troubles: dict[tuple[str, ...], Reason] = field(default_factory=dict)
    unread: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def look_up(self, job: ExpectedBackupJob, cycle: Cycle) -> Found:
        folder, database = paths.report_folder(job), paths.normal(job.database_name)
        reports = self.reports_in(folder)
        ahead = [found for found in reports if self.is_older(found, cycle)]
        in_cycle = [found for found in reports if cycle.holds(found.moment) and found not in ahead]
        listing = [found for found in in_cycle if database in found.claims]
        if listing:
            newest = listing[-1]
            later, is_overwritten = later_use(reports, newest, cycle, database)
            return Found(newest, newest.claims[database], None, later, is_overwritten)
        trouble = self.troubles.get(folder)
        if in_cycle:
            other = [found for found in in_cycle if found.fault is not None] or in_cycle
            return Found(other=other[-1], trouble=trouble, absent=hints.listed_otherwise(database, other[-1]))
        absent = hints.hint(database, cycle, reports, ahead, self.unread.get(folder, []))
        return Found(trouble=trouble, absent=absent)

    def reports_in(self, folder: tuple[str, ...]) -> list[Report]:
        """Oldest first."""
        if folder not in self.folders:
            try:
                self.folders[folder] = self.read(folder)
            except opening.Unusable as error:
                self.folders[folder], self.troubles[folder] = [], error.why
        return self.folders[folder]

    def is_older(self, found: Report, cycle: Cycle) -> bool:
        seen = self.area.ahead.get(found.name)
        return seen is not None and datetime.fromisoformat(seen) < cycle.opens

    def read(self, folder: tuple[str, ...]) -> list[Report]:
        """The newest first, as far as there is room in memory for them."""
        found: list[Report] = []
        left = MOST_BYTES
        with opening.deposit_folder(folder) as descriptor:
            names = opening.names_in(descriptor, "/".join(folder))
            named = [(report.moment_in(name, self.area.agent_id), name) for name in names]
            self.unread[folder] = self.unread_in(folder, [name for moment, name in named if moment is None])
            recent = sorted((moment, name) for moment, name in named if moment is not None and self.is_recent(moment))
            for moment, name in reversed(recent[-MOST_REPORTS:]):
                self.keep_alive()
                one, size = self.parsed(name, moment, descriptor)
                found.append(one)
                left -= size
                if left < 0:
                    break
        return sorted(found, key=lambda one: (one.moment, one.name))

    def is_recent(self, named_at: datetime) -> bool:
        """Whether a report is read: also one whose clock was never set, which would otherwise never be mentioned."""
        return named_at >= self.since - NAME_TOLERANCE or named_at.year < hints.FIRST_YEAR

    def unread_in(self, folder: tuple[str, ...], names: list[str]) -> list[str]:
        """JSON files that no rule reads. In a folder that machines share, the reports of the others are theirs."""
        is_own = paths.reduced(self.area.agent_id).lower() in [part.lower() for part in folder]
        found = [name for name in names if name.lower().endswith(".json") and not name.startswith(".")]
        return sorted(quoted(name) for name in found if is_own or not report.REPORT_NAME.fullmatch(name))[-MOST_UNREAD:]

    def parsed(self, name: str, named_at: datetime, folder: int) -> tuple[Report, int]:
        """With the number of bytes read."""
        try:
            content = opening.content_of(name, folder, report.LARGEST)
        except opening.Unusable:
            fault = reason("report_unreadable")
            return Report(name, named_at, fault=fault, is_whole=False, named_at=named_at), 0
        return report.parsed(name, named_at, self.area.agent_id, self.wanted, content), len(content)

    def ahead(self, now: datetime) -> dict[str, str]:
        """The reports that speak of a time to come, with when they were first seen; those known before stay a while."""
        known = {
            name: seen for name, seen in self.area.ahead.items() if datetime.fromisoformat(seen) > now - AHEAD_KEPT
        }
        found = [one for reports in self.folders.values() for one in reports if one.moment > now + SKEW]
        return {one.name: now.isoformat() for one in found[:MOST_AHEAD]} | known

    def spellings(self) -> list[str]:
        """Codes of the variants that its reports use."""
        return sorted({code for reports in self.folders.values() for one in reports for code in one.spellings})

    def unread_names(self) -> list[str]:
        return sorted(name for names in self.unread.values() for name in names)[-MOST_UNREAD:]

    def unexpected(self) -> list[str]:
        """Databases of the newest report of each folder that no job expects."""
        newest = [reports[-1] for reports in self.folders.values() if reports]
        return sorted({quoted(name) for found in newest for name in found.unexpected})


def later_use(reports: list[Report], newest: Report, cycle: Cycle, database: str) -> tuple[str, bool]:
    """The first report after this cycle on the same staged file, and whether any of those says that it replaced it."""
    claim = newest.claims[database]
    later = [
        found
        for found in reports
        if found.moment >= cycle.closes
        and database in found.claims
        and staged_name(found.claims[database], database) == staged_name(claim, database)
    ]
    overwritten = any(not (one.claims[database].failed or one.claims[database].faults) for one in later)
    return (later[0].name if later else ""), overwritten


def staged_name(claim: Claim, database: str) -> str:
    return claim.staged_name or paths.staged_names(database)[0]
