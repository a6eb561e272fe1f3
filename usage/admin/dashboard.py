"""Usage over time: what all licences came to, by day, by customer, by application."""

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
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import WARNING, badge, inline
from portal.base.rounding import round_half_up
from portal.base.words import format_count
from portal.desk.panels import Chart, Section, Tile
from usage.admin.display import application, share
from usage.admin.sections import Named, figures_table, most_pages_first
from usage.consumption import DAY, Sums, total
from usage.figures import DEFAULT_SPAN, SPANS, Figures, days_shown, figures
from usage.models import Licence

SHOWN = 20
LABELS: dict[int, Promise] = {7: _("7 days"), 30: _("30 days"), 90: _("90 days"), 364: _("52 weeks")}
# So many bars can be told apart; of a longer time each stands for a week.
MOST_BARS, WEEK = 100, 7


class UsageDashboard(ReadOnlyAdmin):
    """Stands beside the list of runs: whoever may see those may see what they came to."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="usage_dashboard"), *super().get_urls()]

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, days = timezone.now(), chosen(request.GET.get("days", ""))
        found = figures(now, days)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _now("Usage over time"),
            "spans": [(span, LABELS[span], span == days) for span in SPANS],
            "made_at": found.made_at,
            "tiles": tiles_of(found, days_shown(now, days)),
            "sections": [customers_of(found), versions_of(found)],
        }
        return TemplateResponse(request, "usage/dashboard.html", context)


def chosen(text: str) -> int:
    return next((span for span in SPANS if str(span) == text), DEFAULT_SPAN)


# --- By day ----------------------------------------------------------------------------------------------------------


def tiles_of(found: Figures, days: list[date]) -> list[Tile]:
    sums, step = total(found.by_day.values()), WEEK if len(days) > MOST_BARS else 1
    firsts = days[::step]
    parts = [total(found.by_day.get(first + number * DAY, Sums()) for number in range(step)) for first in firsts]

    def chart(unit: str, value: Callable[[Sums], float]) -> Chart:
        return Chart(firsts, [value(part) for part in parts], unit)

    units = (
        (_now("pages a day"), _now("runs a day"), _now("% of the documents of a day"))
        if step == 1
        else (_now("pages a week"), _now("runs a week"), _now("% of the documents of a week"))
    )
    used = sum(1 for ref in found.by_licence if ref)
    return [
        Tile(
            _now("Pages"),
            format_count(sums.pages),
            facts=[(_now("licences"), format_count(used))],
            chart=chart(units[0], lambda part: part.pages),
        ),
        Tile(
            _now("Runs"),
            format_count(sums.runs),
            facts=[(_now("documents"), format_count(sums.documents))],
            chart=chart(units[1], lambda part: part.runs),
        ),
        Tile(
            _now("Failed documents"),
            share(sums.failed, sums.documents),
            facts=[(_now("failed"), format_count(sums.failed))],
            chart=chart(units[2], failed_percent),
        ),
    ]


def failed_percent(part: Sums) -> float:
    return round_half_up(part.failed * 100 / part.documents, 1) if part.documents else 0


# --- By customer, by application -------------------------------------------------------------------------------------


def customers_of(found: Figures) -> Section:
    """Licences of one customer are one row; one that is unnamed is a row by itself."""
    known = {licence.ref: licence for licence in Licence.objects.only("ref", "customer")}
    by_customer: dict[tuple[str, str], list[Sums]] = defaultdict(list)
    for ref, sums in found.by_licence.items():
        customer = known[ref].customer if ref in known else ""
        by_customer[(customer, "" if customer else ref)].append(sums)
    named = most_pages_first((whose, total(parts)) for whose, parts in by_customer.items())
    shown = [(name_of(*whose), sums) for whose, sums in named[:SHOWN]]
    return figures_table(
        _now("By customer"),
        _now("Customer"),
        [*shown, *rest_of(named)],
        url=reverse("admin:usage_licence_changelist"),
        empty=_now("There was no run in this time."),
    )


def name_of(customer: str, ref: str) -> Any:
    if not customer and not ref:
        return _now("without a licence")
    link = reverse("admin:usage_licence_changelist", query={"q": customer or ref})
    return inline(
        format_html('<a href="{}">{}</a>', link, customer or ref), "" if customer else badge(_now("unnamed"), WARNING)
    )


def rest_of(named: list[Named]) -> list[Named]:
    rest = named[SHOWN:]
    if not rest:
        return []
    text = ngettext("%(count)s more", "%(count)s more", len(rest)) % {"count": format_count(len(rest))}
    return [(text, total(sums for _name, sums in rest))]


def versions_of(found: Figures) -> Section:
    named = most_pages_first((application(*version), sums) for version, sums in found.by_version.items())
    return figures_table(
        _now("By application and version"),
        _now("Application"),
        [*named[:SHOWN], *rest_of(named)],
        empty=_now("There was no run in this time."),
    )
