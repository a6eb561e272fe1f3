"""A report in words, for its mail and its page."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.words import format_count

Data = dict[str, Any]


def is_empty(data: Data) -> bool:
    return not (data["active_users"] or data["total_requests"] or data["total_errors"])


def is_off(data: Data) -> bool:
    """Whether the portal noted nothing itself: what there is was told by machines and applications."""
    return data.get("sample_percent") == 0


def nothing(data: Data) -> str:
    if is_off(data):
        return sample(data)
    return _("Nothing happened in this period: nobody came, nothing was asked for, and nothing failed.")


def people(count: int) -> str:
    return ngettext("%(count)s person", "%(count)s people", count) % {"count": format_count(count)}


def machines(count: int) -> str:
    return ngettext("%(count)s machine", "%(count)s machines", count) % {"count": format_count(count)}


def applications(count: int) -> str:
    return ngettext("%(count)s application", "%(count)s applications", count) % {"count": format_count(count)}


def came(data: Data) -> str:
    """`5 people, 117 machines, 2 applications`."""
    counts = ((people, "active_users"), (machines, "active_machines"), (applications, "active_apps"))
    return ", ".join(words(data[name]) for words, name in counts if data[name]) or _("nobody who is known")


def requests(count: int) -> str:
    return ngettext("%(count)s request", "%(count)s requests", count) % {"count": format_count(count)}


def errors(count: int) -> str:
    return ngettext("%(count)s error", "%(count)s errors", count) % {"count": format_count(count)}


def happened(data: Data) -> str:
    """`1,234 requests, 12 errors`."""
    return f"{requests(data['total_requests'])}, {errors(data['total_errors'])}"


def duration(minutes: int) -> str:
    """`45 min`, `2 h 5 min`; empty for none."""
    if not minutes:
        return ""
    if minutes < 60:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(hours)d h %(minutes)d min") % {"hours": minutes // 60, "minutes": minutes % 60}


def sample(data: Data) -> str:
    """That the counts are of a part of what happened; empty where they are of all."""
    if "sample_percent" not in data:
        return ""
    if is_off(data):
        return _("The portal does not note its own requests.")
    text = _("The portal kept %(percent)d%% of its requests, and all that failed: requests are counted as kept.")
    return text % {"percent": data["sample_percent"]}


def by_code(data: Data) -> list[tuple[str, int]]:
    """The most frequent first. A database may keep the codes in any order."""
    known = {"unknown": _("without a code")}
    found = sorted(data["error_breakdown"].items(), key=lambda item: (-item[1], item[0]))
    return [(known.get(code, code), count) for code, count in found]
