"""Figures of the services, on the landing page and above the list of targets."""

from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from monitoring.figures.uptime import format_percent, success_share
from monitoring.models import Incident, Rollup, Round, Target
from monitoring.models.targets import OVERDUE
from portal.base.words import EMPTY_VALUE, format_count, format_relative, round_half_up, round_to_integer
from portal.desk import checklist
from portal.desk.panels import Tile, chart_start, daily_chart, tiles

FRESH_SECONDS = 60
State = Target.State
ACTIVE = Q(is_active=True)
# States in which a target answers as it should, be it slowly.
ANSWERING = (State.UP, State.SLOW)
TROUBLED = (State.SLOW, State.FAILING, State.UNSTABLE, State.DOWN)
FEW_MS = 10


@dataclass(frozen=True)
class StateCounts:
    """Number of targets in each state. `up` includes `slow`, without overdue targets: their state may have passed."""

    watched: int
    overdue: int
    up: int
    slow: int
    failing: int
    unstable: int
    down: int
    unknown: int
    paused: int

    @property
    def sentence(self) -> str:
        if not self.watched:
            return format_count(0)
        return _("%(up)s of %(watched)s") % {"up": format_count(self.up), "watched": format_count(self.watched)}

    @property
    def caption(self) -> str:
        """Return the words after the sentence. Nothing monitored is not shown as if all were well."""
        return _("up") if self.watched else _("targets monitored")


def count_states(now: datetime) -> StateCounts:
    """Count the targets by state in one query."""
    overdue = Q(next_check_at__lt=now - OVERDUE)
    figures = Target.objects.aggregate(
        watched=Count("pk", filter=ACTIVE),
        overdue=Count("pk", filter=ACTIVE & overdue),
        up=Count("pk", filter=ACTIVE & Q(state__in=ANSWERING) & ~overdue),
        slow=Count("pk", filter=ACTIVE & Q(state=State.SLOW) & ~overdue),
        failing=Count("pk", filter=ACTIVE & Q(state=State.FAILING)),
        unstable=Count("pk", filter=ACTIVE & Q(state=State.UNSTABLE)),
        down=Count("pk", filter=ACTIVE & Q(state=State.DOWN)),
        unknown=Count("pk", filter=ACTIVE & Q(state=State.UNKNOWN)),
        paused=Count("pk", filter=~ACTIVE),
    )
    return StateCounts(**figures)


@dataclass(frozen=True)
class MonthFigures:
    """Figures of all targets over the days (UTC) of the chart."""

    checks: int
    failures: int
    failures_by_day: dict[date, int]

    @property
    def uptime(self) -> float | None:
        return success_share(self.checks, self.failures)


def load_month(now: datetime) -> MonthFigures:
    """Sum up the daily rollups. An index on period and start bounds what is read: one row per day and target."""
    days = Rollup.objects.filter(period=Rollup.Period.DAY, start__gte=chart_start(now)).order_by()
    rows = list(days.values_list("start").annotate(Sum("checks"), Sum("failures")))
    return MonthFigures(
        checks=sum(checks for _start, checks, _failures in rows),
        failures=sum(failures for _start, _checks, failures in rows),
        failures_by_day={start.date(): failures for start, _checks, failures in rows},
    )


def cached_month(now: datetime) -> MonthFigures:
    """Return figures at most a minute old."""
    return cache.get_or_set("monitoring.month", lambda: load_month(now), FRESH_SECONDS) or load_month(now)


def format_milliseconds(value: float | None) -> str:
    """Format as `7.4 ms`, `183 ms` or `1,204 ms`."""
    if value is None:
        return EMPTY_VALUE
    shown = (
        number_format(round_half_up(value, 1), 1, use_l10n=True)
        if value < FEW_MS
        else format_count(round_to_integer(value))
    )
    return _("%(count)s ms") % {"count": shown}


def round_milliseconds(value: float | None) -> float | None:
    """Return a time with as many digits as it is shown with, for an export."""
    if value is None:
        return None
    return round_half_up(value, 1) if value < FEW_MS else round_to_integer(value)


@checklist.register
def first_target(request: HttpRequest) -> checklist.Step:
    return checklist.Step(
        "target",
        _("Add a target"),
        _("A website or an API that Vigie checks every minute. You are notified when it fails."),
        reverse("admin:monitoring_target_add"),
        Target.objects.exists(),
    )


@tiles.register
def services_tile(now: datetime) -> Tile:
    figures, days, newest = count_states(now), cached_month(now), Round.objects.latest_first().first()
    return Tile(
        title=_("Services"),
        figure=figures.sentence,
        caption=figures.caption,
        url=reverse("admin:monitoring_target_changelist"),
        facts=[
            (_("open incidents"), format_count(Incident.objects.open().count())),
            (_("p95 (last minute)"), format_milliseconds(newest.p95_ms if newest else None)),
            (_("30-day uptime"), format_percent(days.uptime)),
            (_("last check"), format_relative(newest.finished_at, now) if newest else _("never")),
        ],
        chart=daily_chart(days.failures_by_day, now, _("failed checks per day")),
    )
