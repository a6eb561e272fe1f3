"""What came instead of the report that a cycle waits for, so that a message never says that nothing came. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from backups.cycles import Cycle
from backups.reasons import Reason, quoted, reason
from backups.scanner.report import Report

# A report closer to its own expected time than to the one before; of a weekly backup, half a day.
NEAREST = timedelta(hours=12)
# A clock that has lost its battery starts in 1970 or 1980.
FIRST_YEAR = 2000


def hint(
    database: str, cycle: Cycle, reports: Sequence[Report], ahead: Sequence[Report], unread: Sequence[str]
) -> Reason | None:
    """Why no report counts for the cycle, by what else is in the folder; None where nothing is.

    `reports` are oldest first, `ahead` are those that were there before their own time, `unread` are names of files
    that no rule reads.
    """
    about = [one for one in reports if database in one.claims or one.fault is not None]
    if early := [one for one in about if is_early(one, cycle)]:
        return early_report(early[-1], cycle)
    if any(one in ahead for one in about if cycle.holds(one.moment)):
        return reason("report_ahead", report=next(one for one in about if one in ahead).name)
    if odd := [one for one in about if is_of_another_time(one, cycle)]:
        return reason("report_of_another_time", report=odd[-1].name, moment=f"{odd[-1].moment:%Y-%m-%d %H:%M}")
    return reason("reports_unread", name=unread[-1], count=len(unread)) if unread else None


def is_early(one: Report, cycle: Cycle) -> bool:
    return cycle.opens - min(NEAREST, (cycle.closes - cycle.opens) / 2) <= one.moment < cycle.opens


def early_report(one: Report, cycle: Cycle) -> Reason:
    minute = timedelta(minutes=1)
    return reason(
        "report_early",
        report=one.name,
        moment=f"{one.moment:%Y-%m-%d %H:%M}",
        minutes=-(-(cycle.at - one.moment) // minute),
        most=(cycle.at - cycle.opens) // minute,
    )


def is_of_another_time(one: Report, cycle: Cycle) -> bool:
    is_named_so = one.named_at is not None and cycle.holds(one.named_at) and not cycle.holds(one.moment)
    return is_named_so or one.moment.year < FIRST_YEAR


def listed_otherwise(database: str, one: Report) -> Reason | None:
    """Another spelling of the database's name in a report that does not list it."""
    alike = next((name for name in one.unexpected if name.casefold() == quoted(database).casefold()), None)
    return reason("listed_in_other_case", report=one.name, name=alike) if alike is not None else None
