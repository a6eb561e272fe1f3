"""The page *Usage over time*: the totals of all licences by day, customer and application."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import WARNING, badge, join_inline
from portal.base.words import format_count, round_half_up
from portal.desk.panels import Chart, Section, Tile
from usage.admin.display import application_name, format_share
from usage.admin.sections import NamedTotals, most_pages_first, totals_section
from usage.consumption import (
    DASHBOARD_SPANS,
    DAY,
    DashboardTotals,
    UsageTotals,
    add_totals,
    dashboard_days,
    dashboard_totals,
)
from usage.models import Licence

SHOWN_ROWS = 20
DEFAULT_SPAN = 30
LABELS: dict[int, Promise] = {7: _("7 days"), 30: _("30 days"), 90: _("90 days"), 364: _("52 weeks")}
# More bars than this cannot be told apart: in longer spans a bar is a week.
MOST_BARS, WEEK = 100, 7


class UsageDashboard(ReadOnlyAdmin):
    """The page belongs to the list of runs, and so does its permission."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="usage_dashboard"), *super().get_urls()]

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, days = timezone.now(), request.GET.get("days")
        span = next((span for span in DASHBOARD_SPANS if str(span) == days), DEFAULT_SPAN)
        totals = dashboard_totals(now, span)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Usage over time"),
            "spans": [(days, LABELS[days], days == span) for days in DASHBOARD_SPANS],
            "made_at": totals.made_at,
            "tiles": dashboard_tiles(totals, dashboard_days(now, span)),
            "sections": [customers_section(totals), all_versions_section(totals)],
        }
        return TemplateResponse(request, "usage/dashboard.html", context)


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
