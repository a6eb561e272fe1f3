"""Format licences, quotas and clock notes for the admin."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, stack_lines
from portal.admin.exporting import exported
from portal.base.words import EMPTY_VALUE, format_count, format_short_day, round_half_up
from usage.consumption import Period
from usage.models import Licence
from usage.quotas import NEAR, QuotaStatus

BAR_WIDTH, BAR_HEIGHT = 100, 6


@admin.display(description=gettext_lazy("sender's clock"))
def clock_note(row: Any) -> SafeString | str:
    """Show whether the times were corrected or dropped because of a wrong clock."""
    return badge(row.get_clock_display(), WARNING) if row.clock else EMPTY_VALUE


@exported(attrgetter("customer"))
@admin.display(description=gettext_lazy("customer"), ordering="customer")
def customer_name(licence: Licence) -> SafeString | str:
    return licence.customer or badge(_("no customer"), WARNING)


def licence_link(licence: Licence) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:usage_licence_change", args=[licence.pk]), licence.ref)


def quota_tone(status: QuotaStatus) -> str:
    if status.percent is None:
        return QUIET
    if status.is_used_up:
        return BAD
    return WARNING if status.percent >= NEAR else GOOD


def quota_badge(status: QuotaStatus) -> SafeString:
    """Return `82 % of quota`, in the colour of its urgency."""
    if status.percent is None:
        return badge(_("unlimited"), QUIET)
    text = _("%(percent)s %% of quota") % {"percent": format_count(status.percent)}
    return badge(text, quota_tone(status))


def quota_bar(status: QuotaStatus) -> SafeString | str:
    """Draw the used share of the quota; empty without a quota."""
    if status.percent is None:
        return ""
    return format_html(
        '<svg class="used" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" aria-label="{2}">'
        '<rect class="quota" width="{0}" height="{1}"/><rect class="{3}" width="{4}" height="{1}"/></svg>',
        *(BAR_WIDTH, BAR_HEIGHT, format_percent(status), quota_tone(status), min(status.percent, BAR_WIDTH)),
    )


def format_percent(status: QuotaStatus) -> str:
    return EMPTY_VALUE if status.percent is None else _("%(percent)s %%") % {"percent": format_count(status.percent)}


def pages_used(status: QuotaStatus) -> SafeString:
    """Return `8,120` with a bar."""
    return format_html("{}{}", format_count(status.pages), quota_bar(status))


def page_quota(status: QuotaStatus) -> str:
    return EMPTY_VALUE if status.quota is None else format_count(status.quota)


def forecast(status: QuotaStatus) -> SafeString | str:
    """Return the pages expected by the end of the month, and the day on which the quota is used up, if any."""
    if status.expected is None:
        return EMPTY_VALUE
    reached = _("used up on %(day)s") % {"day": format_short_day(status.used_up_on)} if status.used_up_on else ""
    return stack_lines(format_count(status.expected), reached)


def format_share(part: int, total: int) -> str:
    """Return `0.4 %`. A share above zero is never rounded to 0 %."""
    if not total:
        return EMPTY_VALUE
    percent = part * 100 / total
    shown = max(percent, 0.1) if part else 0
    return _("%(percent)s %%") % {"percent": number_format(round_half_up(shown, 1), 1, use_l10n=True)}


def format_month(period: Period) -> str:
    """Return `9 Mar – 8 Apr`, with the year of a day that is not in the current one."""
    year = timezone.localdate().year
    first, last = (
        format_short_day(day) if day.year == year else f"{format_short_day(day)} {day.year}"
        for day in (period.first_day, period.last_day)
    )
    return f"{first} – {last}"


def renewal_day(status: QuotaStatus) -> str:
    return date_format(timezone.localdate(status.period.end))


def application_name(name: str, version: str) -> str:
    return f"{name} {version}"
