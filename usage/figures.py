"""What all licences came to over a number of days, for the page of usage over time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.utils import timezone

from usage.consumption import DAY, Sums, by_day, by_names, midnight, total
from usage.models import RunRollup

# By the number of days, for how many seconds the sums are kept: a year of hours takes a second to add up.
SPANS = {7: 60, 30: 60, 90: 300, 364: 600}
DEFAULT_SPAN = 30

Names = tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """`made_at` is when they were added up; `by_version` is by application and version."""

    made_at: datetime
    by_day: dict[date, Sums]
    by_licence: dict[str, Sums]
    by_version: dict[Names, Sums]


def days_shown(now: datetime, days: int) -> list[date]:
    """Today is the last of them."""
    today = timezone.localdate(now)
    return [today - back * DAY for back in reversed(range(days))]


def figures(now: datetime, days: int) -> Figures:
    """As old as SPANS says at most."""
    first = days_shown(now, days)[0]
    key = f"usage.figures.{first}.{days}"
    found: Figures = cache.get_or_set(key, lambda: added_up(now, first), SPANS[days])  # type: ignore[assignment]
    return found


def added_up(now: datetime, first: date) -> Figures:
    hours = RunRollup.objects.filter(hour__gte=midnight(first))
    licences: dict[str, list[Sums]] = defaultdict(list)
    versions: dict[Names, list[Sums]] = defaultdict(list)
    for (ref, *version), sums in by_names(hours, "license_ref", "app_name", "app_version").items():
        licences[ref].append(sums)
        versions[tuple(version)].append(sums)
    return Figures(
        made_at=now,
        by_day=by_day(hours),
        by_licence={ref: total(parts) for ref, parts in licences.items()},
        by_version={version: total(parts) for version, parts in versions.items()},
    )
