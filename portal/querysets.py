"""Questions asked of the ground floor's tables."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models, transaction
from django.db.models import Exists, F, Q, Value
from django.db.models.functions import Now

if TYPE_CHECKING:
    from portal import models as m  # noqa: F401


class ApiTokenQuerySet(models.QuerySet["m.ApiToken"]):
    def usable(self, now: datetime) -> Self:
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def with_failures_from(self, address: str, failures: models.QuerySet[m.AuthFailure]) -> Self:
        """Adds `had_failures`: whether the address has failed lately, so that a success knows what to reset."""
        return self.annotate(had_failures=Exists(failures.filter(address=Value(address))))

    def claim_use(self, pk: int) -> bool:
        """Counts one use of a limited token; False where none is left. One UPDATE, so two callers never share a use."""
        left = Q(max_uses=None) | Q(uses__lt=F("max_uses"))
        return self.filter(left, pk=pk).update(uses=F("uses") + 1) == 1

    def revoke(self, now: datetime, reason: str) -> int:
        return self.filter(revoked_at=None).update(revoked_at=now, revoked_reason=reason)


class AuditEventQuerySet(models.QuerySet["m.AuditEvent"]):
    def count_up(self, dedupe_key: str, now: datetime, defaults: dict[str, Any]) -> None:
        """One more of what this key stands for; the first makes the row. Safe among simultaneous callers."""
        found = self.filter(dedupe_key=dedupe_key)
        if found.update(count=F("count") + 1, last_at=now):
            return
        row = self.model(dedupe_key=dedupe_key, at=now, last_at=now, count=0, **defaults)
        with transaction.atomic():
            self.bulk_create([row], ignore_conflicts=True)
            found.update(count=F("count") + 1, last_at=now)


class JobRunQuerySet(models.QuerySet["m.JobRun"]):
    def claimable(self, now: datetime) -> Self:
        """Cycles nobody works on: new, failed, or left behind by a holder whose lease has run out."""
        return self.filter(
            Q(status__in=["waiting", "failed"]) | Q(status="running", lease_expires_at__lt=now),
        )


class BeatQuerySet(models.QuerySet["m.Beat"]):
    def beat(self, component: str, where: str = "") -> None:
        """Notes that the component is alive, by the database's clock."""
        if not self.filter(component=component).update(at=Now(), where=where):
            self.update_or_create(component=component, defaults={"at": Now(), "where": where})

    def stale(self, now: datetime, after: timedelta) -> Self:
        return self.filter(at__lt=now - after)
