"""Text reports of checks, for terminals and files: of a period from the database, of a watch from memory."""

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
from django.utils.translation import ngettext, pgettext

from monitoring.alerts import notices
from monitoring.error_texts import ERROR_LABELS
from monitoring.figures import rollups, uptime
from monitoring.figures.uptime import DAY, HOUR, MINUTE, UptimeFigures, format_percent
from monitoring.models import CheckResult, Incident, Rollup, Round, Target
from monitoring.terminal.text_table import (
    WIDTH,
    clean_text,
    column_widths,
    format_header,
    format_row,
    indent_text,
    wrap_text,
)
from portal.base.conventions import Collected
from portal.base.files import write_whole
from portal.base.words import EMPTY_VALUE, format_moment, format_span, round_to_integer
from portal.work.jobs import AlreadyRunning

# Reports of other apps, registered in their modules `panels`. `beta_monitor --report` prints them before this one.
other_reports: Collected[Callable[[datetime], list[str]]] = Collected("panels")

MOST_INCIDENTS = 100
# Periods up to this long are read from minute rollups, up to a week from hours, and longer ones from days.
IN_MINUTES = 6 * HOUR


# --- One target ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TargetLine:
    """A target's row in a report. Percentiles of the histogram are clamped to `least_ms` and `most_ms`.

    `kinds` counts why checks failed, of the last `kinds_days` only if there is such a limit.
    """

    name: str
    figures: UptimeFigures
    state: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    least_ms: float = 0.0
    most_ms: float = math.inf
    kinds_days: int | None = None

    def cells(self) -> tuple[str, ...]:
        figures = self.figures
        percentiles = [self.within(value) for value in (figures.p50_ms, figures.p95_ms, figures.p99_ms)]
        milliseconds = [figures.mean_ms, *percentiles]
        counted = (f"{figures.checks}", format_percent(figures.uptime), format_percent(figures.error_rate))
        return (clean_text(self.name), self.state, *counted, *map(format_latency, milliseconds))

    def within(self, value: float | None) -> float | None:
        return None if value is None else min(max(value, self.least_ms), self.most_ms)

    def remarks(self) -> str:
        """Return a line such as `Timeout 12, Connection failed 3, 4 retried, 2 not counted`."""
        remarks = [f"{ERROR_LABELS[kind]} {count}" for kind, count in self.kinds.most_common()]
        if remarks and self.kinds_days:
            words = {"reasons": ", ".join(remarks), "count": self.kinds_days}
            text = ngettext(
                "%(reasons)s of the last %(count)d day", "%(reasons)s of the last %(count)d days", self.kinds_days
            )
            remarks = [text % words]
        if retried := self.figures.retried:
            remarks.append(ngettext("%(count)d retried", "%(count)d retried", retried) % {"count": retried})
        if excused := self.figures.excused:
            remarks.append(ngettext("%(count)d excluded", "%(count)d excluded", excused) % {"count": excused})
        return ", ".join(remarks)


def format_latency(value: float | None) -> str:
    return EMPTY_VALUE if value is None else f"{round_to_integer(value)}"


def total_line(lines: Sequence[TargetLine]) -> TargetLine:
    figures = uptime.sum_parts([line.figures for line in lines])
    kinds: Counter[str] = sum((line.kinds for line in lines), Counter())
    least, most = min(line.least_ms for line in lines), max(line.most_ms for line in lines)
    return TargetLine(_("All targets"), figures, "", kinds, least, most, lines[0].kinds_days)


# --- The table -------------------------------------------------------------------------------------------------------


def target_table(lines: Sequence[TargetLine]) -> list[str]:
    """Return a row for each target and a total, with their remarks below, at most WIDTH columns wide."""
    if not lines:
        return [_("No targets.")]
    shown = [*lines, total_line(lines)] if len(lines) > 1 else list(lines)
    header = (
        _("target"),
        _("status"),
        pgettext("column", "checks"),
        _("uptime"),
        _("errors"),
        _("mean ms"),
        "p50",
        "p95",
        "p99",
    )
    rows = [header, *(line.cells() for line in shown)]
    widths = column_widths(rows)
    text = format_header(header, widths)
    for line, row in zip(shown, rows[1:], strict=True):
        text += [format_row(row, widths), *indent_text(line.remarks())]
    return text


# --- A watch ---------------------------------------------------------------------------------------------------------


@dataclass
class WatchedTarget:
    """Figures of one target during a watch, in constant memory."""

    target: Target
    tally: rollups.RollupTally = field(default_factory=rollups.RollupTally)
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

    def line(self) -> TargetLine:
        tally = self.tally
        figures = UptimeFigures(*tally.counts, tally.latency_sum_ms, tally.histogram)
        state = self.target.get_state_display()
        return TargetLine(self.target.name, figures, state, self.kinds, self.least_ms, self.most_ms)


class WatchLog:
    """The rounds of one watch, and its report at the end."""

    def __init__(self) -> None:
        self.targets: dict[int, WatchedTarget] = {}
        self.rounds = 0
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.latest: list[bool] = []

    def add(self, found: Round | None, results: Sequence[CheckResult], *, is_lost: bool = False) -> None:
        """Count a round. `found` is None if nothing came back, or if the round was lost."""
        self.add_results(results)
        if found is not None:
            self.count(found.started_at, found.finished_at)
        elif results:
            moments = [result.at for result in results]
            self.count(min(moments), max(moments))
        if found is not None or is_lost:
            self.latest = [*self.latest, not is_lost and is_good_round(found)][-2:]

    def add_results(self, results: Sequence[CheckResult]) -> None:
        for result in results:
            self.targets.setdefault(result.target_id, WatchedTarget(result.target)).add(result)

    def count(self, began: datetime, ended: datetime) -> None:
        self.rounds += 1
        self.began, self.ended = self.began or began, ended

    def lines(self) -> list[str]:
        if self.began is None or self.ended is None:
            return [_("The round could not be saved.") if self.latest else _("Nothing was checked.")]
        rounds = ngettext("%(count)d round", "%(count)d rounds", self.rounds) % {"count": self.rounds}
        targets = sorted(self.targets.values(), key=lambda each: each.target.name)
        return [*period_heading(rounds, self.began, self.ended), "", *target_table([each.line() for each in targets])]

    def is_good(self) -> bool:
        """Return whether the last two rounds had no failure and no latency that alerts. False without a round."""
        return bool(self.latest) and all(self.latest)


def is_good_round(found: Round | None) -> bool:
    if found is None or found.failures:
        return False
    return found.p95_ms is None or found.p95_ms <= settings.FLEET_LATENCY_ALERT_MS


def period_heading(what: str, since: datetime, until: datetime) -> list[str]:
    period = _("from %(since)s to %(until)s") % {"since": format_moment(since), "until": format_moment(until)}
    return [f"{what}, {period}"]


# --- A period --------------------------------------------------------------------------------------------------------


def update_rollups(now: datetime) -> None:
    """Roll up the new checks now: an installation without workers has no job that does."""
    try:
        rollups.rebuild_rollups(rollups.find_start(now), uptime.floor_to_step(now, MINUTE) + MINUTE)
    except AlreadyRunning:
        return


def period_report(now: datetime, hours: int) -> list[str]:
    period, step = choose_period(timedelta(hours=hours))
    since = uptime.floor_to_step(now - timedelta(hours=hours), step)
    targets = list(Target.objects.order_by("name"))
    return [
        *period_heading(_("Monitoring"), since, now),
        "",
        *target_table(target_lines(targets, period, since, now)),
        "",
        *incident_section(since, now),
    ]


def choose_period(length: timedelta) -> tuple[Rollup.Period, timedelta]:
    if length <= IN_MINUTES:
        return Rollup.Period.MINUTE, MINUTE
    return (Rollup.Period.HOUR, HOUR) if length <= uptime.IN_HOURS else (Rollup.Period.DAY, DAY)


def target_lines(targets: Sequence[Target], period: Rollup.Period, since: datetime, now: datetime) -> list[TargetLine]:
    parts = uptime.load_parts([target.pk for target in targets], period, since)
    kept_since = now - timedelta(days=settings.CHECK_RETENTION_DAYS)
    kinds = error_kinds_since(max(since, kept_since))
    kinds_days = settings.CHECK_RETENTION_DAYS if since < kept_since - HOUR else None
    return [
        TargetLine(
            target.name,
            uptime.sum_parts(parts.get(target.pk, ())),
            target.get_state_display() if target.is_active else _("paused"),
            kinds.get(target.pk, Counter()),
            kinds_days=kinds_days,
        )
        for target in targets
    ]


def error_kinds_since(since: datetime) -> dict[int, Counter[str]]:
    """Count failed checks by target and error kind."""
    failed: Any = CheckResult.objects.counted().filter(at__gte=since).exclude(error_kind="").order_by()
    found: dict[int, Counter[str]] = {}
    for target, kind, count in failed.values_list("target", "error_kind").annotate(count=Count("pk")):
        found.setdefault(target, Counter())[kind] = count
    return found


def incident_section(since: datetime, now: datetime) -> Iterator[str]:
    """List the incidents that were open during the period, newest first."""
    within = Incident.objects.filter(Q(resolved_at=None) | Q(resolved_at__gte=since), opened_at__lte=now)
    found = list(within.select_related("target").order_by("-pk")[: MOST_INCIDENTS + 1])
    if not found:
        yield _("No incidents.")
        return
    yield _("Incidents")
    for incident in sorted(found[:MOST_INCIDENTS], key=lambda each: each.opened_at, reverse=True):
        yield from incident_lines(incident, now)
    if len(found) > MOST_INCIDENTS:
        yield _("and more before")


def incident_lines(incident: Incident, now: datetime) -> Iterator[str]:
    lasting = format_span(incident.duration or now - incident.opened_at)
    spoken = lasting if incident.resolved_at else _("open for %(time)s") % {"time": lasting}
    what = notices.incident_headline(incident)
    yield from wrap_text(f"{format_moment(incident.opened_at)}, {spoken}: {what}", WIDTH)
    yield from indent_text(notices.incident_reason(incident))
    if incident.cause:
        yield from indent_text(_("Root cause: %(cause)s") % {"cause": incident.cause})


# --- Saving ----------------------------------------------------------------------------------------------------------


def save_report(lines: Sequence[str], now: datetime) -> Path:
    """Write the file atomically and return its path. A missing folder is not created. Raises OSError."""
    folder = Path(settings.REPORTS_ROOT)
    path = folder / f"beta_report_{timezone.localtime(now):%Y%m%d_%H%M%S}.txt"
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return path
