"""Uptime, latencies and charts of targets, read from rollups alone. No data is not down: there is no figure then.

Excluded failures do not count. Hours and days are in UTC.
"""

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
# A day with this share of failed checks, which is more than an hour, is shown as down.
DOWN_FROM = 0.05


def epoch_seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def floor_to_step(moment: datetime, step: timedelta) -> datetime:
    """Return the start of the minute, hour, day (UTC) or other step that contains the moment."""
    return EPOCH + (moment - EPOCH) // step * step


def success_share(checks: int, failures: int) -> float | None:
    """Return a share from 0 to 1, or None without counted checks."""
    return (checks - failures) / checks if checks else None


# --- Figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UptimeFigures:
    """Figures of a target's checks. Latencies are those of good checks in milliseconds, or None without any.

    Each attempt of a check that succeeded at a retry counts as an attempt; a failed check counts as one.
    """

    checks: int = 0
    failures: int = 0
    excused: int = 0
    retried: int = 0
    latency_sum_ms: float = 0
    histogram: Histogram = field(default_factory=dict, repr=False)

    @property
    def uptime(self) -> float | None:
        return success_share(self.checks, self.failures)

    @property
    def attempts(self) -> int:
        return self.checks + self.retried

    @property
    def failed_attempts(self) -> int:
        return self.failures + self.retried

    @property
    def error_rate(self) -> float | None:
        """Return the share of failed attempts, retried ones included, from 0 to 1; None without counted checks."""
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


class EpochSeconds(Func):
    """Read a moment as whole seconds since 1970: a datetime per row takes five times as long as all the rest."""

    template = "EXTRACT(EPOCH FROM %(expressions)s)::bigint"
    output_field = BigIntegerField()

    def get_db_converters(self, connection: Any) -> list[Any]:
        """Return no converters: both databases return integers."""
        return []

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)", **context
        )


class RollupPart(NamedTuple):
    """One rollup as read. `start` is in seconds since 1970; `histogram` may be its unparsed JSON."""

    start: int
    checks: int
    failures: int
    excused: int
    retried: int
    latency_sum_ms: float
    histogram: Histogram | str


COLUMNS = ("checks", "failures", "excused", "retried", "latency_sum_ms")


def load_figures(
    targets: Sequence[int], now: datetime, windows: Sequence[str] = tuple(WINDOWS)
) -> dict[int, dict[str, UptimeFigures]]:
    """Load the figures by target and window, with the current hour and day. Takes one query for hours, one for days."""
    found: dict[int, dict[str, UptimeFigures]] = {target: {} for target in targets}
    for period, names in windows_by_period(windows).items():
        starts = {name: epoch_seconds(window_start(name, now)) for name in names}
        parts = load_parts(targets, period, datetime.fromtimestamp(min(starts.values()), UTC))
        for target in targets:
            inner, until = UptimeFigures(), None
            for name in sorted(starts, key=lambda name: starts[name], reverse=True):
                start = starts[name]
                added = [
                    part
                    for part in parts.get(target, ())
                    if part.start >= start and (until is None or part.start < until)
                ]
                inner, until = sum_parts(added, inner), start
                found[target][name] = inner
    return found


def windows_by_period(windows: Sequence[str]) -> dict[Period, list[str]]:
    periods: dict[Period, list[str]] = {}
    for name in windows:
        periods.setdefault(Period.HOUR if WINDOWS[name] <= IN_HOURS else Period.DAY, []).append(name)
    return periods


def window_start(name: str, now: datetime) -> datetime:
    """Return the start of the first hour of the window, or of the first of its days, today included."""
    if WINDOWS[name] <= IN_HOURS:
        return floor_to_step(now - WINDOWS[name], HOUR)
    return floor_to_step(now, DAY) - WINDOWS[name] + DAY


def load_parts(
    targets: Sequence[int], period: Period, since: datetime, until: datetime | None = None
) -> dict[int, list[RollupPart]]:
    """Load the rollups by target. Those that start at `until` or later are left out."""
    found: dict[int, list[RollupPart]] = {}
    rows = Rollup.objects.of_targets(list(targets), period, since)
    if until is not None:
        rows = rows.filter(start__lt=until)
    columns = rows.values_list("target_id", EpochSeconds("start"), *COLUMNS, Cast("histogram", TextField()))
    for target, *part in columns.iterator(chunk_size=2_000):
        found.setdefault(target, []).append(RollupPart(*part))
    return found


def sum_parts(
    parts: Sequence[RollupPart] | Sequence[UptimeFigures], others: UptimeFigures | None = None
) -> UptimeFigures:
    """Sum up the rollups or figures, and earlier figures."""
    inner = others or UptimeFigures()
    return UptimeFigures(
        checks=inner.checks + sum(part.checks for part in parts),
        failures=inner.failures + sum(part.failures for part in parts),
        excused=inner.excused + sum(part.excused for part in parts),
        retried=inner.retried + sum(part.retried for part in parts),
        latency_sum_ms=inner.latency_sum_ms + sum(part.latency_sum_ms for part in parts),
        histogram=cast(Histogram, SimpleLazyObject(lambda: merge_histograms(parts, inner))),
    )


def merge_histograms(parts: Sequence[RollupPart] | Sequence[UptimeFigures], others: UptimeFigures) -> Histogram:
    """Merge the histograms. Called lazily: it is the most expensive step, and not needed for the uptime."""
    found: list[Histogram | str] = [part.histogram for part in parts]
    if others.checks:
        found.append({**others.histogram})
    read = json.loads(f"[{','.join(text for text in found if isinstance(text, str))}]")  # in one call: most are tiny
    known = [*read, *(each for each in found if not isinstance(each, str))]
    return known[0] if len(known) == 1 else histogram.merge_histograms(known)


def format_percent(share: float | None) -> str:
    """Format a share as `99.95 %` in the active locale. Only exactly 0 and 1 are shown as 0 % and 100 %."""
    if share is None:
        return EMPTY_VALUE
    # Rounded here because `number_format` truncates.
    percent, digits = round_percent(share), 0 if share in (0, 1) else 2
    return _("%(number)s %%") % {"number": number_format(percent, digits, use_l10n=True)}


def round_percent(share: float) -> float:
    """Return a share in percent with two digits. Only exactly 0 and 1 are 0 and 100."""
    if share in (0, 1):
        return share * 100
    return round_half_up(min(max(share, 0.0001), 0.9999) * 100, 2)


def round_uptime(uptime: float | None) -> float | None:
    """Round to five digits, for the API. Only a target that never failed has 1.0."""
    if uptime is None or uptime == 1:
        return uptime
    return min(round_half_up(uptime, 5), 0.99999)


# --- Bars ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DayBar:
    """One day of one target in the uptime bars."""

    day: date
    checks: int = 0
    failures: int = 0

    @property
    def uptime(self) -> float | None:
        return success_share(self.checks, self.failures)

    @property
    def state(self) -> str:
        """Return `none` without counted checks, `up` without failures, `down` from DOWN_FROM on, else `partial`."""
        if not self.checks:
            return "none"
        if not self.failures:
            return "up"
        return "down" if self.failures >= DOWN_FROM * self.checks else "partial"


def load_bars(targets: Sequence[int], now: datetime, days: int = 30) -> dict[int, list[DayBar]]:
    """Load the last days of each target, oldest first, with today and days without data. Takes one query."""
    first = floor_to_step(now, DAY) - (days - 1) * DAY
    wanted = [(first + number * DAY).date() for number in range(days)]
    rows = Rollup.objects.of_targets(list(targets), Period.DAY, first)
    known = {
        (target, start.date()): DayBar(start.date(), *counts)
        for target, start, *counts in rows.values_list("target_id", "start", "checks", "failures")
    }
    return {target: [known.get((target, day), DayBar(day)) for day in wanted] for target in targets}


# --- Series ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChartSpan:
    """A time range of the chart: its length, the rollups it reads, and the time between two points."""

    label: Promise
    length: timedelta
    period: Period
    step: timedelta


CHART_SPANS = {
    "3h": ChartSpan(gettext_lazy("3 hours"), 3 * HOUR, Period.MINUTE, MINUTE),
    "24h": ChartSpan(gettext_lazy("24 hours"), 24 * HOUR, Period.MINUTE, 10 * MINUTE),
    "7d": ChartSpan(gettext_lazy("7 days"), 7 * DAY, Period.HOUR, HOUR),
    "30d": ChartSpan(gettext_lazy("30 days"), 30 * DAY, Period.HOUR, 4 * HOUR),
    "1y": ChartSpan(gettext_lazy("1 year"), 365 * DAY, Period.DAY, DAY),
}


@dataclass(frozen=True)
class LatencySeries:
    """Points of a chart, oldest first. Latencies are in milliseconds, None without a good check."""

    starts: list[datetime]
    p50: list[float | None]
    p95: list[float | None]
    failures: list[int]


def load_series(target: int, now: datetime, span: str) -> LatencySeries:
    """Load the points of one of `CHART_SPANS`, with the current one. Takes one query."""
    chosen = CHART_SPANS[span]
    count = chosen.length // chosen.step
    last = floor_to_step(now, chosen.step)
    starts = [last - back * chosen.step for back in reversed(range(count))]
    steps: dict[int, list[RollupPart]] = {epoch_seconds(start): [] for start in starts}
    step = int(chosen.step.total_seconds())
    for part in load_parts([target], chosen.period, starts[0]).get(target, ()):
        steps.get(part.start // step * step, []).append(part)
    nothing = UptimeFigures()
    points = [sum_parts(parts) if parts else nothing for parts in steps.values()]
    return LatencySeries(
        starts=starts,
        p50=[point.p50_ms for point in points],
        p95=[point.p95_ms for point in points],
        failures=[point.failures for point in points],
    )
