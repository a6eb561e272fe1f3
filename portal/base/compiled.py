"""A query compiled once and run many times with other values.

Django builds the SQL of a query anew at each use: for the query that authenticates every call, two joins wide, that
takes several times what the database takes to answer it.
"""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connection, models
from django.db.models.query import get_related_populators

Model = TypeVar("Model", bound=models.Model)


class Plan(Generic[Model]):
    """The SQL of one queryset, and how its rows become models: what Django's own ModelIterable does, kept."""

    def __init__(self, queryset: models.QuerySet[Model]) -> None:
        self.using = queryset.db
        self.compiler = queryset.query.get_compiler(self.using)
        self.sql, self.parameters = self.compiler.as_sql()
        self.converters = self.compiler.get_converters([column[0] for column in self.compiler.select])
        self.info = self.compiler.klass_info
        columns = self.info["select_fields"]
        self.slice = slice(columns[0], columns[-1] + 1)
        self.names = [self.compiler.select[column][0].target.attname for column in columns]
        # The stubs are those of a later Django, with one argument more.
        self.related = get_related_populators(self.info, self.compiler.select, self.using)  # type: ignore[call-arg]

    def model(self, row: Any) -> Model:
        if self.converters:
            (row,) = self.compiler.apply_converters([row], self.converters)
        instance: Model = self.info["model"].from_db(self.using, self.names, row[self.slice])
        for populator in self.related:
            populator.populate(row, instance)
        for name, column in self.compiler.annotation_col_map.items():
            setattr(instance, name, row[column])
        return instance


class CompiledQuery(Generic[Model]):
    """`CompiledQuery(build)` where `build(a, b)` gives a queryset; `one(a, b)` gives its only row, or None.

    The values must be texts that the query compares as they are. Each thread compiles for itself, since a compiler
    belongs to the connection of its thread.
    """

    def __init__(self, build: Callable[..., models.QuerySet[Model]], arity: int) -> None:
        self.build = build
        self.marks = [f"\x00{number}" for number in range(arity)]
        self.local = threading.local()

    def plan(self) -> Plan[Model]:
        if not hasattr(self.local, "plan"):
            self.local.plan = Plan(self.build(*self.marks).order_by())
        plan: Plan[Model] = self.local.plan
        return plan

    def one(self, *values: str) -> Model | None:
        plan = self.plan()
        by_mark = dict(zip(self.marks, values, strict=True))
        parameters = [by_mark.get(parameter, parameter) for parameter in plan.parameters]
        row = fetch_first(plan.sql, parameters)
        return None if row is None else plan.model(row)


def fetch_first(sql: str, parameters: list[Any]) -> Any:
    """Return the first row, without Django's health check of a kept connection before it.

    A connection found dead is opened anew, once: `SELECT 1` before each call would double its round trips.
    """
    reused = connection.connection is not None and not connection.in_atomic_block
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return execute(sql, parameters)
    except (OperationalError, InterfaceError):
        if not reused:
            raise
        connection.close()
        return execute(sql, parameters)


def execute(sql: str, parameters: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()
