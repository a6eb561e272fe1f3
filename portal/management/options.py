"""Types of command-line options."""

from datetime import UTC, datetime

from django.core.management.base import CommandError


def parse_moment(name: str, text: str) -> datetime:
    """ISO 8601; UTC where it has no offset. Raises CommandError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{name} must be a time such as 2025-06-12T13:30:00Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
