"""Download usage by licence, customer, application and month, as CSV or XLSX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from portal import audit
from portal.desk.exports import csv_answer, xlsx_answer
from usage.monthly import MonthlyUsage

NAME = "usage"
FORMS: dict[str, Callable[..., HttpResponseBase]] = {"csv": csv_answer, "xlsx": xlsx_answer}


def usage_titles() -> list[str]:
    return [
        _("Licence"), _("Customer"), _("Application"), pgettext("date", "From"), pgettext("date", "To"), _("Runs"),
        _("Documents"), _("Failed"), _("Pages"), _("Quota"), _("Used (%)"),
    ]  # fmt: skip


def usage_cells(rows: Iterable[MonthlyUsage]) -> Iterator[Sequence[Any]]:
    for row in rows:
        licence, totals = row.licence, row.totals
        yield (
            licence.ref, licence.customer, row.application, row.month.period.first_day, row.month.period.last_day,
            totals.runs, totals.documents, totals.failed, totals.pages, licence.monthly_page_quota, row.percent,
        )  # fmt: skip


def usage_response(request: HttpRequest, form: str, rows: Iterable[MonthlyUsage], **scope: Any) -> HttpResponseBase:
    """Return the rows as `csv` or `xlsx`, and record the export. `scope` says in the audit log what it covers."""
    audit.record_event("usage.exported", NAME, request=request, after={**scope, "format": form})
    return FORMS[form](NAME, usage_titles(), usage_cells(rows))
