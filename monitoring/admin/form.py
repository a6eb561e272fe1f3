"""Forms of monitoring: targets, maintenance windows, silence, and the cause of an incident."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from monitoring.models import Incident, MaintenanceWindow, Target
from portal.admin.until import UntilForm
from portal.desk.assigning import NOBODY, assignable_users, assignee_choices

if TYPE_CHECKING:
    BaseTargetForm = forms.ModelForm[Target]
    BaseWindowForm = forms.ModelForm[MaintenanceWindow]
else:
    BaseTargetForm = BaseWindowForm = forms.ModelForm

# Name of the button that tests a form without saving it.
TRIAL = "_test"
LENGTHS = {
    "hour": timedelta(hours=1),
    "hours": timedelta(hours=8),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}


class TargetForm(BaseTargetForm):
    """Settings of a target. A trial is a form sent by *Test*: it is never valid, so that nothing is saved."""

    @property
    def is_trial(self) -> bool:
        return TRIAL in self.data

    def is_valid(self) -> bool:
        return super().is_valid() and not self.is_trial

    class Meta:
        model = Target
        exclude = ()
        help_texts = {
            "name": _("Display name in alerts and on the badge."),
            "url": _("http or https, without user name and password. The check must not have side effects."),
            "method": _("HEAD responses have no body, so their content can’t be checked."),
            "interval": _("Seconds between checks (10 to 86,400)."),
            "timeout": _("Seconds allowed for the complete response, including redirects (at most 30)."),
            "retries": _("Retries before a check counts as failed (2 s apart)."),
            "expected_statuses": _("Status codes and ranges, e.g. 200-299,404."),
            "contains": _("Text the response must contain (optional)."),
            "json_path": _("Path that must exist in the JSON response, e.g. status or checks.database.ok (optional)."),
            "json_value": _("Expected value, written as JSON. Leave empty to require only the path."),
            "header_name": _("Header the response must have (optional)."),
            "header_value": _("Text this header must contain. Leave empty to require only the header."),
            "max_latency_ms": _("Mark as slow above this response time. Leave empty to disable."),
            "tls_expiry_days": _("Alert this many days before the certificate expires. Leave empty to disable."),
            "failures_to_open": _("Consecutive failures before alerting."),
            "successes_to_close": _("Consecutive successful checks before the incident is resolved."),
        }


class WindowForm(BaseWindowForm):
    class Meta:
        model = MaintenanceWindow
        exclude = ()
        help_texts = {
            "name": _("Title, shown wherever failures are excluded."),
            "repeats": _("Repeats at the same local time, also when the clocks change."),
            "targets": _("Leave empty to include all targets."),
        }


class SilenceForm(UntilForm):
    CHOICES = (
        ("hour", _("1 hour")),
        ("hours", _("8 hours")),
        ("day", _("1 day")),
        ("week", _("7 days")),
        ("until", _("until the time below")),
    )
    length = forms.ChoiceField(label=_("Duration"), choices=CHOICES, widget=forms.RadioSelect, initial="hour")

    def clean(self) -> dict[str, Any]:
        """Return the data with `until`, the moment at which the silence ends."""
        given: dict[str, Any] = super().clean() or {}
        length = given.get("length")
        if length in LENGTHS:
            given["until"] = timezone.now() + LENGTHS[length]
            self.errors.pop("until", None)
        else:
            self.refuse_past(given)
        return given


class CommentForm(forms.Form):
    comment = forms.CharField(max_length=Incident._meta.get_field("comment").max_length, required=False)


class AssignForm(forms.Form):
    """The assignee of one incident, who is chosen at first, or of several, where a choice must be made."""

    assignee = forms.ChoiceField(label=_("Assigned to"))

    def __init__(self, incidents: Sequence[Incident], data: Any = None) -> None:
        present = incidents[0].assignee_id if len(incidents) == 1 else None
        chosen = present or NOBODY if len(incidents) == 1 else ""
        super().__init__(data, initial={"assignee": chosen})
        self.users = {str(user.pk): user for user in assignable_users(present)}
        self.fields["assignee"].choices = assignee_choices(self.users.values(), _("choose…"))  # type: ignore[attr-defined]

    def clean_assignee(self) -> Any:
        """Return the user, or None for no one."""
        return self.users.get(self.cleaned_data["assignee"])


class CauseForm(forms.Form):
    cause = forms.CharField(
        label=_("Root cause"),
        max_length=Incident._meta.get_field("cause").max_length,
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
        help_text=_("Root cause and fix; helps next time."),
    )
