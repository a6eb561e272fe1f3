"""Work in the background as it went: periodic jobs by cycle, and single tasks."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column, stack_lines
from portal.admin.filters import ChoiceFilter, FieldFilter
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE, format_moment, format_span
from portal.models import JobRun, TaskAttempt
from portal.work.names import describe_work

TONES = {
    JobRun.Status.WAITING: QUIET,
    JobRun.Status.RUNNING: WARNING,
    JobRun.Status.DONE: GOOD,
    JobRun.Status.FAILED: BAD,
}


class JobStatusFilter(FieldFilter):
    title = _("status")
    parameter_name = "status"
    field = "status"
    options = dict(JobRun.Status.choices)


def duration_between(started: datetime | None, finished: datetime | None) -> str:
    if started is None or finished is None:
        return EMPTY_VALUE
    duration = finished - started
    return format_span(duration) if duration >= timedelta(seconds=1) else gettext("less than 1 s")


def duration_column(row: Any) -> str:
    return duration_between(row.started_at, row.finished_at)


duration_column.short_description = _("duration")  # type: ignore[attr-defined]


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    menu_group = "system"
    ordering = ("-id",)
    sortable_by = ()
    list_display = (
        "title",
        "period",
        "state",
        moment_column("started_at", _("started")),
        duration_column,
        "fence",
        "error",
    )
    purpose = _("Periodic work of the portal, one row per job and period. Rows appear while the workers run.")
    list_filter = (JobStatusFilter,)
    is_log = True
    search_fields = ("job__fragment",)
    search_help_text = search_by(_("job"))
    facts = (
        "title",
        "period",
        "state",
        "fence",
        moment_column("started_at", _("started"), show=exact_moment),
        moment_column("finished_at", _("finished"), show=exact_moment),
        duration_column,
        moment_column("lease_expires_at", _("locked until"), show=exact_moment),
        "holder",
        "outcome",
        "error",
    )

    @admin.display(description=_("job"), ordering="job")
    def title(self, run: JobRun) -> SafeString:
        return stack_lines(describe_work(run.job), run.job)

    @admin.display(description=_("period"))
    def period(self, run: JobRun) -> str:
        """Return when the cycle began, or the cycle's name where it is no time."""
        try:
            return format_moment(datetime.fromisoformat(run.cycle_key))
        except ValueError:
            return run.cycle_key

    @admin.display(description=_("result"))
    def outcome(self, run: JobRun) -> str:
        """Return the result's values by name, one per line."""
        if isinstance(run.result, dict):
            return "\n".join(f"{name}: {value}" for name, value in run.result.items()) or EMPTY_VALUE
        return EMPTY_VALUE if run.result is None else str(run.result)

    @admin.display(description=_("status"))
    def state(self, run: JobRun) -> SafeString:
        return badge(run.get_status_display(), TONES[JobRun.Status(run.status)])


class TaskOutcomeFilter(ChoiceFilter):
    title = _("outcome")
    parameter_name = "outcome"
    options = {"running": _("running"), "done": _("done"), "failed": _("failed")}

    def condition(self, value: str, now: datetime) -> Q:
        return {
            "running": Q(finished_at=None),
            "done": Q(finished_at__isnull=False, error=""),
            "failed": Q(finished_at__isnull=False) & ~Q(error=""),
        }[value]


@admin.register(TaskAttempt)
class TaskAttemptAdmin(ReadOnlyAdmin):
    menu_group = "system"
    ordering = ("-id",)
    sortable_by = ()
    list_display = (
        "title",
        "outcome",
        moment_column("started_at", _("started")),
        duration_column,
        "attempts",
        "cluster",
        "error",
    )
    purpose = _("Single pieces of background work, such as the delivery of a notification. Rows appear as they run.")
    list_filter = (TaskOutcomeFilter,)
    is_log = True
    search_fields = ("name__fragment",)
    search_help_text = search_by(_("task"))
    facts = (
        "title",
        "task_id",
        "outcome",
        "cluster",
        "attempts",
        "worker",
        moment_column("started_at", _("started"), show=exact_moment),
        moment_column("finished_at", _("finished"), show=exact_moment),
        duration_column,
        "error",
    )

    def indexed_matches(self, text: str) -> Q:
        return Q(task_id__begins=text)

    @admin.display(description=_("task"), ordering="name")
    def title(self, attempt: TaskAttempt) -> SafeString:
        return stack_lines(describe_work(attempt.name), attempt.name)

    @admin.display(description=_("outcome"))
    def outcome(self, task: TaskAttempt) -> SafeString:
        if task.finished_at is None:
            return badge(_("running"), WARNING)
        return badge(_("failed"), BAD) if task.error else badge(_("done"), GOOD)
