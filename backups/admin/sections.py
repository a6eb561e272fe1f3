"""What stands below the facts of an expected backup: its sizes over time, its entries, its stored versions."""

from __future__ import annotations

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from backups.admin import display
from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.querysets import BackupEntryQuerySet
from portal.admin.display import stack_lines
from portal.desk.panels import Chart, Section

SHOWN_ENTRIES = 20
SHOWN_VERSIONS = 50
CHART_SUCCESSES = 30
FEWEST_BARS = 2
UNITS = (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024))


def newest(job: ExpectedBackupJob) -> BackupEntryQuerySet:
    return BackupEntry.objects.filter(job=job).order_by("-cycle_at")


def size_chart(job: ExpectedBackupJob) -> Chart | None:
    """The sizes of the last successes, oldest first; one alone shows no course."""
    successes = newest(job).filter(status=Status.SUCCESS, server_size__isnull=False)
    found = list(successes.values_list("cycle_at", "server_size")[:CHART_SUCCESSES])[::-1]
    if len(found) < FEWEST_BARS:
        return None
    largest = max(size or 0 for _at, size in found)
    unit, factor = next((pair for pair in UNITS if largest >= pair[1]), ("B", 1))
    days = [timezone.localdate(at) for at, _size in found]
    return Chart(days, [round((size or 0) / factor, 2) for _at, size in found], _("size in %(unit)s") % {"unit": unit})


def entries_of(job: ExpectedBackupJob) -> Section:
    found = list(newest(job).select_related("job")[: SHOWN_ENTRIES + 1])
    rows = [
        [
            display.link_to_entry(entry),
            stack_lines(display.entry_state(entry), display.remarks(entry)),
            format_html('<div class="why">{}</div>', display.why_in_brief(entry)),
            display.measured(entry, "agent"),
            display.measured(entry, "server"),
            display.storage(entry),
        ]
        for entry in found[:SHOWN_ENTRIES]
    ]
    return Section(
        title=_("What became of its backups"),
        columns=[_("Expected"), _("Status"), _("Why"), _("The machine says"), _("Measured here"), _("Storage")],
        rows=rows,
        url=reverse("admin:backups_backupentry_changelist", query={"job": job.pk}),
        empty=_("No backup has been expected yet."),
        note=_("Older ones are not shown.") if len(found) > SHOWN_ENTRIES else "",
    )


def versions_of(job: ExpectedBackupJob) -> Section:
    found = list(newest(job).stored()[: SHOWN_VERSIONS + 1])
    rows = [
        [
            display.link_to_entry(entry),
            display.storage(entry),
            format_html('<div class="path">{}</div>', entry.stored_path),
            display.size(entry.server_size),
            display.short_hash(entry.server_sha256),
        ]
        for entry in found[:SHOWN_VERSIONS]
    ]
    return Section(
        title=_("Stored versions"),
        columns=[_("Expected"), _("Storage"), _("File"), _("Size"), _("SHA-256")],
        rows=rows,
        empty=_("None is stored."),
        note=_("Older ones are not shown.") if len(found) > SHOWN_VERSIONS else "",
    )
