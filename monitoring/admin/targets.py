"""Targets in the admin: state, uptime and latency in the list, everything known on the page of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from monitoring import controls
from monitoring.admin import charts, display, sections
from monitoring.admin.actions import TargetActions
from monitoring.admin.base import SingleDeletionAdmin
from monitoring.admin.display import row_column
from monitoring.admin.filters import AttentionFilter, TargetStateFilter
from monitoring.admin.form import TargetForm
from monitoring.admin.heading import list_heading
from monitoring.admin.sorting import uptime_of_days, worst_first
from monitoring.alerts import maintenance
from monitoring.figures import badge, uptime
from monitoring.figures.uptime import DayBar, UptimeFigures, format_percent
from monitoring.models import CheckResult, Incident, Rollup, Target
from monitoring.panels import format_milliseconds, round_milliseconds
from portal.admin.base import SettingsAdmin
from portal.admin.display import exact_moment, join_inline, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.panels import Section

LIST_WINDOW = "24h"
LIST_DAYS, PAGE_DAYS = 30, 90
# Pause and silence are actions, not fields: they may end an incident, and leave an audit event.
FIRST_SETTINGS = ("name", "url")
MORE_SETTINGS = (
    "method", "interval", "timeout", "retries", "expected_statuses", "follow_redirects", "contains", "json_path",
    "json_value", "header_name", "header_value", "failures_to_open", "successes_to_close", "max_latency_ms",
    "tls_expiry_days",
)  # fmt: skip
COPY = "copy"
# Fields that define the check: once one has changed, earlier results no longer count.
CHECK_FIELDS = frozenset(
    (
        "url", "method", "interval", "timeout", "expected_statuses", "follow_redirects", "contains", "json_path",
        "json_value", "header_name", "header_value", "max_latency_ms",
    )
)  # fmt: skip


@dataclass(frozen=True)
class ListedFigures:
    """Figures beside a target's row, read for all targets of a page at once."""

    day: UptimeFigures = field(default_factory=UptimeFigures)
    bars: list[DayBar] = field(default_factory=list)
    in_maintenance: bool = False

    @property
    def uptime(self) -> float | None:
        """Return the uptime of the days shown as bars. Reading their counts takes a tenth of the time of histograms."""
        return uptime.success_share(sum(bar.checks for bar in self.bars), sum(bar.failures for bar in self.bars))


def listed_figures(target: Target) -> ListedFigures:
    found: ListedFigures = getattr(target, "listed", ListedFigures())
    return found


def describe_defaults() -> str:
    """Say what a target with default settings does, so that few need to open them."""
    fields: Any = (Target._meta.get_field(name) for name in MORE_SETTINGS)
    defaults = {each.name: each.default for each in fields}
    return _now(
        "By default, a GET request every %(interval)d s must return status %(expected_statuses)s within %(timeout)d s, "
        "and %(failures_to_open)d failures in a row alert."
    ) % (defaults | {"expected_statuses": defaults["expected_statuses"].replace("-", "–")})


def state_of_row(target: Target, *, with_since: bool = True) -> SafeString:
    in_maintenance = listed_figures(target).in_maintenance
    return display.target_state(target, timezone.now(), in_maintenance=in_maintenance, with_since=with_since)


@admin.register(Target)
class TargetAdmin(SingleDeletionAdmin, TargetActions, SettingsAdmin):
    menu_order = 1
    form = TargetForm

    change_list_template = "monitoring/targets.html"
    change_form_template = "monitoring/target.html"
    add_label = _("Add target")
    purpose = _(
        "Services that Vigie checks over HTTP. Add a target with its URL: it is checked every minute, and you are "
        "notified when it fails."
    )
    ordering = ("name",)
    list_per_page = 25  # each with the histograms of a day
    counted = ((Incident, "target"), (CheckResult, "target"), (Rollup, "target"))
    sortable_by = ("stands", "target", "uptimes", "latency", "last_check_at")
    list_display = (
        "stands", "target", "days", "uptimes", "latency",
        moment_column("last_check_at", _("last check"), ordering="last_check_at"),
    )  # fmt: skip
    list_display_links = ("target",)
    # Without the header's value, which may be a secret.
    export_columns: ClassVar[Sequence[str]] = (
        "name", "url", *(name for name in MORE_SETTINGS if name != "header_value"), "is_active", "silenced_until",
    )  # fmt: skip
    list_filter = (AttentionFilter, TargetStateFilter)
    search_fields = ("name__fragment", "url__fragment")
    search_help_text = search_by(_("name"), _("URL"))
    state_fieldsets = (
        (
            _("Status"),
            (
                "state_alone",
                moment_column("state_since", _("since"), show=exact_moment),
                "why",
                "asked",
                "last_looked",
                "next_check",
                "certificate",
            ),
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put the state first, except on the page of a new target."""
        state = [(title, {"fields": fields, "classes": ["standing"]}) for title, fields in self.state_fieldsets]
        advanced = {"fields": MORE_SETTINGS, "classes": ["collapse", "whole"], "description": describe_defaults()}
        return [
            *(state if obj else []),
            (None, {"fields": FIRST_SETTINGS, "classes": ["whole"]}),
            (_("Advanced"), advanced),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for _title, fields in self.state_fieldsets for name in fields]

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add figures and bars to each target."""
        now, targets = timezone.now(), [target.pk for target in rows]
        figures = uptime.load_figures(targets, now, [LIST_WINDOW])
        bars, covered = uptime.load_bars(targets, now, LIST_DAYS), maintenance.active_maintenance(now)
        for target in rows:
            target.listed = ListedFigures(figures[target.pk][LIST_WINDOW], bars[target.pk], covered.includes(target.pk))

    def with_sort_keys(self, rows: QuerySet[Target]) -> QuerySet[Target]:
        return rows.alias(days_uptime=uptime_of_days(LIST_DAYS))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"heading": list_heading(timezone.now())} if self.has_view_permission(request) else {}
        return super().changelist_view(request, context | (extra_context or {}))

    # --- The change page ---------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        target = super().get_object(request, object_id, from_field)
        if target is not None:
            target.listed = ListedFigures(
                in_maintenance=maintenance.active_maintenance(timezone.now()).includes(target.pk)
            )
        return target

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        target = kwargs.get("obj")
        if target is not None:
            now = timezone.now()
            bars = uptime.load_bars([target.pk], now, PAGE_DAYS)[target.pk]
            context |= {
                "figures": sections.figures_section(uptime.load_figures([target.pk], now)[target.pk]),
                "bars": display.uptime_bars(bars),
                "chart": charts.response_chart(target.pk, now, request.GET.get("span", "")),
                "copy_url": f"{self.address('add')}?{COPY}={target.pk}" if self.has_add_permission(request) else "",
                "badge_url": badge.badge_url(target),
                "badge_name": target.name.translate({ord(sign): f"\\{sign}" for sign in "\\[]"}),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, obj: Target) -> list[Section]:
        now = timezone.now()
        return [sections.incidents_section(obj, now), sections.checks_section(obj), history_section(obj.subject)]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values of the query, and the settings of the target to copy, without its name."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        source = initial.pop(COPY, "")
        copied = self.get_object(request, source) if source else None
        return initial if copied is None else self.copied_settings(copied) | initial

    def copied_settings(self, target: Target) -> dict[str, Any]:
        return {name: getattr(target, name) for name in ("url", *MORE_SETTINGS)}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        is_changed = bool(CHECK_FIELDS.intersection(form.changed_data))
        if change and is_changed:
            controls.restart_checks(obj, request.user.get_username())
        if obj.is_active and (is_changed or not change):
            self.check_after_commit(request, obj.pk)

    def subject_of(self, obj: Any) -> str:
        return str(obj.subject)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deleting paused targets only: their incidents are closed, and no check is under way."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.is_active)

    # --- Columns and facts -------------------------------------------------------------------------------------------

    target = row_column(
        _("target"),
        lambda row: stack_lines(row.name, display.short_address(row)),
        ordering="name",
        export=lambda row: row.name,
    )
    stands = row_column(_("status"), state_of_row, ordering=worst_first(), export=display.state_text)
    state_alone = row_column(_("status"), lambda row: state_of_row(row, with_since=False))
    days = row_column(_("last 30 days"), lambda row: display.uptime_bars(listed_figures(row).bars), cells={})
    latency = row_column(
        _("response, p95"),
        lambda row: stack_lines(
            format_milliseconds(row.last_latency_ms), format_milliseconds(listed_figures(row).day.p95_ms)
        ),
        ordering="last_latency_ms",
        cells={
            _("response (ms)"): lambda row: round_milliseconds(row.last_latency_ms),
            _("response, p95 (ms)"): lambda row: round_milliseconds(listed_figures(row).day.p95_ms),
        },
    )
    why = row_column(_("reason"), lambda row: display.last_error(row) or EMPTY_VALUE)
    asked = row_column(_("URL"), display.address_link)
    last_looked = row_column(
        _("last check"), lambda row: join_inline(exact_moment(row.last_check_at), display.last_latency(row))
    )
    next_check = row_column(_("next check"), lambda row: display.next_check(row, timezone.now()))
    certificate = row_column(_("certificate expires"), lambda row: display.certificate_end(row, timezone.now()))

    uptimes = row_column(
        _("uptime 30 d, 24 h"),
        lambda row: stack_lines(
            format_percent(listed_figures(row).uptime), format_percent(listed_figures(row).day.uptime)
        ),
        ordering="days_uptime",
        cells={
            _("uptime 30 d (%)"): lambda row: display.percent_number(listed_figures(row).uptime),
            _("uptime 24 h (%)"): lambda row: display.percent_number(listed_figures(row).day.uptime),
        },
    )
