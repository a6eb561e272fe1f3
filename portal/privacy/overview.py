"""How much is held of a subject, by table: found by indexes, so that it is quick however long the tables are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models

from portal.privacy.registry import PROBE, ROWS_AT_A_TIME, PersonalDataTable, personal_data
from portal.privacy.subjects import Subject

# More rows of one table are not counted here, and no longer table is read for what no index finds.
MOST, SHORT = 1_000, 20_000


@dataclass
class Held:
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


def overview(subject: Subject) -> list[Held]:
    """The tables that hold something, and those that were not read as a whole."""
    found: dict[type[models.Model], Held] = {}
    for table in (holding for holding in personal_data.all() if isinstance(holding, PersonalDataTable)):
        held = found.setdefault(table.model, Held(table.model, {}))
        look_into(table, subject, held)
    return [held for held in found.values() if held.count or not held.is_whole]


def look_into(table: PersonalDataTable, subject: Subject, held: Held) -> None:
    is_short = table.all_rows.order_by()[: SHORT + 1].count() <= SHORT
    for rows, is_certain in table.found(subject):
        if is_certain:
            newest = list(rows.order_by("-pk").only(*moments_of(table.model))[: MOST + 1])
            held.is_whole &= len(newest) <= MOST
            held.moments |= {row.pk: moment_of(row) for row in newest[:MOST]}
        elif is_short:
            held.moments |= {row.pk: moment_of(row) for row in named_in(table, rows, subject)}
        else:
            held.is_whole = False


def named_in(table: PersonalDataTable, rows: models.QuerySet[Any], subject: Subject) -> Iterator[Any]:
    for row in rows.defer(*table.unread).iterator(chunk_size=ROWS_AT_A_TIME):
        if table.changes(row, subject, PROBE) or table.is_elsewhere(row, subject):
            yield row


def moment_of(row: models.Model) -> datetime | None:
    """The first time that a row has: when it happened, or was made."""
    return next(filter(None, (getattr(row, name) for name in moments_of(type(row)))), None)


def moments_of(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields if isinstance(field, models.DateTimeField)]
