"""The heading above the list of jobs: protected databases, and the last scan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.models import Scan
from backups.panels import ProtectionCounts, ScanStatus, cached_counts, load_scan_status
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, relative_moment
from portal.base.words import format_count, format_span


@dataclass(frozen=True)
class Fact:
    name: str
    value: Any
    is_bad: bool = False


def build_heading(now: datetime) -> dict[str, Any]:
    """Return the context of the template `backups/heading.html`."""
    counts, scans = cached_counts(now), load_scan_status(now)
    return {
        "figure": counts.summary,
        "caption": counts.caption if counts.watched else _("No database is monitored yet."),
        "tone": rate_counts(counts),
        "unprotected": describe_unprotected(counts),
        "facts": describe_scans(scans),
        "counters": list_counters(scans.last) if scans.last else [],
        "root_is_missing": scans.root_is_missing,
    }


def rate_counts(counts: ProtectionCounts) -> str:
    """Return the tone of the figure. Without a monitored database it is never good."""
    if not counts.watched:
        return QUIET
    if counts.failing:
        return BAD
    return GOOD if counts.protected == counts.watched else WARNING


def describe_unprotected(counts: ProtectionCounts) -> list[tuple[str, str]]:
    """Return phrases on the other databases, each with the query that lists them."""
    phrases = (
        (counts.failing, ngettext("%(count)s failing", "%(count)s failing", counts.failing), "attention=yes"),
        (counts.overdue, ngettext("%(count)s overdue", "%(count)s overdue", counts.overdue), "attention=overdue"),
        (
            counts.suspicious,
            ngettext("%(count)s suspicious", "%(count)s suspicious", counts.suspicious),
            "attention=doubts",
        ),
        (counts.pending, ngettext("%(count)s pending", "%(count)s pending", counts.pending), "attention=pending"),
        (counts.paused, ngettext("%(count)s paused", "%(count)s paused", counts.paused), "attention=paused"),
    )
    return [(text % {"count": format_count(count)}, query) for count, text, query in phrases if count]


def describe_scans(scans: ScanStatus) -> list[Fact]:
    facts = [Fact(_("Last scan"), relative_moment(scans.last.finished_at if scans.last else None, _("never")))]
    if scans.running:
        machine = scans.running.agent_id
        scope = machine or _("all machines")
        facts.append(Fact(_("Scan in progress"), badge(scope, WARNING)))
    return facts


def list_counters(scan: Scan) -> list[Fact]:
    """Return the counters of a finished scan, and nothing if the deposit root was missing."""
    if scan.root_is_missing or scan.finished_at is None:
        return []
    return [
        Fact(_("Duration"), format_length(scan.finished_at - scan.started_at)),
        Fact(_("Machines scanned"), format_count(scan.agents)),
        Fact(_("Expected backups"), format_count(scan.jobs)),
        Fact(_("Results recorded"), format_count(scan.recorded)),
        Fact(_("Pending"), format_count(scan.pending)),
        Fact(_("Failures"), format_count(scan.failures), scan.failures > 0),
        Fact(_("Data hashed"), filesizeformat(scan.bytes_hashed)),
        Fact(_("Errors"), format_count(scan.errors), scan.errors > 0),
    ]


def format_length(duration: timedelta) -> str:
    """Format as `0.4 s`, `12 s`, `3 min 20 s` or `2 h 5 min`."""
    seconds = duration.total_seconds()
    return _("%(seconds)s s") % {"seconds": f"{seconds:.1f}"} if seconds < 10 else format_span(duration)
