"""Read the first sheet of a workbook, as a script in a separate process.

openpyxl takes minutes and gigabytes for a hostile file of a few kilobytes, and only a process can be limited.

    python workbook.py LINES COLUMNS CHARACTERS SECONDS BYTES < jobs.xlsx     writes the rows as JSON: lists of texts

The arguments are the limits: lines, columns and characters read, processor time, and memory.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import Any

TOO_MUCH = 3


def read_sheet(content: bytes, most_lines: int, most_columns: int, most_characters: int) -> list[list[str]] | None:
    """Return the rows, or None beyond the limits. Characters are counted since many cells may share one long text."""
    from openpyxl import load_workbook  # noqa: PLC0415 - within the bounds, too

    book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # the file's declared size is not trusted
    lines, characters = [], 0
    for number, line in enumerate(sheet.iter_rows(max_col=most_columns, values_only=True)):
        texts = [format_cell(value) for value in line]
        characters += sum(map(len, texts))
        if number >= most_lines or characters > most_characters:
            return None
        lines.append(texts)
    return lines


def format_cell(value: Any) -> str:
    """Return a cell as in our CSV. A formula has the value it had when the file was saved."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def main() -> int:
    *bounds, seconds, memory = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    lines = read_sheet(sys.stdin.buffer.read(), *bounds)
    if lines is None:
        return TOO_MUCH
    json.dump(lines, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
