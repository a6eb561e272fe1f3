"""Questions asked of the tables of backups."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models
from django.db.models import F, Q

from agents.models import Agent

if TYPE_CHECKING:
    from backups import models as m

STORED = ("promoted", "archived")
UNFINISHED = ("waiting", "failed")
UNSTORED = (*UNFINISHED, "lost")
CURRENT_OR_TO_BE = ("promoted", *UNFINISHED)


Row = TypeVar("Row", bound=models.Model)


class Writing(models.QuerySet[Row]):
    def write(self, rows: Iterable[Row], fields: Iterable[str]) -> None:
        """Writes these fields of rows that are there, in two queries: what is the same for all costs one value.

        `bulk_update` alone makes a CASE of every field and row, which takes longer than all else that a scan does.
        """
        rows = list(rows)
        if not rows:
            return
        values = {name: [getattr(row, name) for row in rows] for name in fields}
        same = {name: found[0] for name, found in values.items() if all(value == found[0] for value in found)}
        if same:
            self.filter(pk__in=[row.pk for row in rows]).update(**same)
        if len(same) < len(values):
            self.bulk_update(rows, [name for name in values if name not in same], batch_size=100)


def watched(now: datetime) -> Q:
    """Jobs that a scan looks at: active and not paused."""
    return Q(is_active=True) & (Q(paused_until=None) | Q(paused_until__lte=now))


class ExpectedBackupJobQuerySet(Writing["m.ExpectedBackupJob"]):
    def watched(self, now: datetime) -> Self:
        return self.filter(watched(now))

    def of(self, agent_id: str) -> Self:
        """Of one machine; of all where none is named."""
        return self.filter(agent_id__iexact=agent_id) if agent_id else self.all()

    def spelling_of(self, agent_id: str) -> str:
        """The name as other jobs of the machine spell it, else as it was enrolled, else as given."""
        known = set(self.of(agent_id).values_list("agent_id", flat=True)) if agent_id else set()
        if not known:
            known = set(Agent.objects.named(agent_id).values_list("machine_id", flat=True))
        return agent_id if agent_id in known else min(known, default=agent_id)


class BackupEntryQuerySet(Writing["m.BackupEntry"]):
    def recent(self, jobs: list[m.ExpectedBackupJob], now: datetime) -> Self:
        """What a scan must know of the past of these jobs, a bounded number of each, and the current version."""
        by_start: dict[datetime, list[int]] = {}
        for job in jobs:
            by_start.setdefault(job.looks_back_to(now), []).append(job.pk)
        wanted = Q(job_id__in=[job.pk for job in jobs], promotion__in=CURRENT_OR_TO_BE)
        for start, pks in by_start.items():
            wanted |= Q(job_id__in=pks, cycle_at__gte=start)
        return self.filter(wanted)

    def stored(self) -> Self:
        """Those whose dump lies below the root of verified backups."""
        return self.filter(promotion__in=STORED)

    def current(self) -> m.BackupEntry | None:
        """The one whose dump is the current version, asked of the entries of one job."""
        return self.filter(promotion="promoted").order_by("-cycle_at").first()


class DepositAreaQuerySet(models.QuerySet["m.DepositArea"]):
    def of(self, agent_ids: list[str]) -> dict[str, m.DepositArea]:
        """The areas of these machines, made where they are new."""
        known = set(self.filter(agent_id__in=agent_ids).values_list("agent_id", flat=True))
        new = [self.model(agent_id=agent_id) for agent_id in agent_ids if agent_id not in known]
        self.bulk_create(new, ignore_conflicts=True)
        return {area.agent_id: area for area in self.filter(agent_id__in=agent_ids)}

    def expect_none_but(self, agent_ids: list[str]) -> None:
        """Scans that were asked for and not made are no longer waited for, except of these machines."""
        asked = self.filter(queued_at__isnull=False)
        settled = set(asked.values_list("agent_id", flat=True)).difference(agent_ids)
        if settled:
            self.filter(agent_id__in=settled).update(queued_at=None)


class ScanQuerySet(models.QuerySet["m.Scan"]):
    def last_of_all(self) -> m.Scan | None:
        """The last finished one of all machines."""
        return self.filter(agent_id="", finished_at__isnull=False).order_by("-id").first()

    def add(self, pk: int, **figures: int) -> None:
        """Adds what one machine's part of the scan found."""
        self.filter(pk=pk).update(**{name: F(name) + value for name, value in figures.items()})
