"""Read uploaded tables: CSV as spreadsheets of any country write it, or XLSX, within bounds on memory and time."""

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
from portal.base.text import decode_text
from portal.base.uploads import MOST_BYTES
from portal.base.words import format_count

MAX_ROWS = 20_000
MAX_LINES = 2 * MAX_ROWS
MAX_COLUMNS = 100
LONGEST_CELL = 2_000
MAX_CHARACTERS = 20_000_000
# Bounds on the unpacked size and the number of parts of a workbook, which is a zip archive. No part unpacks to more
# than it declares.
MAX_UNPACKED = 64 * 1024 * 1024
MAX_PARTS = 200
MAX_SECONDS, MAX_WAITED = 20, 60
MAX_MEMORY = 1024**3

CellRow = dict[str, str]


class UnreadableFile(Exception):
    """The file cannot be read; the text explains it to the user."""


def read_rows(file: UploadedFile[Any]) -> list[CellRow]:
    """Return the rows below the header, without empty ones. Raises UnreadableFile."""
    if (file.size or 0) > MOST_BYTES:
        raise UnreadableFile(_("The file is larger than 5 MiB."))
    content = file.read()
    lines = read_workbook(content) if content.startswith(b"PK") else read_csv(content)
    header = [name.strip().lower() for name in next(lines, [])]
    names = [name for name in header if name]
    if not names:
        raise UnreadableFile(_("The file is empty: the first row must contain the column names."))
    if len(set(names)) < len(names):
        raise UnreadableFile(_("A column name appears twice."))
    return list(read_rows_below(header, lines))


def read_rows_below(header: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[CellRow]:
    count = 0
    for line in lines:
        values = [value.strip() for value in line]
        if not any(values):
            continue
        count += 1
        if count > MAX_ROWS:
            raise UnreadableFile(_("The file has more than %(count)s rows.") % {"count": format_count(MAX_ROWS)})
        if len(values) > len(header) and any(values[len(header) :]):
            raise UnreadableFile(
                _("Row %(row)s has more cells than there are columns.") % {"row": format_count(count + 1)}
            )
        if any(len(value) > LONGEST_CELL for value in values):
            raise UnreadableFile(_("A cell in row %(row)s is too long.") % {"row": format_count(count + 1)})
        yield {name: value for name, value in zip(header, values, strict=False) if name}


def read_csv(content: bytes) -> Iterator[list[str]]:
    text = decode_text(content)
    if "\0" in text:
        raise UnreadableFile(_("The file is neither CSV nor XLSX."))
    text, delimiter, _above = planning.find_table(text)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error:
        raise UnreadableFile(_("The file isn’t valid CSV: a quoted cell isn’t closed or is too long.")) from None


def read_workbook(content: bytes) -> Iterator[list[str]]:
    """Read the first sheet in a process with bounds on time and memory."""
    refuse_bombs(io.BytesIO(content))
    bounds = [str(bound) for bound in (MAX_LINES, MAX_COLUMNS, MAX_CHARACTERS, MAX_SECONDS, MAX_MEMORY)]
    try:
        reading = subprocess.run(
            [sys.executable, "-I", workbook.__file__, *bounds], input=content, capture_output=True, timeout=MAX_WAITED
        )
    except subprocess.TimeoutExpired:
        raise UnreadableFile(_("The workbook can’t be read.")) from None
    if reading.returncode == workbook.TOO_MUCH:
        raise UnreadableFile(_("The workbook has too many rows or too much content."))
    if reading.returncode != 0:
        raise UnreadableFile(_("The workbook can’t be read."))
    yield from json.loads(reading.stdout)


def refuse_bombs(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise UnreadableFile(_("The workbook can’t be read.")) from None
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise UnreadableFile(_("The workbook is too large once decompressed."))
