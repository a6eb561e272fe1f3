"""`manage.py import_backup_jobs CSV`: expected backups from a table, all of them or none."""

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
MOST_BYTES = 5 * 1024 * 1024
MOST_ROWS = 20_000


class Command(BaseCommand):
    help = (
        "Creates and changes expected backups. The first line names the columns, by the fields of the model; prints "
        "what was done as JSON. Any row that is refused refuses all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("csv", metavar="CSV", help="the file, in UTF-8; - reads from stdin")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        with translation.override("en"):
            self.carry_out(content_of(options["csv"]), options["dry_run"])

    def carry_out(self, content: bytes, dry_run: bool) -> None:
        numbered = list(islice(rows_in(content), MOST_ROWS + 1))
        if len(numbered) > MOST_ROWS:
            raise CommandError(f"The file has more than {MOST_ROWS} rows.")
        plan = planning.planned(row for _line, row in numbered)
        for sentence in [*plan.warnings, *plan.faults]:
            self.stderr.write(sentence)
        for row in plan.refused:
            self.show(row, numbered[row.number - 1][0])
        if plan.is_refused:
            raise CommandError("Nothing was imported.")
        if not dry_run:
            try:
                planning.carry_out(plan, actor=ACTOR)
            except planning.Overtaken:
                raise CommandError("The expected backups changed meanwhile. Nothing was imported.") from None
        self.stdout.write(json.dumps(plan.counts))

    def show(self, row: planning.Row, line: int) -> None:
        about = " ".join(filter(None, [row.agent_id, row.database_name]))
        for column, sentences in row.refusals.items():
            for sentence in sentences:
                self.stderr.write(f"line {line}: {about}: {column}: {sentence}")


def content_of(path: str) -> bytes:
    """Raises CommandError."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"The file cannot be read: {error.strerror}.") from None
    if len(content) > MOST_BYTES:
        raise CommandError("The file is larger than 5 MiB.")
    return content


def rows_in(content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows below the header, without empty ones, each with the line it begins on. Raises CommandError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError("The file is not in UTF-8.") from None
    text, delimiter, above = planning.table_in(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = above + 1
    try:
        for cells in reader:
            begun, line = line, above + reader.line_num + 1
            if header and any(cells):
                yield begun, row_of(header, cells, begun)
            elif any(cells):
                header = named(cells)
    except csv.Error:
        raise CommandError(f"The file is not CSV: look at line {line}.") from None
    if not header:
        raise CommandError("The file is empty: its first line must name the columns.")


def named(cells: list[str]) -> list[str]:
    header = [name.strip().lower() for name in cells]
    if len(set(filter(None, header))) < len([name for name in header if name]):
        raise CommandError("A column is named twice.")
    return header


def row_of(header: list[str], cells: list[str], line: int) -> dict[str, str]:
    """A row that ends early says nothing of the columns that are left."""
    if any(cell.strip() for cell in cells[len(header) :]):
        raise CommandError(f"Line {line} has more cells than there are columns.")
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}
