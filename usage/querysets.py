"""Questions asked of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models.constants import OnConflict

if TYPE_CHECKING:
    from usage import models as m


class RunQuerySet(models.QuerySet["m.Run"]):
    def insert_new(self, runs: Sequence[m.Run]) -> set[UUID]:
        """Inserts the runs whose run_id is not known yet, in one statement; the run_ids that were new.

        The unique constraint decides, so of twenty simultaneous senders of one run exactly one finds it new. Django's
        `bulk_create(ignore_conflicts=True)` does the same statement, but cannot say which rows it wrote.
        """
        if not runs:
            return set()
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        inserted = self._insert(  # type: ignore[attr-defined]
            runs,
            fields=fields,
            using=self.db,
            returning_fields=[self.model._meta.get_field("run_id")],
            on_conflict=OnConflict.IGNORE,
        )
        return {row[0] for row in inserted}

    def known(self, run_ids: Iterable[UUID]) -> dict[UUID, m.Run]:
        """What an answer about known runs needs, by run_id; without their documents."""
        rows = self.filter(run_id__in=list(run_ids)).only("run_id", "digest", "received_at", "dropped_keys", "over_quota")
        return {run.run_id: run for run in rows}
