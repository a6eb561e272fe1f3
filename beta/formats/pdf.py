"""The report as a PDF for those who decide."""

import re
import unicodedata
from datetime import datetime
from typing import Any, NamedTuple

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from beta.formats import drawing
from beta.formats.text import LONGEST_COMMENT, shorten_comment
from beta.models import BetaFeedback
from beta.report import wording
from beta.report.gather import OpenBug, Report
from beta.report.verdict import Condition
from portal.base.text import printable_text
from portal.desk import pdf_pages

PRODUCER = "Vigie"
LONGEST_BUG = 300
# Characters that are left of each text if all together take too many pages. Wide letters are as wide as six others.
MIN_QUOTE = 40
# A mark of the template starts a new part, after the chart that it names. No participant's text contains one, because
# "<" is escaped.
PART = re.compile(r"<!-- part (\w*) ?-->")
RIGHT_TO_LEFT = ("R", "AL")


class Quote(NamedTuple):
    """A participant's text with its direction, `ltr` or `rtl`."""

    text: str
    direction: str


def render_pdf(report: Report) -> bytes:
    """Return the PDF in the active language. Long texts of participants are cut further if they fill too many pages."""
    try:
        return lay_out_report(report)
    except pdf_pages.TooManyPages:
        return lay_out_report(report, MIN_QUOTE)


def lay_out_report(report: Report, longest: int = LONGEST_COMMENT) -> bytes:
    """Lay out the report with each participant's text cut to `longest` characters. Raises TooManyPages."""
    html = render_to_string("beta/report.html", template_context(report, longest))
    css = render_to_string("beta/report.css")
    return pdf_pages.make_pdf(
        split_parts(html, make_charts(report)), css, PRODUCER, document_metadata(report), get_language() or "en"
    )


def split_parts(html: str, charts: dict[str, pdf_pages.Chart]) -> list[str | pdf_pages.Chart]:
    """Split the HTML at the marks, and insert the charts that they name."""
    first, *others = PART.split(html)
    parts: list[str | pdf_pages.Chart] = [first]
    for name, following in zip(others[::2], others[1::2], strict=True):
        parts += [charts[name]] if name else []
        parts += [following] if following.strip() else []
    return parts


def make_charts(report: Report) -> dict[str, pdf_pages.Chart]:
    days = report["performance"]["days"]
    latency = wording.find_condition(report, "latency")
    return {
        "scores": pdf_pages.Chart(
            132, lambda page, place: drawing.draw_scores(page, place, report["score"], report["trend"])
        ),
        "responses": pdf_pages.Chart(
            96, lambda page, place: drawing.draw_responses(page, place, days, latency and latency["target"])
        ),
    }


def document_metadata(report: Report) -> dict[str, str]:
    moment = datetime.fromisoformat(report["generated_at"])
    made = f"D:{moment:%Y%m%d%H%M%S}Z"
    verdict = wording.verdict_label(report["verdict"])
    return {
        "title": _("Beta report: %(programme)s") % {"programme": printable_text(report["programme"])},
        "subject": f"{verdict}. {wording.explain_verdict(report['conditions'])}",
        "author": PRODUCER,
        "creator": PRODUCER,
        "producer": PRODUCER,
        "creationDate": made,
        "modDate": made,
    }


# --- What the template shows ----------------------------------------------------------------------------------------


def template_context(report: Report, longest: int) -> dict[str, Any]:
    bugs, facts = report["open_bugs"], wording.list_facts(report)
    left = report["bugs"]["critical_high_open"] - len(bugs)
    return {
        "title": printable_text(report["product"] or report["programme"]),
        "programme": printable_text(report["programme"]) if report["product"] else "",
        "period": wording.format_period(report),
        "moment": wording.format_report_moment(report["generated_at"]),
        "tone": report["verdict"].lower().replace(" ", "-"),
        "verdict": wording.verdict_label(report["verdict"]),
        "reason": wording.explain_verdict(report["conditions"]),
        "conditions": [condition_context(report, condition) for condition in report["conditions"]],
        "facts": [facts[:6], facts[6:]],
        "comparison": wording.describe_comparison(report),
        "has_scores": any(report["score"]["counts"]) and report["trend"],
        "has_checks": bool(report["performance"]["days"]),
        "is_watched": wording.find_condition(report, "latency") is not None,
        "bugs": [bug_context(bug, longest) for bug in bugs],
        "bugs_left": wording.format_figure(left) if left > 0 else "",
        "comments": [
            make_quote(shorten_comment(printable_text(comment), longest)) for comment in report["ux_comments"]
        ],
    }


def condition_context(report: Report, condition: Condition) -> dict[str, str]:
    result = wording.condition_result(report, condition)
    return {
        "name": wording.condition_name(condition),
        "value": wording.condition_value(condition),
        "target": wording.condition_target(condition),
        "outcome": wording.result_label(result),
        "tone": {True: "met", False: "missed", None: "unknown"}[result],
    }


def bug_context(bug: OpenBug, longest: int) -> dict[str, Any]:
    given = timezone.localdate(datetime.fromisoformat(bug["given_at"]))
    return {
        "severity": BetaFeedback.Severity(bug["severity"]).label,
        "tone": bug["severity"],
        "day": date_format(given),
        "version": cut_text(bug["app_version"], longest),
        "page": cut_text(bug["page"], longest),
        "comment": make_quote(cut_text(bug["comment"], min(longest, LONGEST_BUG))),
    }


def cut_text(text: str, longest: int) -> str:
    text = printable_text(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# --- Texts of participants -------------------------------------------------------------------------------------------


def make_quote(text: str) -> Quote:
    strong = (unicodedata.bidirectional(character) for character in text)
    first = next((kind for kind in strong if kind in ("L", *RIGHT_TO_LEFT)), "L")
    return Quote(text, "rtl" if first in RIGHT_TO_LEFT else "ltr")
