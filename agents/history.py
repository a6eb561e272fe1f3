"""What happens to machines, in words."""

from django.utils.translation import gettext_lazy as _

from portal.audit import EVENT_TEXTS

EVENT_TEXTS.update(
    {
        "agent.enrolled": _("Enrolled"),
        "agent.reactivated": _("Came back after it was uninstalled"),
        "agent.replayed": _("Was given its token once more"),
        "agent.replayed_elsewhere": _("Was given its token once more, under another host name"),
        "agent.renamed": _("Reported another host name"),
        "agent.changed": _("Reported a change"),
        "agent.token_rotated": _("Changed its token"),
        "agent.tokens_revoked": _("Its tokens were revoked"),
        "agent.reenrolment_allowed": _("Was allowed one re-enrolment"),
        "agent.enrolment_allowed": _("Was allowed to enrol"),
        "agent.enrolment_discarded": _("Its request to be enrolled was discarded"),
        "agent.bound": _("Was bound to a licence, or no longer is"),
        "agent.uninstalled": _("Uninstalled"),
        "refused.agent_already_active": _("Refused: the machine is enrolled already"),
        "refused.approval_required": _("Refused: an operator must allow the enrolment first"),
        "refused.reactivation_forbidden": _("Refused: the machine was uninstalled and may not come back"),
    }
)
