"""The lookup `begins`: a prefix search that an index serves on every database.

It finds what begins with the text as it was typed, in capitals or in small letters, so that `pc-lyon` finds PC-LYON-07:
`istartswith` would ask for an index of its own on each column. PostgreSQL needs the column indexed with
`varchar_pattern_ops`.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Lookup
from django.db.models.sql.compiler import SQLCompiler

LAST_CHARACTER = "\U0010ffff"


@CharField.register_lookup
class Begins(Lookup):
    lookup_name = "begins"

    def spellings(self) -> list[str]:
        return list(dict.fromkeys([self.rhs, self.rhs.upper(), self.rhs.lower()]))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        """A range, for databases that compare texts byte by byte, as SQLite does."""
        bounds = [(text, text + LAST_CHARACTER) for text in self.spellings()]
        return self.any_of("{0} >= %s AND {0} < %s", bounds, compiler)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        patterns = [(connection.ops.prep_for_like_query(text) + "%",) for text in self.spellings()]
        return self.any_of("{0} LIKE %s", patterns, compiler)

    def any_of(self, test: str, values: list[Any], compiler: SQLCompiler) -> tuple[str, tuple[Any, ...]]:
        column, _ = compiler.compile(self.lhs)
        tests = " OR ".join(f"({test.format(column)})" for _ in values)
        return f"({tests})", tuple(value for pair in values for value in pair)
