"""What stands below the facts of a licence: its months, its applications, its last runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.desk.panels import Section
from usage.admin.display import application
from usage.consumption import Period, Standing, Sums
from usage.models import Licence
from usage.panels import SHOWN_RUNS, last_runs, run_rows

Named = tuple[Any, Sums]


def periods_of(licence: Licence, periods: Sequence[Period], sums: Sequence[Sums]) -> Section:
    """A quota of the past is not known: each month is compared with the one of today."""
    quota = licence.monthly_page_quota
    rows: list[list[Any]] = [
        [
            date_format(period.first_day, "j F Y"),
            found.runs,
            found.documents,
            found.failed,
            found.pages,
            quota,
            Standing(period.end, period, quota, found.pages).percent,
        ]
        for period, found in zip(periods, sums, strict=True)
    ]
    return Section(
        title=_("Months"),
        columns=[
            _("Month"), _("Runs"), _("Documents"), _("Failed"), _("Pages"), _("Quota"), _("Used (%)"),
        ],
        rows=rows,
        note=_("Compared with the quota of today.") if quota is not None else "",
    )  # fmt: skip


def figures_table(title: str, first: str, named: Iterable[Named], *, empty: str = "", url: str = "") -> Section:
    """Sums, a row for each of what has them."""
    return Section(
        title=title,
        columns=[first, _("Runs"), _("Documents"), _("Failed"), _("Pages")],
        rows=[[name, found.runs, found.documents, found.failed, found.pages] for name, found in named],
        url=url,
        empty=empty,
    )


def versions_of(found: dict[tuple[str, ...], Sums]) -> Section:
    named = [(application(*names), sums) for names, sums in found.items()]
    return figures_table(
        _("Applications this month"), _("Application"), most_pages_first(named), empty=_("There was no run this month.")
    )


def most_pages_first(named: Iterable[Named]) -> list[Named]:
    return sorted(named, key=lambda each: (-each[1].pages, -each[1].runs))


def runs_of(licence: Licence) -> Section:
    return Section(
        title=_("Last runs"),
        columns=[_("Received"), _("Run"), _("Application"), _("Machine"), _("Documents"), _("Failed"), _("Pages")],
        rows=run_rows(last_runs(license_ref=licence.ref)[:SHOWN_RUNS], beside="machine_id"),
        url=reverse("admin:usage_run_changelist", query={"q": licence.ref}),
        empty=_("No run has been reported under it."),
    )
