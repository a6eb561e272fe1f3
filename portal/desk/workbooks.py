"""Workbooks of any length: a sheet is written to a temporary file row by row, so memory does not grow with the rows."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from typing import IO, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter

# Excel's limit, the header included.
ROWS_PER_SHEET = 1_048_576
COLUMN_WIDTH = 18
BOLD, WRAPPED = Font(bold=True), Alignment(wrap_text=True)


def write_workbook(
    file: IO[bytes], title: str, header: Sequence[str], rows: Iterable[Sequence[str | float | int | date]]
) -> None:
    """Write rows of escaped cells below a header. A list that is too long for a sheet continues on the next."""
    book = Workbook(write_only=True)
    try:
        sheet = add_sheet(book, title, header)
        for number, row in enumerate(rows):
            if number and number % (ROWS_PER_SHEET - 1) == 0:
                sheet = add_sheet(book, title, header)
            sheet.append([wrapped_cell(sheet, value) for value in row])
        book.save(file)
    except BaseException:
        delete_temporary_files(book)
        raise


def add_sheet(book: Any, title: str, header: Sequence[str]) -> Any:
    sheet = book.create_sheet(title)  # openpyxl appends a number to a title that repeats
    sheet.freeze_panes = "A2"
    for number in range(1, len(header) + 1):
        sheet.column_dimensions[get_column_letter(number)].width = COLUMN_WIDTH
    sheet.append([header_cell(sheet, name) for name in header])
    return sheet


def header_cell(sheet: Any, name: str) -> Any:
    cell = WriteOnlyCell(sheet, name)
    cell.font = BOLD
    return cell


def wrapped_cell(sheet: Any, value: str | float | int | date) -> Any:
    """Return a cell that shows each line of a text, or any other value as it is."""
    if not isinstance(value, str) or "\n" not in value:
        return value
    cell = WriteOnlyCell(sheet, value)
    cell.alignment = WRAPPED
    return cell


def delete_temporary_files(book: Any) -> None:
    """Delete the files of the sheets, which openpyxl itself deletes only when it saves the workbook."""
    for sheet in book.worksheets:
        with suppress(Exception):
            sheet.close()
        with suppress(Exception):
            sheet._writer.cleanup()
