"""Maintenance windows in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from monitoring.admin.base import MonitoringAdmin
from monitoring.admin.display import row_column
from monitoring.admin.filters import RepeatsFilter, WindowStateFilter
from monitoring.admin.form import WindowForm
from monitoring.alerts import maintenance
from monitoring.models import MaintenanceWindow, Target
from portal.admin.display import QUIET, WARNING, badge, relative_moment, stack_lines
from portal.admin.searching import search_by
from portal.base.words import format_count, format_moment, format_span
from portal.desk.history import history_section
from portal.desk.matching import Search
from portal.desk.panels import Section


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(MonitoringAdmin):
    menu_order = 3
    form = WindowForm

    add_label = _("Schedule maintenance")
    purpose = _("Planned downtime. Failures during a maintenance don’t count and send no alerts.")
    ordering = ("-id",)
    sortable_by = ("name", "starts", "ends")
    list_display = ("state", "name", "starts", "ends", "repeated", "covered")
    list_display_links = ("name",)
    list_filter = (WindowStateFilter, RepeatsFilter)
    search_fields = ("name__fragment",)
    search_help_text = search_by(_("name"), _("target"))
    filter_horizontal = ("targets",)
    fieldsets = (
        (_("Title and dates"), {"fields": ("name", "starts_at", "ends_at", "repeats"), "classes": ["whole"]}),
        (_("Targets"), {"fields": ("targets",), "classes": ["whole"]}),
    )

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add to each window how many targets it names, and the first of them."""
        named = MaintenanceWindow.objects.filter(pk__in=[window.pk for window in rows]).order_by()
        counts = named.annotate(count=Count("targets"), first=Min("targets__name")).values_list("pk", "count", "first")
        found = {pk: (count, first or "") for pk, count, first in counts}
        for window in rows:
            window.named = found.get(window.pk, (0, ""))

    def search(self, request: HttpRequest, queryset: QuerySet[Any], search: Search) -> QuerySet[Any]:
        """Search names of windows and of their targets. There are few windows, so no index is needed."""
        targets = search.matching_values(Target, self.search_fields)
        naming = MaintenanceWindow.targets.through.objects.filter(target__in=targets)
        found = search.matches(self.model, self.search_fields)
        return queryset.filter(found | Q(pk__in=naming.values("maintenancewindow")))

    def get_sections(self, request: HttpRequest, obj: Any) -> list[Section]:
        return [history_section(self.subject_of(obj))]

    def subject_of(self, obj: Any) -> str:
        return f"maintenancewindow:{obj.pk}"

    @admin.display(description=_("status"))
    def state(self, window: MaintenanceWindow) -> SafeString:
        now = timezone.now()
        if maintenance.is_window_active(window, now):
            return badge(_now("running now"), WARNING)
        if window.starts_at > now:
            return badge(_now("upcoming"), QUIET)
        return badge(_now("between two occurrences") if window.repeats else _now("finished"), QUIET)

    starts = row_column(
        _("starts"),
        lambda window: relative_moment(window.starts_at),
        ordering="starts_at",
        export=lambda window: window.starts_at,
    )
    ends = row_column(
        _("ends"),
        lambda window: stack_lines(format_moment(window.ends_at), format_span(window.length)),
        ordering="ends_at",
        export=lambda window: window.ends_at,
    )
    repeated = row_column(_("repeats"), lambda window: window.get_repeats_display())

    @admin.display(description=_("targets"))
    def covered(self, window: Any) -> SafeString | str:
        count, first = window.named
        if not count:
            return badge(_now("all targets"), QUIET)
        more = ngettext("and %(count)s more", "and %(count)s more", count - 1) % {"count": format_count(count - 1)}
        return stack_lines(first, more if count > 1 else "")
