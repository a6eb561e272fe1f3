"""The report on paper, for those who decide."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Any, NamedTuple

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from beta.formats import drawing, pdf_layout
from beta.formats.text import LONGEST_COMMENT, few_marks, shortened
from beta.models import BetaFeedback
from beta.report import wording
from beta.report.gather import OpenBug, Report

PRODUCER = "Vigie"
LONGEST_BUG = 300
# So little is left of each text where all take too many pages: a letter may be as wide as six others.
SHORTEST = 40
# What the template puts where another part begins; nothing that was said can hold it, because "<" is escaped.
PART = re.compile(r"<!-- part (\w*) ?-->")
# Joiners and variation selectors belong to letters and emoji, all else that is invisible would only hide something.
JOINERS = "\u200c\u200d"
RIGHT_TO_LEFT = ("R", "AL")


class Said(NamedTuple):
    """Somebody's words and the direction they are read in: `ltr` or `rtl`."""

    text: str
    direction: str


def pdf_of(report: Report) -> bytes:
    """In the language that is active. Somebody's words are cut further where they would fill too many pages."""
    try:
        return printed(report)
    except pdf_layout.TooLong:
        return printed(report, SHORTEST)


def printed(report: Report, longest: int = LONGEST_COMMENT) -> bytes:
    """No text that participants gave is longer than `longest` characters. Raises TooLong."""
    html = render_to_string("beta/report.html", context_of(report, longest))
    css = render_to_string("beta/report.css")
    return pdf_layout.printed(parts_of(html, charts_of(report)), css, PRODUCER, about(report), get_language() or "en")


def parts_of(html: str, charts: dict[str, pdf_layout.Chart]) -> list[str | pdf_layout.Chart]:
    """What stands before the first mark, and after each what it names: a chart, or nothing."""
    first, *others = PART.split(html)
    parts: list[str | pdf_layout.Chart] = [first]
    for name, following in zip(others[::2], others[1::2], strict=True):
        parts += [charts[name]] if name else []
        parts += [following] if following.strip() else []
    return parts


def charts_of(report: Report) -> dict[str, pdf_layout.Chart]:
    days = report["performance"]["days"]
    latency = next((found["target"] for found in report["conditions"] if found["name"] == "latency"), None)
    return {
        "scores": pdf_layout.Chart(
            132, lambda page, place: drawing.draw_scores(page, place, report["score"], report["trend"])
        ),
        "responses": pdf_layout.Chart(96, lambda page, place: drawing.draw_responses(page, place, days, latency)),
    }


def about(report: Report) -> dict[str, str]:
    moment = datetime.fromisoformat(report["generated_at"])
    made = f"D:{moment:%Y%m%d%H%M%S}Z"
    verdict = wording.verdict_of(report["verdict"])
    return {
        "title": _("Beta report: %(programme)s") % {"programme": plain(report["programme"])},
        "subject": f"{verdict}. {wording.reason(report)}",
        "author": PRODUCER,
        "creator": PRODUCER,
        "producer": PRODUCER,
        "creationDate": made,
        "modDate": made,
    }


# --- What the template shows ----------------------------------------------------------------------------------------


def context_of(report: Report, longest: int) -> dict[str, Any]:
    bugs = report["open_bugs"]
    left = report["bugs"]["critical_high_open"] - len(bugs)
    return {
        "title": plain(report["product"] or report["programme"]),
        "programme": plain(report["programme"]) if report["product"] else "",
        "period": wording.period(report),
        "moment": wording.moment_of(report["generated_at"]),
        "tone": report["verdict"].lower().replace(" ", "-"),
        "verdict": wording.verdict_of(report["verdict"]),
        "reason": wording.reason(report),
        "conditions": [described(condition) for condition in report["conditions"]],
        "facts": rows_of(wording.facts(report), 6),
        "comparison": wording.comparison(report),
        "has_scores": any(report["score"]["counts"]) and report["trend"],
        "has_checks": bool(report["performance"]["days"]),
        "is_watched": any(condition["name"] == "latency" for condition in report["conditions"]),
        "bugs": [described_bug(bug, longest) for bug in bugs],
        "bugs_left": wording.count(left) if left > 0 else "",
        "comments": [said(shortened(plain(comment), longest)) for comment in report["ux_comments"]],
    }


def described(condition: Any) -> dict[str, str]:
    return {
        "name": wording.name_of(condition),
        "value": wording.value_of(condition),
        "target": wording.target_of(condition),
        "outcome": wording.outcome_of(condition),
        "tone": {True: "met", False: "missed", None: "unknown"}[condition["ok"]],
    }


def rows_of(facts: Any, length: int) -> list[Any]:
    return [facts[start : start + length] for start in range(0, len(facts), length)]


def described_bug(bug: OpenBug, longest: int) -> dict[str, Any]:
    given = timezone.localdate(datetime.fromisoformat(bug["given_at"]))
    return {
        "severity": BetaFeedback.Severity(bug["severity"]).label,
        "tone": bug["severity"],
        "day": date_format(given, "DATE_FORMAT"),
        "version": cut(bug["app_version"], longest),
        "page": cut(bug["page"], longest),
        "comment": said(cut(bug["comment"], min(longest, LONGEST_BUG))),
    }


def cut(text: str, longest: int) -> str:
    text = plain(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# --- Somebody's words -----------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """On one line, without what is invisible, turns the letters around it about, or towers over its line."""
    kept = (character if character.isprintable() else seen_of(character) for character in few_marks(text))
    return " ".join("".join(kept).split())


def seen_of(character: str) -> str:
    """What is left of one that is not printed."""
    if character in JOINERS:
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def said(text: str) -> Said:
    strong = (unicodedata.bidirectional(character) for character in text)
    first = next((kind for kind in strong if kind in ("L", *RIGHT_TO_LEFT)), "L")
    return Said(text, "rtl" if first in RIGHT_TO_LEFT else "ltr")
