"""Querysets of runs and events, and expressions that the database computes on INSERT."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from django.db.models import Expression

from portal.querysets import IdempotentQuerySet

if TYPE_CHECKING:
    from usage import models as m


class QuotaExceeded(Expression):
    """Subquery: the licence's quota is used up (`usage.quotas.over_quota`), evaluated at INSERT.

    Written by hand, since an Exists() would be compiled again for each run of a batch.
    """

    output_field = models.BooleanField()

    def __init__(self, ref: str, now: datetime) -> None:
        super().__init__()
        self.ref, self.now = ref, now

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        now = connection.ops.adapt_datetimefield_value(self.now)
        return "EXISTS(SELECT 1 FROM usage_licence WHERE ref = %s AND exceeded_until > %s)", (self.ref, now)


class EnrolledSpelling(Expression):
    """Subquery: the spelling under which the machine was enrolled, evaluated at INSERT; unknown names stay as given."""

    output_field = models.CharField()

    def __init__(self, machine_id: str) -> None:
        super().__init__()
        self.machine_id = machine_id

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        enrolled = "SELECT machine_id FROM agents_agent WHERE name = %s AND owns_name"
        return f"COALESCE(({enrolled}), %s)", (self.machine_id.lower(), self.machine_id)


class RunQuerySet(IdempotentQuerySet["m.Run"]):
    identity, computed = "run_id", ("over_quota",)

    def stored_by_id(self, run_ids: Iterable[UUID]) -> dict[UUID, m.Run]:
        """Return the stored runs by run_id, with only the columns that the API's answer needs."""
        columns = ("run_id", "digest", "received_at", "dropped_keys", "over_quota")
        return {run.run_id: run for run in self.filter(run_id__in=list(run_ids)).only(*columns)}


class EventQuerySet(IdempotentQuerySet[Any]):
    identity = "event_id"


class SessionQuerySet(EventQuerySet):
    def end(self, moment: datetime) -> int:
        """End the open sessions, none before its start, and return how many this call ended."""
        return sum(self._end(row, moment) for row in self.filter(session_end=None))

    def _end(self, session: m.UserSession, moment: datetime) -> int:
        end = max(moment, session.session_start)
        seconds = int((end - session.session_start).total_seconds())
        still_open = self.model._default_manager.filter(pk=session.pk, session_end=None)
        return int(still_open.update(session_end=end, duration_seconds=seconds))
