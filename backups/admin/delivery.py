"""Delivery of an expected backup: lines to paste on its server, and the folders for SFTP or a share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import time
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from vigie_client.contract import path_name

from agents.models import Agent
from agents.snippets import install_command
from backups import cycles
from backups.admin.form import shown_timetable
from backups.models import ExpectedBackupJob
from backups.scanner.disk import paths
from portal.connect.guides import Snippet
from portal.models import ApiToken

WINDOWS_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EXAMPLE_SHA256 = "0123456789abcdef" * 4
CRONTAB_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Delivery:
    """The texts of the page of an expected backup on its delivery.

    `over_https` is empty for folders that no upload over HTTPS reaches. `token_url` is empty for an enrolled machine.
    """

    machine: str
    zone: str
    root: str
    token_url: str
    over_https: list[Snippet] = field(default_factory=list)
    by_folder: list[Snippet] = field(default_factory=list)


def describe_delivery(job: ExpectedBackupJob) -> Delivery:
    schedule = DailySchedule.from_job(job)
    is_enrolled = Agent.objects.active().named(job.agent_id).exists()
    return Delivery(
        machine=job.agent_id,
        zone=schedule.zone,
        root=str(settings.DEPOSITS_ROOT),
        token_url="" if is_enrolled else enrolment_token_url(job.agent_id),
        over_https=list(https_snippets(job, schedule)) if has_upload_folders(job) else [],
        by_folder=list(folder_snippets(job)),
    )


def enrolment_token_url(machine: str) -> str:
    """Return the form of a token for this machine, whose enrolment then needs no approval."""
    proposed = {"kind": ApiToken.Kind.ENROLL, "for_machine": machine, "max_uses": "1"}
    return reverse("admin:portal_apitoken_add", query=proposed)


def has_upload_folders(job: ExpectedBackupJob) -> bool:
    """Return True if the job reads the two folders into which its machine uploads over HTTPS."""
    own = path_name(job.agent_id)
    return (paths.dump_folder(job), paths.report_folder(job)) == ((own, "database"), (own, "log"))


# --- Over HTTPS ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DailySchedule:
    """The times at which the machine runs the backup. `cron` is what no time of day and weekdays can say."""

    at: time
    weekdays: frozenset[int]
    zone: str
    cron: str

    @classmethod
    def from_job(cls, job: ExpectedBackupJob) -> DailySchedule:
        shown = shown_timetable(job)
        weekdays = cycles.parse_weekdays(shown["days_of_week"])
        if not weekdays and shown["expected_frequency"] == job.Frequency.WEEKLY:
            weekdays = frozenset({0})
        return cls(shown["time_of_day"], weekdays, shown["time_zone"], shown["schedule"])

    @property
    def crontab(self) -> str:
        return self.cron or cycles.daily_schedule(self.at, self.weekdays)

    @property
    def windows_trigger(self) -> str:
        """Return the parameters of a trigger, empty for what no trigger can say."""
        if self.cron:
            return ""
        days = ",".join(WINDOWS_DAYS[day] for day in sorted(self.weekdays))
        return f"{f'-Weekly -DaysOfWeek {days}' if days else '-Daily'} -At {self.at:%H:%M}"


def https_snippets(job: ExpectedBackupJob, schedule: DailySchedule) -> Iterator[Snippet]:
    yield install_command(settings.PORTAL_URL)
    name = job.database_name
    line = shlex.join(
        [*("vigie-client", "deposit", "--server", settings.PORTAL_URL), *("--database", name), *dump_command(name)]
    )
    yield Snippet(_("Run it once"), "delivery-once", line)
    in_crontab = line.replace("%", r"\%")  # a plain % ends the command of a crontab
    # Without a log that its user may write, cron would not run the command at all.
    lines = [CRONTAB_PATH, f'{schedule.crontab}  {in_crontab} >>"$HOME/vigie-deposit.log" 2>&1']
    yield Snippet(_("cron (crontab -e)"), "delivery-cron", "\n".join(lines))
    yield Snippet(_("Windows Task Scheduler (PowerShell)"), "delivery-windows", windows_task(name, schedule))


def dump_command(database: str) -> tuple[str, str]:
    return "--command", shlex.join(["pg_dump", database])


def windows_task(database: str, schedule: DailySchedule) -> str:
    file = rf"D:\dumps\{path_name(database)}.sql"
    database = database.replace('"', r"\"")
    arguments = f'deposit --server {settings.PORTAL_URL} --database "{database}" --file "{file}"'
    action = f"$action = New-ScheduledTaskAction -Execute 'vigie-client' -Argument {quote_powershell(arguments)}"
    register = (
        f"Register-ScheduledTask -TaskName {quote_powershell(f'Vigie backup {path_name(database)}')} -User SYSTEM"
    )
    if trigger := schedule.windows_trigger:
        trigger = f"$trigger = New-ScheduledTaskTrigger {trigger}"
        return "\n".join((action, trigger, f"{register} -Action $action -Trigger $trigger"))
    text = _("There is no trigger for %(cron)s: add the task’s triggers in Task Scheduler.")
    return "\n".join((action, f"{register} -Action $action", f"# {text % {'cron': schedule.cron}}"))


def quote_powershell(text: str) -> str:
    """Quote for PowerShell, which takes typographic apostrophes for quotation marks too."""
    for mark in "'‘’‚‛":
        text = text.replace(mark, mark * 2)
    return f"'{text}'"


# --- By SFTP or a share ----------------------------------------------------------------------------------------------


def folder_snippets(job: ExpectedBackupJob) -> Iterator[Snippet]:
    report = f"OPERATION_YYYYMMDD_HHMM_{path_name(job.agent_id)}.json"
    dump = paths.default_staged_names(job.database_name)[0]
    files = [PurePosixPath(*paths.dump_folder(job), dump), PurePosixPath(*paths.report_folder(job), report)]
    yield Snippet(_("Files"), "delivery-files", "\n".join(map(str, files)))
    if has_upload_folders(job):
        line = shlex.join(
            [
                *("vigie-client", "deposit", "--agent-id", job.agent_id, "--to", "/mnt/uploads"),
                *("--database", job.database_name),
                *dump_command(job.database_name),
            ]
        )
        yield Snippet(_("With vigie-client, to a mounted share"), "delivery-share", line)
    text = json.dumps(example_report(job), ensure_ascii=False, indent=2)
    yield Snippet(_("Report"), "delivery-report", text)


def example_report(job: ExpectedBackupJob) -> dict[str, Any]:
    """Return a report of one backup, which the machine writes last."""
    section = {
        "backup_process": {"status": True},
        "compress_process": {"status": True, "sha256": EXAMPLE_SHA256, "size": 34123},
        "transfer_process": {"status": True},
        "staged_file_name": paths.default_staged_names(job.database_name)[0],
    }
    return {
        "agent_id": job.agent_id,
        "timestamp": "2026-03-10T02:34:00Z",
        "databases": {job.database_name: section},
    }
