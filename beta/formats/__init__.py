"""The formats in which a report is exported, each made from the report alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from beta.formats import csv, text
from beta.report import gather as members
from beta.report.gather import Report
from beta.report.verdict import Condition
from portal.desk.exports import CSV, XLSX, attachment_headers


@dataclass(frozen=True)
class ReportFormat:
    """`name` is also the file extension, `title` the label of its button."""

    name: str
    title: str | Promise
    content_type: str
    make: Callable[[Report], bytes]


def render_json(report: Report) -> bytes:
    return json.dumps(report, ensure_ascii=False).encode()


def render_text(report: Report) -> bytes:
    return "".join(f"{line}\n" for line in text.render_lines(report)).encode()


def render_xlsx_lazily(report: Report) -> bytes:
    from beta.formats.xlsx import render_xlsx  # noqa: PLC0415  openpyxl is large, and loaded only when needed

    return render_xlsx(report)


def render_pdf_lazily(report: Report) -> bytes:
    from beta.formats.pdf import render_pdf  # noqa: PLC0415  so is PyMuPDF

    return render_pdf(report)


FORMATS: dict[str, ReportFormat] = {
    form.name: form
    for form in (
        ReportFormat("json", "JSON", "application/json", render_json),
        ReportFormat("txt", _("Text"), "text/plain; charset=utf-8", render_text),
        ReportFormat("csv", "CSV", CSV, csv.render_csv),
        ReportFormat("xlsx", "Excel (XLSX)", XLSX, render_xlsx_lazily),
        ReportFormat("pdf", "PDF", "application/pdf", render_pdf_lazily),
    )
}


# Orders of members, by the set of their names: PostgreSQL does not keep them, and a stored report is written in these.
ORDERS = {
    frozenset(kind.__annotations__): tuple(kind.__annotations__)
    for kind in (
        Report,
        members.Participants,
        members.Score,
        members.Bugs,
        members.OpenBug,
        members.Performance,
        members.DayOfChecks,
        members.DayOfScores,
        members.Previous,
        Condition,
    )
}


def render_report(report: Report, form: str) -> bytes:
    """Render the report in the active language. A stored report gives the same bytes as when it was made."""
    return FORMATS[form].make(restore_order(report))


def restore_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: restore_order(value[name]) for name in ORDERS.get(frozenset(value), value)}
    return [restore_order(each) for each in value] if isinstance(value, list) else value


def report_response(report: Report, form: str) -> HttpResponse:
    """Return the report as a download that is named after the programme."""
    name = slugify(report["programme"]) or "beta"
    content_type = FORMATS[form].content_type
    return HttpResponse(render_report(report, form), content_type=content_type, headers=attachment_headers(name, form))
