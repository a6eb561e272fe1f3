"""What checks came to, as text for a console and for keeping: of a period from the database, of a watch from memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.alerts import notices
from monitoring.figures import rollups, uptime
from monitoring.figures.uptime import DAY, HOUR, MINUTE, Figures, Part, percent
from monitoring.models import CheckResult, Incident, Rollup, Round, Target
from monitoring.probe.kinds import ErrorKind
from monitoring.terminal.text_table import WIDTH, header_of, indented, printable, row_of, widths_of, wrapped
from portal.base.conventions import Collected
from portal.base.files import write_whole
from portal.base.words import EMPTY_VALUE, format_moment, round_to_integer
from portal.work.jobs import AlreadyRunning

# Reports of other apps, which `beta_monitor --report` prints before this one, each with an empty line after it.
other_reports: Collected[Callable[[datetime], list[str]]] = Collected("panels")

MOST_INCIDENTS = 100
# What a period is read from: minutes up to so many hours, hours up to a week, else days.
IN_MINUTES = 6 * HOUR


# --- Of one target ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What is said of one target. No latency lies outside of `least_ms` and `most_ms`, whatever a histogram says.

    Why it failed is known of the last `kinds_days` only, where there is such a number.
    """

    name: str
    figures: Figures
    state: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    least_ms: float = 0.0
    most_ms: float = math.inf
    kinds_days: int | None = None

    def cells(self) -> tuple[str, ...]:
        figures = self.figures
        percentiles = [self.within(value) for value in (figures.p50_ms, figures.p95_ms, figures.p99_ms)]
        milliseconds = [figures.mean_ms, *percentiles]
        counted = (f"{figures.checks}", percent(figures.uptime), percent(figures.error_rate))
        return (printable(self.name), self.state, *counted, *map(in_ms, milliseconds))

    def within(self, value: float | None) -> float | None:
        return None if value is None else min(max(value, self.least_ms), self.most_ms)

    def remarks(self) -> str:
        """`Timeout 12, Connection failed 3, 4 retried, 2 not counted`"""
        said = [f"{ErrorKind(kind).label} {count}" for kind, count in self.kinds.most_common()]
        if said and self.kinds_days:
            words = {"reasons": ", ".join(said), "count": self.kinds_days}
            text = ngettext(
                "%(reasons)s of the last %(count)d day", "%(reasons)s of the last %(count)d days", self.kinds_days
            )
            said = [text % words]
        if retried := self.figures.retried:
            said.append(ngettext("%(count)d retried", "%(count)d retried", retried) % {"count": retried})
        if excused := self.figures.excused:
            said.append(ngettext("%(count)d not counted", "%(count)d not counted", excused) % {"count": excused})
        return ", ".join(said)


def in_ms(value: float | None) -> str:
    return EMPTY_VALUE if value is None else f"{round_to_integer(value)}"


def all_of(lines: Sequence[Line]) -> Line:
    parts = [part_of(line.figures) for line in lines]
    kinds: Counter[str] = sum((line.kinds for line in lines), Counter())
    least, most = min(line.least_ms for line in lines), max(line.most_ms for line in lines)
    return Line(_("All targets"), uptime.summed(parts), "", kinds, least, most, lines[0].kinds_days)


def part_of(figures: Figures) -> Part:
    counts = (figures.checks, figures.failures, figures.excused, figures.retried)
    return Part(0, *counts, figures.latency_sum_ms, figures.histogram)


# --- Columns ---------------------------------------------------------------------------------------------------------


def table(lines: Sequence[Line]) -> list[str]:
    """A row for each target and one for all of them, with what failed below it; at most WIDTH columns wide."""
    if not lines:
        return [_("There are no targets.")]
    shown = [*lines, all_of(lines)] if len(lines) > 1 else list(lines)
    header = (_("target"), _("state"), _("checks"), _("uptime"), _("errors"), _("mean ms"), "p50", "p95", "p99")
    rows = [header, *(line.cells() for line in shown)]
    widths = widths_of(rows)
    text = header_of(header, widths)
    for line, row in zip(shown, rows[1:], strict=True):
        text += [row_of(row, widths), *indented(line.remarks())]
    return text


# --- Of a watch ------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What a watch saw of one target, however long it takes."""

    target: Target
    tally: rollups.Tally = field(default_factory=rollups.Tally)
    kinds: Counter[str] = field(default_factory=Counter)
    least_ms: float = math.inf
    most_ms: float = 0.0

    def add(self, result: CheckResult) -> None:
        self.target = result.target
        self.tally.count(result.error_kind, result.latency_ms, result.excuse, result.retried)
        if result.error_kind and not result.excuse:
            self.kinds[result.error_kind] += 1
        if result.latency_ms is not None:
            self.least_ms = min(self.least_ms, result.latency_ms)
            self.most_ms = max(self.most_ms, result.latency_ms)

    def line(self) -> Line:
        tally = self.tally
        figures = Figures(*tally.counts, tally.latency_sum_ms, tally.histogram)
        state = self.target.get_state_display()
        return Line(self.target.name, figures, state, self.kinds, self.least_ms, self.most_ms)


class Log:
    """All rounds of one watch, and what it comes to in the end."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self.rounds = 0
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.latest: list[bool] = []

    def add(self, found: Round | None, results: Sequence[CheckResult], *, is_lost: bool = False) -> None:
        """No round where nothing came back, or where it was lost with what came back."""
        self.add_results(results)
        if found is not None:
            self.count(found.started_at, found.finished_at)
        elif results:
            moments = [result.at for result in results]
            self.count(min(moments), max(moments))
        if found is not None or is_lost:
            self.latest = [*self.latest, not is_lost and holds(found)][-2:]

    def add_results(self, results: Sequence[CheckResult]) -> None:
        for result in results:
            self.seen.setdefault(result.target_id, Seen(result.target)).add(result)

    def count(self, began: datetime, ended: datetime) -> None:
        self.rounds += 1
        self.began, self.ended = self.began or began, ended

    def lines(self) -> list[str]:
        if self.began is None or self.ended is None:
            return [_("The round could not be written down.") if self.latest else _("Nothing was checked.")]
        rounds = ngettext("%(count)d round", "%(count)d rounds", self.rounds) % {"count": self.rounds}
        seen = sorted(self.seen.values(), key=lambda each: each.target.name)
        return [*heading(rounds, self.began, self.ended), "", *table([each.line() for each in seen])]

    def has_held(self) -> bool:
        """Whether the last two rounds were free of failures and of slowness that alerts; not so without a round."""
        return bool(self.latest) and all(self.latest)


def holds(found: Round | None) -> bool:
    if found is None or found.failures:
        return False
    return found.p95_ms is None or found.p95_ms <= settings.FLEET_LATENCY_ALERT_MS


def heading(what: str, since: datetime, until: datetime) -> list[str]:
    period = _("from %(since)s to %(until)s") % {"since": format_moment(since), "until": format_moment(until)}
    return [f"{what}, {period}"]


# --- Of a period -----------------------------------------------------------------------------------------------------


def catch_up(now: datetime) -> None:
    """Counts what the workers have not counted yet, as where there are none."""
    try:
        rollups.rebuild(rollups.unrolled_since(now), uptime.floor(now, MINUTE) + MINUTE)
    except AlreadyRunning:
        return


def of_period(now: datetime, hours: int) -> list[str]:
    period, step = read_from(timedelta(hours=hours))
    since = uptime.floor(now - timedelta(hours=hours), step)
    targets = list(Target.objects.order_by("name"))
    return [
        *heading(_("Monitoring"), since, now),
        "",
        *table(lines_of(targets, period, since, now)),
        "",
        *incidents(since, now),
    ]


def read_from(length: timedelta) -> tuple[Rollup.Period, timedelta]:
    if length <= IN_MINUTES:
        return Rollup.Period.MINUTE, MINUTE
    return (Rollup.Period.HOUR, HOUR) if length <= uptime.IN_HOURS else (Rollup.Period.DAY, DAY)


def lines_of(targets: Sequence[Target], period: Rollup.Period, since: datetime, now: datetime) -> list[Line]:
    parts = uptime.parts_of([target.pk for target in targets], period, since)
    kept_since = now - timedelta(days=settings.CHECK_RETENTION_DAYS)
    kinds = kinds_since(max(since, kept_since))
    kinds_days = settings.CHECK_RETENTION_DAYS if since < kept_since - HOUR else None
    return [
        Line(
            target.name,
            uptime.summed(parts.get(target.pk, ())),
            target.get_state_display() if target.is_active else _("paused"),
            kinds.get(target.pk, Counter()),
            kinds_days=kinds_days,
        )
        for target in targets
    ]


def kinds_since(since: datetime) -> dict[int, Counter[str]]:
    """By target, why checks failed."""
    failed: Any = CheckResult.objects.counted().filter(at__gte=since).exclude(error_kind="").order_by()
    found: dict[int, Counter[str]] = {}
    for target, kind, count in failed.values_list("target", "error_kind").annotate(count=Count("pk")):
        found.setdefault(target, Counter())[kind] = count
    return found


def incidents(since: datetime, now: datetime) -> Iterator[str]:
    """Those that were open at some moment of the period, the latest first."""
    within = Incident.objects.filter(Q(resolved_at=None) | Q(resolved_at__gte=since), opened_at__lte=now)
    found = list(within.select_related("target").order_by("-pk")[: MOST_INCIDENTS + 1])
    if not found:
        yield _("No incident.")
        return
    yield _("Incidents")
    for incident in sorted(found[:MOST_INCIDENTS], key=lambda each: each.opened_at, reverse=True):
        yield from lines_about(incident, now)
    if len(found) > MOST_INCIDENTS:
        yield _("and more before")


def lines_about(incident: Incident, now: datetime) -> Iterator[str]:
    lasting = notices.spoken(incident.duration or now - incident.opened_at)
    spoken = lasting if incident.resolved_at else _("open for %(time)s") % {"time": lasting}
    what = notices.headline(incident)
    yield from wrapped(f"{format_moment(incident.opened_at)}, {spoken}: {what}", WIDTH)
    yield from indented(notices.reason(incident))
    if incident.cause:
        yield from indented(_("Cause: %(cause)s") % {"cause": incident.cause})


# --- Keeping it ------------------------------------------------------------------------------------------------------


def save(lines: Sequence[str], now: datetime) -> Path:
    """The file, which is there as a whole or not at all. A folder that is missing is not made. Raises OSError."""
    folder = Path(settings.REPORTS_ROOT)
    path = folder / f"beta_report_{timezone.localtime(now):%Y%m%d_%H%M%S}.txt"
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return path
