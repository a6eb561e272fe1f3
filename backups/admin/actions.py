"""Admin actions on expected backups: scan, pause, resume, hash again, download, issue a token."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.models import Agent
from backups import reasons
from backups.admin.delivery import enrolment_token_url
from backups.admin.form import PauseForm
from backups.drills import runs
from backups.history import job_subject
from backups.models import BackupEntry, ExpectedBackupJob, Scan
from backups.protection import protected
from backups.querysets import watched
from backups.scanner import orchestration
from backups.scanner.disk.opening import UnusablePath
from backups.scanner.disk.storage import open_current_version
from portal import audit
from portal.admin.base import VigieModelAdmin
from portal.admin.confirm import Confirmation, confirm_first
from portal.base.words import format_moment
from portal.work.queue import enqueue

MAX_AT_ONCE = 500
# Each machine costs a row and a task in one transaction. Beyond this number, one scan of all machines is queued.
MAX_SCANS = 100
LENGTHS = {"day": timedelta(days=1), "week": timedelta(days=7)}
Jobs = QuerySet[ExpectedBackupJob]


def describe_pausing(model_admin: JobActions, request: HttpRequest, queryset: Jobs) -> Confirmation:
    count = queryset.count()
    protected_count = queryset.filter(protected(timezone.now())).count()
    counted = ngettext(
        "Monitoring of %(count)d database stops (%(protected)d protected now).",
        "Monitoring of %(count)d databases stops (%(protected)d protected now).",
        count,
    )
    return Confirmation(
        _("Pause monitoring"),
        _("Pause"),
        [
            counted % {"count": count, "protected": protected_count},
            _("While paused, missing or failed backups aren’t reported, and uploads are neither verified nor stored."),
            _("Backups that are due in that time don’t count later either."),
        ],
        form=PauseForm,
        remark=lambda job: ", ".join(filter(None, [job.agent_id, job.company_name])),
    )


class JobActions(VigieModelAdmin):
    actions = (
        "scan_now", "restore_now", "pause", "resume", "reverify", "download", "duplicate", "add_assertion",
        "issue_enrolment_token", "export_chosen", "export_chosen_xlsx",
    )  # fmt: skip
    object_actions = (
        "scan_now", "restore_now", "download", "reverify", "add_assertion", "pause", "resume", "duplicate",
        "issue_enrolment_token",
    )  # fmt: skip

    def has_scan_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.scan_expectedbackupjob"))

    def has_download_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.download_expectedbackupjob"))

    def has_drill_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.drill_expectedbackupjob"))

    def has_assert_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.add_drillassertion"))

    def has_enrol_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("portal.add_apitoken"))

    def can_act(self, obj: ExpectedBackupJob, action: str) -> bool:
        if action in ("duplicate", "add_assertion"):
            return True
        if action == "issue_enrolment_token":
            return not Agent.objects.active().named(obj.agent_id).exists()
        if action == "restore_now":
            return BackupEntry.objects.filter(job=obj).current() is not None
        is_watched = obj.is_watched(timezone.now())
        if action in ("scan_now", "pause"):
            return is_watched
        if action == "resume":
            return not is_watched
        return bool(obj.previous_successful_hash)

    def limit_selection(self, request: HttpRequest, queryset: Jobs) -> list[ExpectedBackupJob]:
        """Return the chosen jobs, or none and a message if they are too many for one transaction."""
        chosen = list(queryset.order_by("agent_id", "database_name")[: MAX_AT_ONCE + 1])
        if len(chosen) <= MAX_AT_ONCE:
            return chosen
        text = _("Choose at most %(count)d databases at once. Nothing was done.") % {"count": MAX_AT_ONCE}
        self.message_user(request, text, messages.ERROR)
        return []

    # --- Scan --------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Scan now"), permissions=["scan"])
    def scan_now(self, request: HttpRequest, queryset: Jobs) -> None:
        jobs = list(queryset.filter(watched(timezone.now())).order_by("agent_id"))
        machines = sorted({job.agent_id for job in jobs})
        if not machines:
            self.message_user(request, _("Paused databases aren’t scanned."), messages.WARNING)
            return
        asked = machines if len(machines) <= MAX_SCANS else [""]
        scans = [orchestration.request_scan(Scan.Source.ADMIN, machine) for machine in asked]
        for job in jobs[:MAX_AT_ONCE]:
            audit.record_event("backups.scan_asked", job_subject(job), request=request)
        if any(scan.root_is_missing for scan in scans):
            self.message_user(request, _("The upload area is unavailable: nothing can be scanned."), messages.ERROR)
            return
        self.message_user(request, format_scan_message(machines), messages.SUCCESS)

    # --- Enrolment ---------------------------------------------------------------------------------------------------

    @admin.action(description=_("Issue an enrolment token…"), permissions=["enrol"])
    def issue_enrolment_token(self, request: HttpRequest, queryset: Jobs) -> HttpResponse | None:
        """Lead to the form of a token for this machine, whose enrolment then needs no approval."""
        machines = queryset.order_by().values_list("agent_id", flat=True).distinct()[:2]
        if len(machines) != 1:
            self.message_user(request, _("Choose databases of one machine."), messages.ERROR)
            return None
        return HttpResponseRedirect(enrolment_token_url(machines[0]))

    @admin.action(description=_("Duplicate"), permissions=["add"])
    def duplicate(self, request: HttpRequest, queryset: Jobs) -> HttpResponse | None:
        """Lead to the form of another database, filled in with the settings of this one."""
        jobs = list(queryset[:2])
        if len(jobs) != 1:
            self.message_user(request, _("Choose one database to duplicate."), messages.ERROR)
            return None
        return HttpResponseRedirect(f"{self.address('add')}?duplicate={jobs[0].pk}")

    # --- Pause -------------------------------------------------------------------------------------------------------

    @confirm_first(describe_pausing)
    @admin.action(description=_("Pause…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: Jobs) -> None:
        now = timezone.now()
        given = request.confirmed_form.cleaned_data  # type: ignore[attr-defined]
        length = given["length"]
        until = given["until"] if length == "until" else now + LENGTHS[length] if length != "good" else None
        jobs = list(queryset)
        for job in jobs:
            pause_job(job, until)
            after = {"until": format_moment(until)} if until else None
            audit.record_event("backups.paused", job_subject(job), request=request, after=after)
        self.message_user(request, format_pause_message(len(jobs), until), messages.SUCCESS)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: Jobs) -> None:
        now = timezone.now()
        jobs = self.limit_selection(request, queryset.filter(~watched(now)))
        for job in jobs:
            resume_job(job, now)
            audit.record_event("backups.resumed", job_subject(job), request=request)
        text = ngettext("%(count)d database resumed.", "%(count)d databases resumed.", len(jobs))
        self.message_user(request, text % {"count": len(jobs)}, messages.SUCCESS if jobs else messages.WARNING)

    # --- The current version -----------------------------------------------------------------------------------------

    @admin.action(description=_("Re-verify stored backup"), permissions=["scan"])
    def reverify(self, request: HttpRequest, queryset: Jobs) -> None:
        jobs = self.limit_selection(request, queryset.exclude(previous_successful_hash=""))
        for job in jobs:
            enqueue("backups.reverify", job.pk, cluster="slow")
        text = ngettext(
            "Re-verification of %(count)d stored backup started. Its page will show the result.",
            "Re-verification of %(count)d stored backups started. Their pages will show the result.",
            len(jobs),
        )
        self.record_request(request, jobs, "backups.reverify_asked", text)

    @admin.action(description=_("Restore now"), permissions=["drill"])
    def restore_now(self, request: HttpRequest, queryset: Jobs) -> None:
        jobs = self.limit_selection(request, queryset.filter(runs.stored_version()))
        if jobs:
            runs.request_drills(jobs)
        text = ngettext(
            "Restore drill of %(count)d stored backup requested. Its page will show the result.",
            "Restore drills of %(count)d stored backups requested. Their pages will show the results.",
            len(jobs),
        )
        self.record_request(request, jobs, "backups.drill_asked", text)

    def record_request(self, request: HttpRequest, jobs: list[ExpectedBackupJob], event: str, text: str) -> None:
        """Record what was requested for these jobs in the audit log, and say so."""
        for job in jobs:
            audit.record_event(event, job_subject(job), request=request)
        self.message_user(request, text % {"count": len(jobs)}, messages.SUCCESS if jobs else messages.WARNING)

    @admin.action(description=_("Add assertion"), permissions=["assert"])
    def add_assertion(self, request: HttpRequest, queryset: Jobs) -> HttpResponse | None:
        """Lead to the form of an assertion on this database."""
        jobs = list(queryset[:2])
        if len(jobs) != 1:
            self.message_user(request, _("Choose one database."), messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:backups_drillassertion_add", query={"job": jobs[0].pk}))

    @admin.action(description=_("Download current version"), permissions=["download"])
    def download(self, request: HttpRequest, queryset: Jobs) -> HttpResponseBase | None:
        jobs = list(queryset[:2])
        if len(jobs) != 1:
            self.message_user(request, _("Choose one database: each downloads as its own file."), messages.ERROR)
            return None
        job = jobs[0]
        try:
            entry, descriptor = open_current_version(job)
        except UnusablePath as error:
            self.message_user(request, reasons.format_reasons([error.why]), messages.ERROR)
            return None
        after = {"file": entry.staged_name, "sha256": entry.server_sha256}
        audit.record_event("backups.downloaded", job_subject(job), request=request, after=after)
        file = open(descriptor, "rb")  # noqa: SIM115 - the response closes it
        return FileResponse(file, as_attachment=True, filename=entry.staged_name)


def pause_job(job: ExpectedBackupJob, until: datetime | None) -> None:
    if until is None:
        job.is_active = False
    else:
        job.paused_until = until
    job.save(update_fields=["is_active", "paused_until"])


def resume_job(job: ExpectedBackupJob, now: datetime) -> None:
    """Resume a job. A pause that is cut short ends now, so that the cycles in it stay ignored."""
    if job.paused_until is not None and job.paused_until > now:
        job.paused_until = now
    job.is_active = True
    job.save(update_fields=["is_active", "paused_until"])


def format_scan_message(machines: list[str]) -> str:
    if len(machines) > MAX_SCANS:
        return str(_("Scan of all machines started…"))
    if len(machines) == 1:
        return _("Scan of %(machine)s started…") % {"machine": machines[0]}
    return _("Scan of %(count)d machines started…") % {"count": len(machines)}


def format_pause_message(count: int, until: datetime | None) -> str:
    if until is None:
        text = ngettext(
            "%(count)d database paused until resumed.",
            "%(count)d databases paused until resumed.",
            count,
        )
        return text % {"count": count}
    text = ngettext("%(count)d database paused until %(until)s.", "%(count)d databases paused until %(until)s.", count)
    return text % {"count": count, "until": format_moment(until)}
