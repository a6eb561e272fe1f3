"""Files of expected backups: CSV as spreadsheets write it in any country, or XLSX, never trusted with our memory."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from openpyxl import load_workbook  # type: ignore[import-untyped]

from portal.api.moments import iso
from portal.exports import FORMULA_STARTS
from portal.paginator import grouped

MOST_BYTES = 5 * 1024 * 1024
MOST_ROWS = 20_000
MOST_LINES = 10 * MOST_ROWS
MOST_COLUMNS = 100
LONGEST_CELL = 2_000
# A workbook is a zip archive: what its parts unpack to, and how many there are. No part unpacks to more than it says.
MOST_UNPACKED = 64 * 1024 * 1024
MOST_PARTS = 200
DELIMITERS = ",;\t"

Row = dict[str, str]


class Unreadable(Exception):
    """The file cannot be taken; the text says why to whoever sent it."""


def rows_in(file: UploadedFile[Any]) -> list[Row]:
    """The rows below the header, without the empty ones. Raises Unreadable."""
    if (file.size or 0) > MOST_BYTES:
        raise Unreadable(_("The file is larger than 5 MiB."))
    content = file.read()
    lines = workbook_lines(content) if content.startswith(b"PK") else csv_lines(content)
    header = [name.strip().lower() for name in next(lines, [])]
    named = [name for name in header if name]
    if not named:
        raise Unreadable(_("The file is empty: its first line must name the columns."))
    if len(set(named)) < len(named):
        raise Unreadable(_("A column is named twice."))
    return list(rows_below(header, lines))


def rows_below(header: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[Row]:
    count = 0
    for line in lines:
        values = [value.strip() for value in line]
        if not any(values):
            continue
        count += 1
        if count > MOST_ROWS:
            raise Unreadable(_("The file has more than %(count)s rows.") % {"count": grouped(MOST_ROWS)})
        if len(values) > len(header) and any(values[len(header) :]):
            raise Unreadable(_("Row %(row)s has more cells than there are columns.") % {"row": grouped(count + 1)})
        if any(len(value) > LONGEST_CELL for value in values):
            raise Unreadable(_("A cell of row %(row)s is far too long.") % {"row": grouped(count + 1)})
        yield {name: unescaped(value) for name, value in zip(header, values, strict=False) if name}


def unescaped(text: str) -> str:
    """Without the apostrophe that our exports put before what a spreadsheet would run as a formula."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


def csv_lines(content: bytes) -> Iterator[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise Unreadable(_("The file is neither CSV nor XLSX."))
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error:
        raise Unreadable(_("The file is not CSV: a quoted cell does not end, or is too long.")) from None


def workbook_lines(content: bytes) -> Iterator[list[str]]:
    """The first sheet. Formulas count as the value they had when the file was saved."""
    refuse_bombs(io.BytesIO(content))
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says of its own size is not believed
            for number, line in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True)):
                if number > MOST_LINES:
                    raise Unreadable(_("The workbook has far too many empty rows."))
                yield [cell_text(value) for value in line]
        finally:
            book.close()
    except Unreadable:
        raise
    except Exception:  # whatever a malformed workbook makes openpyxl raise
        raise Unreadable(_("The workbook cannot be read.")) from None


def refuse_bombs(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise Unreadable(_("The workbook cannot be read.")) from None
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
        raise Unreadable(_("The workbook unpacks to more than any list of expected backups would."))


def cell_text(value: Any) -> str:
    """A cell as it stands in our CSV."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime():
            return iso(value) or "" if value.tzinfo else value.isoformat()
    return str(value)
