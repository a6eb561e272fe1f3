"""Rows as CSV or XLSX, safe to open in a spreadsheet."""

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


class StreamedResponse(StreamingHttpResponse):
    """Sent while it is made, but its first piece is made before: what fails at once fails as any answer does.

    Django renders it once the view is left, and with it the view's transaction, which would take the cursor along.
    """

    def render(self) -> StreamedResponse:
        pieces = cast(Iterator[bytes], self.streaming_content)
        self.streaming_content = chain([next(pieces)], pieces)
        return self

    def add_post_render_callback(self, callback: Callable[[StreamedResponse], object]) -> None:
        """Call the callback at once: middleware changes headers, which do not wait for the content."""
        callback(self)


def field_values(rows: models.QuerySet[Any], columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    """Return the fields of the rows, filtered and ordered as they are."""
    return rows.values_list(*columns).iterator(chunk_size=ROWS_AT_A_TIME)


def csv_answer(stem: str, titles: Sequence[str], values: Iterable[Sequence[Any]]) -> StreamedResponse:
    """Stream rows of values as CSV below the titles."""
    chunks = csv_chunks(titles, values, BYTE_ORDER_MARK)
    return StreamedResponse(chunks, content_type=CSV, headers=attachment_headers(stem, "csv"))


def xlsx_answer(stem: str, titles: Sequence[str], values: Iterable[Sequence[Any]]) -> FileResponse:
    """Return rows of values as a workbook, written to a temporary file before it is sent."""
    from portal.desk.workbooks import write_workbook  # noqa: PLC0415  openpyxl is large: only who asks for it pays for it

    cells = ([workbook_cell(value) for value in row] for row in values)
    file = TemporaryFile()  # noqa: SIM115 - closed with the response
    try:
        write_workbook(file, stem, titles, cells)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return FileResponse(file, content_type=XLSX, headers=attachment_headers(stem, "xlsx"))


def column_titles(columns: Sequence[str]) -> list[str]:
    """`user__username` is headed `user`; of several fields of one relation, each by its own name."""
    relations = Counter(column.partition("__")[0] for column in columns)
    return [
        column.rpartition("__")[2] if relations[column.partition("__")[0]] > 1 else column.partition("__")[0]
        for column in columns
    ]


def file_stem(rows: models.QuerySet[Any]) -> str:
    return str(rows.model._meta.model_name)


def attachment_headers(name: str, extension: str) -> dict[str, str]:
    file = f"{name}-{timezone.localdate():%Y-%m-%d}.{extension}"
    return {"Content-Disposition": f'attachment; filename="{file}"'}


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[Any]], start: str = "") -> Iterator[str]:
    """Yield CSV. `start` is the byte order mark of files for people; programs would read it as part of a name."""
    buffer = io.StringIO()
    buffer.write(start)
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in rows:
        writer.writerow([escape_cell(value) for value in row])
        if buffer.tell() >= CHUNK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def json_chunks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield one object like the API's lists: `results`, and `next`, which is null as nothing is left."""
    chunk, size, separator = ['{"results": ['], 0, ""
    for row in rows:
        text = json.dumps(dict(zip(header, map(json_value, row), strict=True)), ensure_ascii=False)
        chunk += (separator, text)
        size, separator = size + len(text), ", "
        if size >= CHUNK_CHARACTERS:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join([*chunk, '], "next": null}'])


def json_value(value: Any) -> Any:
    """Convert a value that JSON lacks as the API does."""
    match value:
        case datetime():
            return format_iso(value)
        case date() | UUID():
            return str(value)
    return value


def escape_cell(value: Any) -> str:
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


def unescape_cell(text: str) -> str:
    """Return a text that `escape_cell` wrote as it was before."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def workbook_cell(value: Any) -> str | int | float | date:
    """Return a cell of a workbook: as in CSV, but numbers and dates stay what they are, and long texts are cut.

    A moment becomes a text with its time zone, which a spreadsheet's own moments lack.
    """
    is_typed = isinstance(value, (int, float, date)) and not isinstance(value, (bool, datetime))
    return (
        value
        if is_typed
        else fit_cell(escape_cell(NOT_IN_XML.sub("", value if isinstance(value, str) else escape_cell(value))))
    )


def fit_cell(text: str) -> str:
    """Cut a text to the limit of a spreadsheet's cell."""
    units = text.encode("utf-16-le", "replace")
    if len(units) <= 2 * LONGEST_CELL:
        return text
    return units[: 2 * LONGEST_CELL].decode("utf-16-le", "ignore") + "…"
