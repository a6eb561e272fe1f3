"""A report in words and figures as its reader writes them, the same on every page and in every format for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from beta.report.gather import Report
from beta.report.verdict import CONDITIONS, VERDICTS, Condition, is_without_feedback
from monitoring.figures.uptime import percent
from portal.base.words import EMPTY_VALUE, format_count, format_moment, round_half_up


class Fact(NamedTuple):
    """A figure, what it is called, and how it differs from the snapshot before: "" where it does not."""

    label: str
    value: str
    change: str = ""


# --- Figures ---------------------------------------------------------------------------------------------------------


def score(value: float | None) -> str:
    """`7.40`, which in French is `7,40`."""
    return EMPTY_VALUE if value is None else number_format(value, 2, use_l10n=True)


def milliseconds(value: float | None) -> str:
    return (
        EMPTY_VALUE
        if value is None
        else _("%(count)s ms") % {"count": number_format(value, 1, use_l10n=True, force_grouping=True)}
    )


def share(value: float | None) -> str:
    return percent(value)


def count(value: float | None) -> str:
    return EMPTY_VALUE if value is None else format_count(int(value))


def signed(value: int | None) -> str:
    """`+14`, `−20`, `0`: an NPS is said with its sign."""
    if value is None:
        return EMPTY_VALUE
    return f"{value:+d}".replace("-", "−") if value else "0"


def difference(now: float | None, before: float | None, digits: int = 0) -> str:
    """`+0.40`, `−2`; "" where there is nothing to compare, or nothing has changed."""
    if now is None or before is None:
        return ""
    changed = round_half_up(now - before, digits)
    sign = "+" if changed > 0 else "−"
    return f"{sign}{number_format(abs(changed), digits, use_l10n=True, force_grouping=True)}" if changed else ""


# --- Conditions ------------------------------------------------------------------------------------------------------

SHOWN = {
    "participants": count,
    "score": score,
    "critical_bugs": count,
    "latency": milliseconds,
    "error_rate": share,
}
SIGNS = {"participants": "≥", "score": "≥", "critical_bugs": "=", "latency": "<", "error_rate": "<"}


def name_of(condition: Condition) -> str:
    return str(CONDITIONS[condition["name"]])


def value_of(condition: Condition) -> str:
    return SHOWN[condition["name"]](condition["value"])


def target_of(condition: Condition) -> str:
    """`at least 5`, `below 500.0 ms`, `none`."""
    if condition["name"] == "critical_bugs":
        return _("none")
    text = _("at least %(target)s") if SIGNS[condition["name"]] == "≥" else _("below %(target)s")
    return text % {"target": SHOWN[condition["name"]](condition["target"])}


def outcome_of(condition: Condition) -> str:
    return {True: _("met"), False: _("missed"), None: _("unknown")}[condition["ok"]]


# --- The whole -------------------------------------------------------------------------------------------------------


def verdict_of(code: str) -> str:
    """A verdict's code in the reader's language."""
    return str(VERDICTS[code])


def reason(report: Report) -> str:
    """Why the verdict is what it is, in one sentence."""
    return reason_of(report["conditions"])


def reason_of(conditions: Sequence[Condition]) -> str:
    if is_without_feedback(conditions):
        return _("There is no feedback yet.")
    missed = [name_of(condition) for condition in conditions if condition["ok"] is False]
    unknown = [name_of(condition) for condition in conditions if condition["ok"] is None]
    if missed:
        return _("Missed: %(conditions)s.") % {"conditions": ", ".join(missed)}
    if unknown:
        return _("Not known yet: %(conditions)s.") % {"conditions": ", ".join(unknown)}
    return _("Every condition is met.")


def period(report: Report) -> str:
    """`from 2 November 2026 to 23 November 2026`, or `since 2 November 2026`."""
    starts = day_of(report["starts"])
    if report["ends"] is None:
        return _("since %(day)s") % {"day": starts}
    return _("from %(since)s to %(until)s") % {"since": starts, "until": day_of(report["ends"])}


def day_of(text: str) -> str:
    return date_format(date.fromisoformat(text), "DATE_FORMAT")


def moment_of(text: str) -> str:
    return format_moment(datetime.fromisoformat(text))


def facts(report: Report) -> Sequence[Fact]:
    """What it comes to, each with how it differs from the snapshot before."""
    participants, given = report["participants"], report["score"]
    bugs, performance = report["bugs"], report["performance"]
    before = report["previous"]

    def since(now: float | None, name: str, digits: int = 0) -> str:
        return difference(now, before[name], digits) if before else ""  # type: ignore[literal-required]

    people, bugs_open = participants["count"], bugs["critical_high_open"]
    return [
        Fact(_("Participants"), count(people), since(people, "participants")),
        Fact(_("Average score"), score(given["average"]), since(given["average"], "average", 2)),
        Fact(_("Net Promoter Score"), signed(given["nps"]), since(given["nps"], "nps")),
        Fact(_("Promoters (9 and 10)"), count(given["promoters"])),
        Fact(_("Passives (7 and 8)"), count(given["passives"])),
        Fact(_("Detractors (0 to 6)"), count(given["detractors"])),
        Fact(_("Bugs reported"), count(bugs["total"])),
        Fact(_("Critical and high bugs that are open"), count(bugs_open), since(bugs_open, "critical_high_open")),
        Fact(_("Checks"), count(performance["checks"])),
        Fact(
            _("Mean response time"), milliseconds(performance["mean_ms"]), since(performance["mean_ms"], "mean_ms", 1)
        ),
        Fact(_("95th percentile"), milliseconds(performance["p95_ms"])),
        Fact(_("Error rate"), share(performance["error_rate"])),
    ]


def comparison(report: Report) -> str:
    """What changes are said against."""
    before = report["previous"]
    if before is None:
        return _("There is no earlier report to compare this one with.")
    words = {"moment": moment_of(before["generated_at"]), "verdict": verdict_of(before["verdict"])}
    return _("Changes are since the report of %(moment)s: %(verdict)s.") % words
