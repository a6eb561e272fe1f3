"""Download usage by licence, customer, application and month, as CSV or XLSX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from portal import audit
from portal.desk.exports import (
    BYTE_ORDER_MARK,
    CSV,
    XLSX,
    StreamedResponse,
    attachment_headers,
    csv_chunks,
    workbook_cell,
)
from usage.monthly import MonthlyUsage

NAME, FORMS = "usage", ("csv", "xlsx")


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
    if form == "xlsx":
        return workbook_response(usage_titles(), usage_cells(rows))
    content = csv_chunks(usage_titles(), usage_cells(rows), BYTE_ORDER_MARK)
    return StreamedResponse(content, content_type=CSV, headers=attachment_headers(NAME, form))


def workbook_response(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> FileResponse:
    from portal.desk.workbooks import write_workbook  # noqa: PLC0415  openpyxl is large, and loaded only when needed

    file = TemporaryFile()  # noqa: SIM115 - closed with the response
    try:
        write_workbook(file, NAME, titles, ([workbook_cell(value) for value in row] for row in rows))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return FileResponse(file, content_type=XLSX, headers=attachment_headers(NAME, "xlsx"))
