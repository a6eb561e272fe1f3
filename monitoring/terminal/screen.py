"""Output of a watch: a line per round, and on a terminal a progress line that is rewritten in place."""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.core.management.base import OutputWrapper
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.checks import active_round
from monitoring.checks.sweeps import Progress, ShownRound
from monitoring.figures.uptime import format_percent
from monitoring.models import Round
from monitoring.terminal.text_table import GAP, clean_text, truncate_to_width
from portal.base.words import EMPTY_VALUE, round_to_integer

START_OF_LINE, ERASE = "\r", "\x1b[K"
NAMED, LONGEST_NAME = 6, 30


# --- A round in a line -----------------------------------------------------------------------------------------------


def format_round(swept: ShownRound) -> str:
    """Return a line such as `#12  14:03:20  200 checks  p95 180 ms  0.50 % errors  (API, Shop)`."""
    if swept.is_lost and swept.round is None:
        return _("The round could not be saved.")
    if swept.round is None:
        return _("Nothing was checked.")
    return GAP.join([*round_figures(swept.round), *round_remarks(swept.round, swept)])


def round_figures(found: Round) -> Iterable[str]:
    yield f"#{found.number}"
    yield f"{timezone.localtime(found.started_at):%H:%M:%S}"
    yield ngettext("%(count)d check", "%(count)d checks", found.checks) % {"count": found.checks}
    yield format_p95(found.p95_ms)
    yield _("%(percent)s errors") % {"percent": format_percent(found.error_rate)}
    if found.failing:
        yield f"({list_names(found.failing)})"


def format_p95(p95_ms: float | None) -> str:
    """Format the percentile, marked as slow or as too slow by the limits of the fleet rule."""
    if p95_ms is None:
        return f"p95 {EMPTY_VALUE}"
    shown = f"p95 {round_to_integer(p95_ms)} ms"
    if p95_ms > settings.FLEET_LATENCY_ALERT_MS:
        return _("%(p95)s, too slow") % {"p95": shown}
    return _("%(p95)s, slow") % {"p95": shown} if p95_ms > settings.FLEET_LATENCY_SHOWN_MS else shown


def round_remarks(found: Round, swept: ShownRound) -> Iterable[str]:
    if retried := found.retried:
        yield ngettext("%(count)d retried", "%(count)d retried", retried) % {"count": retried}
    if excused := found.excused:
        yield ngettext("%(count)d excluded", "%(count)d excluded", excused) % {"count": excused}
    if swept.is_too_long:
        yield _("took %(seconds).1f s, longer than the interval") % {"seconds": swept.seconds}


def list_names(names: Sequence[str], most: int = NAMED) -> str:
    """Return `API, Shop and 3 more`, or `and more` if the round stores no more names."""
    shown = ", ".join(truncate_to_width(clean_text(name), LONGEST_NAME) for name in names[:most])
    more = len(names) - most
    if more <= 0:
        return shown
    if len(names) >= active_round.MOST_NAMED:
        return _("%(names)s and more") % {"names": shown}
    return ngettext("%(names)s and %(count)d more", "%(names)s and %(count)d more", more) % {
        "names": shown,
        "count": more,
    }


# --- The progress line -----------------------------------------------------------------------------------------------


class Screen:
    """A stream whose last line is rewritten in place if it is a terminal. Other streams get no progress line."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream
        self.is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.shown = ""

    def show(self, what: Progress | float) -> None:
        if self.is_live:
            self.rewrite(format_progress(what) if not isinstance(what, float) else format_countdown(what))

    def rewrite(self, text: str) -> None:
        text = truncate_to_width(text, shutil.get_terminal_size().columns - 1)
        if text != self.shown:
            self.write(START_OF_LINE + text + ERASE)
            self.shown = text

    def make_room(self, record: logging.LogRecord) -> bool:
        """Clear the progress line before a record is logged. To be used as a filter of a logger."""
        self.clear()
        return True

    def clear(self) -> None:
        if self.shown:
            self.write(START_OF_LINE + ERASE)
            self.shown = ""

    def print(self, *lines: str) -> None:
        self.clear()
        self.write("".join(f"{line}\n" for line in lines))

    def write(self, text: str) -> None:
        self.stream.write(text, ending="")
        self.stream.flush()


def format_progress(running: Progress) -> str:
    parts = [_("%(done)d of %(total)d checked") % {"done": running.done, "total": running.total}]
    if running.failing:
        parts.append(ngettext("%(count)d failing", "%(count)d failing", running.failing) % {"count": running.failing})
    if running.is_stopped:
        parts.append(_("ending (Ctrl-C again ends it at once)"))
    return ", ".join(parts)


def format_countdown(seconds: float) -> str:
    return _("next round in %(seconds)d s") % {"seconds": -int(-seconds // 1)}
