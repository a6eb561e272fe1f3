"""Licences: their customers, their usage this month and their quotas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.validators import RegexValidator
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from vigie_client.contract import IDENTIFIER

from portal.admin.base import BoundedChangeList, SettingsAdmin
from portal.admin.display import exact_moment, join_inline, moment_column
from portal.admin.filters import ChoiceFilter
from portal.admin.searching import search_by
from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind
from portal.base.words import format_moment
from portal.desk.history import history_section
from portal.desk.panels import Section
from usage import consumption, quotas
from usage.admin import display, sections
from usage.admin.charts import month_chart, periods_chart
from usage.models import Licence, RunRollup
from usage.quotas import UNNAMED, WITHOUT_QUOTA, QuotaStatus, near_quota, over_quota, quota_statuses

if TYPE_CHECKING:
    BaseLicenceForm = forms.ModelForm[Licence]
else:
    BaseLicenceForm = forms.ModelForm

IDLE = timedelta(days=30)
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


class LicenceChangeList(BoundedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Attach the quota status to each licence of the page, with one query for all."""
        super().get_results(request)
        statuses = quota_statuses(list(self.result_list), timezone.now())
        for licence in self.result_list:
            licence.quota_status = statuses[licence.ref]


def status_of(licence: Licence) -> QuotaStatus:
    status: QuotaStatus = licence.quota_status  # type: ignore[attr-defined]
    return status


def status_column(name: str, description: Any, show: Callable[[QuotaStatus], Any]) -> Any:
    @admin.display(description=description)
    def column(licence: Licence) -> Any:
        return show(status_of(licence))

    column.__name__ = name
    return column


@admin.register(Licence)
class LicenceAdmin(SettingsAdmin):
    menu_order = 1
    purpose = _(
        "A licence belongs to a customer and may have a monthly page quota. It is added by itself when an application "
        "first reports a run with its key."
    )
    form = LicenceForm

    class Media:
        css = {"all": ("usage/usage.css",)}

    change_list_template = "usage/list.html"
    change_form_template = "usage/licence.html"
    add_label = _("Add licence")
    ordering = ("ref",)
    list_per_page = 25  # each row reads the rollups of two months
    sortable_by = ("ref",)
    list_display = (
        "ref", display.customer_name,
        status_column("pages_used", _("pages this month"), display.pages_used),
        status_column("forecast", _("forecast"), display.forecast),
        status_column("state", _("state"), display.quota_badge),
        moment_column("last_run_at", _("last run"), empty=_("never")),
    )  # fmt: skip
    list_display_links = ("ref",)
    list_filter = (LicenceQuotaFilter, CustomerFilter, IdleFilter)
    is_large = True
    search_fields = ("ref__fragment", "customer__fragment")
    search_help_text = search_by(_("licence"), _("customer"))
    export_columns = (
        "ref", "customer", "monthly_page_quota", "period_day", "first_seen_at", "last_run_at", "exceeded_until",
    )  # fmt: skip
    status_fields = (
        "customer_and_quota", "used_so_far", "forecast_text",
        status_column("period_end", _("ends"), lambda status: format_moment(status.period.end)),
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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LicenceChangeList

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
            context |= {
                "month": month_chart(status, consumption.totals_by_day(hours_this_month(licence))),
                "months_chart": periods_chart(periods, totals),
                "months": sections.months_section(licence, periods, totals),
            }
        return super().render_change_form(request, context, *args, **kwargs)

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
