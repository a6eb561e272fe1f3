"""The page *Usage over time*: the totals of all licences by day, customer and application."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from django import forms
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import WARNING, badge, join_inline
from portal.base.words import format_count, format_date, round_half_up
from portal.desk.panels import Chart, Section, Tile
from usage.admin.display import application_name, format_share
from usage.admin.downloads import FORMS, usage_response
from usage.admin.sections import NamedTotals, most_pages_first, totals_section
from usage.consumption import (
    DASHBOARD_SPANS,
    DAY,
    LONGEST_RANGE,
    DashboardTotals,
    DayRange,
    UsageTotals,
    add_totals,
    dashboard_totals,
    latest_days,
)
from usage.models import Licence, RunRollup
from usage.monthly import monthly_usage, months_between

SHOWN_ROWS = 20
DEFAULT_SPAN = 30
LABELS: dict[int, Promise] = {7: _("7 days"), 30: _("30 days"), 90: _("90 days"), 364: _("52 weeks")}
# More bars than this cannot be told apart: in longer spans a bar is a week.
MOST_BARS, WEEK = 100, 7
EARLIEST_DAY = date(2000, 1, 1)
LICENCES_AT_A_TIME = 500


class RangeForm(forms.Form):
    """The fields `from` and `to`, days in ISO form as browsers send them, both included."""

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today
        for name, label in (("from", pgettext("date", "From")), ("to", pgettext("date", "To"))):
            limits = {"type": "date", "min": EARLIEST_DAY.isoformat(), "max": today.isoformat()}
            widget = forms.DateInput(attrs=limits, format="%Y-%m-%d")
            self.fields[name] = forms.DateField(label=label, widget=widget, input_formats=["%Y-%m-%d"])

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if first and last:
            if first > last:
                self.add_error(None, _("The range must begin before it ends."))
            elif first < EARLIEST_DAY:
                text = gettext("The range must begin on %(day)s or later.")
                self.add_error(None, text % {"day": date_format(EARLIEST_DAY)})
            elif last > self.today:
                self.add_error(None, _("The range must end today or earlier."))
            elif (last - first).days >= LONGEST_RANGE:
                text = gettext("The range may have at most %(count)s days.")
                self.add_error(None, text % {"count": format_count(LONGEST_RANGE)})
        return self.cleaned_data


def read_range(query: Mapping[str, str], now: datetime) -> tuple[DayRange, RangeForm, int | None]:
    """Return the chosen days, the form that shows them, and the number of days if it is one of the usual ones.

    Instead of an invalid range the usual days are shown: the form has its errors.
    """
    days = query.get("days")
    span = next((span for span in DASHBOARD_SPANS if str(span) == days), DEFAULT_SPAN)
    shown, today = latest_days(now, span), timezone.localdate(now)
    if "from" in query or "to" in query:
        form = RangeForm(query, today=today)
        if form.is_valid():
            return DayRange(form.cleaned_data["from"], form.cleaned_data["to"]), form, None
        return shown, form, span
    return shown, RangeForm(initial={"from": shown.first, "to": shown.last}, today=today), span


def describe_range(shown: DayRange) -> str:
    """Return `from 2 March 2026 to 31 March 2026`, in the reader's language."""
    words = {"since": format_date(shown.first, "DATE_FORMAT"), "until": format_date(shown.last, "DATE_FORMAT")}
    return gettext("from %(since)s to %(until)s") % words


class UsageDashboard(ReadOnlyAdmin):
    """The page belongs to the list of runs, and so do its permissions."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            path("dashboard/", wrap(self.dashboard_view), name="usage_dashboard"),
            path("dashboard/export/<slug:form>/", wrap(self.export_usage_view), name="usage_dashboard_export"),
        ]
        return own + super().get_urls()

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown, form, span = read_range(request.GET, timezone.now())
        totals = dashboard_totals(timezone.now(), shown)
        context = {
            "spans": [(days, LABELS[days], days == span) for days in DASHBOARD_SPANS],
            "form": form,
            "export_query": urlencode({"from": str(shown.first), "to": str(shown.last)}),
            "may_export": self.has_export_permission(request),
            "range": describe_range(shown),
            "made_at": totals.made_at,
            "tiles": dashboard_tiles(totals, shown.days),
            "sections": [customers_section(totals), all_versions_section(totals)],
        }
        return self.render_page(request, "usage/dashboard.html", gettext("Usage over time"), **context)

    def export_usage_view(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """Export the usage of the range by licence, month and application; the pages add up to those of the page."""
        if not (self.has_view_permission(request) and self.has_export_permission(request)):
            raise PermissionDenied
        now = timezone.now()
        shown, range_form, _span = read_range(request.GET, now)
        if form not in FORMS or range_form.errors:
            raise BadRequest
        rows = monthly_usage(licences_in(shown), months_between(shown.since, shown.until, now))
        return usage_response(request, form, rows, **{"from": str(shown.first), "to": str(shown.last)})


def licences_in(shown: DayRange) -> Iterator[Licence]:
    """Yield the licences with usage in the range, by key, also those that no row exists for yet, and the empty one."""
    hours = RunRollup.objects.filter(hour__gte=shown.since, hour__lt=shown.until)
    refs = sorted(hours.order_by().values_list("license_ref", flat=True).distinct())
    for start in range(0, len(refs), LICENCES_AT_A_TIME):
        batch = refs[start : start + LICENCES_AT_A_TIME]
        known = {licence.ref: licence for licence in Licence.objects.filter(ref__in=batch)}
        yield from (known.get(ref) or Licence(ref=ref) for ref in batch)


# --- By day ----------------------------------------------------------------------------------------------------------


def dashboard_tiles(totals: DashboardTotals, days: list[date]) -> list[Tile]:
    total, step = add_totals(totals.by_day.values()), WEEK if len(days) > MOST_BARS else 1
    firsts = days[::step]
    bars = [
        add_totals(totals.by_day.get(first + number * DAY, UsageTotals()) for number in range(step)) for first in firsts
    ]

    def chart(unit: str, value: Callable[[UsageTotals], float]) -> Chart:
        return Chart(firsts, [value(bar) for bar in bars], unit)

    units = (
        (gettext("pages per day"), gettext("runs per day"), gettext("% of documents failed per day"))
        if step == 1
        else (gettext("pages per week"), gettext("runs per week"), gettext("% of documents failed per week"))
    )
    licences = sum(1 for ref in totals.by_licence if ref)
    return [
        Tile(
            gettext("Pages"),
            format_count(total.pages),
            facts=[(gettext("licences"), format_count(licences))],
            chart=chart(units[0], lambda bar: bar.pages),
        ),
        Tile(
            gettext("Runs"),
            format_count(total.runs),
            facts=[(gettext("documents"), format_count(total.documents))],
            chart=chart(units[1], lambda bar: bar.runs),
        ),
        Tile(
            gettext("Failed documents"),
            format_share(total.failed, total.documents),
            facts=[(gettext("failed"), format_count(total.failed))],
            chart=chart(units[2], failed_percent),
        ),
    ]


def failed_percent(bar: UsageTotals) -> float:
    return round_half_up(bar.failed * 100 / bar.documents, 1) if bar.documents else 0


# --- By customer, by application -------------------------------------------------------------------------------------


def customers_section(totals: DashboardTotals) -> Section:
    """Merge the licences of a customer into one row; a licence without a customer has its own."""
    known = {licence.ref: licence for licence in Licence.objects.only("ref", "customer")}
    by_customer: dict[tuple[str, str], list[UsageTotals]] = defaultdict(list)
    for ref, of_licence in totals.by_licence.items():
        customer = known[ref].customer if ref in known else ""
        by_customer[(customer, "" if customer else ref)].append(of_licence)
    rows = most_pages_first((key, add_totals(parts)) for key, parts in by_customer.items())
    return totals_section(
        gettext("By customer"),
        gettext("Customer"),
        [*((customer_cell(*key), of_customer) for key, of_customer in rows[:SHOWN_ROWS]), *remaining_row(rows)],
        url=reverse("admin:usage_licence_changelist"),
        empty=gettext("No runs in this period."),
    )


def customer_cell(customer: str, ref: str) -> Any:
    if not customer and not ref:
        return gettext("no licence")
    link = reverse("admin:usage_licence_changelist", query={"q": customer or ref})
    return join_inline(
        format_html('<a href="{}">{}</a>', link, customer or ref),
        "" if customer else badge(gettext("no customer"), WARNING),
    )


def remaining_row(rows: list[NamedTotals]) -> list[NamedTotals]:
    """Return one row that sums up the rows beyond SHOWN_ROWS, if any."""
    rest = rows[SHOWN_ROWS:]
    if not rest:
        return []
    text = ngettext("%(count)s more", "%(count)s more", len(rest)) % {"count": format_count(len(rest))}
    return [(text, add_totals(totals for _name, totals in rest))]


def all_versions_section(totals: DashboardTotals) -> Section:
    rows = most_pages_first((application_name(*version), each) for version, each in totals.by_version.items())
    return totals_section(
        gettext("By application and version"),
        gettext("Application"),
        [*rows[:SHOWN_ROWS], *remaining_row(rows)],
        empty=gettext("No runs in this period."),
    )
