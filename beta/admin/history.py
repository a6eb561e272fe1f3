"""Audit events of the beta, in words."""

from django.utils.translation import gettext_lazy as _

from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind, by_number

EVENT_TEXTS.update(
    {
        "monitoring.feedback_triaged": _("Triaged"),
        "betafeedback.deleted": _("Deleted"),
        "feedback.discarded": _("Spam feedback discarded"),
        "betaprogramme.added": _("Added"),
        "betaprogramme.changed": _("Changed"),
        "betaprogramme.deleted": _("Deleted"),
        "beta.exported": _("Report exported"),
        "beta.key_replaced": _("Public key replaced"),
    }
)
SUBJECTS.update(
    {
        "beta": SubjectKind("beta.betaprogramme", by_number, is_key=True, columns=("name",)),
        "feedback": SubjectKind("beta.betafeedback", by_number, is_key=True),
    }
)
