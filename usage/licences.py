"""Quotas: what is used up is marked, and whoever is to know is told at 80 % and at 100 %, once a period each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from django.db import transaction
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.base.words import format_count
from portal.notifications import Notice, Severity, in_portal_language, notify
from portal.work.jobs import Lease
from usage.consumption import Period, Standing, month_before, standings
from usage.models import Licence, Run
from usage.models.licences import LAST_DAY

NEAR, FULL = 80, 100
REPORTERS_SHOWN = 3
UNNAMED = Q(customer="")
WITHOUT_QUOTA = Q(monthly_page_quota=None)
NOTHING_TOLD: Mapping[str, int | None] = {"told_period": None, "told_percent": 0}


def over_quota(now: datetime) -> Q:
    return Q(exceeded_until__gt=now)


def near_quota(now: datetime) -> Q:
    """From 80 % of the quota on, and not used up.

    What was told says so: a period that began on a day of last month runs as long as that day has not come again.
    """
    today = timezone.localdate(now)
    a_month_ago = month_before(today.replace(day=min(today.day, LAST_DAY)))
    is_told = Q(told_percent__gte=NEAR, told_period__gt=a_month_ago)
    return is_told & ~WITHOUT_QUOTA & (Q(exceeded_until=None) | Q(exceeded_until__lte=now))


# --- What has changed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What is to be written about a licence as it was read, and what it is told with, if anything."""

    licence: Licence
    fields: Mapping[str, datetime | date | int | None]
    notice: Notice | None = None

    def write(self) -> bool:
        """Whether the licence still is as it was read: else the next review judges it anew."""
        names = ("monthly_page_quota", "period_day", "exceeded_until", "told_period", "told_percent")
        read = {name: getattr(self.licence, name) for name in names}
        return bool(Licence.objects.filter(pk=self.licence.pk, **read).update(**self.fields))


def review(now: datetime, lease: Lease) -> int:
    """Compares each quota with what was consumed in the running period; the number of warnings given.

    Marks and messages are written in one transaction. Raises LeaseLost.
    """
    limited = list(Licence.objects.exclude(WITHOUT_QUOTA).order_by("pk"))
    found = standings(limited, now)
    with in_portal_language():
        changes = [change for licence in limited for change in changes_of(licence, found[licence.ref])]
        changes += [
            Change(licence, {"exceeded_until": None, **NOTHING_TOLD})
            for licence in Licence.objects.filter(WITHOUT_QUOTA, exceeded_until__gt=now)
        ]
        if not changes:
            return 0
        with transaction.atomic():
            lease.extend()
            written = [change for change in changes if change.write()]
            notices = [change.notice for change in written if change.notice]
            notify(*notices)
    return len(notices)


def changes_of(licence: Licence, standing: Standing) -> Iterator[Change]:
    """None or one. A mark of a period that is over needs no clearing: it says so itself."""
    fields: dict[str, datetime | date | int | None] = {}
    until = standing.period.end if standing.is_used_up else None
    marked_until = licence.exceeded_until
    if until != (marked_until if marked_until and marked_until > standing.now else None):
        fields["exceeded_until"] = until
    told = licence.told_percent if licence.told_period == standing.period.first_day else 0
    reached = FULL if standing.is_used_up else NEAR if (standing.percent or 0) >= NEAR else 0
    if reached != told:  # less where the quota was raised other than by hand
        fields |= {"told_period": standing.period.first_day, "told_percent": reached}
    notice = warning(licence, standing, reached) if reached > told else None
    if fields:
        yield Change(licence, fields, notice)


# --- Words -----------------------------------------------------------------------------------------------------------


def warning(licence: Licence, standing: Standing, percent: int) -> Notice:
    titles = {
        NEAR: _("%(licence)s has used 80 %% of its pages"),
        FULL: _("%(licence)s has used up its pages"),
    }
    period = standing.period
    lines = [used_in_words(standing), reporters_in_words(licence, period), forecast_in_words(standing)]
    lines.append(
        _("The next month of the licence begins on %(day)s.") % {"day": day_of(timezone.localdate(period.end))}
    )
    return Notice(
        subject=subject_of(licence),
        severity=Severity.WARNING,
        title=titles[percent] % {"licence": licence},
        text="\n".join(line for line in lines if line),
        dedupe_key=f"licence:{licence.pk}:{period.first_day}:{percent}:{licence.monthly_page_quota}",
        path=reverse("admin:usage_licence_change", args=[licence.pk]),
    )


def reporters_in_words(licence: Licence, period: Period) -> str:
    """Name the tokens that reported most of the pages: a wrong or forged report is found by its sender."""
    counted = Run.objects.filter(license_ref=licence.ref, hour__gte=period.start, implausible=False)
    most = counted.order_by().values_list("reported_by").annotate(pages=Sum("total_pages")).order_by("-pages")
    names = [
        _("%(token)s (%(pages)s pages)") % {"token": token, "pages": format_count(pages)}
        for token, pages in most[:REPORTERS_SHOWN]
    ]
    return _("Reported by %(tokens)s.") % {"tokens": ", ".join(names)} if names else ""


def subject_of(licence: Licence) -> str:
    return f"licence:{licence.ref}"


def day_of(day: date) -> str:
    return date_format(day, "j F")


def used_in_words(standing: Standing) -> str:
    words = {"pages": format_count(standing.pages), "day": day_of(standing.period.first_day)}
    if standing.quota is None:
        return _("%(pages)s pages since %(day)s.") % words
    words |= {"quota": format_count(standing.quota), "percent": format_count(standing.percent or 0)}
    return _("%(pages)s of %(quota)s pages since %(day)s: %(percent)s %%.") % words


def forecast_in_words(standing: Standing) -> str:
    """Nothing where there is no pace yet."""
    expected = standing.expected
    if expected is None:
        return ""
    if standing.used_up_on:
        return _("At this pace 100 %% is reached on %(day)s.") % {"day": day_of(standing.used_up_on)}
    words = {"pages": format_count(expected)}
    if standing.quota is None:
        return _("At this pace it will be %(pages)s pages by the end of the month.") % words
    words["percent"] = format_count(expected * 100 // standing.quota)
    return _("At this pace it will be %(pages)s pages by the end of the month, %(percent)s %%.") % words
