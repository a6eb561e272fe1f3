"""Lists as CSV or XLSX, with the model's field names as columns, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import chain
from tempfile import TemporaryFile
from typing import Any, cast
from uuid import UUID

from django.db import models
from django.http import FileResponse, StreamingHttpResponse
from django.utils import timezone

from portal.base.moments import format_iso

# The signs that begin a formula, with those that compatibility folding (NFKC) makes of them: `＝`, `﹢`, `⁼` and so on.
SIGNS = "=+@\u207a\u207c\u208a\u208c\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20-"
UNSEEN = r"\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
# A control character, or a sign after what a spreadsheet may skip. Apostrophes before it may be ours.
FORMULA = re.compile(rf"'*(?:[\x00-\x1f\x7f-\x9f]|[{UNSEEN}]*[{SIGNS}])")
CHUNK_CHARACTERS = 64 * 1024
ROWS_AT_A_TIME = 2_000
# Without it a spreadsheet takes UTF-8 for the machine's own code page.
BYTE_ORDER_MARK = "\ufeff"
CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# A spreadsheet's cell holds 32,767 characters, and takes one beyond U+FFFF for two.
LONGEST_CELL = 32_000
NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Streamed(StreamingHttpResponse):
    """Sent while it is made, but its first piece is made before: what fails at once fails as any answer does.

    Django renders it once the view is left, and with it the view's transaction, which would take the cursor along.
    """

    def render(self) -> Streamed:
        pieces = cast(Iterator[bytes], self.streaming_content)
        self.streaming_content = chain([next(pieces)], pieces)
        return self

    def add_post_render_callback(self, callback: Callable[[Streamed], object]) -> None:
        """What middleware of a single view would do to an answer: to its headers, which do not wait for the content."""
        callback(self)


def csv_response(rows: models.QuerySet[Any], columns: Sequence[str]) -> Streamed:
    """The rows as they are filtered and ordered."""
    values = rows.values_list(*columns).iterator(chunk_size=ROWS_AT_A_TIME)
    return Streamed(
        csv_chunks(header_of(columns), values, BYTE_ORDER_MARK),
        content_type=CSV,
        headers=attached(name_of(rows), "csv"),
    )


def xlsx_response(rows: models.QuerySet[Any], columns: Sequence[str]) -> FileResponse:
    """The same as a workbook, written to a temporary file before it is sent."""
    from portal.desk.workbooks import write_workbook  # noqa: PLC0415  openpyxl is large: only who asks for it pays for it

    values = rows.values_list(*columns).iterator(chunk_size=ROWS_AT_A_TIME)
    cells = ([typed_cell(value) for value in row] for row in values)
    file = TemporaryFile()  # noqa: SIM115 - closed with the response
    try:
        write_workbook(file, name_of(rows), header_of(columns), cells)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return FileResponse(file, content_type=XLSX, headers=attached(name_of(rows), "xlsx"))


def header_of(columns: Sequence[str]) -> list[str]:
    """`user__username` is headed `user`; of several fields of one relation, each by its own name."""
    relations = Counter(column.partition("__")[0] for column in columns)
    return [
        column.rpartition("__")[2] if relations[column.partition("__")[0]] > 1 else column.partition("__")[0]
        for column in columns
    ]


def name_of(rows: models.QuerySet[Any]) -> str:
    return str(rows.model._meta.model_name)


def attached(name: str, extension: str) -> dict[str, str]:
    file = f"{name}-{timezone.localdate():%Y-%m-%d}.{extension}"
    return {"Content-Disposition": f'attachment; filename="{file}"'}


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[Any]], start: str = "") -> Iterator[str]:
    """Files for people `start` with the byte order mark; programs would take it for a part of the first name."""
    buffer = io.StringIO()
    buffer.write(start)
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in rows:
        writer.writerow([cell(value) for value in row])
        if buffer.tell() >= CHUNK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def json_chunks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """One object as lists of the API are: `results`, and `next`, which is null for there is nothing left."""
    chunk, size, separator = ['{"results": ['], 0, ""
    for row in rows:
        text = json.dumps(dict(zip(header, map(plain, row), strict=True)), ensure_ascii=False)
        chunk += (separator, text)
        size, separator = size + len(text), ", "
        if size >= CHUNK_CHARACTERS:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join([*chunk, '], "next": null}'])


def plain(value: Any) -> Any:
    """What JSON has no word for, as the API writes it."""
    match value:
        case datetime():
            return format_iso(value)
        case date() | UUID():
            return str(value)
    return value


def cell(value: Any) -> str:
    """Write a value as text. One that a spreadsheet would run as a formula gets an apostrophe; a number stays one."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return format_iso(value) or ""
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str() if FORMULA.match(value):
            return f"'{value}"
    return str(value)


def without_escape(text: str) -> str:
    """Return a text that `cell` wrote as it was before."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def typed_cell(value: Any) -> str | int | float:
    """As in a CSV, but a number is one, and no text is longer than a cell may be."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else shortened(cell(NOT_IN_XML.sub("", value if isinstance(value, str) else cell(value))))


def shortened(text: str) -> str:
    """As long as a cell of a spreadsheet may be."""
    units = text.encode("utf-16-le", "replace")
    if len(units) <= 2 * LONGEST_CELL:
        return text
    return units[: 2 * LONGEST_CELL].decode("utf-16-le", "ignore") + "…"
