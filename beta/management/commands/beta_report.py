"""`manage.py beta_report`: the report of a beta programme in any format, on stdout or in a file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from beta import programmes
from beta.formats import FORMATS, render_report
from beta.models import BetaProgramme, BetaSnapshot
from beta.report.snapshots import take_snapshot
from beta.report.verdict import GO
from monitoring.terminal import report
from monitoring.terminal.output import ends_plainly, print_bytes
from monitoring.terminal.text_table import clean_text
from portal.base.files import write_whole
from portal.notifications import in_portal_language

BINARY = ("xlsx", "pdf")


class Command(BaseCommand):
    help = "Prints the report of a beta programme and saves it. The exit status is 0 for any verdict."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--programme", default="", metavar="NAME", help="default: the only one that is running")
        parser.add_argument("--format", default="txt", choices=FORMATS, help="%(choices)s (%(default)s)")
        parser.add_argument("--output", metavar="PATH", help="file to write, atomically; default: print")
        parser.add_argument("--check", action="store_true", help="exit with status 1 unless the verdict is GO")

    def handle(self, *args: Any, **options: Any) -> None:
        form, output = options["format"], options["output"]
        if form in BINARY and output is None and self.stdout.isatty():
            raise CommandError(f"A terminal can’t show {form}. Use --output or a pipe.", returncode=2)
        with ends_plainly(self), in_portal_language():
            snapshot = take_report(options["programme"])
            content = render_report(snapshot.data, form)
            if output is None:
                print_bytes(self.stdout, content)
            else:
                self.save(content, Path(output))
        if options["check"] and snapshot.verdict != GO:
            raise SystemExit(1)

    def save(self, content: bytes, path: Path) -> None:
        try:
            if path.exists() and not path.is_file():
                raise CommandError(f"{path} is not a file.")
            write_whole(path, content)
        except OSError as error:
            raise CommandError(f"The report was not saved as {path}: {error.strerror}.") from error
        self.stderr.write(_("Saved as %(path)s") % {"path": path})


def take_report(name: str) -> BetaSnapshot:
    """Store the report of the named programme, or of the only one that runs. Raises CommandError."""
    try:
        programme = programmes.find_by_name(name)
    except programmes.NoSuchProgramme:
        raise CommandError(f"No programme with this name. {running_names()}", returncode=2) from None
    except programmes.NotOneProgramme:
        raise CommandError(f"Choose a programme with --programme. {running_names()}", returncode=2) from None
    now = timezone.now()
    report.update_rollups(now)
    return take_snapshot(programme, now, BetaSnapshot.Reason.COMMAND)


def running_names() -> str:
    names = BetaProgramme.objects.running(timezone.localdate()).order_by("name").values_list("name", flat=True)
    return f"Running today: {', '.join(map(clean_text, names)) or 'none'}."
