"""Values as people read them, on pages, in messages and in reports: moments, counts, rounded figures."""

import zoneinfo
from collections.abc import Callable
from contextvars import ContextVar
from datetime import date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from django.utils import timezone, translation
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

EMPTY_VALUE = "–"
HOUR, DAY = 3_600, 86_400
# Texts of days and counts that are kept: a year of days, of a few styles and languages, is formatted again and again.
KEPT_TEXTS = 8_192


# The zone in which the person who asked reads times. Days, schedules and quotas stay in the portal's zone.
_readers_zone: ContextVar[tzinfo | None] = ContextVar("readers_zone", default=None)


def set_readers_zone(name: str) -> None:
    """Show times in this zone from now on, in this thread; an empty or unknown name stands for the portal's zone."""
    try:
        _readers_zone.set(zoneinfo.ZoneInfo(name) if name else None)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        _readers_zone.set(None)


def readers_zone() -> tzinfo:
    return _readers_zone.get() or timezone.get_current_timezone()


def zone_abbreviation(moment: datetime) -> str:
    """Return `CET`, or `UTC+04` for zones without letters, as the reader's zone has it at the moment."""
    return abbreviate_zone(moment.astimezone(readers_zone()))


def abbreviate_zone(local: datetime) -> str:
    name = local.tzname() or ""
    return name if name[:1].isalpha() else f"UTC{name}"


def format_moment(moment: datetime) -> str:
    """`2026-03-10 09:12:44 UTC`, in the reader's time zone and the same in every language."""
    local = moment.astimezone(readers_zone())
    return f"{local.isoformat(' ', 'seconds')[:19]} {abbreviate_zone(local)}"


def format_relative(moment: datetime, now: datetime) -> str:
    """`40 min ago`, `just now` for less than a minute; of the future `in 20 s`."""
    seconds = round((moment - now).total_seconds())
    if seconds > 0:
        return _("in %(time)s") % {"time": format_duration(seconds)}
    return _("%(time)s ago") % {"time": format_duration(-seconds)} if seconds <= -60 else _("just now")


# Lengths in seconds, largest first, and their texts.
UNITS: tuple[tuple[int, Callable[[int], str]], ...] = (
    (365 * DAY, lambda number: ngettext("%(number)d year", "%(number)d years", number)),
    (30 * DAY, lambda number: ngettext("%(number)d month", "%(number)d months", number)),
    (DAY, lambda number: ngettext("%(number)d day", "%(number)d days", number)),
    (HOUR, lambda number: _("%(number)d h")),
    (60, lambda number: _("%(number)d min")),
    (1, lambda number: _("%(number)d s")),
)


def format_duration(seconds: float) -> str:
    """`20 s`, `40 min`, `3 h`, `2 days`, `5 months`: in the largest unit that fits, rounded down."""
    return _in_units(int(seconds), 1).replace(" ", "\xa0")


def format_span(duration: timedelta) -> str:
    """`4 min 12 s`, `35 s`, `1 h`, `1 day 2 h`: in the two largest units, without one that is 0.

    With plain spaces, since messages and the terminal show it too.
    """
    return _in_units(round_to_integer(duration.total_seconds()), 2)


def _in_units(seconds: int, most: int) -> str:
    rest = max(0, seconds)
    first = next((place for place, (length, _text) in enumerate(UNITS) if rest >= length), len(UNITS) - 1)
    parts: list[str] = []
    for length, text in UNITS[first : first + most]:
        number, rest = divmod(rest, length)
        if number or not parts:
            parts.append(text(number) % {"number": number})
    return " ".join(parts)


def format_short_day(day: date) -> str:
    """`3 Nov`, in the reader's language."""
    return format_date(day, "j N")


def format_date(day: date, style: str) -> str:
    """Format a day in the reader's language, by a format of Django such as `j F Y`."""
    return _date_text(day, style, translation.get_language())


@lru_cache(KEPT_TEXTS)
def _date_text(day: date, style: str, language: str | None) -> str:
    return date_format(day, style)


def format_count(number: int) -> str:
    """`12,345`, grouped as the reader's language does."""
    return _count_text(number, translation.get_language())


@lru_cache(KEPT_TEXTS, typed=True)
def _count_text(number: int, language: str | None) -> str:
    return number_format(number, use_l10n=True, force_grouping=True)


def format_number(number: float, digits: int) -> str:
    """`1,234.5`, with so many digits, as the reader's language writes it."""
    return _number_text(number, digits, translation.get_language())


@lru_cache(KEPT_TEXTS, typed=True)
def _number_text(number: float, digits: int, language: str | None) -> str:
    return number_format(number, digits, use_l10n=True, force_grouping=True)


def round_half_up(value: float, digits: int = 0) -> float:
    """Round halves away from zero; Python's `round` takes them to the even digit: 12.5 to 12, and 13.5 to 14."""
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def round_to_integer(value: float) -> int:
    """Round to an integer, halves away from zero."""
    return int(round_half_up(value))
