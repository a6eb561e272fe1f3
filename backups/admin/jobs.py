"""Expected backups: which databases are protected, since when, and what is known of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from backups.admin import display, drill_display, sections
from backups.admin.actions import JobActions
from backups.admin.delivery import describe_delivery
from backups.admin.filters import (
    AttentionFilter,
    FrequencyFilter,
    JobStatusFilter,
    PausedFilter,
    ProofFilter,
    StaleFilter,
)
from backups.admin.form import JobForm, shown_timetable
from backups.admin.heading import build_heading
from backups.admin.imports import JobImports
from backups.drills import proofs
from backups.history import job_subject, job_url
from backups.models import BackupEntry, DepositArea, DrillAssertion, ExpectedBackupJob, RestoreDrill
from backups.panels import LatestEntries, load_latest_entries, standing_of
from backups.protection import Standing, with_standing
from backups.scanner.orchestration import MachineBusy, machine_lease
from portal.admin.base import SettingsAdmin
from portal.admin.confirm import summarize_deletion
from portal.admin.display import exact_moment, moment_column, relative_moment, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.panels import Section

BASICS = (
    (_("Database"), ("agent_id", "database_name")),
    (_("Schedule"), ("expected_frequency", "days_of_week", "time_of_day", "time_zone")),
)
ADVANCED = (
    (_("Identification"), ("company_name", "city", "neighborhood", "year")),
    (_("Timing"), ("window_minutes", "early_minutes", "schedule")),
    (_("Validation"), ("min_size_bytes", "max_shrink_percent", "unchanged_policy", "deep_check", "drill_every_days")),
    (_("Retention"), ("keep_last", "keep_daily", "keep_weekly", "keep_monthly")),
    (
        _("Folders"),
        ("agent_deposit_path_template", "agent_log_deposit_path_template", "final_storage_path_template"),
    ),
    (_("Monitoring"), ("is_active", "paused_until")),
)


# A longer list of suggestions helps nobody; a name is checked when it is saved.
MAX_SUGGESTED = 500
# What differs from one database to the next, or belongs to its state.
NOT_DUPLICATED = ("database_name", "is_active", "paused_until")


def suggest_machines() -> tuple[list[str], str]:
    """Return the machines to suggest, and a note if there are more."""
    names = list(Agent.objects.active().order_by("name").values_list("machine_id", flat=True)[: MAX_SUGGESTED + 1])
    note = _("Only the first %(count)d enrolled machines are suggested. Other names can be entered too.")
    return names[:MAX_SUGGESTED], note % {"count": MAX_SUGGESTED} if len(names) > MAX_SUGGESTED else ""


def duplicate_settings(job: ExpectedBackupJob) -> dict[str, Any]:
    """Return the form's values for another database with the same settings."""
    settings = model_to_dict(job, exclude=NOT_DUPLICATED)
    return settings | shown_timetable(job)


def latest_entries_of(job: ExpectedBackupJob) -> LatestEntries:
    found: LatestEntries = getattr(job, "newest", LatestEntries())
    return found


@admin.register(ExpectedBackupJob)
class ExpectedBackupJobAdmin(JobActions, JobImports, SettingsAdmin):
    menu_order = 1
    form = JobForm

    class Media:
        css = {"all": ("backups/backups.css",)}

    change_list_template = "backups/jobs.html"
    change_form_template = "backups/job.html"
    delete_confirmation_template = "backups/delete_job.html"
    counted = ((BackupEntry, "job"), (RestoreDrill, "job"), (DrillAssertion, "job"))
    add_label = _("Add expected backup")
    ordering = (display.BY_STANDING, "agent_id", "database_name")
    sortable_by = ("state", "database", "last_good", "proof", "size", "place")
    list_display = (
        "state", display.database, display.last_good, display.proof, "size", display.schedule, "place",
    )  # fmt: skip
    list_display_links = (display.database,)
    list_filter = (AttentionFilter, ProofFilter, JobStatusFilter, StaleFilter, PausedFilter, FrequencyFilter)
    purpose = _(
        "Databases whose backups should arrive on a schedule. The portal verifies each upload, stores it, and alerts if"
        " one is missing."
    )
    search_fields = ("agent_id__fragment", "database_name__fragment", "company_name__fragment")
    search_help_text = search_by(_("machine"), _("database"), _("company"))
    export_columns = (
        "agent_id", "database_name", "company_name", "city", "neighborhood", "year", "expected_hour_utc",
        "expected_minute_utc", "expected_frequency", "days_of_week", "schedule", "time_zone", "window_minutes",
        "early_minutes",
        "agent_deposit_path_template", "agent_log_deposit_path_template", "final_storage_path_template",
        "min_size_bytes", "max_shrink_percent", "unchanged_policy", "deep_check", "keep_last", "keep_daily",
        "keep_weekly", "keep_monthly", "is_active", "paused_until", "current_status", "status_since",
        "last_checked_at", "last_success_at", "last_verified_at", "previous_successful_hash", "drill_every_days",
        "proven_at",
    )  # fmt: skip
    status_facts = (
        (
            _("Status"),
            (
                "state", display.protection, "why", moment_column("status_since", _("since"), show=exact_moment),
                display.next_expected, moment_column("last_checked_at", _("last scanned"), show=exact_moment),
                display.machine_page,
            ),
        ),
        (
            _("Last verified backup"),
            (display.last_good_in_full, "size", "previous_successful_hash", "storage", display.hashed_again),
        ),
        (
            _("Last restore"),
            (
                display.proof_in_full, "time_to_restore", "restored",
                moment_column("next_drill_at", _("next restore drill"), show=relative_moment),
            ),
        ),
    )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the status of an existing job first."""
        groups = {"standing": self.status_facts if obj else (), "basic": BASICS, "advanced": ADVANCED}
        return [
            (title, {"fields": fields, "classes": [kind]})
            for kind, fieldsets in groups.items()
            for title, fields in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _title, fields in self.status_facts for field in fields]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        jobs: QuerySet[Any] = super().get_queryset(request)
        return with_standing(jobs, timezone.now())

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        newest = load_latest_entries(rows)
        for job in rows:
            job.newest = newest.get(job.pk, LatestEntries())

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        job = super().get_object(request, object_id, from_field)
        if job is not None:
            job.newest = load_latest_entries([job]).get(job.pk, LatestEntries())
        return job

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"heading": build_heading(timezone.now())} if self.has_view_permission(request) else {}
        return super().changelist_view(request, context | (extra_context or {}))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        job = kwargs.get("obj")
        if job is not None:
            context |= {"chart": sections.size_chart(job)}
        if self.has_change_permission(request, job):
            machines, machines_note = suggest_machines()
            context |= {
                "delivery": describe_delivery(job) if job is not None else None,
                "machines": machines,
                "machines_note": machines_note,
                "may_issue": self.has_enrol_permission(request),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values of the query, or the settings of the database that is duplicated."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        source = initial.pop("duplicate", "")
        job = self.get_object(request, source) if source else None
        return initial if job is None else duplicate_settings(job) | initial

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            is_replanned = "drill_every_days" in form.changed_data
            if is_replanned:
                proofs.replan(obj)
            obj.save(update_fields=[*form.changed_columns, *(proofs.PLANNED if is_replanned else ())])
        else:
            super().save_model(request, obj, form, change)
        is_new_name = not change or "agent_id" in form.changed_data
        if is_new_name and not Agent.objects.active().named(obj.agent_id).exists():
            text = _(
                "%(machine)s isn’t enrolled: check the name. It can upload by SFTP or a share without enrolment; to"
                " upload over HTTPS, enrol it first."
            )
            self.message_user(request, text % {"machine": obj.agent_id}, messages.WARNING)

    def get_sections(self, request: HttpRequest, obj: ExpectedBackupJob) -> list[Section]:
        return [
            sections.entries_section(obj),
            sections.drills_section(obj),
            sections.assertions_section(obj),
            sections.versions_section(obj),
            history_section(job_subject(obj)),
        ]

    def subject_of(self, obj: Any) -> str:
        return job_subject(obj)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deleting jobs that are paused or have no entries."""
        if obj is None or not super().has_delete_permission(request, obj):
            return super().has_delete_permission(request, obj)
        return not obj.is_watched(timezone.now()) or latest_entries_of(obj).latest is None

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return summarize_deletion(self, list(objs))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Delete under the machine's lease: a scan that began before a pause may still record a result."""
        job = self.get_object(request, unquote(object_id))
        context = ({"kept": sections.describe_kept_files(job)} if job else {}) | (extra_context or {})
        if request.method != "POST" or not job or not self.has_delete_permission(request, job):
            return super().delete_view(request, object_id, context)
        area = DepositArea.objects.get_or_create_for([job.agent_id])[job.agent_id]
        try:
            with machine_lease(area, timedelta(0)):
                return super().delete_view(request, object_id, context)
        except MachineBusy:
            text = _("%(machine)s is being scanned. Delete the database once the scan has finished.")
            self.message_user(request, text % {"machine": job.agent_id}, messages.ERROR)
            return HttpResponseRedirect(job_url(job))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description=_("time of day"))
    def time_of_day(self, job: ExpectedBackupJob) -> str:
        """Return what the form shows, for users who may only view."""
        return f"{shown_timetable(job)['time_of_day']:%H:%M}"

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("company, city"), ordering=Concat("company_name", Value(" "), "city"))
    def place(self, job: ExpectedBackupJob) -> SafeString | str:
        return stack_lines(job.company_name or EMPTY_VALUE, job.city)

    @admin.display(description=_("status"), ordering=display.BY_STANDING)
    def state(self, job: ExpectedBackupJob) -> SafeString:
        return display.job_state(job, latest_entries_of(job), timezone.now())

    @admin.display(description=_("size"), ordering=display.LAST_SIZE)
    def size(self, job: ExpectedBackupJob) -> SafeString | str:
        return display.size_with_tooltip(latest_entries_of(job).size)

    size.export_cells = {_("size (bytes)"): lambda job: latest_entries_of(job).size}  # type: ignore[attr-defined]

    @admin.display(description=_("reason"))
    def why(self, job: ExpectedBackupJob) -> SafeString | str:
        if standing_of(job) == Standing.OVERDUE:
            return str(_("There is no verified backup within the time that the schedule allows."))
        return display.explain_status(latest_entries_of(job).latest)

    @admin.display(description=_("time to restore"))
    def time_to_restore(self, job: ExpectedBackupJob) -> str:
        """Return how long the last successful drill took, for planning a recovery."""
        drill = drill_display.last_restore(job)
        return drill_display.drill_duration(drill) if drill else EMPTY_VALUE

    @admin.display(description=_("restored"))
    def restored(self, job: ExpectedBackupJob) -> str:
        drill = drill_display.last_restore(job)
        return drill_display.count_restored(drill) if drill else EMPTY_VALUE

    @admin.display(description=_("stored in"))
    def storage(self, job: ExpectedBackupJob) -> SafeString:
        return display.storage_folder(job)
