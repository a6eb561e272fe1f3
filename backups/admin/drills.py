"""The list and pages of restore drills, and the assertions that they check."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from backups import reasons
from backups.admin import display, drill_display
from backups.admin.filters import DrillStatusFilter
from backups.admin.logs import JobLogAdmin
from backups.drills import proofs, trials
from backups.history import job_subject
from backups.models import DrillAssertion, ExpectedBackupJob, RestoreDrill
from portal import audit
from portal.admin.base import SettingsAdmin
from portal.admin.display import exact_moment, moment_column
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE, format_count
from portal.desk.panels import Section

# Name of the button that tries a query without saving it.
TRIAL = "_test"
SHOWN_TABLES = 500
MOST_ACCEPTED = 500


@admin.register(RestoreDrill)
class RestoreDrillAdmin(JobLogAdmin):
    menu_order = 3

    ordering = ("-id",)
    sortable_by = ()
    list_select_related = ("job", "entry__job")
    purpose = gettext_lazy(
        "Stored backups restored into a sandbox: the result, the time it took, and the rows of each table."
    )
    empty_link = ("admin:backups_expectedbackupjob_changelist", gettext_lazy("View expected backups"))
    list_display = (
        drill_display.drill_state,
        moment_column("started_at", gettext_lazy("started")),
        display.database,
        drill_display.drill_result,
        drill_display.drill_duration,
        "engine",
    )
    list_filter = (DrillStatusFilter,)
    actions = ("accept_changes", "export_chosen", "export_chosen_xlsx")
    object_actions = ("accept_changes",)
    titled_facts = (
        (
            gettext_lazy("Restore drill"),
            (
                drill_display.drill_state, drill_display.drill_reasons, display.expected_backup, "backup",
                moment_column("started_at", gettext_lazy("started"), show=exact_moment),
                drill_display.drill_duration,
            ),
        ),
        (
            gettext_lazy("Restored database"),
            ("engine", "version", "restored_with", "format", "tables", "row_total", "restored_size"),
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RestoreDrill]:
        return super().get_queryset(request).defer("schema")

    def get_sections(self, request: HttpRequest, obj: RestoreDrill) -> list[Section]:
        return [*problem_sections(obj), assertion_results(obj), rows_section(obj)]

    def can_act(self, obj: RestoreDrill, action: str) -> bool:
        return proofs.may_accept(obj)

    @admin.action(description=gettext_lazy("Accept changes"), permissions=["manage"])
    def accept_changes(self, request: HttpRequest, queryset: QuerySet[RestoreDrill]) -> None:
        """Let the latest drill of each database be its proof, although tables are gone or have fewer rows."""
        chosen = queryset.exclude(losses=[]).select_related("job")[:MOST_ACCEPTED]
        accepted = [drill for drill in chosen if proofs.may_accept(drill)]
        for drill in accepted:
            before = {"losses": [loss["code"] for loss in drill.losses]}
            proofs.accept_changes(drill)
            audit.record_event("backups.changes_accepted", job_subject(drill.job), request=request, before=before)
        if accepted:
            self.message_user(
                request, _("Changes accepted. Later drills are compared with this one."), messages.SUCCESS
            )
        else:
            text = _(
                "Nothing to accept. Only the latest drill of a database can be accepted, and only if it restored the"
                " backup and every assertion passed."
            )
            self.message_user(request, text, messages.WARNING)

    @admin.display(description=gettext_lazy("backup"))
    def backup(self, drill: RestoreDrill) -> SafeString:
        return display.link_to_entry(drill.entry)

    @admin.display(description=gettext_lazy("rows"))
    def row_total(self, drill: RestoreDrill) -> str:
        return format_count(drill.row_count)

    @admin.display(description=gettext_lazy("size"))
    def restored_size(self, drill: RestoreDrill) -> SafeString | str:
        return display.size_with_tooltip(drill.size)


def problem_sections(drill: RestoreDrill) -> list[Section]:
    """Return the errors and warnings of a drill, each only if there is one."""
    found = []
    if drill.errors:
        text = ngettext(
            "%(count)s further error is not shown.", "%(count)s further errors are not shown.", drill.errors_omitted
        )
        omitted = text % {"count": format_count(drill.errors_omitted)}
        rows = [[error["line"] or EMPTY_VALUE, reasons.format_error(error)] for error in drill.errors]
        note = omitted if drill.errors_omitted else ""
        found.append(Section(_("Errors"), [_("Line"), _("Message")], rows, note=note))
    if drill.warnings:
        found.append(
            Section(_("Warnings"), [_("Message")], [[reasons.format_reasons([why])] for why in drill.warnings])
        )
    return found


def assertion_results(drill: RestoreDrill) -> Section:
    rows = [[result["name"], drill_display.assertion_result(result)] for result in drill.assertions]
    return Section(_("Assertions"), [_("Name"), _("Result")], rows, empty=_("No assertions were checked."))


def rows_section(drill: RestoreDrill) -> Section:
    """Return the rows of each table beside those of the last proof before."""
    before = proofs.previous_proof(drill)
    earlier = before.rows if before else {}
    names = sorted({*drill.rows, *earlier})
    rows = [
        [format_html("<code>{}</code>", name), *(counts.get(name, EMPTY_VALUE) for counts in (drill.rows, earlier))]
        for name in names[:SHOWN_TABLES]
    ]
    hidden = len(names) - SHOWN_TABLES
    text = ngettext("%(count)s further table is not shown.", "%(count)s further tables are not shown.", hidden)
    note = text % {"count": format_count(hidden)} if hidden > 0 else ""
    return Section(
        _("Tables"), [_("Table"), _("Rows"), _("Rows at the last proof")], rows, empty=_("No tables."), note=note
    )


# --- Assertions ------------------------------------------------------------------------------------------------------


class AssertionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An assertion. A trial is a form sent by *Try*: it is never valid, so that nothing is saved."""

    def full_clean(self) -> None:
        super().full_clean()
        if TRIAL in self.data:
            for name in ("name", "expected"):
                if not self.data.get(name):  # a trial needs neither
                    self.errors.pop(name, None)

    def is_valid(self) -> bool:
        return super().is_valid() and TRIAL not in self.data

    class Meta:
        model = DrillAssertion
        fields = ("job", "name", "query", "comparison", "expected")
        widgets = {"query": forms.Textarea(attrs={"rows": 5, "class": "code"})}
        help_texts = {
            "query": gettext_lazy(
                "A SELECT that returns one row with one column. It can only read the restored database."
            ),
            "expected": gettext_lazy("A number or a text. For a time, the number of hours."),
        }


@admin.register(DrillAssertion)
class DrillAssertionAdmin(SettingsAdmin):
    form = AssertionForm
    menu_order = 4
    ordering = ("job__agent_id", "job__database_name", "name")
    sortable_by = ("name",)
    list_display = ("name", display.database, "expectation")
    list_select_related = ("job",)
    lookups = ("job",)
    purpose = gettext_lazy(
        "Queries that are run on each restored database, such as the number of orders. If one returns another value"
        " than expected, the backup is not proven."
    )
    search_fields = ("name__fragment",)
    search_help_text = search_by(gettext_lazy("name"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("job",) if obj else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """List the databases by machine; the order of their own list needs what only that list computes."""
        kwargs["queryset"] = ExpectedBackupJob.objects.order_by("agent_id", "database_name")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def subject_of(self, obj: Any) -> str:
        return job_subject(obj.job)

    @admin.display(description=gettext_lazy("expectation"))
    def expectation(self, asserted: DrillAssertion) -> str:
        return drill_display.describe_expectation(asserted)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Try a query before the view begins its transaction: SQLite has one writer, which must not wait for it."""
        if request.method == "POST" and TRIAL in request.POST:
            self.try_form(request, object_id)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def try_form(self, request: HttpRequest, object_id: str | None) -> None:
        """Run the query on an empty copy of the schema of the last drill, and show what it returns."""
        asserted = self.get_object(request, unquote(object_id)) if object_id else None
        is_allowed = self.has_change_permission(request, asserted) if asserted else self.has_add_permission(request)
        if not is_allowed:
            raise PermissionDenied
        form = self.get_form(request, asserted, change=asserted is not None)(request.POST, instance=asserted)
        if set(form.errors) - {"expected"}:
            return
        outcome = trials.try_query(form.instance.job, form.instance.query)
        self.message_user(request, outcome.message, messages.SUCCESS if outcome.is_ok else messages.WARNING)
