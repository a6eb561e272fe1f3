"""Confirmations of replacing a public key, and of the triage of many."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from beta import display
from beta.admin.feedback_form import BulkTriageForm
from beta.models import BetaFeedback, BetaProgramme
from portal.admin.confirm import Confirmation
from portal.base.words import format_count

RECENT = timedelta(days=7)
SHOWN_OF_CHOSEN = 60


def describe_replacement(model_admin: Any, request: HttpRequest, queryset: QuerySet[BetaProgramme]) -> Confirmation:
    names = list(queryset.values_list("name", flat=True))
    return Confirmation(
        title=_("Replace public key"),
        button=_("Replace public key"),
        consequences=[
            describe_recent_use(queryset),
            _("Links to the public feedback page and forms with the old key stop working. This can’t be undone."),
            _("Applications that send feedback with a token are not affected."),
        ],
        typed=names[0] if len(names) == 1 else str(len(names)),
    )


def describe_recent_use(programmes: QuerySet[BetaProgramme]) -> str:
    """Return how many participants sent feedback by the keys. All types are named, so that `feedback_given` is used."""
    since = timezone.now() - RECENT
    found = BetaFeedback.objects.filter(programme__in=programmes.values("pk"), type__in=BetaFeedback.Type)
    public = found.filter(given_at__gte=since, source=BetaFeedback.PUBLIC)
    count = public.order_by().values("programme", "participant").distinct().count()
    text = ngettext(
        "%(count)s participant used it in the last 7 days.", "%(count)s participants used it in the last 7 days.", count
    )
    return text % {"count": format_count(count)}


def describe_triage(model_admin: Any, request: HttpRequest, queryset: QuerySet[BetaFeedback]) -> Confirmation:
    """Lock the rows: the form is checked against what is changed afterwards."""
    rows = model_admin.lock_rows(request, queryset, "triage")
    return Confirmation(
        title=_("Triage"),
        button=pgettext_lazy("button", "Change"),
        consequences=[_("Fields left unchanged keep their values.")],
        form=lambda data: BulkTriageForm(rows, data),
        remark=lambda feedback: display.feedback_excerpt(feedback, SHOWN_OF_CHOSEN),
    )
