"""The form that participants fill in: the questions of the public page, and its sentences about wrong answers."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from vigie_client import contract

from beta.feedback.intake import HONEYPOT
from beta.feedback.reading import FeedbackPayload, collect_feedback
from beta.models import BetaFeedback
from portal.api.payloads import PayloadReader

TYPES = (
    (BetaFeedback.Type.BUG.value, gettext_lazy("Something doesn’t work")),
    (BetaFeedback.Type.UX.value, gettext_lazy("Something is hard to use")),
    (BetaFeedback.Type.FEATURE.value, gettext_lazy("Something is missing")),
    (BetaFeedback.Type.OTHER.value, gettext_lazy("Something else")),
)
SEVERITIES = (
    (BetaFeedback.Severity.CRITICAL.value, gettext_lazy("I can’t work at all, or I lost data")),
    (BetaFeedback.Severity.HIGH.value, gettext_lazy("It blocks something I need")),
    (BetaFeedback.Severity.MEDIUM.value, gettext_lazy("I can work around it")),
    (BetaFeedback.Severity.LOW.value, gettext_lazy("It’s a minor flaw")),
)
# Sentences about wrong answers by the code of the error; any other error is a choice that does not exist.
SENTENCES = {
    "nothing_said": gettext_lazy("Write something or choose a score."),
    "too_long": gettext_lazy("This is too long. The limit is %(count)d characters."),
    "required": gettext_lazy("Enter your name or e-mail address."),
    "not_a_participant": gettext_lazy("Enter a name or an e-mail address of at most %(count)d characters."),
}
SCORES = tuple(str(score) for score in range(contract.MAX_SCORE + 1))


class AnswerField(forms.Field):
    """An answer as it was typed. `FeedbackForm.clean` checks all answers by the rules that hold for the API, too."""

    def __init__(self, *, max_length: int | None = None, choices: Sequence[Any] = (), **options: Any) -> None:
        super().__init__(required=False, **options)
        self.max_length, self.choices = max_length, choices

    def to_python(self, value: str | None) -> str:
        """Turn the line ends of browsers into newlines."""
        return (value or "").replace("\r\n", "\n")

    def prepare_value(self, value: Any) -> str:
        return self.to_python(value)


class FeedbackForm(forms.Form):
    """`payload` holds the feedback once the form is found valid. `id` is the same each time that a form is sent."""

    id = AnswerField(widget=forms.HiddenInput)
    type = AnswerField(choices=TYPES)
    severity = AnswerField(choices=SEVERITIES)
    comment = AnswerField(max_length=contract.MAX_COMMENT)
    nps_score = AnswerField(choices=SCORES)
    participant = AnswerField(max_length=contract.MAX_PARTICIPANT)
    page = AnswerField(max_length=contract.MAX_PAGE)
    app_version = AnswerField(max_length=contract.MAX_VERSION)

    payload: FeedbackPayload

    @property
    def is_robot(self) -> bool:
        """Return True if the field that people do not see is filled in."""
        return bool(self.data.get(HONEYPOT))

    def clean(self) -> None:
        reader = PayloadReader()
        payload = collect_feedback(reader, as_payload(self.cleaned_data))
        for error in reader.errors:
            if error.field != "id":
                field = self.fields[error.field]
                sentence = SENTENCES.get(error.code, _("Choose one of the answers."))
                self.add_error(error.field, str(sentence) % {"count": getattr(field, "max_length", None)})
        if reader.errors and not self.errors:
            self.renew_id()
            self.add_error(None, _("The form was incomplete. Send it again."))
        self.payload = payload

    def renew_id(self) -> None:
        self.data = {**self.data, "id": str(uuid4())}

    def field_errors(self) -> dict[str, str]:
        """Return the sentence of each wrong field, in the order of the page."""
        return {field.name: str(field.errors[0]) for field in self if field.errors}


def as_payload(answers: Mapping[str, str]) -> dict[str, Any]:
    """Return the answers in the form of the API.

    Only bugs have a severity: where a browser hides the question, its answer remains when another type is chosen.
    """
    score = answers["nps_score"]
    severity = answers["severity"] if answers["type"] == BetaFeedback.Type.BUG else ""
    return {**answers, "severity": severity, "nps_score": int(score) if score in SCORES else score or None}
