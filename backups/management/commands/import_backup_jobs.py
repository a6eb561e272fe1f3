"""Import expected backups from a table, all of them or none: `manage.py import_backup_jobs CSV`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from backups.imports import planning

ACTOR = "command line"
MAX_BYTES = 5 * 1024 * 1024
MAX_ROWS = 20_000


class Command(BaseCommand):
    help = (
        "Add and update expected backups from a CSV file. Its first row contains the column names of the export. Print"
        " the result as JSON. If any row has an error, nothing is imported."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("csv", metavar="CSV", help="the file, in UTF-8; - reads from stdin")
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        with translation.override("en"):
            self.import_content(load_file(options["csv"]), options["dry_run"])

    def import_content(self, content: bytes, dry_run: bool) -> None:
        numbered = list(islice(parse_rows(content), MAX_ROWS + 1))
        if len(numbered) > MAX_ROWS:
            raise CommandError(f"The file has more than {MAX_ROWS} rows.")
        plan = planning.plan_import(row for _line, row in numbered)
        for sentence in [*plan.warnings, *plan.faults]:
            self.stderr.write(sentence)
        for row in plan.refused:
            self.write_refusals(row, numbered[row.number - 1][0])
        if plan.is_refused:
            raise CommandError("Nothing was imported.")
        if not dry_run:
            try:
                planning.apply_import(plan, actor=ACTOR)
            except planning.ImportConflict:
                raise CommandError("The expected backups changed in the meantime. Nothing was imported.") from None
        self.stdout.write(json.dumps(plan.counts))

    def write_refusals(self, row: planning.ImportRow, line: int) -> None:
        name = " ".join(filter(None, [row.agent_id, row.database_name]))
        for column, sentences in row.refusals.items():
            for sentence in sentences:
                self.stderr.write(f"line {line}: {name}: {column}: {sentence}")


def load_file(path: str) -> bytes:
    """Read a file, or stdin for `-`. Raises CommandError."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"The file can’t be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise CommandError("The file is larger than 5 MiB.")
    return content


def parse_rows(content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below the header, without empty ones, each with its first line. Raises CommandError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError("The file is not in UTF-8.") from None
    text, delimiter, above = planning.find_table(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = above + 1
    try:
        for cells in reader:
            first_line, line = line, above + reader.line_num + 1
            if header and any(cells):
                yield first_line, make_row(header, cells, first_line)
            elif any(cells):
                header = read_header(cells)
    except csv.Error:
        raise CommandError(f"The file is not valid CSV: check line {line}.") from None
    if not header:
        raise CommandError("The file is empty: the first row must contain the column names.")


def read_header(cells: list[str]) -> list[str]:
    header = [name.strip().lower() for name in cells]
    if len(set(filter(None, header))) < len([name for name in header if name]):
        raise CommandError("A column name appears twice.")
    return header


def make_row(header: list[str], cells: list[str], line: int) -> dict[str, str]:
    """Return the row by column. A short row leaves out the remaining columns."""
    if any(cell.strip() for cell in cells[len(header) :]):
        raise CommandError(f"Line {line} has more cells than there are columns.")
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}
