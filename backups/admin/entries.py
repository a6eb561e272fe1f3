"""The list and pages of backup entries: read only, newest first."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from backups.admin import display
from backups.admin.filters import DoubtsFilter, EntryStatusFilter, ExpectedFilter, LateFilter, StorageFilter
from backups.admin.logs import JobLogAdmin
from backups.models import BackupEntry
from portal.admin.display import exact_moment, moment_column, stack_lines


@admin.register(BackupEntry)
class BackupEntryAdmin(JobLogAdmin):
    menu_order = 2

    ordering = ("-cycle_at", "-id")
    sortable_by = ("cycle_at",)
    list_select_related = ("job",)
    purpose = _("The result of each scheduled time: what arrived, whether it was verified, and where it is stored.")
    empty_link = ("admin:backups_expectedbackupjob_add", _("Add expected backup"))
    list_display = (
        "state",
        moment_column("cycle_at", _("scheduled"), ordering="cycle_at"),
        display.database,
        display.why_short,
        "size",
        display.storage_state,
    )
    list_filter = (ExpectedFilter, EntryStatusFilter, LateFilter, DoubtsFilter, StorageFilter)
    titled_facts = (
        (
            _("Processing"),
            (
                "state", "why", display.expected_backup, display.machine_page,
                moment_column("cycle_at", _("scheduled"), show=exact_moment),
                moment_column("report_at", _("reported"), show=exact_moment),
                moment_column("recorded_at", _("recorded"), show=exact_moment),
                moment_column("changed_at", _("changed"), show=exact_moment),
            ),
        ),
        (
            _("Dump"),
            (
                "report_name", "staged_name", "claimed", "found",
                display.steps_reported, display.storage_state, "stored_path",
            ),
        ),
    )  # fmt: skip

    @admin.display(description=_("status"))
    def state(self, entry: BackupEntry) -> SafeString:
        return stack_lines(display.entry_state(entry), display.entry_remarks(entry))

    @admin.display(description=_("reason"))
    def why(self, entry: BackupEntry) -> SafeString | str:
        return display.explain_status(entry)

    @admin.display(description=_("size"))
    def size(self, entry: BackupEntry) -> SafeString | str:
        return display.size_with_tooltip(entry.server_size)

    size.export_cells = {_("size (bytes)"): lambda entry: entry.server_size}  # type: ignore[attr-defined]

    @admin.display(description=_("Reported"))
    def claimed(self, entry: BackupEntry) -> SafeString | str:
        return display.size_and_hash(entry, "agent", in_full=True)

    @admin.display(description=_("Verified"))
    def found(self, entry: BackupEntry) -> SafeString | str:
        return display.size_and_hash(entry, "server", in_full=True)
