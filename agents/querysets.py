"""Querysets of machines and enrolment requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Q, Value
from django.db.models.functions import Concat

if TYPE_CHECKING:
    from agents import models as m

# The time between two updates of `last_seen_at`, however often a machine calls.
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class LivenessBounds:
    """A machine last seen since `online` is online, before `lost` it is lost, in between it is late."""

    online: datetime
    lost: datetime


def liveness_bounds(now: datetime) -> LivenessBounds:
    return LivenessBounds(
        online=now - 2 * timedelta(seconds=settings.HEARTBEAT_INTERVAL_SECONDS),
        lost=now - timedelta(days=settings.AGENT_LOST_DAYS),
    )


def liveness_condition(liveness: str, now: datetime) -> Q:
    bounds = liveness_bounds(now)
    return (
        Q(status="active")
        & {
            "online": Q(last_seen_at__gte=bounds.online),
            "late": Q(last_seen_at__lt=bounds.online, last_seen_at__gte=bounds.lost),
            "lost": Q(last_seen_at__lt=bounds.lost),
        }[liveness]
    )


class EnrolmentRequestQuerySet(models.QuerySet["m.EnrolmentRequest"]):
    def of(self, machine_id: str) -> Self:
        """Select the requests for one machine, ignoring case."""
        return self.filter(name=machine_id.lower())

    def allowed(self, now: datetime) -> Self:
        return self.filter(allowed_until__gte=now)

    def waiting(self, now: datetime) -> Self:
        return self.exclude(allowed_until__gte=now)


class AgentQuerySet(models.QuerySet["m.Agent"]):
    def active(self) -> Self:
        return self.filter(status="active")

    def named(self, machine_id: str) -> Self:
        """Select the machine with this name, ignoring case: one row or none."""
        return self.filter(name=machine_id.lower(), owns_name=True)

    def get_or_enrol(self, machine_id: str, **defaults: Any) -> tuple[m.Agent, bool]:
        """Return the machine of this name, and True if it was created, with the given spelling."""
        return self.get_or_create(
            name=machine_id.lower(), owns_name=True, defaults={"machine_id": machine_id, **defaults}
        )

    def matching(self, text: str) -> Self:
        """Select machines whose id, host or user contains the text. One search of them all takes half the time."""
        separator = Value("\x1f")  # occurs in no field, so no match spans two fields
        searched = Concat("machine_id", separator, "hostname", separator, "user_name", separator, "user_email")
        return self.alias(searched=searched).filter(searched__icontains=text)

    def totals(self, now: datetime) -> dict[str, int]:
        """Count `{active, uninstalled, online, late, lost}` in one pass."""
        return self.aggregate(
            active=Count("id", filter=Q(status="active")),
            uninstalled=Count("id", filter=Q(status="uninstalled")),
            **{name: Count("id", filter=liveness_condition(name, now)) for name in ("online", "late", "lost")},
        )

    def mark_seen(self, pk: int, now: datetime) -> None:
        """Update `last_seen_at`, at most once a minute across all processes."""
        self.active().filter(pk=pk, last_seen_at__lte=now - SEEN_EVERY).update(last_seen_at=now)

    def claim_uninstall(self, pk: int, now: datetime, reason: str) -> bool:
        """Mark an active machine as uninstalled. Return False if it already is."""
        changes = {"uninstalled_at": now, "uninstall_reason": reason, "reenrolment_until": None}
        return self.active().filter(pk=pk).update(status="uninstalled", **changes) == 1

    def transfer_name(self, agent: m.Agent) -> None:
        """Give the name of an uninstalled machine to the active one that was enrolled under another spelling."""
        same_name = self.active().filter(name=agent.machine_id.lower(), owns_name=False)
        successor = same_name.order_by("-enrolled_at").first()
        if successor is not None:
            self.filter(pk=agent.pk).update(owns_name=False)
            self.filter(pk=successor.pk).update(owns_name=True)
