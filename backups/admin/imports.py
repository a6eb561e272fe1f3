"""Import expected backups: upload a file, preview the plan, then apply all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
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
from backups.imports.files import CellRow, UnreadableFile
from backups.imports.planning import ImportConflict, ImportPlan, RowAction
from portal.admin.base import VigieModelAdmin
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.uploads import is_too_large
from portal.base.words import format_count
from portal.desk.exports import escape_cell

SALT = "backups.import"
# The form carries the signed rows from the preview to the confirmation, so that any web node can answer.
SIGNED_FOR_SECONDS = 3600
MAX_SIGNED_BYTES = 2_000_000
MAX_SHOWN_ROWS = 500
ORDER = (RowAction.REFUSED, RowAction.CHANGE, RowAction.CREATE)


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
                rows = read_upload(request)
                return self.import_page(request, planning.plan_import(rows), rows)
            rows, previewed = load_signed_rows(request)
        except UnreadableFile as error:
            return self.import_page(request, error=str(error))
        return self.apply_preview(request, rows, previewed)

    def apply_preview(self, request: HttpRequest, rows: list[CellRow], previewed: dict[str, int]) -> HttpResponse:
        """Apply what was previewed, or preview again if the jobs have changed since."""
        plan = planning.plan_import(rows)
        try:
            if plan.counts != previewed:  # counts leave out rows that are refused now
                raise ImportConflict
            planning.apply_import(plan, request)
        except ImportConflict:
            text = _("The expected backups changed in the meantime. Nothing was imported: check the preview again.")
            return self.import_page(request, planning.plan_import(rows), rows, error=text)
        self.message_user(request, summarize_import(plan.counts), messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))

    def import_page(
        self, request: HttpRequest, plan: ImportPlan | None = None, rows: Sequence[CellRow] = (), error: str = ""
    ) -> HttpResponse:
        carried = ""
        if plan is not None and not plan.is_refused and any(row.writes for row in plan.rows):
            carried = sign_rows(rows, plan.counts)
            if len(carried) > MAX_SIGNED_BYTES:
                plan, carried, error = None, "", _("The file is too large to preview: split it.")
        context = {
            "title": _("Import expected backups"),
            "opts": self.opts,
            "columns": [name for name in planning.FIELDS if name not in planning.MEASURED],
            "plan": plan,
            "shown": list_preview_rows(plan) if plan else [],
            "summary": summarize_plan(plan) if plan else "",
            "hidden": max(0, sum(row.action in ORDER for row in plan.rows) - MAX_SHOWN_ROWS) if plan else 0,
            "carried": carried,
            "error": error,
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "backups/import.html", context, status=422 if error else 200)


# --- Rows between requests -------------------------------------------------------------------------------------------


def read_upload(request: HttpRequest) -> list[CellRow]:
    """Read the uploaded file. Raises UnreadableFile."""
    file = request.FILES.get("file")
    if is_too_large(request):
        raise UnreadableFile(_("The file is larger than 5 MiB."))
    if file is None:
        raise UnreadableFile(_("Choose a file first."))
    return files.read_rows(file)


def sign_rows(rows: Sequence[CellRow], counts: dict[str, int]) -> str:
    columns = list(rows[0])
    lines = [[row.get(column) for column in columns] for row in rows]
    return signing.dumps([columns, lines, counts], salt=SALT, compress=True)


def load_signed_rows(request: HttpRequest) -> tuple[list[CellRow], dict[str, int]]:
    """Return the rows of the preview and its counts. Raises UnreadableFile."""
    try:
        columns, lines, counts = signing.loads(request.POST["rows"], salt=SALT, max_age=SIGNED_FOR_SECONDS)
    except signing.BadSignature:
        raise UnreadableFile(_("The preview has expired: upload the file again.")) from None
    rows = [{name: text for name, text in zip(columns, line, strict=True) if text is not None} for line in lines]
    return rows, counts


# --- Preview ---------------------------------------------------------------------------------------------------------


def list_preview_rows(plan: ImportPlan) -> list[dict[str, Any]]:
    """Return the rows to show, refused ones first. Unchanged rows are only counted."""
    rows = sorted((row for row in plan.rows if row.action in ORDER), key=lambda row: ORDER.index(row.action))
    return [make_preview_row(row) for row in rows[:MAX_SHOWN_ROWS]]


def make_preview_row(row: planning.ImportRow) -> dict[str, Any]:
    """Return the row with its badge, its number in the spreadsheet, and its refusals or changes as texts."""
    badges = {
        RowAction.REFUSED: badge(_("error"), BAD),
        RowAction.CHANGE: badge(_("updated"), WARNING),
        RowAction.CREATE: badge(_("new"), GOOD),
        RowAction.UNCHANGED: badge(_("unchanged"), QUIET),
    }
    refusals = [f"{column}: {' '.join(sentences)}" for column, sentences in row.refusals.items()]
    changes = [
        f"{name}: {escape_cell(value) or '–'}" for name, value in row.changes.items() if name not in planning.KEY
    ]
    return {
        "line": row.number + 1,
        "agent_id": row.agent_id,
        "database_name": row.database_name,
        "outcome": badges[row.action],
        "details": refusals or changes,
        "is_refused": bool(refusals),
    }


def summarize_plan(plan: ImportPlan) -> str:
    if plan.faults:
        return ""
    if plan.refused:
        count = len(plan.refused)
        text = ngettext(
            "%(count)s row has errors, so nothing was imported. Fix the file and upload it again.",
            "%(count)s rows have errors, so nothing was imported. Fix the file and upload it again.",
            count,
        )
        return text % {"count": format_count(count)}
    values = {name: format_count(count) for name, count in plan.counts.items()}
    if not any(row.writes for row in plan.rows):
        return _("No changes: everything in the file is already there.")
    return _("To add: %(created)s; to update: %(changed)s; unchanged: %(unchanged)s.") % values


def summarize_import(counts: dict[str, int]) -> str:
    values = {name: format_count(count) for name, count in counts.items()}
    return _("Import complete. Added: %(created)s; updated: %(changed)s; unchanged: %(unchanged)s.") % values
