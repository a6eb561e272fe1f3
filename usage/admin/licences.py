"""Licences: whose they are, what they consume, and for how long their quota lasts."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from portal.admin.base import BoundedChangeList, SettingsAdmin, begins_with
from portal.admin.display import exact_moment, inline, moment_column
from portal.base.words import format_moment
from portal.desk.history import history_of
from portal.desk.panels import Section
from usage import consumption, licences
from usage.admin import display, sections
from usage.admin.charts import month_chart, periods_chart
from usage.admin.filters import CustomerFilter, IdleFilter, StandingFilter
from usage.admin.form import LicenceForm
from usage.consumption import Standing, latest_periods, standings
from usage.models import Licence, RunRollup


class LicenceChangeList(BoundedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Each licence of the page with how it stands: one query for all of them."""
        super().get_results(request)
        found = standings(list(self.result_list), timezone.now())
        for licence in self.result_list:
            licence.standing = found[licence.ref]


def standing_of(licence: Licence) -> Standing:
    found: Standing = licence.standing  # type: ignore[attr-defined]
    return found


@admin.register(Licence)
class LicenceAdmin(SettingsAdmin):
    form = LicenceForm

    class Media:
        css = {"all": ("usage/usage.css",)}

    change_list_template = "usage/list.html"
    change_form_template = "usage/licence.html"
    add_label = _("Write down another")
    ordering = ("ref",)
    list_per_page = 25  # each with the hours of two months
    sortable_by = ("ref",)
    list_display = (
        "ref", "whose", "used", "forecast", "state", moment_column("last_run_at", _("last run"), empty=_("never")),
    )  # fmt: skip
    list_display_links = ("ref",)
    list_filter = (StandingFilter, CustomerFilter, IdleFilter)
    search_fields = ("ref__begins", "customer__begins")
    search_help_text = begins_with(_("licence"), _("customer"))
    export_columns = (
        "ref", "customer", "monthly_page_quota", "period_day", "first_seen_at", "last_run_at", "exceeded_until",
    )  # fmt: skip
    standing = (
        "whose_and_state", "used_so_far", "forecast_in_full", "month",
        moment_column("first_seen_at", _("first seen"), show=exact_moment, empty=_("never")),
        moment_column("last_run_at", _("last run"), show=exact_moment, empty=_("never")),
    )  # fmt: skip
    settings = ("ref", "customer", "monthly_page_quota", "period_day")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """How it stands comes first; of a new one there is nothing to tell yet."""
        told = [(_("How it stands"), {"fields": self.standing, "classes": ["standing"]})] if obj else []
        return [*told, (_("Whose it is, and its quota"), {"fields": self.settings})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Its runs name it by its reference."""
        return [*self.standing, "ref"] if obj else []

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LicenceChangeList

    # --- The page of one ---------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        licence = super().get_object(request, object_id, from_field)
        if licence is not None:
            licence.standing = standings([licence], timezone.now())[licence.ref]
        return licence

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        licence = kwargs.get("obj")
        if licence is not None:
            standing = standing_of(licence)
            periods = latest_periods(standing.now, licence.period_day)
            sums, month = consumption.by_period(licence.ref, periods), this_month(licence)
            context |= {
                "month": month_chart(standing, consumption.by_day(month)),
                "months_chart": periods_chart(periods, sums),
                "months": sections.periods_of(licence, periods, sums),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, obj: Licence) -> list[Section]:
        return [
            sections.versions_of(consumption.by_names(this_month(obj), "app_name", "app_version")),
            sections.runs_of(obj),
            history_of(self.subject_of(obj)),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Only what was changed by hand: a review may have marked it since the form was read.

        Of another quota, or another month, nobody was told yet.
        """
        if not change:
            super().save_model(request, obj, form, change)
            return
        fields = {*form.changed_data}
        if fields & {"monthly_page_quota", "period_day"}:
            for name, value in licences.NOTHING_TOLD.items():
                setattr(obj, name, value)
            fields |= licences.NOTHING_TOLD.keys()
        obj.save(update_fields=fields)

    def subject_of(self, obj: Any) -> str:
        return licences.subject_of(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One that has runs would come back unnamed with the next of them."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.last_run_at is None)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("customer"))
    def whose(self, licence: Licence) -> SafeString | str:
        return display.customer_of(licence)

    @admin.display(description=_("pages this month"))
    def used(self, licence: Licence) -> SafeString | str:
        return display.used(standing_of(licence))

    @admin.display(description=_("expected"))
    def forecast(self, licence: Licence) -> SafeString | str:
        return display.outlook(standing_of(licence))

    @admin.display(description=_("state"))
    def state(self, licence: Licence) -> SafeString:
        return display.state_of(standing_of(licence))

    @admin.display(description=_("customer"))
    def whose_and_state(self, licence: Licence) -> SafeString:
        return inline(display.customer_of(licence), display.state_of(standing_of(licence)))

    @admin.display(description=_("this month"))
    def used_so_far(self, licence: Licence) -> SafeString:
        standing = standing_of(licence)
        return inline(licences.used_in_words(standing), display.bar(standing))

    @admin.display(description=_("forecast"))
    def forecast_in_full(self, licence: Licence) -> str:
        return licences.forecast_in_words(standing_of(licence)) or str(_("None before a day of use is over."))

    @admin.display(description=_("ends"))
    def month(self, licence: Licence) -> str:
        return format_moment(standing_of(licence).period.end)


def this_month(licence: Licence) -> Any:
    return RunRollup.objects.filter(license_ref=licence.ref, hour__gte=standing_of(licence).period.start)
