"""What licences are looked for by."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.admin.filters import ChoiceFilter
from usage.licences import UNNAMED, WITHOUT_QUOTA, near_quota, over_quota

IDLE = timedelta(days=30)


class StandingFilter(ChoiceFilter):
    title = _("quota")
    parameter_name = "standing"
    options = {"over": _("over quota"), "near": _("from 80 %"), "none": _("no quota")}

    def condition(self, value: str, now: datetime) -> Q:
        return {"over": over_quota(now), "near": near_quota(now), "none": WITHOUT_QUOTA}[value]


class CustomerFilter(ChoiceFilter):
    title = _("customer")
    parameter_name = "customer"
    options = {"unnamed": _("unnamed"), "named": _("named")}

    def condition(self, value: str, now: datetime) -> Q:
        return UNNAMED if value == "unnamed" else ~UNNAMED


class IdleFilter(ChoiceFilter):
    title = _("last run")
    parameter_name = "runs"
    options = {"idle": _("none for 30 days"), "active": _("within 30 days")}

    def condition(self, value: str, now: datetime) -> Q:
        active = Q(last_run_at__gte=now - IDLE)
        return active if value == "active" else Q(last_run_at=None) | Q(last_run_at__lt=now - IDLE)
