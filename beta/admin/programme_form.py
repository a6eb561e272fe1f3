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
            "name": _("Applications name the programme by it, and reports and files are called so."),
            "product": _("What is tried, as reports and the feedback page call it."),
            "starts": _("The first day. What targets did before it counts for nothing."),
            "ends": _("The last day. Without any, it runs until one is set."),
            "participants_target": _("So many different people have to say something."),
            "score_target": _(
                "Of 10. Of each participant the latest score counts; one by the public key replaces none by token."
            ),
            "latency_target_ms": _("The mean of its targets must be below it. Without targets it is no condition."),
            "error_percent_target": _(
                "The share of failed attempts, retried ones included, must be below it. "
                "Without targets it is no condition."
            ),
            "takes_public": _(
                "While it runs, whoever has the key may send feedback, on the page of the portal or from a form. "
                "Applications with a token may always."
            ),
            "allowed_origins": _(
                "Websites whose forms may send feedback by the key, one a line, such as https://www.example.org. "
                "The page of the portal needs none."
            ),
        }
