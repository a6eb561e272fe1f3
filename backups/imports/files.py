"""Files of expected backups: CSV as spreadsheets write it in any country, or XLSX, never trusted with our memory."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from backups.imports import planning, workbook
from portal.base.uploads import MOST_BYTES
from portal.base.words import format_count

MOST_ROWS = 20_000
MOST_LINES = 2 * MOST_ROWS
MOST_COLUMNS = 100
LONGEST_CELL = 2_000
MOST_CHARACTERS = 20_000_000
# A workbook is a zip archive: what its parts unpack to, and how many there are. No part unpacks to more than it says.
MOST_UNPACKED = 64 * 1024 * 1024
MOST_PARTS = 200
MOST_SECONDS, MOST_WAITED = 20, 60
MOST_MEMORY = 1024**3

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
            raise Unreadable(_("The file has more than %(count)s rows.") % {"count": format_count(MOST_ROWS)})
        if len(values) > len(header) and any(values[len(header) :]):
            raise Unreadable(_("Row %(row)s has more cells than there are columns.") % {"row": format_count(count + 1)})
        if any(len(value) > LONGEST_CELL for value in values):
            raise Unreadable(_("A cell of row %(row)s is far too long.") % {"row": format_count(count + 1)})
        yield {name: value for name, value in zip(header, values, strict=False) if name}


def csv_lines(content: bytes) -> Iterator[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise Unreadable(_("The file is neither CSV nor XLSX."))
    text, delimiter, _above = planning.table_in(text)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error:
        raise Unreadable(_("The file is not CSV: a quoted cell does not end, or is too long.")) from None


def workbook_lines(content: bytes) -> Iterator[list[str]]:
    """The first sheet, read by a process that ends where it takes too much."""
    refuse_bombs(io.BytesIO(content))
    bounds = [str(bound) for bound in (MOST_LINES, MOST_COLUMNS, MOST_CHARACTERS, MOST_SECONDS, MOST_MEMORY)]
    try:
        reading = subprocess.run(
            [sys.executable, "-I", workbook.__file__, *bounds], input=content, capture_output=True, timeout=MOST_WAITED
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(_("The workbook cannot be read.")) from None
    if reading.returncode == workbook.TOO_MUCH:
        raise Unreadable(_("The workbook has far too many rows, or too much in them."))
    if reading.returncode != 0:
        raise Unreadable(_("The workbook cannot be read."))
    yield from json.loads(reading.stdout)


def refuse_bombs(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise Unreadable(_("The workbook cannot be read.")) from None
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
        raise Unreadable(_("The workbook unpacks to more than any list of expected backups would."))
