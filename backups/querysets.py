"""Querysets of expected backups, entries, restore drills, deposit areas and scans."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models
from django.db.models import F, Q

from agents.models import Agent
from backups.reasons import DOUBTS

if TYPE_CHECKING:
    from backups import models as m

STORED = ("promoted", "archived")
UNFINISHED = ("waiting", "failed")
UNSTORED = (*UNFINISHED, "lost")
CURRENT_OR_TO_BE = ("promoted", *UNFINISHED)
VERIFIED = ("SUCCESS", "HASH_MISMATCH")
# `BackupEntry.has_doubts` as a condition.
HAS_DOUBTS = ~Q(warnings=[]) & reduce(or_, (Q(warnings__icontains=f'"{code}"') for code in sorted(DOUBTS)))


Row = TypeVar("Row", bound=models.Model)


class BulkWriteQuerySet(models.QuerySet[Row]):
    def write_fields(self, rows: Iterable[Row], fields: Iterable[str]) -> None:
        """Update these fields of existing rows in two queries; a value that all rows share is written once.

        `bulk_update` alone builds a CASE for every field and row, which takes longer than the rest of a scan.
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
    """Select the jobs that scans cover: active and not paused."""
    return Q(is_active=True) & (Q(paused_until=None) | Q(paused_until__lte=now))


class ExpectedBackupJobQuerySet(BulkWriteQuerySet["m.ExpectedBackupJob"]):
    def watched(self, now: datetime) -> Self:
        return self.filter(watched(now))

    def of_machine(self, agent_id: str) -> Self:
        """Filter by machine; an empty id selects all."""
        return self.filter(agent_id__iexact=agent_id) if agent_id else self.all()

    def spelling_of(self, agent_id: str) -> str:
        """Return the machine's name as its other jobs spell it, else as it was enrolled, else as given."""
        known = set(self.of_machine(agent_id).values_list("agent_id", flat=True)) if agent_id else set()
        if not known:
            known = set(Agent.objects.named(agent_id).values_list("machine_id", flat=True))
        return agent_id if agent_id in known else min(known, default=agent_id)


class BackupEntryQuerySet(BulkWriteQuerySet["m.BackupEntry"]):
    def recent(self, jobs: list[m.ExpectedBackupJob], now: datetime) -> Self:
        """Select what a scan needs of the past of these jobs: the last cycles of each, and the current version."""
        by_start: dict[datetime, list[int]] = {}
        for job in jobs:
            by_start.setdefault(job.looks_back_to(now), []).append(job.pk)
        wanted = Q(job_id__in=[job.pk for job in jobs], promotion__in=CURRENT_OR_TO_BE)
        for start, pks in by_start.items():
            wanted |= Q(job_id__in=pks, cycle_at__gte=start)
        return self.filter(wanted)

    def good(self) -> Self:
        """Select what `BackupEntry.is_good` is true for: a dump in doubt counts as verified nowhere."""
        return self.filter(~HAS_DOUBTS, status__in=VERIFIED)

    def stored(self) -> Self:
        """Select the entries whose dump is below the root of verified backups."""
        return self.filter(promotion__in=STORED)

    def current(self) -> m.BackupEntry | None:
        """Return the entry of the current version. Call it on the entries of one job."""
        return self.filter(promotion="promoted").order_by("-cycle_at").first()


class RestoreDrillQuerySet(models.QuerySet["m.RestoreDrill"]):
    """Drills, the newest first. Call `newest` on those of one job."""

    def running(self) -> Self:
        return self.filter(status="RUNNING")

    def restored(self) -> Self:
        """Select the drills that restored the dump, proof or not."""
        return self.filter(status="PROVEN")

    def proofs(self) -> Self:
        """Select what `RestoreDrill.is_proof` is true for."""
        return self.restored().filter(losses=[])

    def with_schema(self) -> Self:
        return self.exclude(schema="")

    def newest(self) -> m.RestoreDrill | None:
        return self.defer("schema").order_by("-id").first()


class OffsiteCopyQuerySet(models.QuerySet["m.OffsiteCopy"]):
    def copied(self) -> Self:
        return self.filter(state="copied")

    def missing(self) -> Self:
        """Select what has no copy although it is stored here."""
        return self.exclude(state="copied").filter(entry__promotion__in=STORED)

    def lost(self) -> Self:
        """Select what was found to be gone or altered in the store, and can't be copied again."""
        return self.exclude(state="copied").exclude(loss="").exclude(entry__promotion__in=STORED)

    def due(self, now: datetime) -> Self:
        """Leave out what waits after a failure."""
        return self.exclude(retry_at__gt=now)


class DepositAreaQuerySet(models.QuerySet["m.DepositArea"]):
    def get_or_create_for(self, agent_ids: list[str]) -> dict[str, m.DepositArea]:
        """Return the areas of these machines by machine, creating missing ones."""
        known = set(self.filter(agent_id__in=agent_ids).values_list("agent_id", flat=True))
        new = [self.model(agent_id=agent_id) for agent_id in agent_ids if agent_id not in known]
        self.bulk_create(new, ignore_conflicts=True)
        return {area.agent_id: area for area in self.filter(agent_id__in=agent_ids)}

    def clear_queue_except(self, agent_ids: list[str]) -> None:
        """Stop waiting for queued scans, except of these machines."""
        queued = self.filter(queued_at__isnull=False)
        others = set(queued.values_list("agent_id", flat=True)).difference(agent_ids)
        if others:
            self.filter(agent_id__in=others).update(queued_at=None)


class ScanQuerySet(models.QuerySet["m.Scan"]):
    def last_full(self) -> m.Scan | None:
        """Return the last finished scan of all machines."""
        return self.filter(agent_id="", finished_at__isnull=False).order_by("-id").first()

    def add_counts(self, pk: int, **counts: int) -> None:
        self.filter(pk=pk).update(**{name: F(name) + value for name, value in counts.items()})
