"""Query vocabulary of monitoring's tables."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.db import models, transaction
from django.db.models import Q

if TYPE_CHECKING:
    from monitoring import models as m

# A row with a moment further in the future than this was written before the clock was set back, and counts as due.
CLOCKS_DIFFER = timedelta(minutes=1)


class TargetQuerySet(models.QuerySet["m.Target"]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def unclaimed(self, now: datetime) -> Self:
        """Return targets without a valid claim. A claim from the future was made before the clock was set back."""
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lte=now) | Q(claimed_at__gt=now + CLOCKS_DIFFER))

    def due(self, moment: datetime, now: datetime) -> Self:
        """Return active, unclaimed targets due by `moment`. Those checked in the future are due too: they were planned
        before the clock was set back.
        """
        later = now + CLOCKS_DIFFER
        is_due = Q(next_check_at__lte=moment) | Q(claimed_at__gt=later) | Q(last_check_at__gt=later)
        return self.active().unclaimed(now).filter(is_due)

    def lock_keys(self) -> list[int]:
        """Lock these rows until the transaction ends, in one order for all, and return their keys."""
        return list(self.select_for_update().order_by("pk").values_list("pk", flat=True))

    def claim_by(self, claim: str, now: datetime, until: datetime) -> list[m.Target]:
        """Claim these rows by a conditional UPDATE. Return those that were won."""
        if not self.exists():
            return []
        with transaction.atomic():
            rows = self.model._default_manager.filter(pk__in=self.lock_keys())
            rows.active().unclaimed(now).update(claim=claim, claimed_at=now, claimed_until=until)
        return list(rows.filter(claim=claim))


class CheckResultQuerySet(models.QuerySet["m.CheckResult"]):
    def counted(self) -> Self:
        return self.filter(excuse="")


class RoundQuerySet(models.QuerySet["m.Round"]):
    def latest_first(self) -> Self:
        return self.order_by("-number")


class IncidentQuerySet(models.QuerySet["m.Incident"]):
    def open(self) -> Self:
        return self.filter(resolved_at=None)


class MaintenanceQuerySet(models.QuerySet["m.MaintenanceWindow"]):
    def relevant(self, now: datetime) -> Self:
        """Return the windows that may be active now. `monitoring.alerts.maintenance` decides whether one is."""
        return self.filter(starts_at__lte=now).filter(Q(ends_at__gt=now) | ~Q(repeats=""))


class RollupQuerySet(models.QuerySet["m.Rollup"]):
    def of_targets(self, targets: list[int], period: str, since: datetime) -> Self:
        return self.filter(target__in=targets, period=period, start__gte=since)
