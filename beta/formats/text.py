"""The report as text, for a console and for keeping: at most `monitoring.terminal.text_table.WIDTH` columns wide."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from beta.models import BetaFeedback
from beta.report import wording
from beta.report.gather import OpenBug, Report
from monitoring.terminal.text_table import WIDTH, indented, table, wrapped
from portal.base.text import limit_marks
from portal.base.words import format_count

LONGEST_COMMENT = 1_000
# So many marks may stand upon one letter; no language has more, and more would tower over the lines above.
MOST_MARKS = 4


def lines_of(report: Report) -> list[str]:
    """In the language that is active."""
    lines = [
        *heading(report),
        "",
        *conditions(report),
        "",
        *figures(report),
        "",
        *open_bugs(report),
        "",
        *comments(report),
    ]
    return [few_marks(line) for line in lines]


def heading(report: Report) -> Iterator[str]:
    product = f" ({report['product']})" if report["product"] else ""
    title = _("Beta programme %(name)s") % {"name": report["programme"]}
    yield from wrapped(f"{title}{product}", WIDTH, is_whole=True)
    words = {"period": wording.period(report), "moment": wording.moment_of(report["generated_at"])}
    yield from wrapped(_("%(period)s, as of %(moment)s") % words, WIDTH)
    yield ""
    yield _("Verdict: %(verdict)s") % {"verdict": wording.verdict_of(report["verdict"])}
    yield from wrapped(wording.reason(report), WIDTH)


def conditions(report: Report) -> list[str]:
    rows = [
        (
            wording.name_of(condition),
            wording.outcome_of(condition),
            wording.value_of(condition),
            wording.target_of(condition),
        )
        for condition in report["conditions"]
    ]
    return table((_("condition"), _("outcome"), _("value"), _("needed")), rows)


def figures(report: Report) -> Iterator[str]:
    facts = [(fact.label, fact.value, fact.change) for fact in wording.facts(report)]
    yield from table((_("figure"), _("value"), _("change")), facts, right_from=1)
    before = report["previous"]
    if before is not None:
        words = {"moment": wording.moment_of(before["generated_at"]), "verdict": wording.verdict_of(before["verdict"])}
        yield from wrapped(_("Changes are since the report of %(moment)s: %(verdict)s.") % words, WIDTH)


def open_bugs(report: Report) -> Iterator[str]:
    bugs, count = report["open_bugs"], report["bugs"]["critical_high_open"]
    if not bugs:
        yield _("No critical or high bug is open.")
        return
    yield _("Critical and high bugs that are open")
    for bug in bugs:
        yield from wrapped(about(bug), WIDTH, is_whole=True)
        yield from indented(bug["comment"], is_whole=True)
    if count > len(bugs):
        yield _("and %(count)s more") % {"count": format_count(count - len(bugs))}


def about(bug: OpenBug) -> str:
    """`#12, critical, open, 2026-03-10 09:12:44 UTC, 6.0.3, /scoring`"""
    severity, status = BetaFeedback.Severity(bug["severity"]).label, BetaFeedback.Status(bug["status"]).label
    told = [str(severity), str(status), wording.moment_of(bug["given_at"]), bug["app_version"], bug["page"]]
    return ", ".join([f"#{bug['id']}", *filter(None, told)])


def comments(report: Report) -> Iterator[str]:
    """The first line of each begins with its place."""
    if not report["ux_comments"]:
        yield _("No comment on usability.")
        return
    yield _("Latest comments on usability")
    for number, comment in enumerate(report["ux_comments"], 1):
        first, *others = indented(shortened(comment), is_whole=True) or [""]
        yield f"{number:>2}. {first.lstrip()}".rstrip()
        yield from others


def shortened(comment: str, longest: int = LONGEST_COMMENT) -> str:
    if len(comment) <= longest:
        return comment
    remark = _("(%(count)s characters in all)") % {"count": format_count(len(comment))}
    return f"{comment[:longest]}… {remark}"


def few_marks(text: str) -> str:
    """Remove the marks that would tower over the lines above."""
    return limit_marks(text, MOST_MARKS)
