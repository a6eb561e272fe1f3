"""The formats a report is handed on in, each made of nothing but the report itself."""

from __future__ import annotations

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
class Format:
    """`name` is also the ending of the file; `title` is what a button says."""

    name: str
    title: str | Promise
    content_type: str
    make: Callable[[Report], bytes]


def as_json(report: Report) -> bytes:
    return json.dumps(report, ensure_ascii=False).encode()


def as_text(report: Report) -> bytes:
    return "".join(f"{line}\n" for line in text.lines_of(report)).encode()


def as_workbook(report: Report) -> bytes:
    from beta.formats.xlsx import xlsx_of  # noqa: PLC0415  openpyxl is large: only who asks for it pays for it

    return xlsx_of(report)


def as_pdf(report: Report) -> bytes:
    from beta.formats.pdf import pdf_of  # noqa: PLC0415  PyMuPDF is, too

    return pdf_of(report)


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("json", "JSON", "application/json", as_json),
        Format("txt", _("Text"), "text/plain; charset=utf-8", as_text),
        Format("csv", "CSV", CSV, csv.csv_of),
        Format("xlsx", "XLSX", XLSX, as_workbook),
        Format("pdf", "PDF", "application/pdf", as_pdf),
    )
}


# PostgreSQL keeps the members of an object in an order of its own; these are the orders they are written in.
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


def rendered(report: Report, form: str) -> bytes:
    """In the language that is active; the same of a report that was kept as when it was made."""
    return FORMATS[form].make(in_order(report))


def in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: in_order(value[name]) for name in ORDERS.get(frozenset(value), value)}
    return [in_order(each) for each in value] if isinstance(value, list) else value


def answered(report: Report, form: str) -> HttpResponse:
    """As a file to keep, named after the programme."""
    name = slugify(report["programme"]) or "beta"
    content_type = FORMATS[form].content_type
    return HttpResponse(rendered(report, form), content_type=content_type, headers=attachment_headers(name, form))
