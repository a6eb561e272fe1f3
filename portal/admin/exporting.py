"""Exports of lists: the columns that a list shows, under their titles, as CSV or XLSX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.exceptions import PermissionDenied
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import path
from django.utils import timezone, translation
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from portal import audit
from portal.access.roles import is_allowed
from portal.base.words import EMPTY_VALUE
from portal.desk.exports import ROWS_AT_A_TIME, column_titles, csv_answer, field_values, file_stem, xlsx_answer

Answer = Callable[[str, Sequence[str], Iterator[Sequence[Any]]], HttpResponseBase]


def exported(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Set what an export holds of a column, as a function of the row: a text, a number, a moment or None.

    Without it, an export holds the text of the column. `export_cells` are functions of the row by their titles, for a
    column that is exported as several, under a title with the unit of its numbers, or not at all.
    """

    def decorate(column: Any) -> Any:
        column.export_value = value
        return column

    return decorate


class TextOfMarkup(HTMLParser):
    """Collects the text of a column's markup. Lines that stand below each other are joined by semicolons."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        classes = dict(attributes).get("class") or ""
        if tag in ("br", "div", "li", "p") or "beneath" in classes.split():
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        self.lines[-1] += data


def text_of(value: Any) -> Any:
    """Return a column's value without markup; numbers, moments and booleans as they are."""
    if hasattr(value, "__html__"):
        parser = TextOfMarkup()
        parser.feed(value.__html__())
        parser.close()
        value = "; ".join(text for line in parser.lines if (text := " ".join(line.split())))
    elif value is not None and not isinstance(value, (bool, int, float)) and not hasattr(value, "tzinfo"):
        value = str(value)
    return None if value == EMPTY_VALUE else value


class Exporting(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that is exported as it is shown.

    `export_columns` are for a list of which people want the fields too, as it can be imported again or its columns
    shorten them: the fields, or paths such as `user__username`, become a file of their own under their names.
    """

    export_columns: ClassVar[Sequence[str]] = ()

    def export_urls(self) -> list[Any]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}_export"
        urls = [
            path("export/", wrap(self.export_view), name=name),
            path("export/xlsx/", wrap(self.export_view), {"answer": xlsx_answer}, name=f"{name}_xlsx"),
        ]
        if self.export_columns:
            view = wrap(self.export_fields_view)
            urls += [
                path("export/fields/", view, name=f"{name}_fields"),
                path("export/fields/xlsx/", view, {"answer": xlsx_answer}, name=f"{name}_fields_xlsx"),
            ]
        return urls

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Exporting needs the permission to view and one of its own, which each model names."""
        return is_allowed(request.user, f"{self.opts.app_label}.export_{self.opts.model_name}")

    @admin.action(description=_("Export as CSV"), permissions=["export"])
    def export_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return self.export_rows(request, queryset, csv_answer)

    @admin.action(description=_("Export as XLSX"), permissions=["export"])
    def export_chosen_xlsx(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return self.export_rows(request, queryset, xlsx_answer)

    def export_view(self, request: HttpRequest, answer: Answer = csv_answer) -> HttpResponseBase:
        """Export the list with its filters, search and order, all pages of it."""
        return self.export_list(request, lambda rows: self.export_rows(request, rows, answer))

    def export_fields_view(self, request: HttpRequest, answer: Answer = csv_answer) -> HttpResponseBase:
        """Export the fields of the list's rows, under the names that the API and imports use."""
        titles = column_titles(self.export_columns)
        return self.export_list(
            request, lambda rows: answer(file_stem(rows), titles, field_values(rows, self.export_columns))
        )

    def export_list(
        self, request: HttpRequest, answer: Callable[[QuerySet[Any]], HttpResponseBase]
    ) -> HttpResponseBase:
        if not self.has_export_permission(request):
            raise PermissionDenied
        request.is_export = True  # type: ignore[attr-defined]
        try:
            response = answer(self.get_changelist_instance(request).queryset)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(self.address("changelist") + "?e=1")
        audit.record_event("admin.action", self.opts.label_lower, request=request, after={"action": "export_shown"})
        return response

    def address(self, name: str, *args: Any) -> str:
        raise NotImplementedError

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach to rows what columns show beside the row's own fields, by queries for all rows at once.

        Called with the rows of a page, or with a part of those of an export.
        """

    def export_rows(self, request: HttpRequest, rows: QuerySet[Any], answer: Answer) -> HttpResponseBase:
        columns = [name for name in self.get_list_display(request) if name != "action_checkbox"]
        cells = [cell for name in columns for cell in self.column_cells(name)]
        titles = [capfirst(str(title)) for title, _value in cells]
        return answer(file_stem(rows), titles, self.iterate_values(request, rows, [value for _title, value in cells]))

    def column_cells(self, name: Any) -> list[tuple[Any, Callable[[Any], Any]]]:
        """Return title and function of each cell that an export holds of this column."""
        column = name if callable(name) else getattr(self, name, None)
        cells: dict[Any, Callable[[Any], Any]] | None = getattr(column, "export_cells", None)
        if cells is not None:
            return list(cells.items())
        value = getattr(column, "export_value", None) or (lambda row: self.shown_value(name, row))
        return [(label_for_field(name, self.model, self), value)]

    def shown_value(self, name: Any, row: Any) -> Any:
        field, _attribute, value = lookup_field(name, row, self)
        if isinstance(field, Field) and field.choices:
            value = getattr(row, f"get_{field.name}_display")()
        return text_of(value)

    def iterate_values(
        self, request: HttpRequest, rows: QuerySet[Any], values: list[Callable[[Any], Any]]
    ) -> Iterator[list[Any]]:
        """Yield the cells of each row. The answer is sent after the request, whose language and zone have ended."""
        language, zone = translation.get_language(), timezone.get_current_timezone()
        part: list[Any] = []
        for row in rows.iterator(chunk_size=ROWS_AT_A_TIME):
            part.append(row)
            if len(part) == ROWS_AT_A_TIME:
                yield from self.cells(request, part, values, language, zone)
                part = []
        yield from self.cells(request, part, values, language, zone)

    def cells(
        self, request: HttpRequest, rows: list[Any], values: list[Callable[[Any], Any]], language: Any, zone: Any
    ) -> list[list[Any]]:
        with translation.override(language), timezone.override(zone):
            self.prepare_rows(request, rows)
            return [[value(row) for value in values] for row in rows]
