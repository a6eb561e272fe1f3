"""Format a report as mail, in plain text and in HTML. Lists are cut to the size of a mail; the page has the rest."""

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
from portal.notifications.configuration import GUARDIAN
from usage.guardian import wording
from usage.guardian.wording import Data
from usage.models import GuardianReport

SHOWN_PEOPLE, SHOWN_FEATURES, SHOWN_ERRORS = 25, 5, 3


def build_notice(report: GuardianReport) -> Notice:
    """Build the message in the active language."""
    data, path = report.data, reverse("admin:usage_guardianreport_change", args=[report.pk])
    return Notice(
        subject="guardian",
        severity=Severity.INFO,
        title=format_title(data),
        text="\n".join(text_lines(data)),
        dedupe_key=f"guardian:{report.pk}",
        path=path,
        channel=GUARDIAN,
        html=render_html(data, f"{settings.PORTAL_URL.rstrip('/')}{path}"),
    )


def format_title(data: Data) -> str:
    counts = f"{wording.count_people(data['active_users'])}, {wording.describe_totals(data)}"
    empty = _("not tracked") if wording.is_off(data) else _("no activity")
    summary = empty if wording.is_empty(data) else counts
    return _("Usage digest, %(period)s UTC: %(summary)s") % {"period": data["period"], "summary": summary}


# --- Plain text ------------------------------------------------------------------------------------------------------


def text_lines(data: Data) -> Iterator[str]:
    yield _("Usage digest, %(period)s UTC") % {"period": data["period"]}
    yield ""
    if wording.is_empty(data):
        yield wording.describe_empty(data)
    else:
        yield f"{wording.describe_active(data)}: {wording.describe_totals(data)}"
        yield from text_tables(data)
    if sampling_note(data):
        yield from ("", sampling_note(data))


def text_tables(data: Data) -> Iterator[str]:
    if data["users"]:
        yield from ("", _("Users"))
        for person in people_rows(data):
            yield from person_lines(person)
        yield from remaining_people(data)
    most_used = wording.most_used(data)
    if most_used:
        yield from ("", _("Most used"))
        yield from (f"- {single_line(name)}: {format_count(count)}" for name, count in most_used)
    if data["error_breakdown"]:
        yield from ("", _("Errors by code"))
        yield from (f"- {code}: {format_count(count)}" for code, count in wording.errors_by_code(data))


def person_lines(person: dict[str, Any]) -> Iterator[str]:
    parts = [person["time"], person["requests"], person["failures"]]
    yield f"- {single_line(person['email'])}: {', '.join(part for part in parts if part)}"
    if person["features"]:
        yield f"  {single_line(person['features'])}"
    for error in person["errors"]:
        yield f"  {error['timestamp']} {single_line(error['endpoint'])} {single_line(error['error'])}"


def single_line(text: str) -> str:
    """Remove line breaks, so that the name of a feature cannot imitate lines of the mail."""
    return " ".join(text.split())


# --- HTML ------------------------------------------------------------------------------------------------------------


def render_html(data: Data, url: str) -> str:
    most_used = wording.most_used(data)
    most = max([count for _name, count in most_used], default=1)
    context = {
        "data": data,
        "title": format_title(data),
        "came": wording.describe_active(data),
        "nothing": wording.describe_empty(data) if wording.is_empty(data) else "",
        "sample": sampling_note(data),
        "figures": [
            (format_count(data["active_users"]), ngettext("active user", "active users", data["active_users"])),
            (format_count(data["total_requests"]), ngettext("request", "requests", data["total_requests"])),
            (format_count(data["total_errors"]), ngettext("error", "errors", data["total_errors"])),
        ],
        "people": people_rows(data),
        "more": list(remaining_people(data)),
        "features": [(name, format_count(count), bar_percent(count, most)) for name, count in most_used],
        "codes": [(code, format_count(count)) for code, count in wording.errors_by_code(data)],
        "url": url,
    }
    return render_to_string("usage/guardian_mail.html", context)


def bar_percent(count: int, most: int) -> int:
    """Return the width of a bar in percent, at least 1 so that it is visible."""
    return max(1, round(100 * count / most))


# --- Both formats ----------------------------------------------------------------------------------------------------


def sampling_note(data: Data) -> str:
    """Describe the sampling; empty if nothing was sampled, or if the mail says nothing else anyway."""
    return "" if wording.is_empty(data) and wording.is_off(data) else wording.describe_sampling(data)


def people_rows(data: Data) -> list[dict[str, Any]]:
    return [
        {
            "email": user["email"],
            "time": wording.format_minutes(user["total_time_minutes"]),
            "requests": wording.count_requests(user["requests_count"]),
            "failures": wording.count_errors(user["errors_count"]) if user["errors_count"] else "",
            "features": format_features(wording.user_features(user["features_used"])),
            "errors": user["errors"][:SHOWN_ERRORS],
        }
        for user in data["users"][:SHOWN_PEOPLE]
    ]


def format_features(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_FEATURES])
    left = len(names) - SHOWN_FEATURES
    return shown if left <= 0 else _("%(names)s and %(count)d more") % {"names": shown, "count": left}


def remaining_people(data: Data) -> Iterator[str]:
    left = len(data["users"]) - SHOWN_PEOPLE
    if left > 0:
        yield _("and %(count)d more") % {"count": left}
