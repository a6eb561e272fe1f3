"""`manage.py erase_subject`: replace a person or a machine with a pseudonym everywhere."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.privacy import Subject, erasing
from portal.privacy.subjects import InvalidSubject, parse_subject

YES = ("y", "yes")


class Command(BaseCommand):
    help = "Replaces a person or a machine with a pseudonym everywhere and removes what they wrote. Can’t be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", metavar="EMAIL|MACHINE_ID|user:NAME|participant:NAME")
        parser.add_argument("--yes", action="store_true", help="erase without asking")
        parser.add_argument("--dry-run", action="store_true", help="only print how many rows would change")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            subject = parse_subject(options["subject"])
        except InvalidSubject as error:
            raise CommandError(str(error), returncode=2) from None
        for text in erasing.collect_remarks(subject):
            self.stdout.write(text)
        try:
            if options["dry_run"]:
                erasing.refuse_last_superuser(subject)
                self.say_what_would_change(subject)
            elif options["yes"] or self.is_sure(options["subject"]):
                self.erase(subject)
            else:
                self.stdout.write("Nothing was erased.")
        except erasing.ErasureRefused as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            text = f"{error.filename} cannot be written: {error.strerror}. Fix this, then run the command again."
            raise CommandError(text) from None

    def is_sure(self, given: str) -> bool:
        try:
            answer = input(f"Erase all data about {given}? This cannot be undone. [y/N] ")
        except EOFError:
            return False
        return answer.strip().lower() in YES

    def say(self, label: str, rows: int) -> None:
        self.stdout.write(f"{label:<32}{rows:>10}")

    def say_what_would_change(self, subject: Subject) -> None:
        total = 0
        for label, rows in erasing.count_rows(subject):
            total += rows
            if rows:
                self.say(label, rows)
        self.stdout.write(f"{total} rows would change." if total else "No data about this subject.")

    def erase(self, subject: Subject) -> None:
        pseudonym, rows = erasing.erase(subject, self.say)
        if rows:
            self.stdout.write(f"{rows} rows changed; the subject is now called {pseudonym}.")
        else:
            self.stdout.write("No data about this subject.")
