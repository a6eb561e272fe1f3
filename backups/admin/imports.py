"""Importing expected backups: a file, then what it would do, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.imports import files, planning
from backups.imports.files import Row, Unreadable
from backups.imports.planning import Outcome, Overtaken, Plan
from portal.admin.base import VigieModelAdmin
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.uploads import is_too_large
from portal.base.words import format_count
from portal.desk.exports import escape_cell

SALT = "backups.import"
# Between the preview and the word to go the rows travel with the form: any web node may answer.
CARRIED_SECONDS = 3600
MOST_CARRIED = 2_000_000
SHOWN_ROWS = 500
ORDER = (Outcome.REFUSED, Outcome.CHANGE, Outcome.CREATE)


@dataclass(frozen=True)
class Shown:
    """A row of the preview, `line` as the spreadsheet numbers it."""

    line: int
    agent_id: str
    database_name: str
    outcome: Any
    details: list[str]
    is_refused: bool


class JobImports(VigieModelAdmin):
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name="backups_expectedbackupjob_import"), *super().get_urls()]

    def may_import(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"may_import": self.may_import(request)} | (extra_context or {}))

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.may_import(request):
            raise PermissionDenied
        if request.method != "POST":
            return self.import_page(request)
        try:
            if "rows" not in request.POST:
                rows = sent_rows(request)
                return self.import_page(request, planning.planned(rows), rows)
            rows, previewed = carried_rows(request)
        except Unreadable as error:
            return self.import_page(request, error=str(error))
        return self.carry_out(request, rows, previewed)

    def carry_out(self, request: HttpRequest, rows: list[Row], previewed: dict[str, int]) -> HttpResponse:
        """What was previewed; where that is not what would happen now, what would is previewed."""
        plan = planning.planned(rows)
        try:
            if plan.counts != previewed:  # a row that is refused by now is not counted
                raise Overtaken
            planning.carry_out(plan, request)
        except Overtaken:
            text = _("The expected backups have changed meanwhile. Nothing was imported: look again.")
            return self.import_page(request, planning.planned(rows), rows, error=text)
        self.message_user(request, told(plan.counts), messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))

    def import_page(
        self, request: HttpRequest, plan: Plan | None = None, rows: Sequence[Row] = (), error: str = ""
    ) -> HttpResponse:
        carried = ""
        if plan is not None and not plan.is_refused and any(row.writes for row in plan.rows):
            carried = carried_as(rows, plan.counts)
            if len(carried) > MOST_CARRIED:
                plan, carried, error = None, "", _("The file holds too much to be previewed: split it.")
        context = {
            "title": _("Import expected backups"),
            "opts": self.opts,
            "columns": [name for name in planning.FIELDS if name not in planning.MEASURED],
            "plan": plan,
            "shown": shown_rows(plan) if plan else [],
            "summary": told_beforehand(plan) if plan else "",
            "hidden": max(0, sum(row.outcome in ORDER for row in plan.rows) - SHOWN_ROWS) if plan else 0,
            "carried": carried,
            "error": error,
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "backups/import.html", context, status=422 if error else 200)


# --- Rows on their way -----------------------------------------------------------------------------------------------


def sent_rows(request: HttpRequest) -> list[Row]:
    """Raises Unreadable."""
    file = request.FILES.get("file")
    if is_too_large(request):
        raise Unreadable(_("The file is larger than 5 MiB."))
    if file is None:
        raise Unreadable(_("Choose a file first."))
    return files.rows_in(file)


def carried_as(rows: Sequence[Row], counts: dict[str, int]) -> str:
    columns = list(rows[0])
    lines = [[row.get(column) for column in columns] for row in rows]
    return signing.dumps([columns, lines, counts], salt=SALT, compress=True)


def carried_rows(request: HttpRequest) -> tuple[list[Row], dict[str, int]]:
    """The rows of the preview and what they would have done. Raises Unreadable."""
    try:
        columns, lines, counts = signing.loads(request.POST["rows"], salt=SALT, max_age=CARRIED_SECONDS)
    except signing.BadSignature:
        raise Unreadable(_("The preview is too old: choose the file again.")) from None
    rows = [{name: text for name, text in zip(columns, line, strict=True) if text is not None} for line in lines]
    return rows, counts


# --- What is shown ---------------------------------------------------------------------------------------------------


def shown_rows(plan: Plan) -> list[Shown]:
    """The refused ones first; those that change nothing are only counted."""
    rows = sorted((row for row in plan.rows if row.outcome in ORDER), key=lambda row: ORDER.index(row.outcome))
    return [shown(row) for row in rows[:SHOWN_ROWS]]


def shown(row: planning.Row) -> Shown:
    badges = {
        Outcome.REFUSED: badge(_("refused"), BAD),
        Outcome.CHANGE: badge(_("changed"), WARNING),
        Outcome.CREATE: badge(_("added"), GOOD),
        Outcome.UNCHANGED: badge(_("unchanged"), QUIET),
    }
    refusals = [f"{column}: {' '.join(sentences)}" for column, sentences in row.refusals.items()]
    changes = [
        f"{name}: {escape_cell(value) or '–'}" for name, value in row.changes.items() if name not in planning.KEY
    ]
    return Shown(
        line=row.number + 1,
        agent_id=row.agent_id,
        database_name=row.database_name,
        outcome=badges[row.outcome],
        details=refusals or changes,
        is_refused=bool(refusals),
    )


def told_beforehand(plan: Plan) -> str:
    if plan.faults:
        return ""
    if plan.refused:
        count = len(plan.refused)
        text = ngettext(
            "%(count)s row is refused, so nothing is imported. Mend it in the file and choose the file again.",
            "%(count)s rows are refused, so nothing is imported. Mend them in the file and choose the file again.",
            count,
        )
        return text % {"count": format_count(count)}
    values = {name: format_count(count) for name, count in plan.counts.items()}
    if not any(row.writes for row in plan.rows):
        return _("Nothing would change: all of it is known already.")
    return _("Would be added: %(created)s; changed: %(changed)s; left as they are: %(unchanged)s.") % values


def told(counts: dict[str, int]) -> str:
    values = {name: format_count(count) for name, count in counts.items()}
    return _("Imported. Added: %(created)s; changed: %(changed)s; left as they were: %(unchanged)s.") % values
