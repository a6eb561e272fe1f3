"""Search of lists: any fragment of a text, at a cost that does not grow with the table.

| table | searched |
|---|---|
| ordinary | the newest SEARCHED_ROWS rows |
| large (`is_large`) | all rows on PostgreSQL, by trigram indexes; elsewhere as an ordinary one |
| log (`is_log`), which machines write without end | the newest LOG_ROWS rows, and what `indexed_matches` finds in all |
"""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeListSearchForm
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from portal.desk import matching
from portal.desk.matching import LONGEST_SEARCH, NOTHING, Search


class SearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=LONGEST_SEARCH)


class Searching(admin.ModelAdmin):  # type: ignore[type-arg]
    """Search by `search_fields`, such as `name__fragment`."""

    is_large: ClassVar[bool] = False
    is_log: ClassVar[bool] = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that match. `request.search_notes` are sentences on what the search left out."""
        if not search_term.strip():
            return queryset, False
        search = Search(search_term.strip())
        rows = self.search(request, queryset, search)
        request.search_notes = search.notes()  # type: ignore[attr-defined]
        return rows if search.is_possible else queryset.none(), False

    def search(self, request: HttpRequest, queryset: QuerySet[Any], search: Search) -> QuerySet[Any]:
        """Return the rows that match a text which is not empty."""
        if self.is_log:
            return queryset.filter(pk__in=self.keys_in_log(search))
        return queryset.filter(search.matches(self.model, self.search_fields))

    def keys_in_log(self, search: Search) -> QuerySet[Any]:
        """Return the keys of what matches, about LOG_ROWS at most from each source.

        A union, because databases answer the two conditions joined by OR by reading the whole log in its order.
        """
        rows = self.model._default_manager.order_by()
        found, matches = search.condition(self.search_fields), self.indexed_matches(search.text)
        newest = search.among_newest(self.model, matching.LOG_ROWS, finds_older=matches is not NOTHING)
        # One more than is counted, so that the list shows `10,000+`.
        indexed = rows.filter(matches).values("pk")[: matching.LOG_ROWS + 1]
        keys: QuerySet[Any] = rows.filter(newest & found).values("pk").union(rows.filter(pk__in=indexed).values("pk"))
        return keys

    def indexed_matches(self, text: str) -> Q:
        """Return what is found in all rows of a log, each part served by an index."""
        return NOTHING


def search_by(*names: Any) -> Any:
    """Return the search field's help text: `Search by machine, licence`."""
    return format_lazy(_("Search by {names}"), names=format_lazy(", ".join("{}" for _ in names), *names))
