"""Summarize the tracked activity of a period: users, features, errors and active time.

- The period includes its start and excludes its end. All times are UTC.
- `total_requests` and `total_errors` count the rows of people, machines, applications and unauthenticated callers. So
  do `top_features` (the 10 most used, then by name) and `error_breakdown` (by code, `unknown` without one).
- A person's name has no colon; machines are `agent:...` and applications `client:...`. Machines and applications are
  active if they made a request or caused an error.
- People are active if they made a request, caused an error or began a session, or if a session lasted into the period.
  `users` lists them, most requests first, then by name.
- `features_used` is sorted by use, then by name. `errors` are the newest 20, newest first; `errors_count` counts all.
- `total_time_minutes` is the time covered by a person's sessions, overlaps counted once, rounded to minutes. See
  `presence` for sessions without an end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from portal.base.moments import format_iso
from usage.guardian.features import is_portal_page
from usage.guardian.presence import active_seconds
from usage.models import FeatureUsage, UserError
from usage.models.activity import PEOPLE
from usage.models.guardian import period_of

TOP_FEATURES, ERRORS_SHOWN = 10, 20
HOUR = timedelta(hours=1)
Rows = QuerySet[Any]
# Keyed by caller, and by feature or error code.
Counts = Counter[tuple[str, Any]]


def build_digest(start: datetime, end: datetime) -> dict[str, Any]:
    """Return the summary of a period with what digests list: the most used features, and the portal's pages apart.

    Among all features, operators' own clicks may leave no room for those that customers use.
    """
    requests = FeatureUsage.objects.filter(within(start, end)).order_by()
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for name, count in requests.values_list("feature_name").annotate(Count("pk")):
        counts[is_portal_page(name)][name] = count
    tops = {"product_features": list_top(counts[False]), "portal_pages": list_top(counts[True])}
    return build_summary(start, end) | tops


def build_summary(start: datetime, end: datetime) -> dict[str, Any]:
    """Return the body of `GET usage/summary` for a period of whole hours."""
    in_period = within(start, end)
    requests, errors = FeatureUsage.objects.filter(in_period).order_by(), UserError.objects.filter(in_period).order_by()
    request_counts, error_counts = count_rows(requests, "feature_name"), count_rows(errors, "error_code")
    users = build_users(request_counts, error_counts, latest_errors(errors), active_seconds(start, end))
    callers = {caller for caller, _value in (*request_counts, *error_counts)}
    callers_by_kind = Counter(caller.partition(":")[0] for caller in callers if ":" in caller)
    return {
        "period": period_of(start, end),
        "period_start": format_iso(start),
        "period_end": format_iso(end),
        "hours": (end - start) // HOUR,
        "active_users": len(users),
        "active_machines": callers_by_kind["agent"],
        "active_apps": callers_by_kind["client"],
        "total_requests": request_counts.total(),
        "total_errors": error_counts.total(),
        "users": users,
        "top_features": list_top(sum_by_value(request_counts)),
        "error_breakdown": build_breakdown(sum_by_value(error_counts)),
        **sampling(),
    }


def sampling() -> dict[str, int]:
    """Return the share of requests that the portal keeps, if not all. 0 means TRACKING=off."""
    percent = settings.TRACKING_SAMPLE_PERCENT if settings.TRACKING else 0
    return {"sample_percent": percent} if percent < 100 else {}


# --- Queries ---------------------------------------------------------------------------------------------------------


def within(start: datetime, end: datetime) -> Q:
    return Q(timestamp__gte=start, timestamp__lt=end)


def count_rows(rows: Rows, column: str) -> Counts:
    counts = rows.values_list("user_email", column).annotate(Count("pk"))
    return Counter({(who, value): count for who, value, count in counts})


def latest_errors(errors: Rows) -> dict[str, list[dict[str, str]]]:
    """Return the newest errors of each person, newest first."""
    newest_first = (F("timestamp").desc(), F("pk").desc())
    ranked = errors.filter(PEOPLE).annotate(
        rank=Window(RowNumber(), partition_by=F("user_email"), order_by=newest_first)
    )
    latest = ranked.filter(rank__lte=ERRORS_SHOWN).order_by(*newest_first)
    by_person: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for person, endpoint, kind, at in latest.values_list("user_email", "endpoint", "error_type", "timestamp"):
        timestamp = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        by_person[person].append({"endpoint": endpoint, "error": kind, "timestamp": timestamp})
    return by_person


# --- Sections --------------------------------------------------------------------------------------------------------


def build_users(
    request_counts: Counts, error_counts: Counts, latest: dict[str, list[dict[str, str]]], seconds: dict[str, float]
) -> list[dict[str, Any]]:
    features: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (who, feature), count in request_counts.items():
        features[who][feature] = count
    errors: Counter[str] = Counter()
    for (who, _code), count in error_counts.items():
        errors[who] += count
    people = [who for who in features.keys() | errors.keys() | seconds.keys() if who and ":" not in who]
    users = [
        {
            "email": person,
            "total_time_minutes": round_to_minutes(seconds.get(person, 0.0)),
            "features_used": [name for name, _count in most_frequent(features[person])],
            "requests_count": features[person].total(),
            "errors_count": errors[person],
            "errors": latest.get(person, []),
        }
        for person in people
    ]
    return sorted(users, key=lambda user: (-user["requests_count"], user["email"]))


def sum_by_value(counts: Counts) -> Counter[Any]:
    """Sum up the counts of all callers, by feature or code."""
    sums: Counter[Any] = Counter()
    for (_who, value), count in counts.items():
        sums[value] += count
    return sums


def most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    """Sort by count, then by name. In Python, since databases collate names differently."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def list_top(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"name": name, "count": count} for name, count in most_frequent(counts)[:TOP_FEATURES]]


def build_breakdown(counts: Counter[int | None]) -> dict[str, int]:
    known = {
        str(code): count for code, count in sorted(counts.items(), key=lambda item: item[0] or 0) if code is not None
    }
    return known | ({"unknown": counts[None]} if counts[None] else {})


def round_to_minutes(seconds: float) -> int:
    """Round to the nearest minute, half up."""
    return int(seconds // 60 + (seconds % 60 >= 30))
