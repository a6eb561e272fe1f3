"""A form that asks for a duration."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _


class UntilForm(forms.Form):
    """A duration form. Subclasses declare the choices of `length`, one of which uses the time in `until`."""

    field_order = ("length", "until")
    until = forms.DateTimeField(
        label=_("Until"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )

    def refuse_past(self, given: dict[str, Any]) -> None:
        """Adds an error where no moment is given, or one that is over; one that is none has its error already."""
        if "until" in self.errors:
            return
        if given.get("until") is None:
            self.add_error("until", _now("Until when?"))
        elif given["until"] <= timezone.now():
            self.add_error("until", _now("This moment is past."))
