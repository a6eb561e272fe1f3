"""Search of lists: any fragment of a text, at a cost that does not grow with the table.

| table | searched |
|---|---|
| ordinary | the newest SEARCHED_ROWS rows |
| large (`is_large`) | all rows on PostgreSQL, by trigram indexes; elsewhere as an ordinary one |
| log (`is_log`), which machines write without end | the newest LOG_ROWS rows, and all rows of the names that match |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeListSearchForm
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from portal.admin.trigrams import has_trigram_indexes
from portal.base.lookups import FRAGMENT, SHORTEST_FRAGMENT

# A search for more finds nothing: no name or address is so long.
LONGEST_SEARCH = 256
MOST_WORDS = 8
# Reading 100,000 machines takes 40 ms on SQLite, and 150 ms on PostgreSQL without trigram indexes.
SEARCHED_ROWS = 100_000
LOG_ROWS = 10_000
# Of more names the first are taken: the text is too short to tell them apart.
MOST_NAMES = 500


class SearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=LONGEST_SEARCH)


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


def matching_rows(model: type[Model], fields: Sequence[str], text: str, *, is_large: bool = False) -> QuerySet[Any]:
    """Return the rows that match by a fragment; of a table without trigram indexes, only among the newest."""
    rows = model._default_manager.filter(fragment_condition(fields, text))
    return rows if is_large and has_trigram_indexes() else rows.filter(newest_rows(model, SEARCHED_ROWS))


def matching_values(
    model: type[Model], fields: Sequence[str], text: str, *, value: str = "pk", is_large: bool = False
) -> list[Any]:
    """Return a field's value of the rows that match, MOST_NAMES at most, for an index to find rows of other tables."""
    rows = matching_rows(model, fields, text, is_large=is_large).order_by()
    return list(rows.values_list(value, flat=True)[:MOST_NAMES])


def recent_values(model: type[Model], field: str, text: str) -> list[Any]:
    """Return the values of a log's field that match, of those in its newest rows, MOST_NAMES at most."""
    found = model._default_manager.filter(newest_rows(model, LOG_ROWS), fragment_condition([field + FRAGMENT], text))
    return list(found.order_by().values_list(field, flat=True).distinct()[:MOST_NAMES])


class Searching(admin.ModelAdmin):  # type: ignore[type-arg]
    """Search by `search_fields`, such as `name__fragment`.

    A log overrides `indexed_matches` with what an index finds in all of its rows.
    """

    is_large: ClassVar[bool] = False
    is_log: ClassVar[bool] = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        return (self.search(request, queryset, text) if text else queryset), False

    def search(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Return the rows that match the text, which is not empty."""
        return queryset.filter(self.search_condition(text))

    def search_condition(self, text: str) -> Q:
        found = fragment_condition(self.search_fields, text)
        if self.is_log:
            return (newest_rows(self.model, LOG_ROWS) & found) | self.indexed_matches(text)
        if self.is_large and has_trigram_indexes():
            return found
        return newest_rows(self.model, SEARCHED_ROWS) & found

    def indexed_matches(self, text: str) -> Q:
        """Return what is found in all rows of a log, each part served by an index."""
        return Q(pk__in=[])


def search_by(*names: Any) -> Any:
    """Return the search field's help text: `Search by machine, licence`."""
    return format_lazy(_("Search by {names}"), names=format_lazy(", ".join("{}" for _ in names), *names))
