"""Who used what in a period, what failed for whom, and for how long people were there.

- A period holds what happened at its start or later and before its end. All of it is UTC.
- `total_requests` and `total_errors` count every row: of people, machines, applications and strangers. So do
  `top_features` (the 10 most used, then by name) and `error_breakdown` (by code, `unknown` where there is none).
- People are those who have a name without a colon: no user name and no e-mail address holds one, while machines are
  `agent:…` and applications `client:…`. These are counted where they asked for something or something failed for them.
- A person is active who asked for something, for whom something failed, who began a session, or whose session lasted
  into the period. `users` are the active people, most requests first, then by name.
- `features_used` stand by how often, then by name; `errors` are the newest 20, the newest first, while `errors_count`
  counts all.
- `total_time_minutes` is the time a person's sessions cover, where several at once count once, in minutes rounded to
  the nearest. Sessions that nobody ended count as far as their person is known to have been there: see `presence`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from portal.base.moments import iso
from usage.guardian.presence import presence
from usage.models import FeatureUsage, UserError
from usage.models.activity import PEOPLE
from usage.models.guardian import period_of

TOP_FEATURES, ERRORS_SHOWN = 10, 20
HOUR = timedelta(hours=1)
Rows = QuerySet[Any]
# By whose they are, and of which feature or code.
Counts = Counter[tuple[str, Any]]


def summary(start: datetime, end: datetime) -> dict[str, Any]:
    """What `GET usage/summary` answers of the period, which is whole hours."""
    within = Q(timestamp__gte=start, timestamp__lt=end)
    requests, errors = FeatureUsage.objects.filter(within).order_by(), UserError.objects.filter(within).order_by()
    uses, failures = counted(requests, "feature_name"), counted(errors, "error_code")
    users = described(uses, failures, newest(errors), presence(start, end))
    others = Counter(who.partition(":")[0] for who in {who for who, _value in (*uses, *failures)} if ":" in who)
    return {
        "period": period_of(start, end),
        "period_start": iso(start),
        "period_end": iso(end),
        "hours": (end - start) // HOUR,
        "active_users": len(users),
        "active_machines": others["agent"],
        "active_apps": others["client"],
        "total_requests": uses.total(),
        "total_errors": failures.total(),
        "users": users,
        "top_features": [{"name": name, "count": count} for name, count in most(summed(uses))[:TOP_FEATURES]],
        "error_breakdown": breakdown(summed(failures)),
        **sampled(),
    }


def sampled() -> dict[str, int]:
    """Says so where the portal did not keep all: the counts are of what it kept. 0 stands for TRACKING=off."""
    percent = settings.TRACKING_SAMPLE_PERCENT if settings.TRACKING else 0
    return {"sample_percent": percent} if percent < 100 else {}


# --- From the database -----------------------------------------------------------------------------------------------


def counted(rows: Rows, column: str) -> Counts:
    """How many rows by name and value."""
    counts = rows.values_list("user_email", column).annotate(Count("pk"))
    return Counter({(who, value): count for who, value, count in counts})


def newest(errors: Rows) -> dict[str, list[dict[str, str]]]:
    """By person."""
    last_first = (F("timestamp").desc(), F("pk").desc())
    placed = errors.filter(PEOPLE).annotate(
        place=Window(RowNumber(), partition_by=F("user_email"), order_by=last_first)
    )
    shown = placed.filter(place__lte=ERRORS_SHOWN).order_by(*last_first)
    found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for person, endpoint, kind, at in shown.values_list("user_email", "endpoint", "error_type", "timestamp"):
        moment = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        found[person].append({"endpoint": endpoint, "error": kind, "timestamp": moment})
    return found


# --- Laid out --------------------------------------------------------------------------------------------------------


def described(
    uses: Counts, failures: Counts, latest: dict[str, list[dict[str, str]]], seconds: dict[str, float]
) -> list[dict[str, Any]]:
    """The active people."""
    features: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (who, feature), count in uses.items():
        features[who][feature] = count
    errors = summed(failures, by=0)
    people = [who for who in features.keys() | errors.keys() | seconds.keys() if who and ":" not in who]
    found = [
        {
            "email": person,
            "total_time_minutes": in_minutes(seconds.get(person, 0.0)),
            "features_used": [name for name, _count in most(features[person])],
            "requests_count": features[person].total(),
            "errors_count": errors[person],
            "errors": latest.get(person, []),
        }
        for person in people
    ]
    return sorted(found, key=lambda user: (-user["requests_count"], user["email"]))


def summed(counts: Counts, by: int = 1) -> Counter[Any]:
    """By value, or with 0 by name."""
    found: Counter[Any] = Counter()
    for key, count in counts.items():
        found[key[by]] += count
    return found


def most(counts: Counter[str]) -> list[tuple[str, int]]:
    """In Python: databases order names by rules of their own."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def breakdown(counts: Counter[int | None]) -> dict[str, int]:
    known = {
        str(code): count for code, count in sorted(counts.items(), key=lambda item: item[0] or 0) if code is not None
    }
    return known | ({"unknown": counts[None]} if counts[None] else {})


def in_minutes(seconds: float) -> int:
    """Whole ones, a half counting as one."""
    return int(seconds // 60 + (seconds % 60 >= 30))
