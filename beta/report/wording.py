"""Localized texts and figures of a report, the same on every page and in every format for people."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, cast

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from beta.report.gather import Report
from beta.report.verdict import CONDITIONS, VERDICTS, Condition, is_without_feedback
from monitoring.figures.uptime import format_percent
from portal.base.words import EMPTY_VALUE, format_count, format_date, format_moment, format_number, round_half_up


class Fact(NamedTuple):
    """A figure with its label and its change since the previous snapshot, empty if there is none."""

    label: str
    value: str
    change: str


class FactSource(NamedTuple):
    """Place of a figure in the report, its name in the previous one, and the digits of its change if that is shown."""

    label: str | Promise
    section: str
    name: str
    show: Callable[[Any], str]
    previous: str = ""
    digits: int = 0
    show_change: bool = True


# --- Figures ---------------------------------------------------------------------------------------------------------


def format_score(value: float | None) -> str:
    """Format a score, such as `7.40`, or `7,40` in French."""
    return EMPTY_VALUE if value is None else format_number(value, 2)


def format_milliseconds(value: float | None) -> str:
    return EMPTY_VALUE if value is None else _("%(count)s ms") % {"count": format_number(value, 1)}


def format_figure(value: float | None) -> str:
    return EMPTY_VALUE if value is None else format_count(int(value))


def format_signed(value: int | None) -> str:
    """Format an NPS with its sign: `+14`, `−20`, `0`."""
    if value is None:
        return EMPTY_VALUE
    return f"{value:+d}".replace("-", "−") if value else "0"


def format_difference(now: float | None, before: float | None, digits: int = 0) -> str:
    """Format a change, such as `+0.40` or `−2`; empty if nothing changed or a value is missing."""
    if now is None or before is None:
        return ""
    changed = round_half_up(now - before, digits)
    sign = "+" if changed > 0 else "−"
    return f"{sign}{format_number(abs(changed), digits)}" if changed else ""


# --- Conditions ------------------------------------------------------------------------------------------------------

FORMATTERS = {
    "participants": format_figure,
    "score": format_score,
    "critical_bugs": format_figure,
    "latency": format_milliseconds,
    "error_rate": format_percent,
}
ABOUT_FEEDBACK = ("participants", "score", "critical_bugs")
SIGNS = {"participants": "≥", "score": "≥", "critical_bugs": "=", "latency": "<", "error_rate": "<"}


def find_condition(report: Report, name: str) -> Condition | None:
    return next((condition for condition in report["conditions"] if condition["name"] == name), None)


def condition_name(condition: Condition) -> str:
    return str(CONDITIONS[condition["name"]])


def condition_value(condition: Condition) -> str:
    return FORMATTERS[condition["name"]](condition["value"])


def condition_target(condition: Condition) -> str:
    """Return the threshold in words: `at least 5`, `below 500.0 ms`, `none`."""
    if condition["name"] == "critical_bugs":
        return _("none")
    text = _("at least %(target)s") if SIGNS[condition["name"]] == "≥" else _("below %(target)s")
    return text % {"target": FORMATTERS[condition["name"]](condition["target"])}


def condition_result(report: Report, condition: Condition) -> bool | None:
    """Return `ok`, or None for a criterion about feedback as long as there is none."""
    is_empty = condition["name"] in ABOUT_FEEDBACK and is_without_feedback(report["conditions"])
    return None if is_empty else condition["ok"]


def result_label(result: bool | None) -> str:
    return {True: _("met"), False: _("not met"), None: _("no data")}[result]


# --- Reports ---------------------------------------------------------------------------------------------------------


def verdict_label(code: str) -> str:
    """Return a verdict in the reader's language."""
    return str(VERDICTS[code])


def explain_verdict(conditions: Sequence[Condition]) -> str:
    """Give the reason for the verdict in one sentence."""
    if is_without_feedback(conditions):
        return _("No feedback yet.")
    missed = [condition_name(condition) for condition in conditions if condition["ok"] is False]
    unknown = [condition_name(condition) for condition in conditions if condition["ok"] is None]
    if missed:
        return _("Not met: %(conditions)s.") % {"conditions": join_names(missed)}
    if unknown:
        return _("No data yet: %(conditions)s.") % {"conditions": join_names(unknown)}
    return _("All criteria met.")


def join_names(names: Sequence[str]) -> str:
    """Join names of criteria for the middle of a sentence."""
    return ", ".join(name[:1].lower() + name[1:] for name in names)


def format_period(report: Report) -> str:
    """Format the period: `from 2 November 2026 to 23 November 2026`, or `since 2 November 2026`."""
    starts = format_day(report["starts"])
    if report["ends"] is None:
        return _("since %(day)s") % {"day": starts}
    return _("from %(since)s to %(until)s") % {"since": starts, "until": format_day(report["ends"])}


def format_day(text: str) -> str:
    return format_date(date.fromisoformat(text), "j F Y")


def format_report_moment(text: str) -> str:
    return format_moment(datetime.fromisoformat(text))


FACTS = (
    FactSource(gettext_lazy("Participants"), "participants", "count", format_figure, "participants"),
    FactSource(gettext_lazy("Average score"), "score", "average", format_score, "average", 2),
    FactSource(gettext_lazy("Net Promoter Score"), "score", "nps", format_signed, "nps"),
    FactSource(gettext_lazy("Promoters (9 and 10)"), "score", "promoters", format_figure),
    FactSource(gettext_lazy("Passives (7 and 8)"), "score", "passives", format_figure),
    FactSource(gettext_lazy("Detractors (0 to 6)"), "score", "detractors", format_figure),
    FactSource(gettext_lazy("Bugs reported"), "bugs", "total", format_figure),
    FactSource(CONDITIONS["critical_bugs"], "bugs", "critical_high_open", format_figure, "critical_high_open"),
    FactSource(gettext_lazy("Checks"), "performance", "checks", format_figure),
    FactSource(gettext_lazy("Average response time"), "performance", "mean_ms", format_milliseconds, "mean_ms", 1),
    FactSource(gettext_lazy("95th percentile"), "performance", "p95_ms", format_milliseconds),
    FactSource(CONDITIONS["error_rate"], "performance", "error_rate", format_percent, "error_rate", show_change=False),
)


def list_facts(report: Report) -> list[Fact]:
    """Return the figures of the report, each with its change since the previous snapshot."""
    members, before = cast(dict[str, Any], report), cast(dict[str, Any], report["previous"] or {})
    facts = []
    for source in FACTS:
        value = members[source.section][source.name]
        change = format_difference(value, before.get(source.previous), source.digits) if source.show_change else ""
        facts.append(Fact(str(source.label), source.show(value), change))
    return facts


def describe_comparison(report: Report) -> str:
    """Name the report that changes are counted from."""
    before = report["previous"]
    if before is None:
        return _("No earlier report to compare with.")
    words = {"moment": format_report_moment(before["generated_at"]), "verdict": verdict_label(before["verdict"])}
    return _("Compared with the report of %(moment)s (%(verdict)s).") % words
