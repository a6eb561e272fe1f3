"""How licences and what they consumed look in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, stacked
from portal.base.rounding import round_half_up
from portal.base.words import EMPTY_VALUE, format_count
from usage.consumption import Standing
from usage.licences import NEAR, day_of
from usage.models import Licence

BAR_WIDTH, BAR_HEIGHT = 100, 6


@admin.display(description=gettext_lazy("sender's clock"))
def clock_of(row: Any) -> SafeString | str:
    """Show what was done to the times that a wrong clock sent."""
    return badge(row.get_clock_display(), WARNING) if row.clock else EMPTY_VALUE


def customer_of(licence: Licence) -> SafeString | str:
    return licence.customer or badge(_("unnamed"), WARNING)


def link_to(licence: Licence) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:usage_licence_change", args=[licence.pk]), licence.ref)


def tone_of(standing: Standing) -> str:
    if standing.percent is None:
        return QUIET
    if standing.is_used_up:
        return BAD
    return WARNING if standing.percent >= NEAR else GOOD


def state_of(standing: Standing) -> SafeString:
    texts = {QUIET: _("no quota"), BAD: _("over quota"), WARNING: _("from 80 %"), GOOD: _("within its quota")}
    tone = tone_of(standing)
    return badge(texts[tone], tone)


def bar(standing: Standing) -> SafeString | str:
    """How much of the quota is used, as a bar."""
    if standing.percent is None:
        return ""
    return format_html(
        '<svg class="used" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" aria-label="{2}">'
        '<rect class="quota" width="{0}" height="{1}"/><rect class="{3}" width="{4}" height="{1}"/></svg>',
        *(BAR_WIDTH, BAR_HEIGHT, percent_of(standing), tone_of(standing), min(standing.percent, BAR_WIDTH)),
    )


def percent_of(standing: Standing) -> str:
    return (
        EMPTY_VALUE if standing.percent is None else _("%(percent)s %%") % {"percent": format_count(standing.percent)}
    )


def used(standing: Standing) -> SafeString | str:
    """`8,120 of 10,000`, with its bar."""
    if standing.quota is None:
        return format_count(standing.pages)
    words = {"pages": format_count(standing.pages), "quota": format_count(standing.quota)}
    return format_html("{}{}", _("%(pages)s of %(quota)s") % words, bar(standing))


def outlook(standing: Standing) -> SafeString | str:
    """What it will be by the end of the month, and when the quota is reached if before."""
    if standing.expected is None:
        return EMPTY_VALUE
    reached = _("100 %% on %(day)s") % {"day": day_of(standing.used_up_on)} if standing.used_up_on else ""
    return stacked(format_count(standing.expected), reached)


def share(part: int, whole: int) -> str:
    """`0.4 %`: a share that is not none never looks like none."""
    if not whole:
        return EMPTY_VALUE
    percent = part * 100 / whole
    shown = max(percent, 0.1) if part else 0
    return _("%(percent)s %%") % {"percent": number_format(round_half_up(shown, 1), 1, use_l10n=True)}


def application(name: str, version: str) -> str:
    return f"{name} {version}"
