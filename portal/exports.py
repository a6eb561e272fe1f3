"""Lists as CSV: streamed, with the model's field names as columns, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.http import StreamingHttpResponse
from django.utils import timezone

from portal.api.moments import iso

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
CHUNK_CHARACTERS = 64 * 1024
ROWS_AT_A_TIME = 2_000
# Without it a spreadsheet takes UTF-8 for the machine's own code page.
BYTE_ORDER_MARK = "\ufeff"


def csv_response(rows: models.QuerySet[Any], columns: Sequence[str]) -> StreamingHttpResponse:
    """The rows as they are filtered and ordered. A column `user__username` is headed `user`, as imports name it."""
    header = [column.partition("__")[0] for column in columns]
    values = rows.values_list(*columns).iterator(chunk_size=ROWS_AT_A_TIME)
    name = f"{rows.model._meta.model_name}-{timezone.localdate():%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        csv_chunks(header, values),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    buffer.write(BYTE_ORDER_MARK)
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in rows:
        writer.writerow([cell(value) for value in row])
        if buffer.tell() >= CHUNK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def cell(value: Any) -> str:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it; a number stays one."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return iso(value) or ""
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str() if value.startswith(FORMULA_STARTS):
            return f"'{value}"
    return str(value)
