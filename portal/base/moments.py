"""Moments on the wire: UTC, milliseconds, `Z`."""

from datetime import UTC, datetime


def format_iso(moment: datetime | None) -> str | None:
    """`2026-03-10T09:12:44.120Z`, or None for None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_iso_seconds(moment: datetime) -> str:
    """`2026-03-10T09:12:00Z`, for moments that a plan makes: they have no fractions."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
