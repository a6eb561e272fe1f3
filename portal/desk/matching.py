"""Conditions that find rows by a fragment of a name, at a cost that does not grow with the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Model, Q, QuerySet

from portal.base.lookups import FRAGMENT, SHORTEST_FRAGMENT
from portal.desk.trigrams import is_indexed

# A search for more finds nothing: no name or address is so long.
LONGEST_SEARCH = 256
MOST_WORDS = 8
# Reading 100,000 machines takes 40 ms on SQLite, and 150 ms on PostgreSQL without trigram indexes.
SEARCHED_ROWS = 100_000
LOG_ROWS = 10_000
# Of more names the first are taken: the text is too short to tell them apart.
MOST_NAMES = 500


def fragment_condition(fields: Iterable[str], text: str) -> Q:
    """Match rows in which each word of the text is found in one of the fields.

    The fields name their lookup, such as `name__fragment`. A word that is too short for a fragment is looked for
    anywhere if another word is long enough.
    """
    words = text.split(maxsplit=MOST_WORDS - 1)
    is_narrow = any(len(word) >= SHORTEST_FRAGMENT for word in words)
    found = Q()
    for word in words:
        anywhere = is_narrow and len(word) < SHORTEST_FRAGMENT
        lookups = [field.replace(FRAGMENT, "__icontains") if anywhere else field for field in fields]
        found &= any_of(Q((lookup, word)) for lookup in lookups)
    return found


def any_of(conditions: Iterable[Q]) -> Q:
    return Q(*conditions, _connector=Q.OR)


def newest_rows(model: type[Model], count: int) -> Q:
    """Match about as many rows as that at most, the newest; asks for the newest key."""
    newest = model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    return Q(pk__gt=newest - count)


def matching_rows(model: type[Model], fields: Sequence[str], text: str) -> QuerySet[Any]:
    """Return the rows that match by a fragment; of a table without trigram indexes, only among the newest."""
    rows = model._default_manager.filter(fragment_condition(fields, text))
    return rows if is_indexed(model) else rows.filter(newest_rows(model, SEARCHED_ROWS))


def matching_values(model: type[Model], fields: Sequence[str], text: str, *, value: str = "pk") -> list[Any]:
    """Return a field's value of the rows that match, MOST_NAMES at most, for an index to find rows of other tables."""
    rows = matching_rows(model, fields, text).order_by()
    return list(rows.values_list(value, flat=True)[:MOST_NAMES])


def recent_values(model: type[Model], field: str, text: str) -> list[Any]:
    """Return the values of a log's field that match, of those in its newest rows, MOST_NAMES at most."""
    found = model._default_manager.filter(newest_rows(model, LOG_ROWS), fragment_condition([field + FRAGMENT], text))
    return list(found.order_by().values_list(field, flat=True).distinct()[:MOST_NAMES])
