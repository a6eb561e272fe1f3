"""How the running programme stands: on the landing page."""

from __future__ import annotations

from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.urls import reverse
from django.utils.translation import gettext as _

from monitoring.beta import wording
from monitoring.beta.standing import FRESH_SECONDS, Standing, running
from monitoring.models import BetaFeedback, BetaProgramme
from portal.base.words import EMPTY_VALUE
from portal.desk.panels import Tile, chart_start, daily_chart


def feedback_by_day(programme: BetaProgramme, now: datetime) -> dict[date, int]:
    """Of the days that a chart shows. An index on programme, type and moment bounds what this reads."""
    shown = BetaFeedback.objects.filter(programme=programme, type__in=BetaFeedback.Type, given_at__gte=chart_start(now))
    return dict(shown.annotate(day=TruncDate("given_at")).order_by().values_list("day").annotate(Count("pk")))


def beta_tile(now: datetime) -> Tile:
    """Of several programmes that run, the one that began last."""
    found = running(now)
    if not found:
        url = reverse("admin:monitoring_betaprogramme_changelist")
        return Tile(title=_("Beta"), figure=EMPTY_VALUE, caption=_("no programme runs"), url=url)
    programme, standing = found[0]
    key = f"monitoring.beta.days.{programme.pk}"
    by_day = cache.get_or_set(key, lambda: feedback_by_day(programme, now), FRESH_SECONDS) or {}
    return Tile(
        title=_("Beta"),
        figure=wording.verdict_of(standing.verdict),
        caption=programme.name,
        url=reverse("admin:monitoring_betaprogramme_change", args=[programme.pk]),
        facts=facts_of(standing, programme),
        chart=daily_chart(by_day, now, _("feedback a day")),
    )


def facts_of(standing: Standing, programme: BetaProgramme) -> list[tuple[str, str]]:
    figures = standing.figures
    taking_part = {
        "count": wording.count(figures.participants),
        "target": wording.count(programme.participants_target),
    }
    return [
        (_("participants"), _("%(count)s of %(target)s") % taking_part),
        (_("average score"), wording.score(figures.average)),
        (_("Net Promoter Score"), wording.signed(standing.nps)),
        (_("critical and high bugs open"), wording.count(figures.grave_bugs)),
    ]
