"""Search of lists: any fragment of a text, at a cost that does not grow with the table.

| table | searched |
|---|---|
| ordinary | the newest SEARCHED_ROWS rows |
| large (`is_large`) | all rows on PostgreSQL, by trigram indexes; elsewhere as an ordinary one |
| log (`is_log`), which machines write without end | the newest LOG_ROWS rows, and all rows of the names that match |
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
            return (newest_rows(self.model, matching.LOG_ROWS) & found) | self.indexed_matches(text)
        if is_indexed(self.model):
            return found
        return newest_rows(self.model, matching.SEARCHED_ROWS) & found

    def indexed_matches(self, text: str) -> Q:
        """Return what is found in all rows of a log, each part served by an index."""
        return Q(pk__in=[])


def search_by(*names: Any) -> Any:
    """Return the search field's help text: `Search by machine, licence`."""
    return format_lazy(_("Search by {names}"), names=format_lazy(", ".join("{}" for _ in names), *names))
