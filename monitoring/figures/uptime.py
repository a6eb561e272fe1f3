"""How a target did, read from rollups alone. Where nothing was checked there is no figure: no data is not down.

Excused failures count for nothing. Hours and days are those of UTC.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, cast

from django.db.models import BigIntegerField, Func, TextField
from django.db.models.functions import Cast
from django.utils.formats import number_format
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitoring.figures import histogram
from monitoring.figures.histogram import Histogram
from monitoring.models import Rollup
from portal.base.words import EMPTY_VALUE, round_half_up

Period = Rollup.Period
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WINDOWS = {"24h": 24 * HOUR, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
# Windows up to this long are read from hours, longer ones from days.
IN_HOURS = 7 * DAY
# A day in which this share of the checks failed, which is more than an hour of it, was a bad one.
DOWN_FROM = 0.05


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def floor(moment: datetime, step: timedelta) -> datetime:
    """When the minute, hour, day (UTC) or other step that the moment falls into began."""
    return EPOCH + (moment - EPOCH) // step * step


# --- Figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What the checks of a window came to; milliseconds of those that went well, None where none did.

    Every attempt of a check that was retried with success is an attempt of its own; a check that failed is one.
    """

    checks: int = 0
    failures: int = 0
    excused: int = 0
    retried: int = 0
    latency_sum_ms: float = 0
    histogram: Histogram = field(default_factory=dict, repr=False)

    @property
    def uptime(self) -> float | None:
        """From 0 to 1; None where no check counts."""
        return (self.checks - self.failures) / self.checks if self.checks else None

    @property
    def attempts(self) -> int:
        return self.checks + self.retried

    @property
    def failed_attempts(self) -> int:
        return self.failures + self.retried

    @property
    def error_rate(self) -> float | None:
        """From 0 to 1; None where no check counts."""
        return self.failed_attempts / self.attempts if self.attempts else None

    @property
    def mean_ms(self) -> float | None:
        succeeded = self.checks - self.failures
        return self.latency_sum_ms / succeeded if succeeded else None

    @cached_property
    def percentiles(self) -> list[float | None]:
        return histogram.percentiles(self.histogram, [0.5, 0.95, 0.99])

    @property
    def p50_ms(self) -> float | None:
        return self.percentiles[0]

    @property
    def p95_ms(self) -> float | None:
        return self.percentiles[1]

    @property
    def p99_ms(self) -> float | None:
        return self.percentiles[2]


class Seconds(Func):
    """A moment as whole seconds since 1970: to make a datetime of each row takes five times as long as all the rest."""

    template = "EXTRACT(EPOCH FROM %(expressions)s)::bigint"
    output_field = BigIntegerField()

    def get_db_converters(self, connection: Any) -> list[Any]:
        """Both databases give an integer; Django would make one of each again."""
        return []

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)", **context
        )


class Part(NamedTuple):
    """One rollup as it is read here: when it began, in seconds since 1970; its histogram may be the JSON of one."""

    start: int
    checks: int
    failures: int
    excused: int
    retried: int
    latency_sum_ms: float
    histogram: Histogram | str


COLUMNS = ("checks", "failures", "excused", "retried", "latency_sum_ms")


def figures(
    targets: Sequence[int], now: datetime, windows: Sequence[str] = tuple(WINDOWS)
) -> dict[int, dict[str, Figures]]:
    """By target and window, the running hour and day included; one query for hours and one for days."""
    found: dict[int, dict[str, Figures]] = {target: {} for target in targets}
    for period, names in by_period(windows).items():
        starts = {name: seconds(window_start(name, now)) for name in names}
        parts = parts_of(targets, period, datetime.fromtimestamp(min(starts.values()), UTC))
        for target in targets:
            inner, until = Figures(), None
            for name in sorted(starts, key=lambda name: starts[name], reverse=True):
                start = starts[name]
                added = [
                    part
                    for part in parts.get(target, ())
                    if part.start >= start and (until is None or part.start < until)
                ]
                inner, until = summed(added, inner), start
                found[target][name] = inner
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


def parts_of(
    targets: Sequence[int], period: Period, since: datetime, until: datetime | None = None
) -> dict[int, list[Part]]:
    """By target; what begins at `until` or later is left out."""
    found: dict[int, list[Part]] = {}
    rows = Rollup.objects.of(list(targets), period, since)
    if until is not None:
        rows = rows.filter(start__lt=until)
    columns = rows.values_list("target_id", Seconds("start"), *COLUMNS, Cast("histogram", TextField()))
    for target, *part in columns.iterator(chunk_size=2_000):
        found.setdefault(target, []).append(Part(*part))
    return found


def summed(parts: Sequence[Part], others: Figures | None = None) -> Figures:
    """Of the parts, and of what others came to."""
    inner = others or Figures()
    return Figures(
        checks=inner.checks + sum(part.checks for part in parts),
        failures=inner.failures + sum(part.failures for part in parts),
        excused=inner.excused + sum(part.excused for part in parts),
        retried=inner.retried + sum(part.retried for part in parts),
        latency_sum_ms=inner.latency_sum_ms + sum(part.latency_sum_ms for part in parts),
        histogram=cast(Histogram, SimpleLazyObject(lambda: added_up(parts, inner))),
    )


def added_up(parts: Sequence[Part], others: Figures) -> Histogram:
    """This costs more than all else here, and where uptime alone is shown nobody asks for it."""
    found: list[Histogram | str] = [part.histogram for part in parts]
    if others.checks:
        found.append({**others.histogram})
    read = json.loads(f"[{','.join(text for text in found if isinstance(text, str))}]")  # at once: most are tiny
    known = [*read, *(each for each in found if not isinstance(each, str))]
    return known[0] if len(known) == 1 else histogram.merged(known)


def percent(uptime: float | None) -> str:
    """`99.95 %` as the reader writes numbers. 100 % is said of what never failed, and of nothing else."""
    if uptime is None:
        return EMPTY_VALUE
    shown = uptime if uptime in (0, 1) else min(max(uptime, 0.0001), 0.9999)
    digits = 0 if shown in (0, 1) else 2
    # Rounded here: `number_format` cuts digits off.
    return _("%(number)s %%") % {"number": number_format(round_half_up(shown * 100, digits), digits, use_l10n=True)}


def rounded(uptime: float | None) -> float | None:
    """To five digits, for programs; 1.0 is said of what never failed, and of nothing else."""
    if uptime is None or uptime == 1:
        return uptime
    return min(round_half_up(uptime, 5), 0.99999)


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
    steps: dict[int, list[Part]] = {seconds(start): [] for start in starts}
    step = int(chosen.step.total_seconds())
    for part in parts_of([target], chosen.period, starts[0]).get(target, ()):
        steps.get(part.start // step * step, []).append(part)
    points = [summed(parts) for parts in steps.values()]
    return Series(
        starts=starts,
        p50=[point.p50_ms for point in points],
        p95=[point.p95_ms for point in points],
        failures=[point.failures for point in points],
    )
