"""Moments: the start of a day, and their form on the wire (UTC, `Z`)."""

from datetime import UTC, date, datetime, time, tzinfo

from django.utils import timezone


def midnight(day: date, zone: tzinfo | None = None) -> datetime:
    """Return the start of the day in the portal's or another zone, in UTC: local hours repeat as clocks go back."""
    return datetime.combine(day, time.min, zone or timezone.get_current_timezone()).astimezone(UTC)


def format_iso(moment: datetime | None) -> str | None:
    """`2026-03-10T09:12:44.120Z`, or None for None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_iso_seconds(moment: datetime) -> str:
    """`2026-03-10T09:12:00Z`, for moments that a plan makes: they have no fractions."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
