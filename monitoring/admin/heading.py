"""What stands above the list of targets: how many are up, and what the last round saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.admin.display import share
from monitoring.figures.uptime import percent
from monitoring.models import Round
from monitoring.panels import Totals, last_round, milliseconds, month, open_incidents, totals
from portal.admin.display import BAD, badge, relative_moment
from portal.base.words import format_count


@dataclass(frozen=True)
class Heading:
    """`rest` are the targets that are not simply up, in words, each with the query that lists them."""

    figure: str
    is_bad: bool
    rest: list[tuple[str, str]]
    facts: list[tuple[str, Any]]


def heading(now: datetime) -> Heading:
    figures, newest, uptime = totals(), last_round(), month(now).uptime
    facts = [
        (_("Open incidents"), incidents_link(open_incidents())),
        (_("Uptime of 30 days"), percent(uptime)),
        *(seen(newest) if newest else [(_("Last round"), _("never"))]),
    ]
    return Heading(figures.sentence, bool(figures.down or figures.unstable), rest(figures), facts)


def rest(figures: Totals) -> list[tuple[str, str]]:
    told = (
        (figures.down, ngettext("%(count)s down", "%(count)s down", figures.down), "state=down"),
        (figures.unstable, ngettext("%(count)s unstable", "%(count)s unstable", figures.unstable), "state=unstable"),
        (figures.failing, ngettext("%(count)s failing", "%(count)s failing", figures.failing), "state=failing"),
        (figures.slow, ngettext("%(count)s slow", "%(count)s slow", figures.slow), "state=slow"),
        (
            figures.unknown,
            ngettext("%(count)s not checked yet", "%(count)s not checked yet", figures.unknown),
            "state=unknown",
        ),
        (figures.paused, ngettext("%(count)s paused", "%(count)s paused", figures.paused), "standing=paused"),
    )
    return [(text % {"count": format_count(count)}, query) for count, text, query in told if count]


def incidents_link(count: int) -> Any:
    if not count:
        return "0"
    url = reverse("admin:monitoring_incident_changelist", query={"state": "open"})
    return format_html('<a href="{}">{}</a>', url, format_count(count))


def seen(newest: Round) -> list[tuple[str, Any]]:
    """What the last round saw."""
    facts = [
        (_("Last round"), relative_moment(newest.finished_at)),
        (_("Checks"), format_count(newest.checks)),
        (_("Errors"), share(newest.error_rate)),
        ("p95", milliseconds(newest.p95_ms)),
    ]
    if newest.is_online is False:
        facts.append((_("Network"), badge(_("offline"), BAD)))
    return facts
