"""Single checks, kept for some days: read only, newest first."""

from datetime import timedelta

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from monitoring.admin import display
from monitoring.admin.base import MonitoringAdmin
from monitoring.admin.display import row_column
from monitoring.admin.filters import CheckedFilter, ErrorFilter, ExclusionFilter, IncidentChecksFilter
from monitoring.models import CheckResult, Target
from monitoring.panels import format_milliseconds
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.matching import Search

# A search finds targets first, and then their checks by an index. Checks of several targets must be sorted, which is
# bounded by the number of targets and the time.
MOST_TARGETS_FOUND = 5
SEARCHED = timedelta(days=1)


@admin.register(CheckResult)
class CheckResultAdmin(MonitoringAdmin, ReadOnlyAdmin):
    menu_order = 4
    purpose = _("Results of single checks: each request to a target, its response time, and why it failed.")
    empty_link = ("admin:monitoring_target_changelist", _("View targets"))
    ordering = ("-at", "-id")
    sortable_by = ("at",)
    list_select_related = ("target",)
    list_display = (
        moment_column("at", _("time"), ordering="at", show=exact_moment),
        "name",
        "outcome",
        "status",
        "latency",
        "error",
    )
    list_filter = (CheckedFilter, ErrorFilter, ExclusionFilter, IncidentChecksFilter)
    lookups = ("target",)
    is_log = True
    search_fields = ("target__name__fragment",)
    search_help_text = format_lazy("{} {}", search_by(_("target")), _("(5 targets, last 24 hours or period)"))
    facts = (moment_column("at", _("time"), show=exact_moment), "page", "outcome", "status", "latency", "error")

    def search(self, request: HttpRequest, queryset: QuerySet[CheckResult], search: Search) -> QuerySet[CheckResult]:
        found = search.matching_values(Target, ["name__fragment"])
        if len(found) > MOST_TARGETS_FOUND:
            note = _now("Only the checks of the first %(count)d matching targets are shown. Type more of the name.")
            search.add_note(note % {"count": MOST_TARGETS_FOUND})
        rows = queryset.filter(target__in=found[:MOST_TARGETS_FOUND])
        if request.GET.get(CheckedFilter.parameter_name) in CheckedFilter.options:
            return rows
        return rows.filter(at__gte=timezone.now() - SEARCHED)

    name = row_column(_("target"), lambda check: check.target.name)
    page = row_column(_("target"), lambda check: display.link_to_target(check.target))
    outcome = row_column(_("result"), display.check_outcome)
    latency = row_column(_("response time"), lambda check: format_milliseconds(check.latency_ms))
    error = row_column(_("reason"), lambda check: check.message or EMPTY_VALUE)
