"""Lists for huge tables, and pagination that never counts millions of rows.

Counts are exact up to CAP, by reading at most one row more. Above it, an unfiltered list shows the database's estimate
and a filtered one "10,000+". Pages end at the cap, because OFFSET reads all rows that it skips: to look further, filter
or search.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import connections, models
from django.db.models import F, Model, OrderBy, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from portal.admin.exporting import Exporting
from portal.admin.searching import SearchForm
from portal.base.words import format_count

CAP = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    object_list: models.QuerySet[Any]

    @cached_property
    def count(self) -> int:
        """Count the rows; CAP + 1 means more than CAP."""
        return self.object_list.order_by().values("pk")[: CAP + 1].count()

    @property
    def is_capped(self) -> bool:
        return self.count > CAP

    @cached_property
    def num_pages(self) -> int:
        return max(1, math.ceil(min(self.count, CAP) / self.per_page))

    @cached_property
    def shown_count(self) -> str:
        """Return the count for display: exact, estimated (≈), or `10,000+`."""
        if not self.is_capped:
            return format_count(self.count)
        estimate = 0 if self.object_list.query.where else estimated_rows(self.object_list)
        return f"≈ {format_count(estimate)}" if estimate > CAP else f"{format_count(CAP)}+"


def estimated_rows(rows: models.QuerySet[Any]) -> int:
    """About how many rows the table holds, in less than a millisecond."""
    connection = connections[rows.db]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)",
                [connection.ops.quote_name(rows.model._meta.db_table)],
            )
            row = cursor.fetchone()
        return int(row[0]) if row else 0
    ids = rows.order_by("pk").values_list("pk", flat=True)
    first, last = ids.first(), ids.last()
    return 0 if first is None or last is None else last - first + 1


def is_valid_value(field: Any, value: str) -> bool:
    """Return whether a column can hold the value; a database fails on a number that is too large."""
    try:
        getattr(field, "target_field", field).clean(value, None)
    except ValidationError:
        return False
    return True


class BoundedChangeList(ChangeList):
    model_admin: Any
    search_form_class = SearchForm

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Refuse what no row can match: Django would take an invalid search for none, and list or act on everything."""
        values = chain.from_iterable(request.GET.getlist(name) for name in request.GET)
        if any("\0" in value for value in values) or not self.search_form_class(request.GET).is_valid():
            raise IncorrectLookupParameters
        for name in self.model_admin.lookups:
            if not all(is_valid_value(self.opts.get_field(name), value) for value in request.GET.getlist(name)):
                raise IncorrectLookupParameters
        self.root_queryset = self.model_admin.with_sort_keys(self.root_queryset)
        rows = super().get_queryset(request, *args, **kwargs)
        self.search_notes: Sequence[str] = getattr(request, "search_notes", ())
        return rows

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Sort rows without a value last in both directions, which databases do differently."""
        return [order_nulls_last(self.model, part) for part in super().get_ordering(request, queryset)]

    def get_ordering_field(self, field_name: Any) -> Any:
        """Sort by `sortable_by` alone: Django offers no other column, but sorts by any that a query names."""
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

    @property
    def is_narrowed(self) -> bool:
        """Return whether a search or a filter hides rows."""
        return bool(self.query or self.get_filters_params())

    @property
    def has_no_rows(self) -> bool:
        """Return whether the list would be empty without any search or filter too."""
        return not self.result_list and not self.is_narrowed

    def get_results(self, request: HttpRequest) -> None:
        """Always with a LIMIT: without one SQLite reads a whole table in order to find the few rows of a search."""
        if getattr(request, "is_export", False):
            return  # it reads all pages itself
        super().get_results(request)
        self.result_list = list(self.result_list[: self.list_max_show_all])
        if isinstance(self.model_admin, Exporting):
            self.model_admin.prepare_rows(request, self.result_list)


def order_nulls_last(model: type[Model], part: Any) -> Any:
    """Return a part of an order in which rows without a value come last, ascending or descending.

    A column that always has one keeps its name, so that an index can serve the order.
    """
    if isinstance(part, str):
        name = part.removeprefix("-")
        if not may_be_null(model, name):
            return part
        part = OrderBy(F(name), descending=part != name)
    found = part.copy() if isinstance(part, OrderBy) else part.asc()
    found.nulls_first, found.nulls_last = None, True
    return found


def may_be_null(model: type[Model], path: str) -> bool:
    """Return whether a column, of a related row too, may be NULL; a name that is no column may."""
    if path in ("pk", "?"):
        return False
    name, _separator, rest = path.partition("__")
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return True
    return bool(field.null) or bool(rest and may_be_null(field.related_model, rest))
