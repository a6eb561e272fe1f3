"""Copy rows between a SQLite file and PostgreSQL, one model after the other, a chunk at a time."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models
from django.db.models.functions import Cast

CHUNK = 2_000
Row = tuple[Any, ...]
# Fields whose Python values both databases take as they are.
PLAIN = (
    models.CharField, models.TextField, models.BooleanField, models.FloatField, models.IntegerField, models.JSONField,
)  # fmt: skip


def all_models() -> list[type[models.Model]]:
    """Return the model of every table, those of many-to-many relations included."""
    return [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]


def model_tables() -> list[str]:
    """Return the tables that are copied. A database may have others: of its engine, or of an extension."""
    return [model._meta.db_table for model in all_models()]


def stored_fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """Return the fields that are written: the database computes the others."""
    return [field for field in model._meta.concrete_fields if not field.generated]


def copy_rows(model: type[models.Model], source: str, target: str) -> int:
    """Copy all rows of the model from one alias to the other, and return their number. Raises DatabaseError."""
    fields = stored_fields(model)
    rows = converted(read_rows(model, fields, source), [converter(field, target) for field in fields])
    quote = connections[target].ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    into = f"{quote(model._meta.db_table)} ({columns})"
    return (copy_in if connections[target].vendor == "postgresql" else insert)(into, len(fields), rows, target)


def read_rows(model: type[models.Model], fields: list[models.Field[Any, Any]], source: str) -> Iterator[Row]:
    """JSON stays text: Python would make one of SQL's NULL and JSON's null."""
    columns: list[Any] = [
        Cast(field.attname, models.TextField()) if isinstance(field, models.JSONField) else field.attname
        for field in fields
    ]
    rows = model._base_manager.using(source).order_by().values_list(*columns)
    return iter(rows.iterator(chunk_size=CHUNK))


def converter(field: models.Field[Any, Any], target: str) -> Callable[[Any], Any] | None:
    """Return what makes a Python value one of the database, or None if it is one."""
    connection = connections[target]
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if isinstance(field, PLAIN):
        return None
    if isinstance(field, models.DateTimeField) and connection.vendor == "sqlite":
        return naive_text
    return lambda value: None if value is None else field.get_db_prep_save(value, connection)


def naive_text(moment: datetime.datetime | None) -> str | None:
    """Return the moment as Django's backend of SQLite stores it, in half the time."""
    return None if moment is None else str(moment.astimezone(datetime.UTC).replace(tzinfo=None))


def converted(rows: Iterable[Row], converters: list[Callable[[Any], Any] | None]) -> Iterator[Row]:
    needed = [(place, convert) for place, convert in enumerate(converters) if convert]
    for row in rows:
        values = list(row)
        for place, convert in needed:
            values[place] = convert(values[place])
        yield tuple(values)


def copy_in(into: str, width: int, rows: Iterator[Row], target: str) -> int:
    # Django wraps the errors of `execute` alone.
    with connections[target].cursor() as cursor, connections[target].wrap_database_errors:
        with cursor.copy(f"COPY {into} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return int(cursor.rowcount)


def insert(into: str, width: int, rows: Iterator[Row], target: str) -> int:
    count = 0
    statement = f"INSERT INTO {into} VALUES ({', '.join(['%s'] * width)})"  # noqa: S608 - names of tables and columns
    with connections[target].cursor() as cursor:
        while chunk := list(itertools.islice(rows, CHUNK)):
            cursor.executemany(statement, chunk)
            count += len(chunk)
    return count


def empty_tables(target: str, of: Sequence[type[models.Model]]) -> None:
    """Delete the rows of the models' tables, and send no signals: their receivers know the default database only."""
    quote = connections[target].ops.quote_name
    with connections[target].cursor() as cursor:
        for model in of:
            cursor.execute(f"DELETE FROM {quote(model._meta.db_table)}")  # noqa: S608 - the name of a table


def reset_sequences(target: str) -> None:
    """Let new rows get numbers above those of the copied ones."""
    connection = connections[target]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), all_models()):
            cursor.execute(statement)
