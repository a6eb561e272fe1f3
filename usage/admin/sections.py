"""Tables of usage: a licence's months, applications and last runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal.desk.panels import Section
from usage.admin.display import application_name, format_month
from usage.consumption import Period, UsageTotals
from usage.models import Licence
from usage.panels import runs_section
from usage.quotas import QuotaStatus

NamedTotals = tuple[Any, UsageTotals]


def months_section(
    licence: Licence, periods: Sequence[Period], totals: Sequence[UsageTotals], statement_url: Callable[[Period], str]
) -> Section:
    """Compare each month with today's quota, since past quotas are not stored.

    `statement_url` returns an empty string for users who may not export.
    """
    quota = licence.monthly_page_quota
    rows: list[list[Any]] = [
        [
            format_month(period),
            month.runs,
            month.documents,
            month.failed,
            month.pages,
            quota,
            QuotaStatus(period.end, period, quota, month.pages).percent,
            statement_link(statement_url(period), period),
        ]
        for period, month in zip(periods, totals, strict=True)
    ]
    return Section(
        title=_("Months"),
        columns=[
            _("Month"), _("Runs"), _("Documents"), _("Failed"), _("Pages"), _("Quota"), _("Used (%)"),
            _("Statement"),
        ],
        rows=rows,
        note=_("Based on the current quota.") if quota is not None else "",
    )  # fmt: skip


def statement_link(url: str, period: Period) -> SafeString | None:
    if not url:
        return None
    return format_html('<a href="{}">PDF<span class="visually-hidden"> {}</span></a>', url, format_month(period))


def totals_section(title: str, first: str, rows: Iterable[NamedTotals], *, empty: str = "", url: str = "") -> Section:
    return Section(
        title=title,
        columns=[first, _("Runs"), _("Documents"), _("Failed"), _("Pages")],
        rows=[[name, totals.runs, totals.documents, totals.failed, totals.pages] for name, totals in rows],
        url=url,
        empty=empty,
    )


def licence_versions_section(totals_by_version: dict[tuple[str, ...], UsageTotals]) -> Section:
    rows = [(application_name(*version), totals) for version, totals in totals_by_version.items()]
    return totals_section(
        _("Applications this month"), _("Application"), most_pages_first(rows), empty=_("No runs this month.")
    )


def most_pages_first(rows: Iterable[NamedTotals]) -> list[NamedTotals]:
    return sorted(rows, key=lambda row: (-row[1].pages, -row[1].runs))


def latest_runs_section(licence: Licence) -> Section:
    empty = _("No runs yet.")
    return runs_section(licence.ref, "machine_id", _("Machine"), empty, license_ref=licence.ref)
