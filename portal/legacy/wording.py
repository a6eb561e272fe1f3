"""The report of an import as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from portal.base.text import printable_text
from portal.legacy.reports import ImportReport, NotedRows
from portal.legacy.running import FileReport

TRY = "Nothing was written. Run the command again with --apply to import."


def format_reports(reports: Iterable[FileReport], *, applied: bool) -> str:
    lines = [line for report in reports for line in format_file(report, applied=applied)]
    return "\n".join(lines if applied else [*lines, TRY])


def format_file(report: FileReport, *, applied: bool) -> Iterator[str]:
    for found in report.reports:
        yield f"{printable_text(str(report.path))}: {found.kind}"
        yield from (f"  {line}" for line in format_import(found, applied=applied))
    if report.error is not None:
        yield f"{printable_text(str(report.path))}: {printable_text(str(report.error))} ({report.error.code})"


def format_import(found: ImportReport, *, applied: bool) -> Iterator[str]:
    counts = found.counts
    effects = ("created", "updated") if applied else ("to create", "to update")
    skipped, unreadable = (sum(noted.count for noted in rows.values()) for rows in (found.skipped, found.unreadable))
    yield (
        f"{counts['created']} {effects[0]}, {counts['updated']} {effects[1]}, {counts['unchanged']} unchanged,"
        f" {skipped} skipped, {unreadable} unreadable"
    )
    yield from found.remarks
    for given, reduced in found.ids.items():
        yield f"machine id changed: “{printable_text(given)}” is now {reduced}"
    if found.changed_ids > len(found.ids):
        yield f"machine ids changed: {found.changed_ids} in all"
    for title, rows in (("skipped", found.skipped), ("unreadable", found.unreadable)):
        for reason, noted in rows.items():
            yield f"{title}: {reason.text}: {format_rows(noted)} ({reason.code})"


def format_rows(noted: NotedRows) -> str:
    rows = ", ".join(map(str, noted.rows))
    more = noted.count - len(noted.rows)
    return f"row {rows}" + (f" and {more} more" if more else "")
