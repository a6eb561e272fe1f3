"""The form of a programme's settings."""

from typing import TYPE_CHECKING

from django import forms
from django.utils.translation import gettext_lazy as _

from beta.models import BetaProgramme

if TYPE_CHECKING:
    BaseProgrammeForm = forms.ModelForm[BetaProgramme]
else:
    BaseProgrammeForm = forms.ModelForm


class ProgrammeForm(BaseProgrammeForm):
    class Meta:
        model = BetaProgramme
        exclude = ()
        widgets = {
            "allowed_origins": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
        }
        help_texts = {
            "name": _("Identifies the programme in the API, in reports and in file names."),
            "product": _("Shown in reports and on the public feedback page."),
            "starts": _("First day. Earlier checks don’t count."),
            "ends": _("Last day. Leave empty for no end date."),
            "participants_target": _("Minimum number of participants."),
            "score_target": _(
                "Minimum average score out of 10. The latest score of each participant counts; "
                "one with the public key never replaces one with a token."
            ),
            "latency_target_ms": _("Maximum average response time. Ignored without targets."),
            "error_percent_target": _("Maximum share of failed attempts, retries included. Ignored without targets."),
            "takes_public": _(
                "While the programme runs, anyone with its link or public key can send feedback. "
                "Applications with a token always can."
            ),
            "allowed_origins": _(
                "Websites whose own forms may send feedback, one per line, such as https://www.example.org. "
                "Leave empty to allow the public feedback page only."
            ),
        }
