"""Explain a missing report by what arrived instead, so that a message never claims that nothing came. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from backups.cycles import Cycle
from backups.reasons import Reason, make_reason, to_single_line
from backups.scanner.report import AgentReport

# A report this long before a cycle opens still is an early one of it, or half a cycle before if that is shorter.
LONGEST_EARLY = timedelta(hours=12)
# A clock that has lost its battery starts in 1970 or 1980.
FIRST_YEAR = 2000
MINUTE = timedelta(minutes=1)


def explain_missing_report(
    database: str, cycle: Cycle, reports: Sequence[AgentReport], ahead: Sequence[AgentReport], unread: Sequence[str]
) -> Reason | None:
    """Return why no report counts for the cycle, or None if nothing explains it.

    `reports` are sorted oldest first, `ahead` arrived before their own time, and `unread` are names of JSON files that
    no rule matches.
    """
    related = [report for report in reports if database in report.claims or report.fault is not None]
    if early := [report for report in related if is_early(report, cycle)]:
        return make_reason(
            "report_early",
            report=early[-1].name,
            moment=f"{early[-1].moment:%Y-%m-%d %H:%M}",
            minutes=-(-(cycle.at - early[-1].moment) // MINUTE),
            most=(cycle.at - cycle.opens) // MINUTE,
        )
    if ahead_in_cycle := [report for report in related if report in ahead and cycle.contains(report.moment)]:
        return make_reason("report_ahead", report=ahead_in_cycle[0].name)
    if odd := [report for report in related if has_wrong_time(report, cycle)]:
        moment = f"{odd[-1].moment:%Y-%m-%d %H:%M}"
        return make_reason("report_of_another_time", report=odd[-1].name, moment=moment)
    return make_reason("reports_unread", name=unread[-1], count=len(unread)) if unread else None


def is_early(report: AgentReport, cycle: Cycle) -> bool:
    return cycle.opens - min(LONGEST_EARLY, (cycle.closes - cycle.opens) / 2) <= report.moment < cycle.opens


def has_wrong_time(report: AgentReport, cycle: Cycle) -> bool:
    """Return True if the name of a report is in the cycle and its time is not, or if its clock was never set."""
    is_named_in_cycle = report.named_at is not None and cycle.contains(report.named_at)
    return (is_named_in_cycle and not cycle.contains(report.moment)) or report.moment.year < FIRST_YEAR


def explain_unlisted(database: str, report: AgentReport) -> Reason | None:
    """Return a reason if a report lists the database in another case."""
    wanted = to_single_line(database).casefold()
    alike = next((name for name in report.unexpected if name.casefold() == wanted), None)
    return make_reason("listed_in_other_case", report=report.name, name=alike) if alike is not None else None
