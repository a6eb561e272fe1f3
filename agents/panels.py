"""The tile of the fleet on the landing page, and the tokens on a machine's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.enrolment import tokens_of
from agents.models import Agent
from portal.admin.tokens import token_state
from portal.base.words import format_count
from portal.desk import checklist
from portal.desk.panels import Section, Tile, chart_start, daily_chart, tiles, token_uses
from portal.models import ApiToken

# Counting scans the whole fleet, so it is done once a minute and process.
FRESH_SECONDS = 60
SHOWN_TOKENS = 10


def fleet_totals(now: datetime) -> dict[str, int]:
    """Return the cached counts `{active, uninstalled, online, late, lost}`, at most a minute old."""
    return cache.get_or_set("agents.totals", lambda: Agent.objects.totals(now), FRESH_SECONDS) or {}


def enrolments_by_day(now: datetime) -> dict[date, int]:
    recent = Agent.objects.filter(enrolled_at__gte=chart_start(now)).annotate(day=TruncDate("enrolled_at"))
    return dict(recent.order_by().values_list("day").annotate(Count("id")))


@tiles.register
def fleet_tile(now: datetime) -> Tile:
    totals = fleet_totals(now)
    by_day = cache.get_or_set("agents.enrolments", lambda: enrolments_by_day(now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Machines"),
        figure=format_count(totals["active"]),
        caption=ngettext("active machine", "active machines", totals["active"]),
        url=reverse("admin:agents_agent_changelist"),
        facts=[
            (_("online"), format_count(totals["online"])),
            (_("late"), format_count(totals["late"])),
            (_("gone"), format_count(totals["lost"])),
        ],
        chart=daily_chart(by_day, now, _("enrolments per day")),
    )


@checklist.register
def first_machine(request: HttpRequest) -> checklist.Step:
    return checklist.Step(
        "machine",
        _("Connect an application"),
        _("Copy the lines for your installer, program or backup. Its machines, runs and backups then appear here."),
        reverse("admin:connect"),
        Agent.objects.exists(),
    )


def heartbeat_section(agent: Agent, now: datetime) -> Section | None:
    """Return the command that keeps a machine online, if it has not called since its enrolment or is not online."""
    is_silent = agent.last_seen_at == agent.enrolled_at or agent.liveness(now) != Agent.Liveness.ONLINE
    if not agent.is_active or not is_silent:
        return None
    text = _(
        "A machine is online while it calls the portal at least every {minutes} minutes. Keep this command running on "
        "it as a service, or call it from cron without {watch}: {command}"
    )
    words = {
        "minutes": settings.HEARTBEAT_INTERVAL_SECONDS // 60 or 1,
        "watch": format_html("<code>{}</code>", "--watch"),
        "command": format_html("<code>{}</code>", f"vigie-client heartbeat --server {settings.PORTAL_URL} --watch"),
    }
    return Section(_("Heartbeats"), columns=[], rows=[], empty=format_html(text, **words))


def token_section(agent: Agent) -> Section:
    """The machine's tokens, newest first."""
    now, found = timezone.now(), tokens_of(agent).order_by("-id")[: SHOWN_TOKENS + 1]
    rows = [
        [
            format_html('<a href="{}">{}</a>', reverse("admin:portal_apitoken_change", args=[token.pk]), token.key),
            token_state(token, now),
            token.created_at,
            token.last_used_at or _("never"),
            token.expires_at or _("never"),
        ]
        for token in found
    ]
    return Section(
        title=_("Tokens"),
        columns=[_("Public key"), _("Status"), _("Issued"), _("Last used"), _("Expires")],
        rows=rows[:SHOWN_TOKENS],
        url=reverse("admin:portal_apitoken_changelist", query={"q": agent.machine_id}),
        empty=_("No tokens."),
        note=_("Only the newest tokens are shown.") if len(rows) > SHOWN_TOKENS else "",
    )


@token_uses.register
def machines_of_tokens(tokens: Sequence[ApiToken], now: datetime) -> Iterator[str]:
    """Yield how many machines lose their token, and how many enrolled with an enrolment token and are not affected."""
    losing = Agent.objects.active().filter(machine_tokens__token__in=tokens).distinct().count()
    if losing:
        text = ngettext(
            "%(count)s machine must be enrolled again, on site.",
            "%(count)s machines must be enrolled again, on site.",
            losing,
        )
        yield text % {"count": format_count(losing)}
    enrolled = Agent.objects.active().filter(enrolled_with__in=tokens).count()
    if enrolled:
        text = ngettext(
            "%(count)s machine that enrolled this way keeps its own token.",
            "%(count)s machines that enrolled this way keep their own tokens.",
            enrolled,
        )
        yield text % {"count": format_count(enrolled)}
