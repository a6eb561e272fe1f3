"""HTML of reports, live or stored: verdicts, conditions, figures and quotes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from beta.admin import charts
from beta.admin.charts import DrawnChart
from beta.display import SEVERITY_TONES
from beta.models import BetaFeedback
from beta.report import wording
from beta.report.gather import DETRACTS, PROMOTES, OpenBug, Report
from beta.report.verdict import GO, INSUFFICIENT_DATA, NO_GO
from beta.report.wording import Fact
from portal.admin.display import BAD, GOOD, QUIET, badge, stack_lines
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE, format_count
from portal.desk.panels import Section

TONES = {GO: GOOD, NO_GO: BAD, INSUFFICIENT_DATA: QUIET}
OUTCOMES = {True: GOOD, False: BAD, None: QUIET}
SHOWN_OF_A_COMMENT, SHOWN_OF_A_PAGE = 300, 80
BAR = (
    '<svg class="score-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
    '<rect class="{}" width="{}" height="6"/></svg>'
)


@dataclass(frozen=True)
class ReportPresentation:
    """The contents of a page with a report. `tone` is a CSS class.

    `was` names the previous verdict if it differs, `compared_with` the report that changes are counted from.
    """

    verdict: str
    tone: str
    reason: str
    was: str
    period: str
    made: str
    compared_with: str
    conditions: Section
    facts: Sequence[Fact]
    scores: Section
    trend: DrawnChart | None
    times: DrawnChart | None
    bugs: Section
    comments: list[SafeString]
    is_empty: bool


def present_report(report: Report) -> ReportPresentation:
    before = report["previous"]
    has_changed = before is not None and before["verdict"] != report["verdict"]
    return ReportPresentation(
        verdict=wording.verdict_label(report["verdict"]),
        tone=TONES[report["verdict"]],
        reason=wording.explain_verdict(report["conditions"]),
        was=wording.verdict_label(before["verdict"]) if before and has_changed else "",
        period=wording.format_period(report),
        made=wording.format_report_moment(report["generated_at"]),
        compared_with=wording.format_report_moment(before["generated_at"]) if before else "",
        conditions=conditions_section(report),
        facts=wording.list_facts(report),
        scores=scores_section(report),
        trend=charts.trend_chart(report),
        times=charts.response_chart(report),
        bugs=bugs_section(report),
        comments=[quote_words(comment, SHOWN_OF_A_COMMENT) for comment in report["ux_comments"]],
        is_empty=not report["participants"]["count"],
    )


# --- Quotes ----------------------------------------------------------------------------------------------------------


def quote_words(text: str, most: int) -> SafeString:
    """Quote the beginning of a text, isolated so that its direction does not affect the rest of the page."""
    return format_html('<bdi class="words">{}</bdi>', truncate_text(text, most)) if text else SafeString("")


# --- Verdicts --------------------------------------------------------------------------------------------------------


def verdict_badge(code: str) -> SafeString:
    return badge(wording.verdict_label(code), TONES[code])


def conditions_section(report: Report) -> Section:
    rows = [
        [
            wording.condition_name(condition),
            wording.condition_value(condition),
            wording.condition_target(condition),
            badge(wording.result_label(result), OUTCOMES[result]),
        ]
        for condition in report["conditions"]
        for result in [wording.condition_result(report, condition)]
    ]
    without = _("No targets linked: response time and error rate don’t count.")
    return Section(
        title=_("Release criteria"),
        columns=[_("Criterion"), _("Now"), _("Required"), _("Result")],
        rows=rows,
        note="" if wording.find_condition(report, "latency") else without,
    )


# --- Scores and bugs -------------------------------------------------------------------------------------------------


def scores_section(report: Report) -> Section:
    """Show the distribution of the scores, the best first."""
    counts = report["score"]["counts"]
    most = max(*counts, 1)
    rows = [
        [str(score), score_bar(score, counts[score], most), counts[score]] for score in reversed(range(len(counts)))
    ]
    note = _(
        "The latest score of each participant counts. A score with the public key never replaces one with a token."
    )
    return Section(
        title=_("Scores"),
        columns=[_("Score"), _("Distribution"), _("Participants")],
        rows=rows if any(counts) else [],
        empty=_("No scores yet."),
        note=note if any(counts) else "",
    )


def score_bar(score: int, count: int, most: int) -> SafeString:
    group = "promoters" if score >= PROMOTES else "detractors" if score <= DETRACTS else "passives"
    return format_html(BAR, group, round(100 * count / most))


def bugs_section(report: Report) -> Section:
    found = report["open_bugs"]
    left = report["bugs"]["critical_high_open"] - len(found)
    more = ngettext("and %(count)s more", "and %(count)s more", left) % {"count": format_count(left)}
    return Section(
        title=_("Open critical and high bugs"),
        columns=[_("Severity"), _("Comment"), _("Page, version"), pgettext("date", "Sent")],
        rows=[bug_row(bug) for bug in found],
        empty=_("No open critical or high bugs."),
        note=more if left > 0 else "",
    )


def bug_row(bug: OpenBug) -> list[object]:
    severity = BetaFeedback.Severity(bug["severity"])
    url = reverse("admin:beta_betafeedback_change", args=[bug["id"]])
    return [
        stack_lines(badge(severity.label, SEVERITY_TONES[severity]), BetaFeedback.Status(bug["status"]).label),
        stack_lines(
            quote_words(bug["comment"], SHOWN_OF_A_COMMENT) or EMPTY_VALUE,
            format_html('<a href="{}">#{}</a>', url, bug["id"]),
        ),
        stack_lines(
            quote_words(bug["page"], SHOWN_OF_A_PAGE) or EMPTY_VALUE, quote_words(bug["app_version"], SHOWN_OF_A_PAGE)
        ),
        datetime.fromisoformat(bug["given_at"]),
    ]
