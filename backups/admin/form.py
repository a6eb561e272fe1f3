"""The form of an expected backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils import timezone
from django.utils.choices import BaseChoiceIterator
from django.utils.text import format_lazy
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
PLACEHOLDERS = "{agent_id}, {database_name}, {company_name}, {city}, {neighborhood}, {year}"
UPLOAD_FOLDER = format_lazy(_("Relative to DEPOSITS_ROOT. Placeholders: {names}"), names=PLACEHOLDERS)
STORAGE_FOLDER = format_lazy(
    _("Relative to VALIDATED_ROOT; each database needs its own. Placeholders: {names}"), names=PLACEHOLDERS
)
# The inputs from which the columns of the timetable are made.
TIMETABLE_INPUTS = frozenset({"expected_frequency", "days_of_week", "time_of_day", "time_zone", "schedule"})


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


@cache
def list_time_zones() -> list[tuple[str, str]]:
    """Return all zones, which are files: reading their names takes longer than the rest of the form."""
    return [(name, name) for name in sorted(available_timezones())]


class TimeZoneChoices(BaseChoiceIterator):
    """The zones, read when a form first needs them. Django would examine each of a function's at each form."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from list_time_zones()


class JobForm(BaseJobForm):
    """Ask for a time of day in a time zone, which is stored as UTC or, for a place with a clock of its own, as cron."""

    time_of_day = forms.TimeField(
        label=_("Time of day"),
        initial=time(0),
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text=_("When the backup runs, in the time zone below."),
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=TimeZoneChoices(),
        required=False,
        help_text=_("UTC does not follow daylight saving time. A place such as Europe/Paris does."),
    )
    days_of_week = WeekdaysField(
        label=_("Days of the week"),
        choices=WEEKDAYS,
        required=False,
        help_text=_("Leave empty for every day (weekly: Monday)."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.columns_before = {name: getattr(self.instance, name) for name in cycles.TIMETABLE_FIELDS}
        if self.instance.pk:
            self.initial.update(shown_timetable(self.instance))
        self.initial.setdefault("time_zone", current_time_zone())

    def clean_database_name(self) -> str:
        return paths.normalize_name(self.cleaned_data["database_name"])

    def clean_time_zone(self) -> str:
        return self.cleaned_data["time_zone"] or "UTC"

    def clean_agent_id(self) -> str:
        """Return the known spelling: two spellings of a machine would be two jobs for one database."""
        return ExpectedBackupJob.objects.spelling_of(self.cleaned_data["agent_id"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not TIMETABLE_INPUTS.isdisjoint(self.errors):
            return cleaned
        if self.instance.pk and TIMETABLE_INPUTS.isdisjoint(self.changed_data):
            return cleaned | {name: self.columns_before[name] for name in TIMETABLE_INPUTS - {"time_of_day"}}
        at, zone = cleaned["time_of_day"], cleaned["time_zone"]
        self.instance.expected_hour_utc, self.instance.expected_minute_utc = at.hour, at.minute
        if zone != "UTC" and not cleaned["schedule"]:
            is_weekly = cleaned["expected_frequency"] == ExpectedBackupJob.Frequency.WEEKLY
            days = cycles.parse_weekdays(cleaned["days_of_week"]) or frozenset({0} if is_weekly else ())
            cleaned["schedule"] = cycles.daily_schedule(at, days)
        return cleaned

    @property
    def changed_columns(self) -> list[str]:
        """Return the columns to save: the time of day is two of them, and may change the cron expression too."""
        changed = [name for name in self.changed_data if name not in TIMETABLE_INPUTS]
        before = self.columns_before
        return changed + [name for name, value in before.items() if getattr(self.instance, name) != value]

    class Meta:
        model = ExpectedBackupJob
        exclude = ("expected_hour_utc", "expected_minute_utc")
        widgets = {"agent_id": AdminTextInputWidget(attrs={"list": "machines", "autocomplete": "off"})}
        help_texts = {
            "agent_id": _("An enrolled machine, or the name of one that uploads by SFTP."),
            "database_name": _("The database name used in the machine’s backup report."),
            "company_name": _("The customer. Names the storage folder by default."),
            "schedule": _(
                "Replaces days and time of day, such as 30 2 1 * * for 02:30 on the first of each month. Leave empty to"
                " use the fields above."
            ),
            "window_minutes": _("Minutes after the scheduled time before the backup counts as missing."),
            "early_minutes": _("Minutes before the scheduled time in which a backup still counts."),
            "agent_deposit_path_template": UPLOAD_FOLDER,
            "agent_log_deposit_path_template": UPLOAD_FOLDER,
            "final_storage_path_template": STORAGE_FOLDER,
            "min_size_bytes": _("Warn about smaller dumps. 0 disables the warning."),
            "drill_every_days": _("The stored backup is restored into a sandbox. 0 disables restore drills."),
            "keep_last": _("Always kept, the current version included."),
            "is_active": _("When off, this backup is not monitored."),
            "paused_until": _("Not monitored until then. Backups missed in that time don’t count."),
        }


def current_time_zone() -> str:
    name = timezone.get_current_timezone_name()
    return name if (name, name) in list_time_zones() else "UTC"


def shown_timetable(job: ExpectedBackupJob) -> dict[str, Any]:
    """Return what the inputs show: frequency, weekdays and a time of day, and cron only for what these cannot say."""
    frequency = job.expected_frequency
    daily = cycles.parse_daily_schedule(job.schedule) if job.schedule else None
    if daily is None:
        at, days, schedule = time(job.expected_hour_utc, job.expected_minute_utc), job.days_of_week, job.schedule
        zone = job.time_zone if job.schedule else "UTC"  # without cron the column means nothing
    else:
        at, zone, days, schedule = daily[0], job.time_zone, "", ""
        if len(daily[1]) < len(cycles.DAYS):
            days = ",".join(cycles.DAYS[day] for day in sorted(daily[1]))
        else:
            frequency = job.Frequency.DAILY  # weekly without days would be Monday
    return {
        "expected_frequency": frequency,
        "days_of_week": days,
        "time_of_day": at,
        "time_zone": zone,
        "schedule": schedule,
    }


class PauseForm(UntilForm):
    LENGTHS = (
        ("day", _("for a day")),
        ("week", _("for 7 days")),
        ("until", _("until the date below")),
        ("good", _("until resumed")),
    )
    length = forms.ChoiceField(label=_("Duration"), choices=LENGTHS, widget=forms.RadioSelect, initial="day")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if given.get("length") == "until":
            self.refuse_past(given)
        return given
