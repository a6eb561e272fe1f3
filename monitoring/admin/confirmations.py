"""Questions before actions on targets and incidents: what will happen, with numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.admin.form import AssignForm, CauseForm, SilenceForm
from monitoring.models import Incident, Target
from portal.admin.confirm import Confirmation
from portal.base.words import format_moment


def describe_silence(model_admin: Any, request: HttpRequest, targets: QuerySet[Target]) -> Confirmation:
    consequences = count_consequences(
        targets,
        lambda count: ngettext(
            "Checks continue and incidents are recorded, but no alerts are sent for this target.",
            "Checks continue and incidents are recorded, but no alerts are sent for these %(count)d targets.",
            count,
        ),
        lambda count: ngettext(
            "%(count)d open incident sends no reminders.", "%(count)d open incidents send no reminders.", count
        ),
    )
    return Confirmation(_("Silence"), _("Silence"), consequences, form=SilenceForm, remark=url_of)


def describe_pause(model_admin: Any, request: HttpRequest, targets: QuerySet[Target]) -> Confirmation:
    consequences = count_consequences(
        targets,
        lambda count: ngettext(
            "This target is not checked until someone resumes it.",
            "These %(count)d targets are not checked until someone resumes them.",
            count,
        ),
        lambda count: ngettext(
            "%(count)d open incident is closed without a recovery.",
            "%(count)d open incidents are closed without a recovery.",
            count,
        ),
    )
    return Confirmation(_("Pause monitoring"), _("Pause"), consequences, remark=url_of)


def count_consequences(
    targets: QuerySet[Target], of_targets: Callable[[int], str], of_incidents: Callable[[int], str]
) -> list[str]:
    """Return the sentence about so many targets, and the one about their open incidents if there are any."""
    counts = ((targets.count(), of_targets), (count_open(targets), of_incidents))
    return [sentence(count) % {"count": count} for count, sentence in counts if count]


def describe_unpublishing(model_admin: Any, request: HttpRequest, targets: QuerySet[Target]) -> Confirmation:
    count = targets.count()
    consequences = [
        ngettext(
            "%(count)d badge address stops working: pages that show it get an error (404).",
            "%(count)d badge addresses stop working: pages that show them get an error (404).",
            count,
        )
        % {"count": count},
        _("A badge that is published again gets a new address."),
    ]
    return Confirmation(_("Unpublish badge"), _("Unpublish badge"), consequences, remark=url_of)


def describe_assignment(model_admin: Any, request: HttpRequest, incidents: QuerySet[Incident]) -> Confirmation:
    consequences = [_("The name is shown in the list of incidents and on the landing page.")]
    form = partial(AssignForm, list(incidents[:2]))
    return Confirmation(_("Assign"), _("Assign"), consequences, form=form, remark=opened_at)


def describe_cause(model_admin: Any, request: HttpRequest, incidents: QuerySet[Incident]) -> Confirmation:
    found = list(incidents[:2])
    initial = {"cause": found[0].cause} if len(found) == 1 else None
    form = partial(CauseForm, initial=initial)
    return Confirmation(_("Root cause"), _("Save"), [], form=form, remark=opened_at)


def count_open(targets: QuerySet[Target]) -> int:
    return Incident.objects.open().filter(target__in=targets.order_by().values("pk")).count()


def url_of(target: Target) -> str:
    return target.url


def opened_at(incident: Incident) -> str:
    return format_moment(incident.opened_at)
