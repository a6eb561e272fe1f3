"""Hours of usage, as they lie in the database, and licences that they belong to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from usage.models import Licence, RunRollup


def an_hour(at: datetime | None = None, pages: int = 1, **fields: Any) -> RunRollup:
    """The hour that the moment falls into, now by default: a run of one document unless the fields say otherwise."""
    known: dict[str, Any] = {
        **{"license_ref": "LIC-1", "app_name": "gui", "app_version": "6"},
        **{"runs": 1, "documents": 1, "succeeded": 1, "failed": 0},
    } | fields
    hour = (at or timezone.now()).replace(minute=0, second=0, microsecond=0)
    return RunRollup.objects.create(hour=hour, pages=pages, **known)


def a_licence(ref: str = "LIC-1", quota: int | None = 100, **fields: Any) -> Licence:
    return Licence.objects.create(ref=ref, monthly_page_quota=quota, **{"customer": "Acme"} | fields)
