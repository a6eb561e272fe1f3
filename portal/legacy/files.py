"""Files of older tools, told apart by their content and read row by row within bounds on memory.

Each may be damaged, of any size, or hostile. Reading changes neither the file nor what is beside it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from portal.api.bodies import STRICT, refuse_deep
from portal.base.problems import Problem
from portal.legacy import tables
from portal.legacy.errors import UnreadableFile
from portal.legacy.reports import ImportReport, Reason
from portal.legacy.values import read_text

MAX_BYTES = 4 * 2**30
# A run may list as many documents as fit a call of 1 MiB.
MAX_LINE = 2 * 2**20
MAX_COLUMNS = 200
# Lines that are looked at to recognize a file.
SAMPLE_LINES = 50
DELIMITERS = ",;\t|"
# The line above the table by which Excel announces the delimiter.
SEPARATOR_LINE = re.compile(r"\"?sep=([,;\t|])\"?,*", re.IGNORECASE)
# A line above the header that is a comment, and no header whose first column is called `#`.
COMMENT = re.compile(r"#[^,;\t|]")
DONE = b"#"

TOO_LONG = Reason("line_too_long", f"the line is longer than {MAX_LINE} bytes")
NOT_JSON = Reason("not_json", "the line isn’t a JSON object")
TOO_MANY_CELLS = Reason("too_many_cells", "the row has more cells than there are columns")
DELIVERED = Reason("delivered", "the line is marked as delivered")


class LegacyRow(NamedTuple):
    """A row with its values by column or key. `number` is its line, or its rowid in a table."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class LegacyFile:
    """A file and what its beginning shows: the columns of its tables, its header, or its first objects."""

    path: Path
    tables: dict[str, tables.Columns] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()

    def csv_rows(self, report: ImportReport) -> Iterator[LegacyRow]:
        """Yield the rows below the header, with its names in lower case. Rows that cannot be read go to the report."""
        header: list[str] = []
        for number, cells in read_cells(self.path, report):
            if not header:
                header = cells
            elif any(cells[len(header) :]):
                report.refuse(number, TOO_MANY_CELLS)
            else:
                yield LegacyRow(number, {name: cell for name, cell in zip(header, cells, strict=False) if name})

    def json_rows(self, report: ImportReport) -> Iterator[LegacyRow]:
        """Yield the objects of the lines. Lines that cannot be read, or are marked as delivered, go to the report."""
        for number, whole in read_lines(self.path):
            line = whole and whole.strip()
            if line is None:
                report.refuse(number, TOO_LONG)
            elif line.startswith(DONE):
                report.skip(number, DELIVERED)
            elif line and (found := parse_object(line)) is not None:
                yield LegacyRow(number, found)
            elif line:
                report.refuse(number, NOT_JSON)


def open_legacy_file(path: Path) -> LegacyFile:
    """Look at the beginning of a file. Raises UnreadableFile."""
    path = Path(os.path.realpath(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFile("not_a_file", "it isn’t a regular file")
        if status.st_size > MAX_BYTES:
            raise UnreadableFile("too_large", f"it is larger than {MAX_BYTES // 2**30} GiB")
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UnreadableFile("unreadable", f"it can’t be read: {error.strerror}") from None
    if head.startswith(tables.MAGIC):
        return LegacyFile(path, tables=tables.list_tables(path))
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise UnreadableFile("not_text", "it is neither an SQLite database nor a text in UTF-8 or cp1252")
    lines = [line.strip() for _number, line in islice(read_lines(path), SAMPLE_LINES) if line]
    objects = [parse_object(b"{" + line[1:] if line.startswith(DONE) else line) for line in lines]
    if any(found is not None for found in objects):
        return LegacyFile(path, objects=tuple(found for found in objects if found is not None))
    header = next(read_cells(path, ImportReport("")), (0, []))[1]
    return LegacyFile(path, header=tuple(header))


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line with its number, without its end, and None for one that is longer than MAX_LINE."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            is_long = len(line) > MAX_LINE
            rest = line
            while is_long and not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE)):
                pass
            yield (
                number,
                None if is_long else line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").rstrip(b"\r\n"),
            )


def parse_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, or None for what the API would not read either."""
    try:
        found = json.loads(read_text(line), **STRICT)
        refuse_deep(found)
    except (ValueError, RecursionError, Problem):
        return None
    return found if isinstance(found, dict) else None


# --- CSV -------------------------------------------------------------------------------------------------------------


def read_cells(path: Path, report: ImportReport) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with its last line: first the header, with its names in lower case.

    The delimiter is the one that the header has most of, or the one that a line above announces.
    """
    lines = enumerate(read_csv_lines(path, report), 1)
    above, first = next(((n, line) for n, line in lines if line.strip() and not COMMENT.match(line)), (1, ""))
    if announced := SEPARATOR_LINE.fullmatch(first.rstrip("\n")):
        above, first = next(lines, (above, ""))
    delimiter = announced[1] if announced else max(DELIMITERS, key=first.count)
    try:
        header = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    except csv.Error:
        raise UnreadableFile(
            "not_csv", "its first line is no header of CSV; lines have to end with a line feed"
        ) from None
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile("too_many_columns", f"it has more than {MAX_COLUMNS} columns")
    names = [name for name in header if name]
    if len(set(names)) < len(names):
        raise UnreadableFile("column_twice", "a column name appears twice")
    yield above, header
    reader = csv.reader((line for _number, line in lines), delimiter=delimiter, strict=True)
    while True:
        start = above + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            report.refuse(start, unclosed_cell(above + reader.line_num))
            continue
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield above + reader.line_num, cells


def unclosed_cell(last: int) -> Reason:
    return Reason("not_csv", f"a quoted cell isn’t closed up to line {last}, or is too long")


def read_csv_lines(path: Path, report: ImportReport) -> Iterator[str]:
    for number, line in read_lines(path):
        if line is None:
            report.refuse(number, TOO_LONG)
        yield read_text(line or b"") + "\n"
