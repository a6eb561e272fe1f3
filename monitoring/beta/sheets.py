"""The report as a spreadsheet: CSV for programs, XLSX for people."""

from __future__ import annotations

from monitoring.beta.report import Report
from portal.exports import BYTE_ORDER_MARK, csv_chunks, typed_cell


def csv_of(report: Report) -> bytes:
    rows = [("report", "verdict", report["verdict"], None, None)]
    return "".join(csv_chunks(("section", "name", "value", "target", "ok"), rows, BYTE_ORDER_MARK)).encode()


def xlsx_of(report: Report) -> bytes:
    raise NotImplementedError(typed_cell)
