"""Summary above the list of targets: how many are up, and the newest round."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.admin.display import format_share
from monitoring.figures.uptime import format_percent
from monitoring.models import Incident, Round
from monitoring.panels import (
    StateCounts,
    cached_month,
    count_states,
    format_milliseconds,
)
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, relative_moment
from portal.base.words import format_count


@dataclass(frozen=True)
class ListHeading:
    """`other_states` are counts of targets that are not simply up, each with the query that lists them."""

    figure: str
    caption: str
    tone: str
    other_states: list[tuple[str, str]]
    facts: list[tuple[str, Any]]


def list_heading(now: datetime) -> ListHeading:
    figures, newest, uptime = count_states(now), Round.objects.latest_first().first(), cached_month(now).uptime
    facts = [
        (_("Open incidents"), incidents_link(Incident.objects.open().count())),
        (capfirst(_("30-day uptime")), format_percent(uptime)),
        *(round_facts(newest) if newest else [(_("Last check"), _("never"))]),
    ]
    return ListHeading(figures.sentence, figures.caption, tone_of(figures), other_states(figures), facts)


def tone_of(figures: StateCounts) -> str:
    """Return the tone of the figure: nothing monitored is neither good nor bad."""
    if not figures.watched:
        return QUIET
    if figures.down or figures.unstable:
        return BAD
    return WARNING if figures.overdue else GOOD


def other_states(figures: StateCounts) -> list[tuple[str, str]]:
    told = (
        (figures.down, ngettext("%(count)s down", "%(count)s down", figures.down), "state=down"),
        (figures.unstable, ngettext("%(count)s unstable", "%(count)s unstable", figures.unstable), "state=unstable"),
        (figures.failing, ngettext("%(count)s failing", "%(count)s failing", figures.failing), "state=failing"),
        (figures.overdue, ngettext("%(count)s overdue", "%(count)s overdue", figures.overdue), "standing=overdue"),
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


def round_facts(newest: Round) -> list[tuple[str, Any]]:
    facts = [
        (_("Last check"), relative_moment(newest.finished_at)),
        (_("Checks"), format_count(newest.checks)),
        (_("Errors"), format_share(newest.error_rate)),
        ("p95", format_milliseconds(newest.p95_ms)),
    ]
    if newest.is_online is False:
        facts.append((_("Network"), badge(_("offline"), BAD)))
    return facts
