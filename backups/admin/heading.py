"""What stands above the list: how many databases are protected, and what the last scan saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups.models import Scan
from backups.panels import Scans, Totals, scans, totals
from portal.admin.display import WARNING, badge, relative_moment
from portal.base.words import format_count

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True)
class Fact:
    name: str
    value: Any
    is_bad: bool = False


@dataclass(frozen=True)
class Heading:
    """`rest` are the databases that are not protected, in words, each with the query that lists them."""

    figure: str
    is_bad: bool
    rest: list[tuple[str, str]]
    facts: list[Fact]
    root_is_missing: bool


def heading(now: datetime) -> Heading:
    figures, looked = totals(now), scans(now)
    return Heading(
        figure=figures.sentence,
        is_bad=bool(figures.failing),
        rest=rest(figures),
        facts=[*last_and_running(looked), *(seen(looked.last) if looked.last else [])],
        root_is_missing=looked.root_is_missing,
    )


def rest(figures: Totals) -> list[tuple[str, str]]:
    told = (
        (figures.failing, ngettext("%(count)s failing", "%(count)s failing", figures.failing), "attention=yes"),
        (
            figures.suspicious,
            ngettext("%(count)s suspicious", "%(count)s suspicious", figures.suspicious),
            "attention=doubts",
        ),
        (
            figures.waiting,
            ngettext("%(count)s waiting or late", "%(count)s waiting or late", figures.waiting),
            "attention=waiting",
        ),
        (figures.paused, ngettext("%(count)s paused", "%(count)s paused", figures.paused), "attention=paused"),
    )
    return [(text % {"count": format_count(count)}, query) for count, text, query in told if count]


def last_and_running(looked: Scans) -> list[Fact]:
    facts = [Fact(_("Last scan"), relative_moment(looked.last.finished_at if looked.last else None, _("never")))]
    if looked.running:
        machine = looked.running.agent_id
        of = _("of %(machine)s") % {"machine": machine} if machine else _("of all machines")
        facts.append(Fact(_("Running now"), badge(of, WARNING)))
    return facts


def seen(scan: Scan) -> list[Fact]:
    """What a finished scan saw; one that found no deposit root saw nothing."""
    if scan.root_is_missing or scan.finished_at is None:
        return []
    return [
        Fact(_("It took"), duration((scan.finished_at - scan.started_at).total_seconds())),
        Fact(_("Machines looked at"), format_count(scan.agents)),
        Fact(_("Expected backups"), format_count(scan.jobs)),
        Fact(_("Recorded"), format_count(scan.recorded)),
        Fact(_("Pending"), format_count(scan.pending)),
        Fact(_("Failures"), format_count(scan.failures), scan.failures > 0),
        Fact(_("Hashed"), filesizeformat(scan.bytes_hashed)),
        Fact(_("Errors"), format_count(scan.errors), scan.errors > 0),
    ]


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return _("%(seconds)s s") % {"seconds": f"{seconds:.1f}"}
    if seconds < MINUTE:
        return _("%(seconds)s s") % {"seconds": round(seconds)}
    if seconds < HOUR:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": seconds // MINUTE, "seconds": seconds % MINUTE}
    return _("%(hours)d h %(minutes)d min") % {"hours": seconds // HOUR, "minutes": seconds % HOUR // MINUTE}
