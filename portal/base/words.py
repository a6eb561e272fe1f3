"""Values as people read them, on pages, in messages and in reports: moments, counts, rounded figures."""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _

EMPTY_VALUE = "–"


def format_moment(moment: datetime) -> str:
    """`2026-03-10 09:12:44 UTC`, in the portal's time zone and the same in every language."""
    local = timezone.localtime(moment)
    return f"{date_format(local, 'Y-m-d H:i:s')} {local.tzname()}"


def format_relative(moment: datetime, now: datetime) -> str:
    if abs((now - moment).total_seconds()) < 60:
        return _("just now")
    if moment > now:
        return _("in %(time)s") % {"time": timeuntil(moment, now, depth=1)}
    return _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}


def format_short_day(day: date) -> str:
    """`3 Nov`, in the reader's language."""
    return date_format(day, "j N")


def format_count(number: int) -> str:
    """`12,345`, grouped as the reader's language does."""
    return number_format(number, use_l10n=True, force_grouping=True)


def round_half_up(value: float, digits: int = 0) -> float:
    """Round halves away from zero; Python's `round` takes them to the even digit: 12.5 to 12, and 13.5 to 14."""
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def round_to_integer(value: float) -> int:
    """Round to an integer, halves away from zero."""
    return int(round_half_up(value))
