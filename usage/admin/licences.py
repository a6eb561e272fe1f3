"""Licences: their customers, their usage this month and their quotas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from vigie_client.contract import IDENTIFIER

from portal import audit
from portal.admin.base import SettingsAdmin
from portal.admin.display import exact_moment, join_inline, moment_column
from portal.admin.exporting import exported
from portal.admin.filters import ChoiceFilter
from portal.admin.searching import search_by
from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind
from portal.desk.history import history_section
from portal.desk.panels import Section
from usage import consumption, quotas, statements
from usage.admin import display, sections
from usage.admin.charts import month_chart, periods_chart
from usage.admin.downloads import FORMS, NAME, usage_response
from usage.consumption import Period
from usage.models import Licence, RunRollup
from usage.monthly import LICENCES_AT_A_TIME, latest_months, monthly_usage
from usage.quotas import UNNAMED, WITHOUT_QUOTA, QuotaStatus, near_quota, over_quota, quota_statuses

if TYPE_CHECKING:
    BaseLicenceForm = forms.ModelForm[Licence]
else:
    BaseLicenceForm = forms.ModelForm

IDLE = timedelta(days=30)
# Sorted only on lists of at most so many licences: each costs a sum of its rollups.
MONTH_COLUMNS, MOST_SUMMED = ("pages_used", "state"), 5_000
# A reference that no report can carry would never get a run.
REPORTABLE = RegexValidator(rf"^{IDENTIFIER}\Z", _("Use 1 to 128 of the characters A-Z a-z 0-9 . _ : + - and space."))
SUBJECTS["licence"] = SubjectKind("usage.licence", lambda ref: {"ref": ref})
EVENT_TEXTS.update({"licence.added": _("Added"), "licence.changed": _("Changed"), "licence.deleted": _("Deleted")})


# --- Filters and form ------------------------------------------------------------------------------------------------


class LicenceQuotaFilter(ChoiceFilter):
    title = _("quota")
    parameter_name = "standing"
    options = {"over": _("over quota"), "near": _("≥ 80 % of quota"), "none": _("unlimited")}

    def condition(self, value: str, now: datetime) -> Q:
        return {"over": over_quota(now), "near": near_quota(now), "none": WITHOUT_QUOTA}[value]


class CustomerFilter(ChoiceFilter):
    title = _("customer")
    parameter_name = "customer"
    options = {"unnamed": _("no customer"), "named": _("has a customer")}

    def condition(self, value: str, now: datetime) -> Q:
        return UNNAMED if value == "unnamed" else ~UNNAMED


class IdleFilter(ChoiceFilter):
    title = _("last run")
    parameter_name = "runs"
    options = {"idle": _("none in the last 30 days"), "active": _("in the last 30 days")}

    def condition(self, value: str, now: datetime) -> Q:
        active = Q(last_run_at__gte=now - IDLE)
        return active if value == "active" else Q(last_run_at=None) | Q(last_run_at__lt=now - IDLE)


class LicenceForm(BaseLicenceForm):
    class Meta:
        model = Licence
        exclude = ()
        help_texts = {
            "ref": _("Licence key as reported by the application; can’t be changed."),
            "monthly_page_quota": _("You are notified at 80 % and at 100 %. Leave empty for unlimited."),
            "period_day": _("1 to 28. The quota renews at midnight of that day."),
        }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if "ref" in self.fields:
            self.fields["ref"].validators.append(REPORTABLE)


# --- Lists and pages -------------------------------------------------------------------------------------------------


def status_of(licence: Licence) -> QuotaStatus:
    status: QuotaStatus = licence.quota_status  # type: ignore[attr-defined]
    return status


def status_column(
    name: str,
    description: Any,
    show: Callable[[QuotaStatus], Any],
    *,
    export: Callable[[QuotaStatus], Any] | None = None,
    ordering: str | None = None,
) -> Any:
    value = export or show

    @exported(lambda licence: value(status_of(licence)))
    @admin.display(description=description, ordering=ordering)
    def column(licence: Licence) -> Any:
        return show(status_of(licence))

    column.__name__ = name
    return column


@admin.register(Licence)
class LicenceAdmin(SettingsAdmin):
    menu_order = 1
    purpose = _(
        "A licence belongs to a customer and may have a monthly page quota. It is added automatically when an "
        "application first reports a run with its key."
    )
    form = LicenceForm

    class Media:
        css = {"all": ("usage/usage.css",)}

    change_list_template = "usage/list.html"
    change_form_template = "usage/licence.html"
    add_label = _("Add licence")
    ordering = ("ref",)
    list_per_page = 25  # each row reads the rollups of two months
    sortable_by = ("ref", "customer_name", *MONTH_COLUMNS, "page_quota", "last_run_at")
    list_display = (
        "ref", display.customer_name,
        status_column(
            "pages_used", _("pages this month"), display.pages_used, export=attrgetter("pages"), ordering="month_pages"
        ),
        status_column(
            "page_quota", _("quota"), display.page_quota, export=attrgetter("quota"),
            ordering="monthly_page_quota",
        ),
        status_column(
            "state", _("used (%)"), display.quota_badge, export=attrgetter("percent"), ordering="month_share"
        ),
        status_column("forecast", _("forecast"), display.forecast, export=attrgetter("expected")),
        moment_column("last_run_at", _("last run"), ordering="last_run_at", empty=_("never")),
    )  # fmt: skip
    list_display_links = ("ref",)
    list_filter = (LicenceQuotaFilter, CustomerFilter, IdleFilter)
    is_large = True
    search_fields = ("ref__fragment", "customer__fragment")
    search_help_text = search_by(_("licence"), _("customer"))
    status_fields = (
        "customer_and_quota", "used_so_far", "forecast_text",
        status_column("renews_on", _("renews on"), display.renewal_day),
        moment_column("first_seen_at", _("first seen"), show=exact_moment, empty=_("never")),
        moment_column("last_run_at", _("last run"), show=exact_moment, empty=_("never")),
    )  # fmt: skip
    settings = ("ref", "customer", "monthly_page_quota", "period_day")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        status = [(_("Status"), {"fields": self.status_fields, "classes": ["standing"]})] if obj else []
        return [*status, (_("Customer and quota"), {"fields": self.settings})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The reference of an existing licence is read-only, since its runs carry it."""
        return [*self.status_fields, "ref"] if obj else []

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach the quota status to each licence, with one query for all."""
        statuses = quota_statuses(rows, timezone.now())
        for licence in rows:
            licence.quota_status = statuses[licence.ref]

    def with_sort_keys(self, rows: QuerySet[Licence]) -> QuerySet[Licence]:
        return quotas.with_month_usage(rows, timezone.now())

    def get_sortable_by(self, request: HttpRequest) -> list[Any]:
        """Offer the sums of the month on short lists only. An export in the usual order need not ask how long it is."""
        columns = super().get_sortable_by(request)
        if getattr(request, "is_export", False) and ORDER_VAR not in request.GET:
            return columns
        if Licence.objects.order_by()[: MOST_SUMMED + 1].count() <= MOST_SUMMED:
            return columns
        return [column for column in columns if getattr(column, "__name__", column) not in MONTH_COLUMNS]

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            path("usage/<slug:form>/", wrap(self.export_usage_view), name="usage_licence_usage"),
            path("<path:object_id>/usage/<slug:form>/", wrap(self.export_licence_view), name="usage_licence_own_usage"),
            path("<path:object_id>/statement/<str:day>/", wrap(self.statement_view), name="usage_licence_statement"),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"may_export_usage": self.has_export_permission(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    # --- Usage exports and statements --------------------------------------------------------------------------------

    def export_usage_view(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """Export the last twelve months of the licences that the list shows, all pages of it."""
        if not self.may_export(request):
            raise PermissionDenied
        if form not in FORMS:
            raise Http404
        request.is_export = True  # type: ignore[attr-defined]  # no page of the list is read
        try:
            licences = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(self.address("changelist") + "?e=1")
        rows = monthly_usage(licences.iterator(chunk_size=LICENCES_AT_A_TIME), latest_months(timezone.now()))
        return usage_response(request, form, rows, query=request.GET.urlencode())

    def export_licence_view(self, request: HttpRequest, object_id: str, form: str) -> HttpResponseBase:
        licence = self.get_exported(request, object_id)
        if form not in FORMS:
            raise Http404
        rows = monthly_usage([licence], latest_months(timezone.now()))
        return usage_response(request, form, rows, licence=licence.ref)

    def statement_view(self, request: HttpRequest, object_id: str, day: str) -> HttpResponse:
        """Return the statement of the month that begins on the day."""
        licence, now = self.get_exported(request, object_id), timezone.now()
        period = statements.find_period(licence, day, now)
        if period is None:
            raise Http404
        statement = statements.build_statement(licence, period, now)
        content = statements.render_statement(statement)
        after = {"licence": licence.ref, "month": str(period.first_day), "format": "pdf"}
        audit.record_event("usage.exported", NAME, request=request, after=after)
        headers = {"Content-Disposition": f'attachment; filename="{statement.file_name}"'}
        return HttpResponse(content, content_type="application/pdf", headers=headers)

    def may_export(self, request: HttpRequest) -> bool:
        return self.has_view_or_change_permission(request) and self.has_export_permission(request)

    def get_exported(self, request: HttpRequest, object_id: str) -> Licence:
        """Return the licence for those who may export it."""
        if not self.may_export(request):
            raise PermissionDenied
        licence: Licence | None = self.get_object(request, unquote(object_id))
        if licence is None:
            raise Http404
        return licence

    # --- The page of a licence ---------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        licence = super().get_object(request, object_id, from_field)
        if licence is not None:
            licence.quota_status = quota_statuses([licence], timezone.now())[licence.ref]
        return licence

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        licence = kwargs.get("obj")
        if licence is not None:
            status = status_of(licence)
            periods = consumption.latest_periods(status.now, licence.period_day)
            totals = consumption.totals_by_period(licence.ref, periods)
            shown = consumption.periods_since(licence.first_seen_at, periods, totals)
            periods, totals = periods[:shown], totals[:shown]
            context |= {
                "may_export": self.may_export(request),
                "month": month_chart(status, consumption.totals_by_day(hours_this_month(licence))),
                "months_chart": periods_chart(periods, totals),
                "months": sections.months_section(licence, periods, totals, self.statement_urls(request, licence)),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def statement_urls(self, request: HttpRequest, licence: Licence) -> Callable[[Period], str]:
        if not self.may_export(request):
            return lambda period: ""
        return lambda period: self.address("statement", quote(licence.pk), period.first_day)

    def get_sections(self, request: HttpRequest, obj: Licence) -> list[Section]:
        return [
            sections.licence_versions_section(consumption.totals_by(hours_this_month(obj), "app_name", "app_version")),
            sections.latest_runs_section(obj),
            history_section(self.subject_of(obj)),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save only the edited columns, since a review may have written others meanwhile.

        A new quota or period starts without warnings.
        """
        if not change:
            super().save_model(request, obj, form, change)
            return
        fields = {*form.changed_data}
        if fields & {"monthly_page_quota", "period_day"}:
            for name, value in quotas.NO_WARNING.items():
                setattr(obj, name, value)
            fields |= quotas.NO_WARNING.keys()
        obj.save(update_fields=fields)

    def subject_of(self, obj: Any) -> str:
        return quotas.licence_subject(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A licence with runs cannot be deleted: the next run would create it again, without its customer."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.last_run_at is None)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("customer"))
    def customer_and_quota(self, licence: Licence) -> SafeString:
        return join_inline(display.customer_name(licence), display.quota_badge(status_of(licence)))

    @admin.display(description=_("this month"))
    def used_so_far(self, licence: Licence) -> SafeString:
        status = status_of(licence)
        return join_inline(quotas.describe_usage(status), display.quota_bar(status))

    @admin.display(description=_("forecast"))
    def forecast_text(self, licence: Licence) -> str:
        return quotas.describe_forecast(status_of(licence)) or str(_("No forecast yet (needs one full day)."))


def hours_this_month(licence: Licence) -> Any:
    return RunRollup.objects.filter(license_ref=licence.ref, hour__gte=status_of(licence).period.start)
