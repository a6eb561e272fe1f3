"""The page *System status*: the checks of `manage.py doctor`. Those that call other servers run on a click."""

from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from portal import audit
from portal.desk.call_limits import TOO_MANY, count_calls_left
from portal.desk.site import SYSTEM, Page, VigieAdminSite, only_for
from portal.status.doctor.configuration import check_own_request
from portal.status.doctor.registry import Group
from portal.status.doctor.report import STATUSES
from portal.status.doctor.runs import Row, TooManyRuns, list_checks, run_checks, worst_status

PERMISSION = "portal.diagnose_system"
CHECKED = "system.checked"
LABELS = {
    "ok": pgettext_lazy("check", "OK"),
    "warning": pgettext_lazy("check", "Warning"),
    "failed": pgettext_lazy("check", "Failed"),
}
# The classes of the landing page's findings.
SEVERITIES = {"ok": "good", "warning": "warning", "failed": "critical"}


def system_view(request: HttpRequest) -> TemplateResponse:
    """Show the results. A POST also runs the checks that call other servers."""
    calls_out = request.method == "POST" and admit_calls(request)
    try:
        rows = add_own_request(run_checks(list_checks(calls_out=calls_out)), request)
    except TooManyRuns:
        messages.error(request, _("Earlier checks have not ended yet. Wait a minute, then try again."))
        rows = []
    context = {
        "title": _("System status"),
        "groups": group_rows(rows),
        "counts": count_statuses(rows),
        "worst": SEVERITIES[worst_status(rows)],
        "has_connections": calls_out,
    }
    return TemplateResponse(request, "portal/system.html", admin.site.each_context(request) | context)


def admit_calls(request: HttpRequest) -> bool:
    if not count_calls_left(request, CHECKED):
        messages.error(request, str(TOO_MANY))
        return False
    audit.record_event(CHECKED, request=request)
    return True


def add_own_request(rows: list[Row], request: HttpRequest) -> list[Row]:
    """Replace the result on proxies by what this very request shows, if it shows a problem."""
    own = check_own_request(request)
    if own is None or not rows:
        return rows
    own_row = replace(rows[0], **asdict(own), group=Group.SETTINGS)
    return [own_row if row.name == own.name else row for row in rows]


def group_rows(rows: list[Row]) -> list[dict[str, Any]]:
    groups = groupby(rows, key=lambda row: row.group)
    return [{"label": group.label, "name": group.value, "rows": list(map(show_row, own))} for group, own in groups]


def show_row(row: Row) -> dict[str, Any]:
    return {**row.as_json(), "label": LABELS[row.status], "severity": SEVERITIES[row.status]}


def count_statuses(rows: list[Row]) -> list[str]:
    """Return the statuses that occur, worst first, with their numbers."""
    counts = [(LABELS[status], sum(row.status == status for row in rows)) for status in reversed(STATUSES)]
    return [_("%(name)s: %(value)s") % {"name": label, "value": count} for label, count in counts if count]


VigieAdminSite.pages.append(
    Page(
        app_label="portal",
        name=gettext_lazy("System status"),
        url_name="system",
        permission=PERMISSION,
        urls=lambda: [path("system/", only_for(PERMISSION, system_view), name="system")],
        menu_group=SYSTEM,
    )
)
