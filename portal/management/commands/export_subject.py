"""`manage.py export_subject`: all that is held of a person or a machine, as one JSON document on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from portal.api.moments import iso
from portal.privacy import Row, erasing
from portal.privacy.subjects import Nonsense, subject_of


def written(given: str, tables: Iterator[tuple[str, Iterator[Row]]]) -> Iterator[str]:
    """`{"subject", "exported_at", "tables": {"agents.Agent": [{…}]}}`, a row a line, without tables that have none."""
    yield f'{{"subject": {encoded(given)}, "exported_at": {encoded(iso(timezone.now()))}, "tables": {{'
    between = ""
    for label, rows in tables:
        first = next(rows, None)
        if first is not None:
            yield f"{between}\n{encoded(label)}: [\n{encoded(first)}"
            yield from (f",\n{encoded(row)}" for row in rows)
            yield "]"
            between = ","
    yield "}}\n"


def encoded(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)


class Command(BaseCommand):
    help = "Prints all that is held of a person or a machine as one JSON document, without secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", metavar="EMAIL|MACHINE_ID|user:NAME|participant:NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            subject = subject_of(options["subject"])
        except Nonsense as error:
            raise CommandError(str(error), returncode=2) from None
        for text in written(options["subject"].strip(), erasing.exported(subject)):
            self.stdout.write(text, ending="")
