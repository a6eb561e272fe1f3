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
from portal.desk.matching import LONGEST_SEARCH, fragment_condition, newest_rows
from portal.desk.trigrams import is_indexed


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
        text = search_term.strip()
        return (self.search(request, queryset, text) if text else queryset), False

    def search(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Return the rows that match the text, which is not empty."""
        if self.is_log:
            return queryset.filter(pk__in=self.keys_in_log(text))
        return queryset.filter(self.search_condition(text))

    def search_condition(self, text: str) -> Q:
        found = fragment_condition(self.search_fields, text)
        return found if is_indexed(self.model) else newest_rows(self.model, matching.SEARCHED_ROWS) & found

    def keys_in_log(self, text: str) -> QuerySet[Any]:
        """Return the keys of what matches, at most LOG_ROWS from each source.

        A union, because databases answer the two conditions joined by OR by reading the whole log in its order.
        """
        rows = self.model._default_manager.order_by()
        found = fragment_condition(self.search_fields, text)
        newest = rows.filter(newest_rows(self.model, matching.LOG_ROWS) & found)
        indexed = rows.filter(self.indexed_matches(text)).values("pk")[: matching.LOG_ROWS]
        keys: QuerySet[Any] = newest.values("pk").union(rows.filter(pk__in=indexed).values("pk"))
        return keys

    def indexed_matches(self, text: str) -> Q:
        """Return what is found in all rows of a log, each part served by an index."""
        return Q(pk__in=[])


def search_by(*names: Any) -> Any:
    """Return the search field's help text: `Search by machine, licence`."""
    return format_lazy(_("Search by {names}"), names=format_lazy(", ".join("{}" for _ in names), *names))
