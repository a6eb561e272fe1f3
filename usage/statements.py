"""The monthly statement of a licence: what the customer used in a billing period, as a PDF."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import slugify
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from portal.base.moments import midnight
from portal.base.text import printable_text
from portal.base.words import EMPTY_VALUE, format_count, format_moment
from usage.consumption import Period, UsageTotals, add_totals, period_at
from usage.models import Licence
from usage.monthly import Month, monthly_usage
from usage.quotas import FULL, QuotaStatus

PRODUCER = "Vigie"
# Programs name their applications: even the longest names fit on the pages that a PDF may have.
SHOWN_APPLICATIONS = 50
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
BAR_MARK, BAR_HEIGHT = "<!-- bar -->", 7.0
GREEN, RED, GREY = (0.11, 0.50, 0.29), (0.70, 0.14, 0.09), (0.84, 0.86, 0.88)


@dataclass(frozen=True)
class Statement:
    """The usage of a licence in a period, by application. `made_at` is within the period if that is not over.

    No statement is final: machines that were offline report their runs later, whenever they can.
    """

    licence: Licence
    period: Period
    by_application: list[tuple[str, UsageTotals]]
    made_at: datetime

    @property
    def total(self) -> UsageTotals:
        return add_totals(totals for _name, totals in self.by_application)

    @property
    def status(self) -> QuotaStatus:
        return QuotaStatus(self.made_at, self.period, self.licence.monthly_page_quota, self.total.pages)

    @property
    def is_over(self) -> bool:
        return self.made_at >= self.period.end

    @property
    def rows(self) -> list[tuple[str, UsageTotals]]:
        """Return the applications with most pages, most first, and the sum of the others."""
        by_pages = sorted(self.by_application, key=lambda row: (-row[1].pages, row[0]))
        shown, others = by_pages[:SHOWN_APPLICATIONS], by_pages[SHOWN_APPLICATIONS:]
        if not others:
            return shown
        text = ngettext("%(count)s other application", "%(count)s other applications", len(others))
        row = (text % {"count": format_count(len(others))}, add_totals(totals for _name, totals in others))
        return [*shown, row]

    @property
    def file_name(self) -> str:
        return f"statement-{slugify(self.licence.ref) or self.licence.pk}-{self.period.first_day}.pdf"


def find_period(licence: Licence, text: str, now: datetime) -> Period | None:
    """Return the licence's period that begins on this day in ISO form, None if there is none, or not yet."""
    try:
        first_day = date.fromisoformat(text)
        period = period_at(midnight(first_day), licence.period_day)
    except (ValueError, OverflowError):
        return None
    return period if period.first_day == first_day and EARLIEST <= period.start <= now else None


def build_statement(licence: Licence, period: Period, now: datetime) -> Statement:
    usage = monthly_usage([licence], lambda period_day: [Month(period)])
    return Statement(licence, period, [(row.application, row.totals) for row in usage], now)


# --- PDF -------------------------------------------------------------------------------------------------------------


def render_statement(statement: Statement) -> bytes:
    """Return the PDF in the active language, with times in the reader's zone."""
    from portal.desk.pdf_pages import Chart, make_pdf  # noqa: PLC0415  PyMuPDF is large, and loaded only when needed

    context = template_context(statement)
    html, css = render_to_string("usage/statement.html", context), render_to_string("usage/statement.css")
    # Customers' texts contain no mark, because "<" is escaped.
    above, mark, below = html.partition(BAR_MARK)
    bar = Chart(BAR_HEIGHT, lambda page, place: draw_bar(page, place, statement.status))
    made = f"D:{statement.made_at.astimezone(UTC):%Y%m%d%H%M%S}Z"
    subject = f"{context['licence']}, {context['period']}"
    about = {
        "title": _("%(title)s: %(subject)s") % {"title": context["title"], "subject": subject},
        "author": context["publisher"],
        "creator": PRODUCER,
        "producer": PRODUCER,
        "creationDate": made,
        "modDate": made,
    }
    return make_pdf([above, bar, below] if mark else [above], css, context["publisher"], about, get_language() or "en")


def draw_bar(page: Any, place: Any, status: QuotaStatus) -> None:
    """Draw the used share of the quota over the whole width."""
    used = +place
    used.x1 = place.x0 + place.width * min(status.percent or 0, FULL) / FULL
    for area, colour in ((place, GREY), (used, RED if status.is_used_up else GREEN)):
        if area.width:
            page.draw_rect(area, color=None, fill=colour)


def publisher_name() -> str:
    """Return who issues statements: the publisher, or the portal's host name."""
    return settings.PUBLISHER_NAME or urlsplit(settings.PORTAL_URL).hostname or PRODUCER


def template_context(statement: Statement) -> dict[str, Any]:
    licence, status, total = statement.licence, statement.status, statement.total
    return {
        "publisher": printable_text(publisher_name()),
        "title": _("Usage statement"),
        "customer": printable_text(licence.customer) or EMPTY_VALUE,
        "licence": licence.ref,
        "period": format_period(statement.period),
        "made_at": format_moment(statement.made_at),
        "is_over": statement.is_over,
        "zone": timezone.get_current_timezone_name(),
        "rows": [(name, *format_totals(totals)) for name, totals in statement.rows],
        "total": format_totals(total),
        "pages": format_count(total.pages),
        "quota": "" if status.quota is None else format_count(status.quota),
        "percent": "" if status.percent is None else format_count(status.percent),
        "over": format_count(total.pages - status.quota) if status.quota and total.pages > status.quota else "",
    }


def format_totals(totals: UsageTotals) -> list[str]:
    return [format_count(number) for number in (totals.runs, totals.documents, totals.failed, totals.pages)]


def format_period(period: Period) -> str:
    """Return `9 March 2026 – 8 April 2026`, in the reader's language."""
    return f"{date_format(period.first_day)} – {date_format(period.last_day)}"
