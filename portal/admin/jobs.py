"""Work in the background as it went: periodic jobs by cycle, and single tasks."""

from datetime import datetime

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, FieldFilter
from portal.admin.searching import search_by
from portal.models import JobRun, TaskAttempt

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


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    menu_group = "system"
    ordering = ("-id",)
    sortable_by = ()
    list_display = (
        "job",
        "cycle_key",
        "state",
        moment_column("started_at", _("started")),
        moment_column("finished_at", _("finished")),
        "fence",
        "error",
    )
    list_filter = (JobStatusFilter,)
    is_log = True
    search_fields = ("job__fragment",)
    search_help_text = search_by(_("job"))
    facts = (
        "job",
        "cycle_key",
        "state",
        "fence",
        moment_column("started_at", _("started"), show=exact_moment),
        moment_column("finished_at", _("finished"), show=exact_moment),
        moment_column("lease_expires_at", _("locked until"), show=exact_moment),
        "holder",
        "result",
        "error",
    )

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
        "name",
        "outcome",
        "cluster",
        "attempts",
        moment_column("started_at", _("started")),
        moment_column("finished_at", _("finished")),
        "worker",
    )
    list_filter = (TaskOutcomeFilter,)
    is_log = True
    search_fields = ("name__fragment", "task_id__begins")
    search_help_text = search_by(_("task"))
    facts = (
        "name",
        "task_id",
        "outcome",
        "cluster",
        "attempts",
        "worker",
        moment_column("started_at", _("started"), show=exact_moment),
        moment_column("finished_at", _("finished"), show=exact_moment),
        "error",
    )

    @admin.display(description=_("outcome"))
    def outcome(self, task: TaskAttempt) -> SafeString:
        if task.finished_at is None:
            return badge(_("running"), WARNING)
        return badge(_("failed"), BAD) if task.error else badge(_("done"), GOOD)
