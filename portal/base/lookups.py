"""The lookups `begins` and `fragment`, which indexes serve on PostgreSQL.

`begins` is for the API and for tables of millions of rows: a prefix, served by a plain index on every database. It
finds what begins with the text as it was typed, in capitals or in small letters, so that `pc-lyon` finds PC-LYON-07:
`istartswith` would ask for an index of its own on each column. PostgreSQL needs the column indexed with
`varchar_pattern_ops`.

`fragment` is for people: the text anywhere, or at the beginning if it has fewer than three letters or digits, whatever
its case. A trigram index serves it on PostgreSQL (`portal.desk.trigrams`). Without one every row is read, so the caller
limits the rows. No index serves a text without letters and digits: the caller leaves it out.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Lookup, TextField
from django.db.models.sql.compiler import SQLCompiler

LAST_CHARACTER = "\U0010ffff"
# Letters and digits: a trigram index holds no other characters, and finds nothing shorter in the middle of a text.
SHORTEST_FRAGMENT = 3
FRAGMENT = "__fragment"


def count_searchable(text: str) -> int:
    """Return how many letters and digits the text has."""
    return sum(map(str.isalnum, text))


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


@CharField.register_lookup
@TextField.register_lookup
class Fragment(Begins):
    lookup_name = "fragment"

    def spellings(self) -> list[str]:
        """Databases ignore the case of ASCII letters; that of others only where the locale says how."""
        return [self.rhs] if self.rhs.isascii() else list(dict.fromkeys([*super().spellings(), self.rhs.capitalize()]))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        return self.any_of("{0} LIKE %s ESCAPE '\\'", self.patterns(connection), compiler)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        return self.any_of("{0} ILIKE %s", self.patterns(connection), compiler)

    def patterns(self, connection: BaseDatabaseWrapper) -> list[tuple[str]]:
        start = "%" if count_searchable(self.rhs) >= SHORTEST_FRAGMENT else ""
        return [(f"{start}{connection.ops.prep_for_like_query(text)}%",) for text in self.spellings()]
