"""Count a subject's data by table, by index lookups only, so that it is quick for tables of any size."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models

from portal.privacy.registry import ROWS_AT_A_TIME, SAMPLE_PSEUDONYM, PersonalDataTable, personal_data
from portal.privacy.subjects import Subject

# At most so many rows of a table are counted; tables up to MAX_SCANNED rows are read for names without an index.
MAX_COUNTED, MAX_SCANNED = 1_000, 20_000


@dataclass
class HeldData:
    """Rows of one table that name the subject. `is_whole` is false where there may be more."""

    model: type[models.Model]
    moments: dict[Any, datetime | None]
    is_whole: bool = True

    @property
    def count(self) -> int:
        return len(self.moments)

    @property
    def first(self) -> datetime | None:
        return min(filter(None, self.moments.values()), default=None)

    @property
    def last(self) -> datetime | None:
        return max(filter(None, self.moments.values()), default=None)


def overview(subject: Subject) -> list[HeldData]:
    """Return the tables with data about the subject, and those that were too long to read."""
    by_model: dict[type[models.Model], HeldData] = {}
    for table in (
        source for source in personal_data.all() if isinstance(source, PersonalDataTable) and source.is_shown
    ):
        held = by_model.setdefault(table.model, HeldData(table.model, {}))
        count_table(table, subject, held)
    return [held for held in by_model.values() if held.count or not held.is_whole]


def count_table(table: PersonalDataTable, subject: Subject, held: HeldData) -> None:
    is_short = table.all_rows.order_by()[: MAX_SCANNED + 1].count() <= MAX_SCANNED
    for rows, is_certain in table.found(subject):
        if is_certain:
            newest = list(rows.order_by("-pk").only(*time_fields(table.model))[: MAX_COUNTED + 1])
            held.is_whole &= len(newest) <= MAX_COUNTED
            held.moments |= {row.pk: first_time(row) for row in newest[:MAX_COUNTED]}
        elif is_short:
            held.moments |= {row.pk: first_time(row) for row in matching_rows(table, rows, subject)}
        else:
            held.is_whole = False


def matching_rows(table: PersonalDataTable, rows: models.QuerySet[Any], subject: Subject) -> Iterator[Any]:
    for row in rows.defer(*table.unread).iterator(chunk_size=ROWS_AT_A_TIME):
        if table.changes(row, subject, SAMPLE_PSEUDONYM) or table.is_elsewhere(row, subject):
            yield row


def first_time(row: models.Model) -> datetime | None:
    """Return a row's first timestamp: when it happened or was created."""
    return next(filter(None, (getattr(row, name) for name in time_fields(type(row)))), None)


def time_fields(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields if isinstance(field, models.DateTimeField)]
