"""How a target did, read from rollups alone. Where nothing was checked there is no figure: no data is not down.

Excused failures count for nothing. Hours and days are those of UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import cast

from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils.formats import number_format
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitoring import histogram
from monitoring.histogram import Histogram
from monitoring.models import Rollup
from portal.admin.display import NOTHING

Period = Rollup.Period
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WINDOWS = {"24h": 24 * HOUR, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
# Windows up to this long are read from hours, longer ones from days.
IN_HOURS = 7 * DAY
# A day in which this share of the checks failed, which is more than an hour of it, was a bad one.
DOWN_FROM = 0.05


def floor(moment: datetime, step: timedelta) -> datetime:
    """When the minute, hour, day (UTC) or other step that the moment falls into began."""
    return EPOCH + (moment - EPOCH) // step * step


# --- Figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What the checks of a window came to; milliseconds of those that went well, None where none did."""

    checks: int = 0
    failures: int = 0
    excused: int = 0
    latency_sum_ms: float = 0
    histogram: Histogram = field(default_factory=dict, repr=False)

    @property
    def uptime(self) -> float | None:
        """From 0 to 1; None where no check counts."""
        return (self.checks - self.failures) / self.checks if self.checks else None

    @property
    def mean_ms(self) -> float | None:
        succeeded = self.checks - self.failures
        return self.latency_sum_ms / succeeded if succeeded else None

    @cached_property
    def p50_ms(self) -> float | None:
        return histogram.percentile(self.histogram, 0.5)

    @cached_property
    def p95_ms(self) -> float | None:
        return histogram.percentile(self.histogram, 0.95)

    @cached_property
    def p99_ms(self) -> float | None:
        return histogram.percentile(self.histogram, 0.99)


@dataclass(frozen=True)
class Part:
    """One rollup as it is read here; its histogram may be the JSON of one."""

    start: datetime
    checks: int
    failures: int
    excused: int
    latency_sum_ms: float
    histogram: Histogram | str


COLUMNS = ("start", "checks", "failures", "excused", "latency_sum_ms")


def figures(
    targets: Sequence[int], now: datetime, windows: Sequence[str] = tuple(WINDOWS)
) -> dict[int, dict[str, Figures]]:
    """By target and window, the running hour and day included; one query for hours and one for days."""
    found: dict[int, dict[str, Figures]] = {target: {} for target in targets}
    for period, names in by_period(windows).items():
        starts = {name: window_start(name, now) for name in names}
        parts = parts_of(targets, period, min(starts.values()))
        for target in targets:
            for name, start in starts.items():
                found[target][name] = summed(part for part in parts.get(target, ()) if part.start >= start)
    return found


def by_period(windows: Sequence[str]) -> dict[Period, list[str]]:
    periods: dict[Period, list[str]] = {}
    for name in windows:
        periods.setdefault(Period.HOUR if WINDOWS[name] <= IN_HOURS else Period.DAY, []).append(name)
    return periods


def window_start(name: str, now: datetime) -> datetime:
    """Hours reach back to the one that the window begins in; of days there are as many as its name says, with today."""
    if WINDOWS[name] <= IN_HOURS:
        return floor(now - WINDOWS[name], HOUR)
    return floor(now, DAY) - WINDOWS[name] + DAY


def parts_of(targets: Sequence[int], period: Period, since: datetime) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = {}
    rows = Rollup.objects.of(list(targets), period, since)
    columns = rows.values_list("target_id", *COLUMNS, Cast("histogram", TextField()))
    for target, *part in columns.iterator(chunk_size=2_000):
        found.setdefault(target, []).append(Part(*part))
    return found


def summed(parts: Iterable[Part]) -> Figures:
    chosen = list(parts)
    return Figures(
        checks=sum(part.checks for part in chosen),
        failures=sum(part.failures for part in chosen),
        excused=sum(part.excused for part in chosen),
        latency_sum_ms=sum(part.latency_sum_ms for part in chosen),
        histogram=cast(Histogram, SimpleLazyObject(lambda: added_up(chosen))),
    )


def added_up(parts: Iterable[Part]) -> Histogram:
    """This costs more than all else here, and where uptime alone is shown nobody asks for it."""
    found = [part.histogram for part in parts]
    read = json.loads(f"[{','.join(text for text in found if isinstance(text, str))}]")  # at once: most are tiny
    return histogram.merged([*read, *(known for known in found if not isinstance(known, str))])


def percent(uptime: float | None) -> str:
    """`99.95 %` as the reader writes numbers. 100 % is said of what never failed, and of nothing else."""
    if uptime is None:
        return NOTHING
    shown = uptime if uptime in (0, 1) else min(max(uptime, 0.0001), 0.9999)
    digits = 0 if shown in (0, 1) else 2
    # Rounded here: what writes numbers cuts digits off.
    return _("%(number)s %%") % {"number": number_format(round(shown * 100, digits), digits, use_l10n=True)}


def rounded(uptime: float | None) -> float | None:
    """To five digits, for programs; 1.0 is said of what never failed, and of nothing else."""
    if uptime is None or uptime == 1:
        return uptime
    return min(round(uptime, 5), 0.99999)


# --- Bars ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A day of one target."""

    day: date
    checks: int = 0
    failures: int = 0
    excused: int = 0

    @property
    def uptime(self) -> float | None:
        return (self.checks - self.failures) / self.checks if self.checks else None

    @property
    def state(self) -> str:
        """`none` where no check counts, `up` without a failure, `down` where a twentieth failed, else `partial`."""
        if not self.checks:
            return "none"
        if not self.failures:
            return "up"
        return "down" if self.failures >= DOWN_FROM * self.checks else "partial"


def bars(targets: Sequence[int], now: datetime, days: int = 30) -> dict[int, list[Bar]]:
    """The last days of each target with today, oldest first, those without data as well; one query."""
    first = floor(now, DAY) - (days - 1) * DAY
    wanted = [(first + number * DAY).date() for number in range(days)]
    rows = Rollup.objects.of(list(targets), Period.DAY, first)
    known = {
        (target, start.date()): Bar(start.date(), *counts)
        for target, start, *counts in rows.values_list("target_id", "start", "checks", "failures", "excused")
    }
    return {target: [known.get((target, day), Bar(day)) for day in wanted] for target in targets}


# --- Series ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """What a chart shows: how far back, from which rollups, and how much time one point stands for."""

    label: Promise
    length: timedelta
    period: Period
    step: timedelta


SPANS = {
    "3h": Span(gettext_lazy("3 hours"), 3 * HOUR, Period.MINUTE, MINUTE),
    "24h": Span(gettext_lazy("24 hours"), 24 * HOUR, Period.MINUTE, 10 * MINUTE),
    "7d": Span(gettext_lazy("7 days"), 7 * DAY, Period.HOUR, HOUR),
    "30d": Span(gettext_lazy("30 days"), 30 * DAY, Period.HOUR, 4 * HOUR),
    "1y": Span(gettext_lazy("1 year"), 365 * DAY, Period.DAY, DAY),
}


@dataclass(frozen=True)
class Series:
    """A chart's points, oldest first: the latencies in milliseconds, None where no check went well."""

    starts: list[datetime]
    p50: list[float | None]
    p95: list[float | None]
    failures: list[int]


def series(target: int, now: datetime, span: str) -> Series:
    """The points of one of `SPANS`, the running one included; one query."""
    chosen = SPANS[span]
    count = chosen.length // chosen.step
    last = floor(now, chosen.step)
    starts = [last - back * chosen.step for back in reversed(range(count))]
    steps: dict[datetime, list[Part]] = {start: [] for start in starts}
    for part in parts_of([target], chosen.period, starts[0]).get(target, ()):
        steps.get(floor(part.start, chosen.step), []).append(part)
    points = [summed(parts) for parts in steps.values()]
    return Series(
        starts=starts,
        p50=[point.p50_ms for point in points],
        p95=[point.p95_ms for point in points],
        failures=[point.failures for point in points],
    )
