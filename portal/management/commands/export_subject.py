"""`manage.py export_subject`: all data about a person or a machine, as one JSON document on stdout."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.privacy.exporting import export_chunks
from portal.privacy.subjects import InvalidSubject, parse_subject


class Command(BaseCommand):
    help = "Prints all data about a person or a machine as one JSON document, without secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", metavar="EMAIL|MACHINE_ID|user:NAME|participant:NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            subject = parse_subject(options["subject"])
        except InvalidSubject as error:
            raise CommandError(str(error), returncode=2) from None
        for text in export_chunks(options["subject"].strip(), subject):
            self.stdout.write(text, ending="")
