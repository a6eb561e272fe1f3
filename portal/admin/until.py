"""A form that asks for a duration."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class UntilForm(forms.Form):
    """A duration form. Subclasses declare the choices of `length`, one of which uses the time in `until`."""

    field_order = ("length", "until")
    until = forms.DateTimeField(
        label=_("Until"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )

    def refuse_past(self, cleaned: dict[str, Any]) -> None:
        """Add an error if no moment is given, or a past one; a malformed one has its error already."""
        if "until" in self.errors:
            return
        if cleaned.get("until") is None:
            self.add_error("until", gettext("Until when?"))
        elif cleaned["until"] <= timezone.now():
            self.add_error("until", gettext("This time has passed."))
