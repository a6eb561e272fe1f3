"""Forms of monitoring: targets, maintenance windows, silence, and the cause of an incident."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from monitoring.models import Incident, MaintenanceWindow, Target
from portal.admin.until import UntilForm

if TYPE_CHECKING:
    BaseTargetForm = forms.ModelForm[Target]
    BaseWindowForm = forms.ModelForm[MaintenanceWindow]
else:
    BaseTargetForm = BaseWindowForm = forms.ModelForm

LENGTHS = {
    "hour": timedelta(hours=1),
    "hours": timedelta(hours=8),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}


class TargetForm(BaseTargetForm):
    class Meta:
        model = Target
        exclude = ()
        help_texts = {
            "name": _("As messages and the badge call it."),
            "url": _("http or https, without user and password; never one that changes something when it is asked."),
            "method": _("HEAD asks for no content, so nothing can be looked for in it."),
            "interval": _("Seconds between two checks, from 10 to 86,400."),
            "timeout": _("Seconds for the whole answer, redirects included; at most 30."),
            "retries": _("How many times a failed check is tried again, two seconds apart, before it counts."),
            "expected_statuses": _("Statuses and ranges, such as 200-299,404."),
            "contains": _("A text that must stand in the answer. Without any, none is looked for."),
            "json_path": _("Such as status or checks.database.ok: it must exist in the JSON answered."),
            "json_value": _("What stands there, as JSON writes it; without any, it need only exist."),
            "header_name": _("A header that the answer must have."),
            "header_value": _("A text that must stand in this header; without any, it need only be there."),
            "max_latency_ms": _("A slower answer is good, but the target is slow. Without a figure, none is."),
            "tls_expiry_days": _("How many days before its certificate ends you are told. Without a figure, never."),
            "failures_to_open": _("So many failures in a row open an incident, and tell."),
            "successes_to_close": _("So many good checks in a row resolve it, and tell."),
        }


class WindowForm(BaseWindowForm):
    class Meta:
        model = MaintenanceWindow
        exclude = ()
        help_texts = {
            "name": _("What is being done: it stands wherever a failure is not counted."),
            "repeats": _("At the same time of day, whatever the season."),
            "targets": _("Without any, all targets are in maintenance."),
        }


class SilenceForm(UntilForm):
    CHOICES = (
        ("hour", _("for an hour")),
        ("hours", _("for 8 hours")),
        ("day", _("for a day")),
        ("week", _("for 7 days")),
        ("until", _("until the moment below")),
    )
    length = forms.ChoiceField(label=_("For how long"), choices=CHOICES, widget=forms.RadioSelect, initial="hour")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = timezone.get_current_timezone_name()
        self.fields["until"].help_text = _now("In the time zone %(zone)s.") % {"zone": zone}

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


class CauseForm(forms.Form):
    cause = forms.CharField(
        label=_("Cause"),
        max_length=Incident._meta.get_field("cause").max_length,
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
        help_text=_("What it was, and what was done about it: the next time somebody will be glad of it."),
    )
