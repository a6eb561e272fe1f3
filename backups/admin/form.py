"""The form of an expected backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from backups import cycles
from backups.models import ExpectedBackupJob
from backups.scanner.disk import paths
from portal.admin.until import UntilForm

if TYPE_CHECKING:
    BaseJobForm = forms.ModelForm[ExpectedBackupJob]
else:
    BaseJobForm = forms.ModelForm

WEEKDAYS = tuple(
    zip(
        cycles.DAYS,
        (_("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday")),
        strict=True,
    )
)
FOLDERS = _("Below its root. In braces may stand: agent_id, database_name, company_name, city, neighborhood, year.")


class WeekdaysField(forms.MultipleChoiceField):
    """Checkboxes for a column such as `MO,TU`."""

    widget = forms.CheckboxSelectMultiple(attrs={"class": "weekdays"})

    def prepare_value(self, value: Any) -> list[str]:
        if isinstance(value, list):
            return value
        try:
            return [cycles.DAYS[day] for day in sorted(cycles.parse_weekdays(value or ""))]
        except ValueError:
            return []

    def clean(self, value: Any) -> Any:
        return ",".join(sorted(super().clean(value), key=cycles.DAYS.index))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


def list_time_zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(available_timezones())]


class JobForm(BaseJobForm):
    time_zone = forms.ChoiceField(
        label=_("Time zone"), choices=list_time_zones, initial="UTC", required=False, help_text=_("Of the schedule.")
    )
    days_of_week = WeekdaysField(
        label=_("Days of the week"),
        choices=WEEKDAYS,
        required=False,
        help_text=_("Without any: every day or, if weekly, on Mondays."),
    )

    def clean_database_name(self) -> str:
        return paths.normalize_name(self.cleaned_data["database_name"])

    def clean_time_zone(self) -> str:
        return self.cleaned_data["time_zone"] or "UTC"

    def clean_agent_id(self) -> str:
        """Return the known spelling: two spellings of a machine would be two jobs for one database."""
        return ExpectedBackupJob.objects.spelling_of(self.cleaned_data["agent_id"])

    class Meta:
        model = ExpectedBackupJob
        exclude = ()
        help_texts = {
            "agent_id": _("The machine_id of the machine that deposits the backup."),
            "database_name": _("As the machine’s reports call it."),
            "company_name": _("Whose database it is; by default it names the folder of the verified backups."),
            "expected_hour_utc": _("0 to 23, in UTC whatever the season."),
            "schedule": _(
                "Such as 30 2 * * * for 02:30 every day by the clock of the time zone. Leave empty to use the fields"
                " above."
            ),
            "window_minutes": _("How long after the expected moment it may arrive before it is missing."),
            "early_minutes": _("How long before the expected moment it may arrive and still belong to it."),
            "agent_deposit_path_template": FOLDERS,
            "agent_log_deposit_path_template": FOLDERS,
            "final_storage_path_template": _(
                "Below the root of verified backups, and of this database alone. The same names may stand in braces."
            ),
            "min_size_bytes": _("A smaller dump is stored with a warning; 0 for none."),
            "unchanged_policy": _("What to do when the dump is the very same as the one before."),
            "keep_last": _("Versions that are kept in any case, the current one among them."),
            "keep_daily": _("Of so many days the newest version is kept."),
            "keep_weekly": _("Of so many weeks the newest version is kept."),
            "keep_monthly": _("Of so many months the newest version is kept."),
            "is_active": _("Switched off, nobody looks at it until it is switched on again."),
            "paused_until": _("Until then nobody looks at it; what was expected meanwhile is not judged."),
        }


class PauseForm(UntilForm):
    LENGTHS = (
        ("day", _("for a day")),
        ("week", _("for 7 days")),
        ("until", _("until the moment below")),
        ("good", _("until it is resumed")),
    )
    length = forms.ChoiceField(label=_("For how long"), choices=LENGTHS, widget=forms.RadioSelect, initial="day")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if given.get("length") == "until":
            self.refuse_past(given)
        return given
