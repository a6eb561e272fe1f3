"""Inputs for a moment, read in the reader's time zone, which they name; and a form that asks for a duration."""

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.base.words import readers_zone


def name_zone() -> str:
    return gettext("In the time zone %(zone)s.") % {"zone": readers_zone()}


name_zone_lazily = lazy(name_zone, str)


class MomentInput(forms.DateTimeInput):
    """The browser's own input: one field, one label, no script."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs, format="%Y-%m-%dT%H:%M:%S")


class MomentField(forms.DateTimeField):
    """A moment entered in the reader's zone."""

    widget = MomentInput

    def __init__(self, **kwargs: Any) -> None:
        given = kwargs.pop("help_text", "")
        text = format_lazy("{} {}", name_zone_lazily(), given) if given else name_zone_lazily()
        super().__init__(**kwargs, help_text=text)

    def prepare_value(self, value: Any) -> Any:
        with timezone.override(readers_zone()):
            return super().prepare_value(value)

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(readers_zone()):
            return super().to_python(value)


class UntilForm(forms.Form):
    """A duration form. Subclasses declare the choices of `length`, one of which uses the time in `until`."""

    field_order = ("length", "until")
    until = MomentField(label=_("Until"), required=False)

    def refuse_past(self, cleaned: dict[str, Any]) -> None:
        """Add an error if no moment is given, or a past one; a malformed one has its error already."""
        if "until" in self.errors:
            return
        if cleaned.get("until") is None:
            self.add_error("until", gettext("Until when?"))
        elif cleaned["until"] <= timezone.now():
            self.add_error("until", gettext("This time has passed."))
