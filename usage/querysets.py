"""Questions asked of runs, of licences and of what people did."""

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
    """Whether a licence's quota is used up, as `usage.licences.over_quota` asks it, found out as a row is written.

    Written by hand: an Exists() would be compiled anew for each of a batch's runs.
    """

    output_field = models.BooleanField()

    def __init__(self, ref: str, now: datetime) -> None:
        super().__init__()
        self.ref, self.now = ref, now

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        now = connection.ops.adapt_datetimefield_value(self.now)
        return "EXISTS(SELECT 1 FROM usage_licence WHERE ref = %s AND exceeded_until > %s)", (self.ref, now)


class SpelledAsEnrolled(Expression):
    """A machine's name as the machine was enrolled with it, found out as a row is written; else as it was given."""

    output_field = models.CharField()

    def __init__(self, machine_id: str) -> None:
        super().__init__()
        self.machine_id = machine_id

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        enrolled = "SELECT machine_id FROM agents_agent WHERE name = %s AND owns_name"
        return f"COALESCE(({enrolled}), %s)", (self.machine_id.lower(), self.machine_id)


class RunQuerySet(IdempotentQuerySet["m.Run"]):
    identity, computed = "run_id", ("over_quota",)

    def known(self, run_ids: Iterable[UUID]) -> dict[UUID, m.Run]:
        """What an answer about known runs needs, by run_id; without their documents."""
        rows = self.filter(run_id__in=list(run_ids)).only(
            "run_id", "digest", "received_at", "dropped_keys", "over_quota"
        )
        return {run.run_id: run for run in rows}


class EventQuerySet(IdempotentQuerySet[Any]):
    identity = "event_id"


class SessionQuerySet(EventQuerySet):
    def end(self, moment: datetime) -> int:
        """Ends those that are open, each once; never before it began."""
        return sum(self._end(row, moment) for row in self.filter(session_end=None))

    def _end(self, session: m.UserSession, moment: datetime) -> int:
        end = max(moment, session.session_start)
        seconds = int((end - session.session_start).total_seconds())
        mine = self.model._default_manager.filter(pk=session.pk, session_end=None)
        return int(mine.update(session_end=end, duration_seconds=seconds))
