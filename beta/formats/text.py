"""The report as text, for a console and for keeping: at most `monitoring.terminal.text_table.WIDTH` columns wide."""

from collections.abc import Iterator

from django.utils.translation import gettext as _

from beta.models import BetaFeedback
from beta.report import wording
from beta.report.gather import OpenBug, Report
from monitoring.terminal.text_table import WIDTH, format_table, indent_text, wrap_text
from portal.base.text import limit_stacked_marks
from portal.base.words import format_count

LONGEST_COMMENT = 1_000


def render_lines(report: Report) -> list[str]:
    """Return the lines in the active language."""
    lines = [
        *heading_lines(report),
        "",
        *condition_lines(report),
        "",
        *figure_lines(report),
        "",
        *bug_lines(report),
        "",
        *comment_lines(report),
    ]
    return [limit_stacked_marks(line) for line in lines]


def heading_lines(report: Report) -> Iterator[str]:
    product = f" ({report['product']})" if report["product"] else ""
    title = _("Beta programme %(name)s") % {"name": report["programme"]}
    yield from wrap_text(f"{title}{product}", WIDTH, is_whole=True)
    words = {"period": wording.format_period(report), "moment": wording.format_report_moment(report["generated_at"])}
    yield from wrap_text(_("%(period)s, as of %(moment)s") % words, WIDTH)
    yield ""
    yield _("Verdict: %(verdict)s") % {"verdict": wording.verdict_label(report["verdict"])}
    yield from wrap_text(wording.explain_verdict(report["conditions"]), WIDTH)


def condition_lines(report: Report) -> list[str]:
    rows = [
        (
            wording.condition_name(condition),
            wording.result_label(wording.condition_result(report, condition)),
            wording.condition_value(condition),
            wording.condition_target(condition),
        )
        for condition in report["conditions"]
    ]
    return format_table((_("criterion"), _("result"), _("value"), _("required")), rows)


def figure_lines(report: Report) -> Iterator[str]:
    facts = [(fact.label, fact.value, fact.change) for fact in wording.list_facts(report)]
    yield from format_table((_("figure"), _("value"), _("change")), facts, right_from=1)
    if report["previous"]:
        yield from wrap_text(wording.describe_comparison(report), WIDTH)


def bug_lines(report: Report) -> Iterator[str]:
    bugs, count = report["open_bugs"], report["bugs"]["critical_high_open"]
    if not bugs:
        yield _("No open critical or high bugs.")
        return
    yield _("Open critical and high bugs")
    for bug in bugs:
        yield from wrap_text(summarize_bug(bug), WIDTH, is_whole=True)
        yield from indent_text(bug["comment"], is_whole=True)
    if count > len(bugs):
        yield _("and %(count)s more") % {"count": format_count(count - len(bugs))}


def summarize_bug(bug: OpenBug) -> str:
    """`#12, critical, open, 2026-03-10 09:12:44 UTC, 6.0.3, /scoring`"""
    severity, status = BetaFeedback.Severity(bug["severity"]).label, BetaFeedback.Status(bug["status"]).label
    moment = wording.format_report_moment(bug["given_at"])
    details = [f"#{bug['id']}", str(severity), str(status), moment, bug["app_version"], bug["page"]]
    return ", ".join(filter(None, details))


def comment_lines(report: Report) -> Iterator[str]:
    """Number the comments on their first lines."""
    if not report["ux_comments"]:
        yield _("No usability comments.")
        return
    yield _("Latest usability comments")
    for number, comment in enumerate(report["ux_comments"], 1):
        first, *others = indent_text(shorten_comment(comment), is_whole=True) or [""]
        yield f"{number:>2}. {first.lstrip()}".rstrip()
        yield from others


def shorten_comment(comment: str, longest: int = LONGEST_COMMENT) -> str:
    if len(comment) <= longest:
        return comment
    remark = _("(%(count)s characters in total)") % {"count": format_count(len(comment))}
    return f"{comment[:longest]}… {remark}"
