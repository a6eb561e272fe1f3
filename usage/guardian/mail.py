"""The mail of a report: as text, and laid out. Both are short enough for mail; the rest is one click away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.words import format_count
from portal.notifications import Notice, Severity
from portal.notifications.known import GUARDIAN
from usage.guardian import wording
from usage.guardian.wording import Data
from usage.models import GuardianReport

SHOWN_PEOPLE, SHOWN_FEATURES, SHOWN_ERRORS = 25, 5, 3


def notice(report: GuardianReport) -> Notice:
    """In the language that is active."""
    data, path = report.data, reverse("admin:usage_guardianreport_change", args=[report.pk])
    return Notice(
        subject="guardian",
        severity=Severity.INFO,
        title=title(data),
        text="\n".join(lines(data)),
        dedupe_key=f"guardian:{report.pk}",
        path=path,
        channel=GUARDIAN,
        html=laid_out(data, f"{settings.PORTAL_URL.rstrip('/')}{path}"),
    )


def title(data: Data) -> str:
    counts = f"{wording.people(data['active_users'])}, {wording.happened(data)}"
    none = _("nothing was noted") if wording.is_off(data) else _("nothing happened")
    said = none if wording.is_empty(data) else counts
    return _("Usage %(period)s UTC: %(said)s") % {"period": data["period"], "said": said}


# --- As text ---------------------------------------------------------------------------------------------------------


def lines(data: Data) -> Iterator[str]:
    yield _("Usage %(period)s UTC") % {"period": data["period"]}
    yield ""
    if wording.is_empty(data):
        yield wording.nothing(data)
    else:
        yield f"{wording.came(data)}: {wording.happened(data)}"
        yield from tables(data)
    if sample(data):
        yield from ("", sample(data))


def tables(data: Data) -> Iterator[str]:
    if data["users"]:
        yield from ("", _("People"))
        for person in shown_people(data):
            yield from lines_about(person)
        yield from more(data)
    if data["top_features"]:
        yield from ("", _("Most used"))
        yield from (f"- {plain(top['name'])}: {format_count(top['count'])}" for top in data["top_features"])
    if data["error_breakdown"]:
        yield from ("", _("Errors by code"))
        yield from (f"- {code}: {format_count(count)}" for code, count in wording.by_code(data))


def lines_about(person: dict[str, Any]) -> Iterator[str]:
    said = [person["time"], person["requests"], person["failures"]]
    yield f"- {plain(person['email'])}: {', '.join(part for part in said if part)}"
    if person["features"]:
        yield f"  {plain(person['features'])}"
    for error in person["errors"]:
        yield f"  {error['timestamp']} {plain(error['endpoint'])} {plain(error['error'])}"


def plain(text: str) -> str:
    """In one line: what somebody called a feature must not look like a line of ours."""
    return " ".join(text.split())


# --- Laid out --------------------------------------------------------------------------------------------------------


def laid_out(data: Data, url: str) -> str:
    most = max([top["count"] for top in data["top_features"]], default=1)
    context = {
        "data": data,
        "title": title(data),
        "came": wording.came(data),
        "nothing": wording.nothing(data) if wording.is_empty(data) else "",
        "sample": sample(data),
        "figures": [
            (format_count(data["active_users"]), ngettext("person", "people", data["active_users"])),
            (format_count(data["total_requests"]), ngettext("request", "requests", data["total_requests"])),
            (format_count(data["total_errors"]), ngettext("error", "errors", data["total_errors"])),
        ],
        "people": shown_people(data),
        "more": list(more(data)),
        "features": [
            (top["name"], format_count(top["count"]), share(top["count"], most)) for top in data["top_features"]
        ],
        "codes": [(code, format_count(count)) for code, count in wording.by_code(data)],
        "url": url,
    }
    return render_to_string("usage/guardian_mail.html", context)


def share(count: int, most: int) -> int:
    """Percent, at least 1: of nothing no bar would be seen."""
    return max(1, round(100 * count / most))


# --- What both show --------------------------------------------------------------------------------------------------


def sample(data: Data) -> str:
    """How it was counted; empty where that goes without saying, or is all there is to say."""
    return "" if wording.is_empty(data) and wording.is_off(data) else wording.sample(data)


def shown_people(data: Data) -> list[dict[str, Any]]:
    return [
        {
            "email": user["email"],
            "time": wording.duration(user["total_time_minutes"]),
            "requests": wording.requests(user["requests_count"]),
            "failures": wording.errors(user["errors_count"]) if user["errors_count"] else "",
            "features": features(user["features_used"]),
            "errors": user["errors"][:SHOWN_ERRORS],
        }
        for user in data["users"][:SHOWN_PEOPLE]
    ]


def features(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_FEATURES])
    left = len(names) - SHOWN_FEATURES
    return shown if left <= 0 else _("%(names)s and %(count)d more") % {"names": shown, "count": left}


def more(data: Data) -> Iterator[str]:
    left = len(data["users"]) - SHOWN_PEOPLE
    if left > 0:
        yield _("and %(count)d more") % {"count": left}
