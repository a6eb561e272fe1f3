"""Expected backups: which databases are protected, since when, and what is known of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from backups.admin import display, sections
from backups.admin.actions import JobActions
from backups.admin.filters import AttentionFilter, FrequencyFilter, JobStatusFilter, PausedFilter, StaleFilter
from backups.admin.form import JobForm
from backups.admin.heading import build_heading
from backups.admin.imports import JobImports
from backups.history import job_subject
from backups.models import ExpectedBackupJob
from backups.panels import LatestEntries, load_latest_entries
from backups.protection import protected
from portal.admin.base import SettingsAdmin
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.panels import Section

SETTINGS = (
    (_("Whose it is"), ("agent_id", "database_name", "company_name", "city", "neighborhood", "year")),
    (
        _("When it is expected"),
        (
            "expected_frequency", "days_of_week", "expected_hour_utc", "expected_minute_utc", "schedule", "time_zone",
            "window_minutes", "early_minutes",
        ),
    ),
    (_("What a good one is"), ("min_size_bytes", "max_shrink_percent", "unchanged_policy", "deep_check")),
    (_("How many are kept"), ("keep_last", "keep_daily", "keep_weekly", "keep_monthly")),
    (
        _("Where it lies"),
        ("agent_deposit_path_template", "agent_log_deposit_path_template", "final_storage_path_template"),
    ),
    (_("Whether it is watched"), ("is_active", "paused_until")),
)  # fmt: skip


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
    add_label = _("Expect another")
    ordering = ("agent_id", "database_name")
    sortable_by = ()
    list_display = (display.database, "state", "place", display.next_expected, display.last_good, "size")
    list_display_links = (display.database,)
    list_filter = (AttentionFilter, JobStatusFilter, StaleFilter, PausedFilter, FrequencyFilter)
    search_fields = ("agent_id__fragment", "database_name__fragment", "company_name__fragment")
    search_help_text = search_by(_("machine"), _("database"), _("company"))
    export_columns = (
        "agent_id", "database_name", "company_name", "city", "neighborhood", "year", "expected_hour_utc",
        "expected_minute_utc", "expected_frequency", "days_of_week", "schedule", "time_zone", "window_minutes",
        "early_minutes",
        "agent_deposit_path_template", "agent_log_deposit_path_template", "final_storage_path_template",
        "min_size_bytes", "max_shrink_percent", "unchanged_policy", "deep_check", "keep_last", "keep_daily",
        "keep_weekly", "keep_monthly", "is_active", "paused_until", "current_status", "status_since",
        "last_checked_at", "last_success_at", "last_verified_at", "previous_successful_hash",
    )  # fmt: skip
    status_facts = (
        (
            _("How it stands"),
            (
                "state_alone", display.protection, "why", moment_column("status_since", _("since"), show=exact_moment),
                display.next_expected, moment_column("last_checked_at", _("last checked"), show=exact_moment),
                display.machine_page,
            ),
        ),
        (
            _("The last good backup"),
            (display.last_good_in_full, "size", "previous_successful_hash", "storage", display.hashed_again),
        ),
    )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the status of an existing job first."""
        facts = [(title, {"fields": fields, "classes": ["standing"]}) for title, fields in self.status_facts]
        return (facts if obj else []) + [(title, {"fields": fields}) for title, fields in SETTINGS]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _title, fields in self.status_facts for field in fields]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        jobs: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = jobs.annotate(is_protected=Q(protected(timezone.now())))
        return annotated

    def prepare_rows(self, rows: list[Any]) -> None:
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
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, obj: ExpectedBackupJob) -> list[Section]:
        return [sections.entries_section(obj), sections.versions_section(obj), history_section(job_subject(obj))]

    def subject_of(self, obj: Any) -> str:
        return job_subject(obj)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deleting a job with entries, which would be deleted too. It can be paused instead."""
        return super().has_delete_permission(request, obj) and (obj is None or latest_entries_of(obj).latest is None)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("company, city"))
    def place(self, job: ExpectedBackupJob) -> SafeString | str:
        return stack_lines(job.company_name or EMPTY_VALUE, job.city)

    @admin.display(description=_("status, since"))
    def state(self, job: ExpectedBackupJob) -> SafeString:
        return display.job_state(job, latest_entries_of(job), timezone.now())

    @admin.display(description=_("status"))
    def state_alone(self, job: ExpectedBackupJob) -> SafeString:
        return display.job_state(job, latest_entries_of(job), timezone.now(), with_since=False)

    @admin.display(description=_("size"))
    def size(self, job: ExpectedBackupJob) -> SafeString | str:
        return display.size_with_tooltip(latest_entries_of(job).size)

    @admin.display(description=_("why"))
    def why(self, job: ExpectedBackupJob) -> SafeString | str:
        return display.explain_status(latest_entries_of(job).latest)

    @admin.display(description=_("stored in"))
    def storage(self, job: ExpectedBackupJob) -> SafeString:
        return format_html("<code>{}</code>", job.storage_folder)
