"""Format the figures of a report as text, for its mail and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.words import format_count, format_span
from usage.guardian.features import feature_title, is_portal_page

Data = dict[str, Any]


def is_empty(data: Data) -> bool:
    return not (data["active_users"] or data["total_requests"] or data["total_errors"])


def is_off(data: Data) -> bool:
    """Return True if the portal did not track its own requests."""
    return data.get("sample_percent") == 0


def describe_empty(data: Data) -> str:
    if is_off(data):
        return describe_sampling(data)
    return _("No activity in this period: no users, no requests, no errors.")


def count_people(count: int) -> str:
    return ngettext("%(count)s user", "%(count)s users", count) % {"count": format_count(count)}


def describe_active(data: Data) -> str:
    """Return `5 users, 117 machines, 2 applications`."""
    people, machines, apps = data["active_users"], data["active_machines"], data["active_apps"]
    texts = (
        (people, count_people(people)),
        (machines, ngettext("%(count)s machine", "%(count)s machines", machines)),
        (apps, ngettext("%(count)s application", "%(count)s applications", apps)),
    )
    counts = [text % {"count": format_count(count)} for count, text in texts if count]
    return ", ".join(counts) or _("no known users")


def count_requests(count: int) -> str:
    return ngettext("%(count)s request", "%(count)s requests", count) % {"count": format_count(count)}


def count_errors(count: int) -> str:
    return ngettext("%(count)s error", "%(count)s errors", count) % {"count": format_count(count)}


def describe_totals(data: Data) -> str:
    """Return `1,234 requests, 12 errors`."""
    return f"{count_requests(data['total_requests'])}, {count_errors(data['total_errors'])}"


def format_minutes(minutes: int) -> str:
    """Return `45 min` or `2 h 5 min`, empty for 0."""
    return format_span(timedelta(minutes=minutes)) if minutes else ""


def describe_sampling(data: Data) -> str:
    """Return which share of the requests was kept, empty if all were."""
    if "sample_percent" not in data:
        return ""
    if is_off(data):
        return _("The portal does not track its own requests.")
    text = _(
        "The portal tracks %(percent)d %% of the successful requests, and all failed ones. Only these are counted."
    )
    return text % {"percent": data["sample_percent"]}


def most_used(data: Data) -> list[tuple[str, int]]:
    """Return the most used features with their counts, without the portal's own pages."""
    return count_titles(top_of_kind(data, "product_features", is_page=False))


def portal_pages(data: Data) -> list[tuple[str, int]]:
    """Return the most used pages of the portal with their counts."""
    return count_titles(top_of_kind(data, "portal_pages", is_page=True))


def top_of_kind(data: Data, key: str, *, is_page: bool) -> list[dict[str, Any]]:
    """Return the stored list; digests of former versions have only those among the most used of all."""
    if key in data:
        stored: list[dict[str, Any]] = data[key]
        return stored
    return [top for top in data["top_features"] if is_portal_page(top["name"]) == is_page]


def count_titles(tops: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return titles and counts, most used first; pages of the same title are added up."""
    counts: Counter[str] = Counter()
    for top in tops:
        counts[feature_title(top["name"])] += top["count"]
    return counts.most_common()


def user_features(names: list[str]) -> list[str]:
    """Return the titles of the features that a user used; all pages of the portal are one."""
    titles = list(dict.fromkeys(feature_title(name) for name in names if not is_portal_page(name)))
    return [*titles, _("pages of the portal")] if any(map(is_portal_page, names)) else titles


def errors_by_code(data: Data) -> list[tuple[str, int]]:
    """Return the codes with their counts, most frequent first. JSON columns do not keep their order."""
    labels = {"unknown": _("no code")}
    counts = sorted(data["error_breakdown"].items(), key=lambda item: (-item[1], item[0]))
    return [(labels.get(code, code), count) for code, count in counts]
