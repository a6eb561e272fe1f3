"""What an operator may do about expected backups: scan, pause, hash again, download."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.models import Agent
from backups import reasons
from backups.admin.form import PauseForm
from backups.history import subject
from backups.models import ExpectedBackupJob, Scan
from backups.querysets import watched
from backups.scanner import orchestration
from backups.scanner.disk import copying, opening
from portal import audit
from portal.admin.base import VigieModelAdmin
from portal.base.words import format_moment
from portal.models import ApiToken
from portal.work.queue import enqueue

MOST_AT_ONCE = 500
# Each machine's scan is a row and a task in one transaction; of more than these, all are scanned in one go.
MOST_SCANS = 100
LENGTHS = {"day": timedelta(days=1), "week": timedelta(days=7)}
Jobs = QuerySet[ExpectedBackupJob]


class JobActions(VigieModelAdmin):
    actions = (
        "scan_now", "pause", "resume", "reverify", "download", "export_chosen", "export_chosen_xlsx",
        "issue_enrolment_token",
    )  # fmt: skip
    object_actions = ("scan_now", "download", "reverify", "pause", "resume", "issue_enrolment_token")

    def has_scan_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.scan_expectedbackupjob"))

    def has_download_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("backups.download_expectedbackupjob"))

    def has_enrol_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("portal.add_apitoken"))

    def can_act(self, obj: ExpectedBackupJob, action: str) -> bool:
        if action == "issue_enrolment_token":
            return not Agent.objects.active().named(obj.agent_id).exists()
        is_watched = obj.is_watched(timezone.now())
        if action in ("scan_now", "pause"):
            return is_watched
        if action == "resume":
            return not is_watched
        return bool(obj.previous_successful_hash)

    def few_enough(self, request: HttpRequest, queryset: Jobs) -> list[ExpectedBackupJob]:
        """The chosen ones; none, and a message, where they are more than one transaction should hold."""
        chosen = list(queryset.order_by("agent_id", "database_name")[: MOST_AT_ONCE + 1])
        if len(chosen) <= MOST_AT_ONCE:
            return chosen
        text = _("Choose at most %(count)d databases at once. Nothing was done.") % {"count": MOST_AT_ONCE}
        self.message_user(request, text, messages.ERROR)
        return []

    # --- Scan --------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Scan now"), permissions=["scan"])
    def scan_now(self, request: HttpRequest, queryset: Jobs) -> None:
        jobs = list(queryset.filter(watched(timezone.now())).order_by("agent_id"))
        machines = sorted({job.agent_id for job in jobs})
        if not machines:
            self.message_user(request, _("Paused databases are not scanned."), messages.WARNING)
            return
        asked = machines if len(machines) <= MOST_SCANS else [""]
        scans = [orchestration.ask(Scan.Source.ADMIN, machine) for machine in asked]
        for job in jobs[:MOST_AT_ONCE]:
            audit.record_event("backups.scan_asked", subject(job), request=request)
        if any(scan.root_is_missing for scan in scans):
            self.message_user(request, _("The deposit root is missing: nothing can be scanned."), messages.ERROR)
            return
        self.message_user(request, scanning(machines), messages.SUCCESS)

    # --- Enrolment ---------------------------------------------------------------------------------------------------

    @admin.action(description=_("Issue an enrolment token…"), permissions=["enrol"])
    def issue_enrolment_token(self, request: HttpRequest, queryset: Jobs) -> HttpResponse | None:
        """Lead to the form of a token for this machine, whose enrolment then needs no approval."""
        machines = queryset.order_by().values_list("agent_id", flat=True).distinct()[:2]
        if len(machines) != 1:
            self.message_user(request, _("Choose databases of one machine."), messages.ERROR)
            return None
        proposed = {"kind": ApiToken.Kind.ENROLL, "for_machine": machines[0], "max_uses": "1"}
        return HttpResponseRedirect(reverse("admin:portal_apitoken_add", query=proposed))

    # --- Pause -------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Pause…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: Jobs) -> HttpResponse | None:
        jobs = self.few_enough(request, queryset)
        if not jobs:
            return None
        form = PauseForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self.ask_for_how_long(request, jobs, form)
        length, now = form.cleaned_data["length"], timezone.now()
        until = form.cleaned_data["until"] if length == "until" else now + LENGTHS[length] if length != "good" else None
        for job in jobs:
            paused(job, until)
            after = {"until": format_moment(until)} if until else None
            audit.record_event("backups.paused", subject(job), request=request, after=after)
        self.message_user(request, pausing(len(jobs), until), messages.SUCCESS)
        return None

    def ask_for_how_long(self, request: HttpRequest, jobs: list[ExpectedBackupJob], form: PauseForm) -> HttpResponse:
        context = {
            "jobs": jobs,
            "form": form,
            "checkbox": ACTION_CHECKBOX_NAME,
            "title": _("Pause"),
            "opts": self.opts,
            "zone": timezone.get_current_timezone_name(),
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "backups/pause.html", context)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: Jobs) -> None:
        now = timezone.now()
        jobs = self.few_enough(request, queryset.filter(~watched(now)))
        for job in jobs:
            resumed(job, now)
            audit.record_event("backups.resumed", subject(job), request=request)
        text = ngettext("%(count)d database is watched again.", "%(count)d databases are watched again.", len(jobs))
        self.message_user(request, text % {"count": len(jobs)}, messages.SUCCESS if jobs else messages.WARNING)

    # --- The current version -----------------------------------------------------------------------------------------

    @admin.action(description=_("Hash the current version again"), permissions=["scan"])
    def reverify(self, request: HttpRequest, queryset: Jobs) -> None:
        jobs = self.few_enough(request, queryset.exclude(previous_successful_hash=""))
        for job in jobs:
            enqueue("backups.reverify", job.pk, cluster="slow")
            audit.record_event("backups.reverify_asked", subject(job), request=request)
        text = ngettext(
            "%(count)d stored backup is being hashed again: its page will tell the result.",
            "%(count)d stored backups are being hashed again: their pages will tell the result.",
            len(jobs),
        )
        self.message_user(request, text % {"count": len(jobs)}, messages.SUCCESS if jobs else messages.WARNING)

    @admin.action(description=_("Download the current version"), permissions=["download"])
    def download(self, request: HttpRequest, queryset: Jobs) -> HttpResponseBase | None:
        jobs = list(queryset[:2])
        if len(jobs) != 1:
            self.message_user(request, _("Choose one database: each is a file of its own."), messages.ERROR)
            return None
        job = jobs[0]
        try:
            entry, descriptor = copying.opened_current(job)
        except opening.Unusable as error:
            self.message_user(request, reasons.sentences([error.why]), messages.ERROR)
            return None
        after = {"file": entry.staged_name, "sha256": entry.server_sha256}
        audit.record_event("backups.downloaded", subject(job), request=request, after=after)
        file = open(descriptor, "rb")  # noqa: SIM115 - the response closes it
        return FileResponse(file, as_attachment=True, filename=entry.staged_name)


def paused(job: ExpectedBackupJob, until: datetime | None) -> None:
    if until is None:
        job.is_active = False
    else:
        job.paused_until = until
    job.save(update_fields=["is_active", "paused_until"])


def resumed(job: ExpectedBackupJob, now: datetime) -> None:
    """What was expected during the pause stays unjudged: a pause that ended early ends now, and is not forgotten."""
    if job.paused_until is not None and job.paused_until > now:
        job.paused_until = now
    job.is_active = True
    job.save(update_fields=["is_active", "paused_until"])


def scanning(machines: list[str]) -> str:
    if len(machines) > MOST_SCANS:
        return str(_("All machines are being scanned."))
    if len(machines) == 1:
        return _("%(machine)s is being scanned.") % {"machine": machines[0]}
    return _("%(count)d machines are being scanned.") % {"count": len(machines)}


def pausing(count: int, until: datetime | None) -> str:
    if until is None:
        text = ngettext(
            "%(count)d database is paused until it is resumed.",
            "%(count)d databases are paused until they are resumed.",
            count,
        )
        return text % {"count": count}
    text = ngettext(
        "%(count)d database is paused until %(until)s.", "%(count)d databases are paused until %(until)s.", count
    )
    return text % {"count": count, "until": format_moment(until)}
