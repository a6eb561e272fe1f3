"""What came from a machine as feedback, on its page."""

from __future__ import annotations

from django.utils.translation import gettext as _

from agents.enrolment import machine_subject
from monitoring.beta import display
from monitoring.models import BetaFeedback
from portal.base.findings import admin_url
from portal.desk.panels import Section

SHOWN_FEEDBACK = 10


def feedback_of_machine(machine_id: str) -> Section:
    """An index on `source` finds it."""
    found = BetaFeedback.objects.filter(source=machine_subject(machine_id)).order_by("-id")
    return Section(
        title=_("Beta feedback"),
        columns=[_("Given"), _("Number"), _("Type"), _("Severity"), _("Status"), _("Score"), _("Comment")],
        rows=[
            [
                feedback.given_at,
                display.link_to(feedback),
                display.type_badge(feedback),
                display.severity_badge(feedback),
                display.status_badge(feedback),
                display.score(feedback),
                display.brief(feedback),
            ]
            for feedback in display.in_brief(found)[:SHOWN_FEEDBACK]
        ],
        url=admin_url("monitoring_betafeedback_changelist", {"source": machine_subject(machine_id)}),
        empty=_("None came from this machine."),
    )
