"""Columns and texts of the admin: states, sizes and hashes, claimed by the machine and measured by the server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import StrIndex
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from backups import reasons
from backups.admin.drill_display import recent_drills
from backups.admin.form import shown_timetable
from backups.models import BackupEntry, DrillAssertion, ExpectedBackupJob, RestoreDrill, Status
from backups.panels import (
    LatestEntries,
    describe_proof,
    describe_status,
    find_next_expected,
    job_badge,
    link_to_job,
    standing_of,
)
from backups.protection import Standing
from backups.scanner.disk import paths
from portal.admin.display import (
    BAD,
    GOOD,
    QUIET,
    WARNING,
    badge,
    exact_moment,
    join_inline,
    relative_moment,
    stack_lines,
)
from portal.admin.exporting import exported
from portal.base.words import EMPTY_VALUE, format_count, format_moment, format_relative

Promotion = BackupEntry.Promotion
SHORT_HASH = 10
SHORT_DAYS = {
    "MO": gettext_lazy("Mon"), "TU": gettext_lazy("Tue"), "WE": gettext_lazy("Wed"), "TH": gettext_lazy("Thu"),
    "FR": gettext_lazy("Fri"), "SA": gettext_lazy("Sat"), "SU": gettext_lazy("Sun"),
}  # fmt: skip
# Orders of the list: the most urgent first, and by the size of the last verified backup.
# The place in a text holds the long expression of the standing once; a rank for each would repeat it six times.
BY_STANDING = StrIndex(Value(" ".join(Standing)), F("standing"))
LAST_SIZE = Subquery(
    BackupEntry.objects.good().filter(job=OuterRef("pk")).order_by("-cycle_at").values("server_size")[:1]
)
# Promotions with a badge; the others mean that nothing is stored.
STORAGE_TONES = {
    Promotion.WAITING: WARNING,
    Promotion.FAILED: BAD,
    Promotion.LOST: BAD,
    Promotion.PROMOTED: GOOD,
    Promotion.ARCHIVED: QUIET,
}


# --- States ----------------------------------------------------------------------------------------------------------


def entry_remarks(entry: BackupEntry | None) -> SafeString:
    """Return badges for a late entry and for its warnings, which a tooltip lists."""
    if entry is None:
        return SafeString("")
    count = len(entry.warnings)
    text = ngettext("%(count)d warning", "%(count)d warnings", count) % {"count": count}
    warnings = reasons.format_warnings(entry.warnings)
    return join_inline(
        badge(pgettext("backup", "late"), WARNING) if entry.late else "",
        format_html('<span title="{}">{}</span>', warnings, badge(text, WARNING)) if count else "",
    )


def job_state(job: ExpectedBackupJob, newest: LatestEntries, now: datetime) -> SafeString:
    """Return the badge of a job, and below it what else its last result says."""
    if not job.is_watched(now):
        return stack_lines(job_badge(job, now), describe_pause(job))
    is_covered = job.damage or standing_of(job) == Standing.OVERDUE
    last = ""
    if is_covered and job.current_status != Status.PENDING:
        status, _tone = describe_status(job, job.current_status, has_doubts=job.in_doubt)
        last = _("last result: %(status)s") % {"status": status}
    return stack_lines(job_badge(job, now), last, entry_remarks(newest.latest))


@admin.display(description=gettext_lazy("protection"))
def protection(job: ExpectedBackupJob) -> SafeString:
    is_protected = standing_of(job) == Standing.PROTECTED
    return badge(_("protected"), GOOD) if is_protected else badge(_("not protected"), WARNING)


@exported(attrgetter("proven_at"))
@admin.display(description=gettext_lazy("proven"), ordering="proven_at")
def proof(job: ExpectedBackupJob) -> SafeString | str:
    """Return what restore drills found, and below it when the backup was last restored."""
    return show_proof(job, short_moment)


@admin.display(description=gettext_lazy("restore drill"))
def proof_in_full(job: ExpectedBackupJob) -> SafeString | str:
    """Return what restore drills found, when, and why it is no proof."""
    if job.drill_requested_at:
        why = _("Restore drill requested")
    elif job.proof_lost:
        why = reasons.format_reasons(job.proof_lost)
    else:
        last = next(iter(recent_drills(job)), None)
        why = reasons.format_reasons(last.warnings) if last and last.status == last.Status.UNSUPPORTED else ""
    is_waiting = job.unavailable_sandbox is not None and not job.drill_requested_at
    return stack_lines(show_proof(job, exact_moment), why, describe_sandbox(job) if is_waiting else "")


def describe_sandbox(job: ExpectedBackupJob) -> str:
    """Return why the last drill could not run, since when, and what to do."""
    sandbox = job.unavailable_sandbox
    if sandbox is None:
        return ""
    text = (
        _("No drill has run since %(since)s: the sandbox for %(engine)s can’t be used. %(why)s")
        if sandbox.engine
        else _("No drill has run since %(since)s. %(why)s")
    ) % {
        "since": format_moment(sandbox.troubled_since),
        "engine": sandbox,
        "why": reasons.format_error(sandbox.trouble),
    }
    is_planned = job.drill_every_days and job.is_watched(timezone.now())
    if sandbox.engine:
        way_out = (
            _("It is tried again every hour; docs/operations.md says how to set it up.")
            if is_planned
            else _("Set it up as docs/operations.md says, then choose “Restore now”.")
        )
    else:
        way_out = (
            _("Free some space: it is tried again every hour.")
            if is_planned
            else _("Free some space, then choose “Restore now”.")
        )
    return f"{text} {way_out}"


def short_moment(moment: datetime) -> SafeString:
    text = format_relative(moment, timezone.now())
    return format_html('<span title="{}">{}</span>', format_moment(moment), text)


def show_proof(job: ExpectedBackupJob, show: Callable[[datetime], SafeString]) -> SafeString | str:
    return stack_lines(badge(*describe_proof(job)), show(job.proven_at) if job.proven_at else "")


@admin.display(description=gettext_lazy("re-verified"))
def hashed_again(job: ExpectedBackupJob) -> SafeString | str:
    if job.reverified_at is None:
        return _("not since it was stored")
    at = exact_moment(job.reverified_at)
    if job.damage:
        return stack_lines(join_inline(badge(_("corrupted"), BAD), at), reasons.format_reasons([job.damage]))
    return join_inline(badge(_("intact"), GOOD), at)


def describe_pause(job: ExpectedBackupJob) -> str:
    if job.is_active and job.paused_until is not None:
        return _("until %(moment)s") % {"moment": format_moment(job.paused_until)}
    return _("until resumed")


def entry_state(entry: BackupEntry) -> SafeString:
    return badge(*describe_status(entry.job, entry.status, has_doubts=entry.has_doubts))


@admin.display(description=gettext_lazy("storage"))
def storage_state(entry: BackupEntry) -> SafeString:
    promotion = Promotion(entry.promotion)
    tone = STORAGE_TONES.get(promotion)
    state = badge(promotion.label, tone) if tone else format_html('<span class="quiet">{}</span>', promotion.label)
    why = reasons.format_reasons([entry.promotion_reason]) if entry.promotion_reason else ""
    return stack_lines(state, why)


storage_state.__name__ = "kept"  # the name of the column in pages, which backups.css selects


def explain_status(entry: BackupEntry | None) -> SafeString | str:
    """Return the reasons of a status, and below them the warnings."""
    if entry is None:
        return EMPTY_VALUE
    warnings = reasons.format_warnings(entry.warnings)
    marked = format_html('<span class="doubt">{}</span>', warnings) if warnings else ""
    first_status = entry.first_status != entry.status and (
        _("First status: %(status)s.") % {"status": entry.get_first_status_display()}
    )
    return stack_lines(entry.message or EMPTY_VALUE, marked, first_status)


@admin.display(description=gettext_lazy("reason"))
def why_short(entry: BackupEntry) -> SafeString | str:
    """Return the reasons of a status in a list, where a plain success needs none."""
    is_remarkable = entry.warnings or entry.status != Status.SUCCESS or entry.first_status != entry.status
    return explain_status(entry) if is_remarkable else EMPTY_VALUE


# --- Moments ---------------------------------------------------------------------------------------------------------


@admin.display(description=gettext_lazy("next scheduled"))
def next_expected(job: ExpectedBackupJob) -> SafeString:
    return relative_moment(find_next_expected(job, timezone.now()))


@exported(attrgetter("last_verified_at"))
@admin.display(description=gettext_lazy("last verified backup"), ordering="last_verified_at")
def last_good(job: ExpectedBackupJob) -> SafeString | str:
    """Return the age of the last verified backup, and since when its content is unchanged."""
    return show_last_good(job, relative_moment)


@admin.display(description=gettext_lazy("verified"))
def last_good_in_full(job: ExpectedBackupJob) -> SafeString | str:
    return show_last_good(job, exact_moment)


def show_last_good(job: ExpectedBackupJob, show: Callable[[datetime], SafeString]) -> SafeString | str:
    if job.last_verified_at is None:
        return badge(_("none yet"), WARNING)
    return stack_lines(show(job.last_verified_at), unchanged_since(job))


def unchanged_since(job: ExpectedBackupJob) -> str:
    verified, success = job.last_verified_at, job.last_success_at
    if verified is None or success is None or success >= verified:
        return ""
    return _("unchanged since %(moment)s") % {"moment": format_moment(success)}


@admin.display(description=gettext_lazy("schedule"))
def schedule(job: ExpectedBackupJob) -> SafeString:
    """Return the days, the time and the zone at which the backup is expected."""
    shown = shown_timetable(job)
    if shown["schedule"]:
        return stack_lines(shown["schedule"], shown["time_zone"])
    days = describe_days(shown["days_of_week"]) or job.Frequency(shown["expected_frequency"]).label
    return stack_lines(f"{days} {shown['time_of_day']:%H:%M}", shown["time_zone"])


def describe_days(days: str) -> str:
    return ", ".join(str(SHORT_DAYS[day]) for day in days.split(",") if day in SHORT_DAYS)


# --- Sizes and hashes ------------------------------------------------------------------------------------------------


def size_with_tooltip(value: int | None) -> SafeString | str:
    return EMPTY_VALUE if value is None else format_html('<span title="{}">{}</span>', value, filesizeformat(value))


def short_hash(value: str) -> SafeString | str:
    return format_html('<code title="{}">{}</code>', value, value[:SHORT_HASH]) if value else EMPTY_VALUE


def size_and_hash(entry: BackupEntry, side: str, *, in_full: bool = False) -> SafeString | str:
    """Format size and hash of one side, `agent` or `server`, marking what differs from the other side."""
    own_size, own_hash = getattr(entry, f"{side}_size"), getattr(entry, f"{side}_sha256")
    if own_size is None and not own_hash:
        return EMPTY_VALUE
    sizes_differ = None not in (entry.agent_size, entry.server_size) and entry.agent_size != entry.server_size
    hashes_differ = "" not in (entry.agent_sha256, entry.server_sha256) and entry.agent_sha256 != entry.server_sha256
    shown_hash = format_html("<code>{}</code>", own_hash) if in_full and own_hash else short_hash(own_hash)
    shown_size = (
        _("%(count)s bytes") % {"count": format_count(own_size or 0)} if sizes_differ else size_with_tooltip(own_size)
    )
    return stack_lines(mark_difference(shown_size, sizes_differ), mark_difference(shown_hash, hashes_differ))


def mark_difference(shown: SafeString | str, differs: bool) -> SafeString | str:
    if not differs:
        return shown
    return format_html('<mark class="differs" title="{}">≠ {}</mark>', _("differs from the other value"), shown)


@admin.display(description=gettext_lazy("steps"))
def steps_reported(entry: BackupEntry) -> SafeString | str:
    steps = [describe_step(name, facts) for name, facts in entry.steps.items()]
    return stack_lines(*steps) if steps else EMPTY_VALUE


def describe_step(name: str, facts: dict[str, Any]) -> str:
    steps = {"backup": _("backup"), "compress": _("compression"), "transfer": _("transfer")}
    outcome = _("%(step)s: succeeded") if facts.get("status") else _("%(step)s: failed")
    times = " – ".join(facts[key] for key in ("start_time", "end_time") if key in facts)
    size = filesizeformat(facts["size"]) if "size" in facts else ""
    return ", ".join(filter(None, [outcome % {"step": steps.get(name, name)}, times, size]))


def storage_folder(job: ExpectedBackupJob) -> SafeString:
    """Return the folder, and which empty fields its underscores stand for."""
    folder = format_html("<code>{}</code>", job.storage_folder)
    named = paths.FIELDS.intersection(paths.BRACES.findall(job.final_storage_path_template))
    empty = [
        str(capfirst(field.verbose_name))
        for field in job._meta.concrete_fields
        if field.name in named and getattr(job, field.name) in ("", None)
    ]
    note = _("_ marks empty fields: %(fields)s") % {"fields": ", ".join(empty)} if empty else ""
    return stack_lines(folder, note)


# --- Links -----------------------------------------------------------------------------------------------------------


@admin.display(description=gettext_lazy("database, machine"), ordering="database_name")
def database(row: ExpectedBackupJob | BackupEntry | RestoreDrill | DrillAssertion) -> SafeString:
    job = job_of(row)
    return stack_lines(job.database_name, job.agent_id)


@admin.display(description=gettext_lazy("machine"))
def machine_page(row: ExpectedBackupJob | BackupEntry) -> SafeString:
    machine = job_of(row).agent_id
    return format_html('<a href="{}">{}</a>', reverse("admin:agents_agent_changelist", query={"q": machine}), machine)


@admin.display(description=gettext_lazy("expected backup"))
def expected_backup(row: BackupEntry | RestoreDrill) -> SafeString:
    return link_to_job(row.job)


def job_of(row: ExpectedBackupJob | BackupEntry | RestoreDrill | DrillAssertion) -> ExpectedBackupJob:
    return row if isinstance(row, ExpectedBackupJob) else row.job


def link_to_entry(entry: BackupEntry) -> SafeString:
    url = reverse("admin:backups_backupentry_change", args=[entry.pk])
    return format_html('<a href="{}">{}</a>', url, format_moment(entry.cycle_at))
