"""`manage.py beta_monitor`: checks the services once, follows the workers that check them, or reports how they did.

The name of the command is older than the app of the beta programmes.
"""

from __future__ import annotations

import math
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring.checks import adhoc, follow, sweeps
from monitoring.models import Target
from monitoring.terminal import report
from monitoring.terminal.output import ends_plainly, print_bytes
from monitoring.terminal.screen import Screen, format_round
from portal.base.logs import redact_tokens
from portal.notifications import in_portal_language
from portal.notifications.configuration import ENVIRONMENT_CHANNELS, TELEGRAM
from portal.notifications.selftest import send_test_messages

INTERVALS, HOURS = range(5, 3_601), range(1, 2_161)
MOST_DIGITS = 9
# Seconds between the rounds of a watch of addresses, and between two looks for new rounds of the workers.
INTERVAL, LOOK_INTERVAL = 60, 5
NOBODY_WATCHES = "No worker checks the targets. Start the workers (manage.py up), or check once without --watch."
# Options that need another one, and options that exclude each other.
NEEDED = (("interval", "watch"), ("hours", "report"), ("path", "url"))
EXCLUDED = (("url", "report"), ("url", "test-telegram"))
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def parse_number(allowed: range, name: str, text: str) -> int:
    """Return the whole number of the text. Raises CommandError unless it is in the range."""
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and int(text) in allowed):
        raise CommandError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}.", returncode=2)
    return int(text)


def refuse_unused(options: dict[str, Any]) -> None:
    """Refuse options that would have no effect. Raises CommandError."""
    for name, other in NEEDED:
        if options[name] and not options[other]:
            raise CommandError(f"--{name} needs --{other}.", returncode=2)
    for name, other in EXCLUDED:
        if options[name] and options[other.replace("-", "_")]:
            raise CommandError(f"--{name} can’t be used with --{other}.", returncode=2)


class SignalWatcher:
    """Notes the first SIGINT or SIGTERM. The second one ends the process at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self.former = {number: signal.signal(number, self.note) for number in SIGNALS}

    def note(self, number: int, frame: object) -> None:
        self.is_asked = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def restore(self) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.is_asked


class Console:
    """A watch in a terminal: its rounds as they come, and its report when it ends."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.screen, self.log, self.signals = Screen(stream), report.WatchLog(), SignalWatcher()

    def __enter__(self) -> Console:
        sweeps.log.addFilter(self.screen.make_room)
        return self

    def __exit__(self, *error: object) -> None:
        self.screen.clear()
        sweeps.log.removeFilter(self.screen.make_room)
        self.signals.restore()

    def add(self, swept: sweeps.ShownRound) -> None:
        self.log.add(swept.round, swept.results, is_lost=swept.is_lost)
        self.screen.print(format_round(swept))


class Command(BaseCommand):
    help = "Check all targets once. The exit status is 0 if all are OK, and 1 if a check failed or was too slow."

    def add_arguments(self, parser: CommandParser) -> None:
        modes = parser.add_mutually_exclusive_group()
        modes.add_argument(
            "--watch", action="store_true", help="show the rounds of the workers until Ctrl-C, then print a report"
        )
        modes.add_argument("--report", action="store_true", help="print and save a report on programmes and targets")
        modes.add_argument("--test-telegram", action="store_true", help="send a test notification to TELEGRAM_CHAT_ID")
        parser.add_argument("--interval", default="", metavar="SECONDS", help="interval of --watch, 5 to 3600 (60)")
        parser.add_argument("--hours", default="", metavar="N", help="hours that --report covers, 1 to 2160 (24)")
        parser.add_argument(
            "--url", default="", metavar="BASE", help="check addresses below this one instead of the targets"
        )
        parser.add_argument("--path", action="append", default=[], metavar="PATH", help="path below --url; repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unused(options)
        with ends_plainly(self), in_portal_language():
            self.act(options)

    def act(self, options: dict[str, Any]) -> None:
        if options["test_telegram"]:
            self.test_telegram()
        elif options["report"]:
            self.print_report(parse_number(HOURS, "--hours", str(options["hours"] or 24)))
        else:
            self.watch(options)

    # --- Watching ----------------------------------------------------------------------------------------------------

    def choose_base(self, url: str) -> str:
        """Return the address to watch ad hoc, or "" for the targets. Raises CommandError."""
        if not url and Target.objects.active().exists():
            return ""
        if not (url or settings.MONITORED_BASE):
            raise CommandError("There are no targets: add one in the admin, or use --url.", returncode=2)
        try:
            return adhoc.parse_base(url or settings.MONITORED_BASE)
        except ValueError:
            name = "--url" if url else "APP_URL"
            raise CommandError(f"{name} must be an address such as https://shop.example.org.", returncode=2) from None

    def watch(self, options: dict[str, Any]) -> None:
        given = options["interval"] and parse_number(INTERVALS, "--interval", str(options["interval"]))
        base, is_lasting = self.choose_base(options["url"]), options["watch"]
        if base:
            self.watch_addresses(base, options["path"], (given or INTERVAL) if is_lasting else math.inf)
        elif is_lasting:
            self.follow_workers(given or LOOK_INTERVAL)
        else:
            self.sweep()

    def watch_addresses(self, base: str, paths: list[str], interval: float) -> None:
        try:
            targets = adhoc.make_targets(base, paths or adhoc.PATHS)
        except ValueError:
            raise CommandError("--path must be the path of an address, such as /api.", returncode=2) from None
        is_cut_short = False
        with Console(self.stdout) as console, adhoc.AddressWatch(base, targets, interval) as addresses:
            for swept in addresses.rounds(console.signals, console.screen.show):
                console.add(swept)
                is_cut_short = swept.is_stopped and interval == math.inf
        self.end(console, is_cut_short=is_cut_short)

    def follow_workers(self, interval: float) -> None:
        with Console(self.stdout) as console:
            follower = follow.Follower()
            try:
                for found in follower.rounds(interval, console.signals, console.screen.show):
                    console.add(sweeps.ShownRound(found, follower.results_before(found)))
            except follow.NobodyWatches:
                raise CommandError(NOBODY_WATCHES, returncode=2) from None
            console.log.add_results(follower.last_results())
        self.end(console, is_cut_short=follower.is_unwatched)

    def sweep(self) -> None:
        with Console(self.stdout) as console:
            try:
                swept = sweeps.sweep_once(console.signals, self.say_that_it_waits, console.screen.show)
            except sweeps.LeaseUnavailable:
                raise CommandError("Another process is checking the targets.") from None
            if swept is not None:
                console.add(swept)
        self.end(console, is_cut_short=swept is None or swept.is_stopped)

    def end(self, console: Console, *, is_cut_short: bool) -> None:
        """Print the report. The exit status is 1 unless the last rounds were complete and good."""
        console.screen.print("", *console.log.lines())
        if is_cut_short or not console.log.is_good():
            raise SystemExit(1)

    def say_that_it_waits(self) -> None:
        self.stderr.write(_("A round of checks is running. Waiting up to a minute for it to end…"))

    # --- The other modes ---------------------------------------------------------------------------------------------

    def print_report(self, hours: int) -> None:
        now = timezone.now()
        report.update_rollups(now)
        others = [line for lines_of in report.other_reports.all() for line in lines_of(now)]
        lines = [*others, *report.period_report(now, hours)]
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            path = report.save_report(lines, now)
        except OSError as error:
            print_bytes(self.stdout, content)
            raise CommandError(f"The report was not saved in {settings.REPORTS_ROOT}: {error.strerror}.") from error
        self.stderr.write(_("Saved as %(path)s") % {"path": path})
        print_bytes(self.stdout, content)

    def test_telegram(self) -> None:
        telegram = ENVIRONMENT_CHANNELS[TELEGRAM]
        channel = telegram.build_row()
        if channel is None:
            raise CommandError(f"Set {telegram.settings} first.")
        outcomes = send_test_messages(channel)
        for outcome in outcomes:
            text = _("not sent to %(chat)s: %(error)s") if outcome.error else _("sent to %(chat)s")
            self.stdout.write(redact_tokens(text % {"chat": outcome.recipient, "error": outcome.error}))
        if any(outcome.error for outcome in outcomes):
            raise SystemExit(1)
