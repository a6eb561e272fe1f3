"""Questions asked of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections, models
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery

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
        run_id = self.model._meta.get_field("run_id")
        query = InsertQuery(self.model, on_conflict=OnConflict.IGNORE)
        query.insert_values([field for field in self.model._meta.concrete_fields if not field.primary_key], list(runs))
        compiler = query.get_compiler(using=self.db)
        compiler.returning_fields = [run_id]
        new: set[UUID] = set()
        with connections[self.db].cursor() as cursor:
            for statement, parameters in compiler.as_sql():
                cursor.execute(statement, parameters)
                new |= {run_id.to_python(row[0]) for row in cursor.fetchall()}
        return new

    def known(self, run_ids: Iterable[UUID]) -> dict[UUID, m.Run]:
        """What an answer about known runs needs, by run_id; without their documents."""
        rows = self.filter(run_id__in=list(run_ids)).only(
            "run_id", "digest", "received_at", "dropped_keys", "over_quota"
        )
        return {run.run_id: run for run in rows}
