"""The reports of one machine: each folder is listed once per scan, and each report parsed once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vigie_client.contract import path_name

from backups.cycles import Cycle
from backups.models import DepositArea, ExpectedBackupJob
from backups.reasons import Reason, make_reason, to_single_line
from backups.scanner import hints, report
from backups.scanner.claims import Claim
from backups.scanner.classify import SKEW, CycleReports
from backups.scanner.disk import paths
from backups.scanner.disk.opening import UnusablePath, list_names, open_deposit_folder, read_content
from backups.scanner.report import AgentReport

# The time in a file name may be local, or the beginning of a long operation: it is accurate to a day.
NAME_TOLERANCE = timedelta(days=1)
# An hourly report for fourteen weeks. If there are more, the newest are read.
MAX_REPORTS, MAX_BYTES = 2_500, 64 * 1024 * 1024
MAX_AHEAD, AHEAD_KEPT = 100, timedelta(days=30)
MAX_UNREAD = 20


@dataclass
class ReportFolders:
    """The reports of a machine by folder, as far as their names are not older than `since`.

    `unread` are JSON files whose names no rule matches. The area remembers reports that arrived before the cycle they
    claim had opened: a clock that is ahead must not make yesterday's backup tomorrow's.
    """

    area: DepositArea
    wanted: Collection[str]
    since: datetime
    keep_alive: Callable[[], None]
    reports: dict[tuple[str, ...], list[AgentReport]] = field(default_factory=dict)
    troubles: dict[tuple[str, ...], Reason] = field(default_factory=dict)
    unread: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def find_reports(self, job: ExpectedBackupJob, cycle: Cycle) -> CycleReports:
        folder, database = paths.report_folder(job), paths.normalize_name(job.database_name)
        reports = self.reports_in(folder)
        ahead = [found for found in reports if self.arrived_before(found, cycle)]
        in_cycle = [found for found in reports if cycle.contains(found.moment) and found not in ahead]
        listing = [found for found in in_cycle if database in found.claims]
        if listing:
            newest = listing[-1]
            later, is_overwritten = find_later_use(reports, newest, cycle, database)
            claim = newest.claims[database]
            return CycleReports(report=newest, claim=claim, later=later, is_overwritten=is_overwritten)
        trouble = self.troubles.get(folder)
        if in_cycle:
            other = ([found for found in in_cycle if found.fault is not None] or in_cycle)[-1]
            absence_reason = hints.explain_unlisted(database, other)
            return CycleReports(other=other, trouble=trouble, absence_reason=absence_reason)
        unread = self.unread.get(folder, [])
        absence_reason = hints.explain_missing_report(database, cycle, reports, ahead, unread)
        return CycleReports(trouble=trouble, absence_reason=absence_reason)

    def reports_in(self, folder: tuple[str, ...]) -> list[AgentReport]:
        """Return the reports of a folder, oldest first. A folder that cannot be used holds none."""
        if folder not in self.reports:
            try:
                self.reports[folder] = self.read_folder(folder)
            except UnusablePath as error:
                self.reports[folder], self.troubles[folder] = [], error.why
        return self.reports[folder]

    def arrived_before(self, found: AgentReport, cycle: Cycle) -> bool:
        first_seen_at = self.area.ahead.get(found.name)
        return first_seen_at is not None and datetime.fromisoformat(first_seen_at) < cycle.opens

    def read_folder(self, folder: tuple[str, ...]) -> list[AgentReport]:
        """Read the newest reports within MAX_REPORTS and MAX_BYTES."""
        found: list[AgentReport] = []
        left = MAX_BYTES
        with open_deposit_folder(folder) as descriptor:
            dated = [
                (report.moment_of_name(name, self.area.agent_id), name)
                for name in list_names(descriptor, "/".join(folder))
            ]
            self.unread[folder] = self.list_unread(folder, [name for moment, name in dated if moment is None])
            recent = sorted((moment, name) for moment, name in dated if moment is not None and self.is_recent(moment))
            for moment, name in reversed(recent[-MAX_REPORTS:]):
                self.keep_alive()
                parsed, size = self.read_report(name, moment, descriptor)
                found.append(parsed)
                left -= size
                if left < 0:
                    break
        return sorted(found, key=lambda parsed: (parsed.moment, parsed.name))

    def is_recent(self, named_at: datetime) -> bool:
        """Return True for a report to read. One of an unset clock would otherwise never be mentioned."""
        return named_at >= self.since - NAME_TOLERANCE or named_at.year < hints.FIRST_YEAR

    def list_unread(self, folder: tuple[str, ...], names: list[str]) -> list[str]:
        """Return the JSON files that no rule reads, except other machines' reports in a shared folder."""
        is_own = path_name(self.area.agent_id).lower() in [part.lower() for part in folder]
        json_names = [name for name in names if name.lower().endswith(".json") and not name.startswith(".")]
        unread = [name for name in json_names if is_own or not report.REPORT_NAME.fullmatch(name)]
        return sorted(map(to_single_line, unread))[-MAX_UNREAD:]

    def read_report(self, name: str, named_at: datetime, folder: int) -> tuple[AgentReport, int]:
        """Return a report and the number of bytes read."""
        try:
            content = read_content(name, folder, report.LARGEST)
        except UnusablePath:
            fault = make_reason("report_unreadable")
            return AgentReport(name, named_at, fault=fault, is_complete=False, named_at=named_at), 0
        return report.parse_report(name, named_at, self.area.agent_id, self.wanted, content), len(content)

    # --- What is saved of the area -----------------------------------------------------------------------------------

    def reports_ahead(self, now: datetime) -> dict[str, str]:
        """Return when each report of a future time was first seen; those known before are kept for a while."""
        known = {
            name: first_seen_at
            for name, first_seen_at in self.area.ahead.items()
            if datetime.fromisoformat(first_seen_at) > now - AHEAD_KEPT
        }
        ahead = [found for found in self.all_reports() if found.moment > now + SKEW]
        return {found.name: now.isoformat() for found in ahead[:MAX_AHEAD]} | known

    def spellings(self) -> list[str]:
        return sorted({code for found in self.all_reports() for code in found.spellings})

    def unread_names(self) -> list[str]:
        return sorted(name for names in self.unread.values() for name in names)[-MAX_UNREAD:]

    def unexpected_databases(self) -> list[str]:
        """Return the databases without a job in the newest report of each folder."""
        newest = [reports[-1] for reports in self.reports.values() if reports]
        return sorted({to_single_line(name) for found in newest for name in found.unexpected})

    def all_reports(self) -> list[AgentReport]:
        return [found for reports in self.reports.values() for found in reports]


def find_later_use(reports: list[AgentReport], newest: AgentReport, cycle: Cycle, database: str) -> tuple[str, bool]:
    """Return the first report after this cycle on the same staged file, and whether one of them replaced the file."""
    name = staged_name_of(newest.claims[database], database)
    later = [
        found
        for found in reports
        if found.moment >= cycle.closes
        and database in found.claims
        and staged_name_of(found.claims[database], database) == name
    ]
    claims = [found.claims[database] for found in later]
    return (later[0].name if later else ""), any(not (claim.failed or claim.faults) for claim in claims)


def staged_name_of(claim: Claim, database: str) -> str:
    return claim.staged_name or paths.default_staged_names(database)[0]
