"""The forms of triage: for one row, and for many, where each field may be left as it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from beta import display
from beta.feedback import triage
from beta.models import BetaFeedback, FeedbackTag
from monitoring.admin.display import link_to_incident
from monitoring.models import Incident
from portal.base.words import EMPTY_VALUE, format_moment
from portal.desk.assigning import assignable_users, assignee_choices

if TYPE_CHECKING:
    BaseTriageForm = forms.ModelForm[BetaFeedback]
    BaseModelChoice = forms.ModelChoiceField[Any]
else:
    BaseTriageForm = forms.ModelForm
    BaseModelChoice = forms.ModelChoiceField

SHOWN_INCIDENTS = 50
NONE = "none"
UNCHANGED = ("", _("leave unchanged"))
NOT_JUDGED = ("none", _("untriaged"))
# A duplicate needs the number of its original, so it is not among the choices.
STATUSES_BY_HAND = [choice for choice in BetaFeedback.Status.choices if choice[0] != BetaFeedback.Status.DUPLICATE]


def latest_incidents(feedback: BetaFeedback | None = None) -> QuerySet[Incident]:
    """Return the newest incidents, and the one that is linked."""
    newest = list(Incident.objects.order_by("-id").values_list("pk", flat=True)[:SHOWN_INCIDENTS])
    linked = [feedback.incident_id] if feedback and feedback.incident_id else []
    return Incident.objects.filter(pk__in=newest + linked).order_by("-id").select_related("target")


# --- Fields ----------------------------------------------------------------------------------------------------------


class NumberField(BaseModelChoice):
    """A choice of feedback by its number, `#12` or `12`: there is too much for a list."""

    widget = forms.TextInput(attrs={"size": 10, "autocomplete": "off"})
    default_error_messages = {"invalid_choice": _("No feedback with this number.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=BetaFeedback.objects.all(), required=False, **options)

    def to_python(self, value: Any) -> Any:
        number = str(value or "").strip().removeprefix("#")
        if number and not number.isdecimal():
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().to_python(number)


class IncidentField(BaseModelChoice):
    def label_from_instance(self, incident: Incident) -> str:
        return f"#{incident.pk} · {incident} · {format_moment(incident.opened_at)}"


class TagsField(forms.CharField):
    """Tags separated by commas."""

    widget = forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) or value is None:
            return value
        return ", ".join(tag.name if isinstance(tag, FeedbackTag) else str(tag) for tag in value)

    def clean(self, value: Any) -> list[str]:
        return triage.parse_tags(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial), data))


# --- One -------------------------------------------------------------------------------------------------------------


class SingleTriageForm(BaseTriageForm):
    """Triage of one row. Optimistic locking by hidden initial values lets two operators change different fields."""

    duplicate_of = NumberField(label=_("Duplicate of"), help_text=_("Number of the original, such as #12."))
    tags = TagsField(label=_("Tags"), required=False, help_text=_("Separated by commas."))
    assignee = forms.ModelChoiceField(assignable_users(), label=_("Assigned to"), required=False)
    incident = IncidentField(
        Incident.objects.none(), label=_("Incident"), required=False, help_text=_("The 50 latest incidents.")
    )

    class Meta:
        model = BetaFeedback
        fields = (*triage.FIELDS, "tags")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["assignee"].queryset = assignable_users(self.instance.assignee_id)  # type: ignore[attr-defined]
        self.fields["incident"].queryset = latest_incidents(self.instance)  # type: ignore[attr-defined]
        if "severity" in self.fields:
            choices = [("", NOT_JUDGED[1]), *BetaFeedback.Severity.choices]
            self.fields["severity"].choices = choices  # type: ignore[attr-defined]
        if self.instance.duplicate_of:
            self.fields["duplicate_of"].help_text = display.feedback_link(self.instance.duplicate_of)
        if self.instance.incident:
            self.fields["incident"].help_text = link_to_incident(self.instance.incident)
        for field in self.fields.values():
            field.show_hidden_initial = True

    @property
    def wanted(self) -> dict[str, Any]:
        """Return the changed fields; tags as those added and removed."""
        found = {name: self.cleaned_data[name] for name in self.changed_data if name in self.cleaned_data}
        if "tags" in found:
            shown = set(triage.parse_tags(self.data.get(self["tags"].html_initial_name, "")))
            given = set(found.pop("tags"))
            found |= {"add_tags": given - shown, "remove_tags": shown - given}
        return found

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        for name in self.wanted.keys() & triage.FIELDS:
            self.refuse_concurrent_change(name)
        if not self.errors:
            triage.check_triage(self.instance, self.wanted)
        return given

    def refuse_concurrent_change(self, name: str) -> None:
        """Add an error if somebody else changed the field meanwhile. Saving again overwrites it."""
        present, initial = getattr(self.instance, name), self[name].html_initial_name
        key = "" if self.initial[name] is None else str(self.initial[name])
        if self.data.get(initial, key) == key or self.cleaned_data[name] == present:
            return
        words = getattr(self.instance, f"get_{name}_display", None)
        value = (words() if words else present) or EMPTY_VALUE
        sent: Any = self.data.copy()  # type: ignore[attr-defined]
        sent[initial] = key  # the next attempt starts from the present value
        self.data = sent
        self.add_error(name, _("Someone else changed it to %(value)s. Save again to overwrite it.") % {"value": value})

    def _post_clean(self) -> None:
        """Leave the instance alone: `apply_triage` changes it, with all consequences."""


# --- Many ------------------------------------------------------------------------------------------------------------


class BulkTriageForm(forms.Form):
    """Triage of several rows. Empty fields change nothing."""

    type = forms.ChoiceField(label=_("Type"), required=False, choices=[UNCHANGED, *BetaFeedback.Type.choices])
    severity = forms.ChoiceField(
        label=_("Severity"), required=False, choices=[UNCHANGED, *BetaFeedback.Severity.choices, NOT_JUDGED]
    )
    status = forms.ChoiceField(label=_("Status"), required=False, choices=[UNCHANGED, *STATUSES_BY_HAND])
    duplicate_of = NumberField(
        label=_("Duplicate of"),
        help_text=_("Number of the original, such as #12. The other selected feedback becomes its duplicates."),
    )
    assignee = forms.ChoiceField(label=_("Assigned to"), required=False)
    add_tags = TagsField(label=_("Add tags"), required=False, help_text=_("Separated by commas."))
    remove_tags = TagsField(label=_("Remove tags"), required=False, help_text=_("Separated by commas."))
    incident = forms.ChoiceField(label=_("Incident"), required=False)
    fix_version = forms.CharField(label=_("Fixed in version"), required=False, max_length=64)

    def __init__(self, chosen: Sequence[BetaFeedback], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chosen = chosen
        self.users = {str(user.pk): user for user in assignable_users()}
        self.incidents = {str(incident.pk): incident for incident in latest_incidents()}
        users = assignee_choices(self.users.values(), UNCHANGED[1])
        self.fields["assignee"].choices = users  # type: ignore[attr-defined]
        listed = [(key, f"#{key} · {incident}") for key, incident in self.incidents.items()]
        self.fields["incident"].choices = [UNCHANGED, (NONE, _("none")), *listed]  # type: ignore[attr-defined]

    @property
    def wanted(self) -> dict[str, Any]:
        """Return the changes in the form of `triage.apply_triage`."""
        found = {name: value for name, value in self.cleaned_data.items() if value}
        if found.get("severity") == NOT_JUDGED[0]:
            found["severity"] = ""
        if "assignee" in found:
            found["assignee"] = self.users.get(found["assignee"])
        if "incident" in found:
            found["incident"] = self.incidents.get(found["incident"])
        return found

    @property
    def rows_to_change(self) -> list[BetaFeedback]:
        """Return the chosen rows without the original of the others."""
        original = self.cleaned_data.get("duplicate_of")
        return [feedback for feedback in self.chosen if original is None or feedback.pk != original.pk]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if self.errors:
            return given
        if not self.wanted:
            raise ValidationError(_("Choose at least one change."))
        for feedback in self.rows_to_change:
            try:
                triage.check_triage(feedback, self.wanted)
            except ValidationError as error:
                raise ValidationError([f"{feedback}: {text}" for text in error.messages]) from None
        return given
