"""The first steps of an empty portal, listed on the landing page until all are done or the user dismisses them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.base.conventions import Collected
from portal.desk.links import may_use
from portal.models import ApiToken
from portal.notifications.configuration import has_alert_channel

log = logging.getLogger("vigie.checklist")
OWN_STEPS = ("channel", "token")


@dataclass(frozen=True)
class Step:
    """A step: `url` leads to the page where it is done, `is_done` comes from one short query."""

    key: str
    title: Any
    sentence: Any
    url: str
    is_done: bool


StepSource = Callable[[HttpRequest], Step]
steps: Collected[StepSource] = Collected("panels")
register = steps.register


@dataclass(frozen=True)
class Checklist:
    """The steps that the user may take. The portal is empty while it monitors nothing: no machine, backup, target."""

    steps: list[Step]
    is_portal_empty: bool

    @property
    def done(self) -> int:
        return sum(step.is_done for step in self.steps)

    @property
    def is_open(self) -> bool:
        return self.done < len(self.steps)


def load_checklist(request: HttpRequest) -> Checklist:
    found = [step for source in steps.all() if (step := load_step(source, request))]
    monitored = [step.is_done for step in found if step.key not in OWN_STEPS]
    return Checklist([step for step in found if may_use(request, step.url)], bool(monitored) and not any(monitored))


def load_step(source: StepSource, request: HttpRequest) -> Step | None:
    """Return the source's step, or None if it failed: the others are shown all the same."""
    try:
        return source(request)
    except Exception:
        log.exception("the step of %s failed", source.__module__)
        return None


# --- The portal's own ------------------------------------------------------------------------------------------------


@register
def first_channel(request: HttpRequest) -> Step:
    return Step(
        "channel",
        _("Add a notification channel"),
        _("Alerts go to an e-mail list, a Telegram chat, a webhook or any Apprise URL."),
        reverse("admin:portal_notificationchannel_add"),
        has_alert_channel(),
    )


@register
def first_token(request: HttpRequest) -> Step:
    return Step(
        "token",
        _("Issue an enrolment token"),
        _("Installers use it to enrol machines. The page shows the scripts to run."),
        reverse("admin:portal_apitoken_add"),
        ApiToken.objects.filter(kind=ApiToken.Kind.ENROLL).exists(),
    )
