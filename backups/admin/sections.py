"""Sections of a job's page: sizes over time, entries, stored versions."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.admin import display, drill_display, offsite_display
from backups.models import BackupEntry, ExpectedBackupJob, OffsiteCopy, Status
from backups.querysets import STORED, BackupEntryQuerySet
from portal.admin.display import stack_lines
from portal.base.words import format_count
from portal.desk.panels import Chart, Section

MAX_ENTRIES = 20
MAX_VERSIONS = 50
MAX_ASSERTIONS = 50
CHART_SUCCESSES = 30
FEWEST_BARS = 2
UNITS = (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024))


def newest_entries(job: ExpectedBackupJob) -> BackupEntryQuerySet:
    return BackupEntry.objects.filter(job=job).order_by("-cycle_at")


def size_chart(job: ExpectedBackupJob) -> Chart | None:
    """Return a chart of the last successes' sizes, oldest first, or None for fewer than two."""
    successes = newest_entries(job).filter(status=Status.SUCCESS, server_size__isnull=False)
    found = list(successes.values_list("cycle_at", "server_size")[:CHART_SUCCESSES])[::-1]
    if len(found) < FEWEST_BARS:
        return None
    largest = max(size or 0 for _at, size in found)
    unit, factor = next((pair for pair in UNITS if largest >= pair[1]), ("B", 1))
    days = [timezone.localdate(at) for at, _size in found]
    return Chart(days, [round((size or 0) / factor, 2) for _at, size in found], _("size in %(unit)s") % {"unit": unit})


def entries_section(job: ExpectedBackupJob) -> Section:
    found = list(newest_entries(job).select_related("job")[: MAX_ENTRIES + 1])
    rows = [
        [
            display.link_to_entry(entry),
            stack_lines(display.entry_state(entry), display.entry_remarks(entry)),
            format_html('<div class="why">{}</div>', display.why_short(entry)),
            display.size_and_hash(entry, "agent"),
            display.size_and_hash(entry, "server"),
            display.storage_state(entry),
        ]
        for entry in found[:MAX_ENTRIES]
    ]
    return Section(
        title=_("Backup history"),
        columns=[_("Scheduled"), _("Status"), _("Reason"), _("Reported"), _("Verified"), _("Storage")],
        rows=rows,
        url=reverse("admin:backups_backupentry_changelist", query={"job": job.pk}),
        empty=_("No backups yet."),
        note=_("Older ones are not shown.") if len(found) > MAX_ENTRIES else "",
    )


def drills_section(job: ExpectedBackupJob) -> Section:
    found = drill_display.recent_drills(job)
    rows = [
        [
            drill_display.link_to_drill(drill),
            drill_display.drill_state(drill),
            display.link_to_entry(drill.entry),
            drill_display.drill_result(drill),
            drill_display.drill_duration(drill),
        ]
        for drill in found[: drill_display.MAX_DRILLS]
    ]
    return Section(
        title=_("Restore drills"),
        columns=[_("Started"), _("Status"), _("Backup"), _("Result"), _("Time to restore")],
        rows=rows,
        url=reverse("admin:backups_restoredrill_changelist", query={"job": job.pk}),
        empty=_("No restore drills yet. A drill restores the stored backup into a sandbox, to prove that it works."),
        note=_("Older ones are not shown.") if len(found) > drill_display.MAX_DRILLS else "",
    )


def assertions_section(job: ExpectedBackupJob) -> Section:
    last = next((drill for drill in drill_display.recent_drills(job) if drill.assertions), None)
    results = {result["name"]: result for result in last.assertions} if last else {}
    rows = [
        [
            format_html(
                '<a href="{}">{}</a>', reverse("admin:backups_drillassertion_change", args=[asserted.pk]), asserted.name
            ),
            drill_display.describe_expectation(asserted),
            drill_display.assertion_result(results.get(asserted.name)),
        ]
        for asserted in job.assertions.all()[:MAX_ASSERTIONS]
    ]
    return Section(
        title=_("Assertions"),
        columns=[_("Name"), _("Expectation"), _("Last result")],
        rows=rows,
        url=reverse("admin:backups_drillassertion_changelist", query={"job": job.pk}),
        empty=_("No assertions. Drills only compare tables and rows."),
    )


def describe_kept_files(job: ExpectedBackupJob) -> str:
    """Say which stored files stay on the disk once the job is deleted; empty without any."""
    stored = BackupEntry.objects.filter(job=job).stored()
    kept = stored.aggregate(count=Count("pk"), size=Sum("server_size"))
    copies = OffsiteCopy.objects.copied().filter(entry__job=job).count()
    if not kept["count"]:
        return describe_kept_copies(copies)
    # The current template may name another folder than that of older backups.
    folders = {path.rsplit("/", 2)[0] for path in stored.values_list("stored_path", flat=True)}
    text = ngettext(
        "%(count)s stored backup (%(size)s) stays in %(folder)s: retention no longer applies to it. Delete the file "
        "yourself if needed.",
        "%(count)s stored backups (%(size)s) stay in %(folder)s: retention no longer applies to them. Delete the "
        "files yourself if needed.",
        kept["count"],
    )
    text %= {
        "count": format_count(kept["count"]),
        "size": filesizeformat(kept["size"] or 0),
        "folder": ", ".join(str(Path(settings.VALIDATED_ROOT, folder)) for folder in sorted(folders)),
    }
    return f"{text} {describe_kept_copies(copies)}".strip()


def describe_kept_copies(count: int) -> str:
    text = ngettext(
        "%(count)s off-site copy stays in the store.", "%(count)s off-site copies stay in the store.", count
    )
    return text % {"count": format_count(count)} if count else ""


def versions_section(job: ExpectedBackupJob) -> Section:
    """Return the stored versions with their off-site copies, some of which outlive the versions here."""
    has_store = settings.OFFSITE_URL is not None
    kept = Q(promotion__in=STORED) | (Q(offsite_copy__isnull=False) if has_store else Q(pk=None))
    entries = newest_entries(job).filter(kept).select_related("offsite_copy").defer("offsite_copy__digests")
    found = list(entries[: MAX_VERSIONS + 1])
    rows = [
        [
            display.link_to_entry(entry),
            display.storage_state(entry),
            *([offsite_display.copy_state(entry)] if has_store else []),
            format_html('<div class="path">{}</div>', entry.stored_path),
            display.size_with_tooltip(entry.server_size),
            display.short_hash(entry.server_sha256),
        ]
        for entry in found[:MAX_VERSIONS]
    ]
    return Section(
        title=_("Stored versions"),
        columns=[
            _("Scheduled"),
            _("Storage"),
            *([_("Off-site copy")] if has_store else []),
            _("File"),
            _("Size"),
            _("SHA-256"),
        ],
        rows=rows,
        empty=_("No stored versions."),
        note=versions_note(is_cut=len(found) > MAX_VERSIONS) if found else "",
    )


def versions_note(*, is_cut: bool) -> SafeString:
    """Return the way to the guide for restoring one, after what is not shown."""
    guide = format_html(
        _('To load one into a database of your own, follow <a href="{}">docs/restoring.md</a>.'), reverse("admin:help")
    )
    return format_html("{} {}", _("Older ones are not shown."), guide) if is_cut else guide
