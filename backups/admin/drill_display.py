"""Columns and texts of restore drills and assertions in the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from backups import reasons
from backups.drills.trials import format_value
from backups.models import DrillAssertion, ExpectedBackupJob, RestoreDrill
from portal.admin.display import BAD, GOOD, QUIET, badge, stack_lines
from portal.base.words import EMPTY_VALUE, format_count, format_moment, format_span

MILLISECONDS_BELOW = 1_000
MAX_DRILLS = 10
EXPECTATION_SIGNS = {
    DrillAssertion.Comparison.EQUAL: "=",
    DrillAssertion.Comparison.AT_LEAST: "≥",
    DrillAssertion.Comparison.AT_MOST: "≤",
}
DRILL_TONES = {
    RestoreDrill.Status.RUNNING: QUIET,
    RestoreDrill.Status.PROVEN: GOOD,
    RestoreDrill.Status.FAILED: BAD,
    RestoreDrill.Status.UNSUPPORTED: QUIET,
}


@admin.display(description=gettext_lazy("status"))
def drill_state(drill: RestoreDrill) -> SafeString:
    if drill.losses and drill.status == drill.Status.PROVEN:
        return badge(_("not proven"), BAD)
    status = RestoreDrill.Status(drill.status)
    progress = drill_progress(drill) if status == RestoreDrill.Status.RUNNING else ""
    return stack_lines(badge(status.label, DRILL_TONES[status]), progress)


@admin.display(description=gettext_lazy("result"))
def drill_result(drill: RestoreDrill) -> SafeString | str:
    """Return what came back, and below it why that is no proof."""
    if drill.status in (drill.Status.RUNNING, drill.Status.UNSUPPORTED):
        return format_html('<div class="why">{}</div>', drill_reasons(drill))
    return format_html(
        '<div class="why">{}</div>', stack_lines(count_restored(drill), reasons.format_reasons(drill.losses))
    )


def recent_drills(job: ExpectedBackupJob) -> list[RestoreDrill]:
    """Return the MAX_DRILLS newest drills and one more, looked up once for all that the page shows of them."""
    if not hasattr(job, "recent_drills"):
        newest_first = job.drills.select_related("entry__job").defer("schema").order_by("-id")
        job.recent_drills = list(newest_first[: MAX_DRILLS + 1])  # type: ignore[attr-defined]
    found: list[RestoreDrill] = job.recent_drills  # type: ignore[attr-defined]
    return found


def last_restore(job: ExpectedBackupJob) -> RestoreDrill | None:
    """Return the last drill that restored the backup, proof or not."""
    recent = recent_drills(job)
    found = next((drill for drill in recent if drill.status == drill.Status.PROVEN), None)
    return job.drills.restored().newest() if found is None and len(recent) > MAX_DRILLS else found


def count_restored(drill: RestoreDrill) -> str:
    count = drill.tables or 0
    tables = ngettext("%(count)s table", "%(count)s tables", count) % {"count": format_count(count)}
    rows = ngettext("%(count)s row", "%(count)s rows", drill.row_count) % {"count": format_count(drill.row_count)}
    return f"{tables}, {rows}"


@admin.display(description=gettext_lazy("reason"))
def drill_reasons(drill: RestoreDrill) -> SafeString | str:
    why = drill.warnings if drill.status == drill.Status.UNSUPPORTED else drill.losses
    return reasons.format_reasons(why) or EMPTY_VALUE


def drill_progress(drill: RestoreDrill) -> SafeString:
    total = max(drill.entry.server_size or 0, drill.bytes_read, 1)
    words = {"read": filesizeformat(drill.bytes_read), "total": filesizeformat(total)}
    text = _("%(read)s of %(total)s read") % words
    return format_html('<progress value="{}" max="{}"></progress> {}', drill.bytes_read, total, text)


@admin.display(description=gettext_lazy("time to restore"))
def drill_duration(drill: RestoreDrill) -> str:
    if drill.duration_ms is None:
        return EMPTY_VALUE
    is_short = drill.duration_ms < MILLISECONDS_BELOW
    return f"{drill.duration_ms} ms" if is_short else format_span(timedelta(milliseconds=drill.duration_ms))


def assertion_result(result: dict[str, Any] | None) -> SafeString | str:
    """Return whether an assertion held in a drill, and below it its value."""
    if result is None:
        return EMPTY_VALUE
    state = badge(_("passed"), GOOD) if result["ok"] else badge(pgettext("assertion", "failed"), BAD)
    failed = _("The query failed: edit the assertion and try it.") if result["failed"] else ""
    lines = stack_lines(state, "" if result["value"] is None else format_value(result["value"]), failed)
    return format_html('<div class="why">{}</div>', lines)


def link_to_drill(drill: RestoreDrill) -> SafeString:
    url = reverse("admin:backups_restoredrill_change", args=[drill.pk])
    return format_html('<a href="{}">{}</a>', url, format_moment(drill.started_at))


def describe_expectation(asserted: DrillAssertion) -> str:
    if asserted.comparison == DrillAssertion.Comparison.WITHIN_HOURS:
        return _("at most %(hours)s h ago") % {"hours": asserted.expected}
    return f"{EXPECTATION_SIGNS[asserted.Comparison(asserted.comparison)]} {asserted.expected}"
