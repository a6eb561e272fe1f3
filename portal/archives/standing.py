"""The state of the backups of the portal: a finding, metrics, and a check of doctor."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from prometheus_client.metrics_core import Metric

from portal.archives.errors import ArchiveError
from portal.archives.passphrases import parse_passphrase
from portal.archives.records import JOB, newest_success
from portal.archives.targets import open_target
from portal.base.findings import Finding, Severity, admin_url, finding_sources
from portal.base.words import format_relative
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, failure, passed, warning
from portal.status.metrics import age_seconds, metric_sources, single_gauge

# Two nights without one, since a single failure is a finding of its own.
STALE_AFTER = timedelta(days=2)


def runs_url() -> str:
    return admin_url("portal_jobrun_changelist", {"q": JOB})


@finding_sources.register
def stale_backup(now: datetime) -> Iterator[Finding]:
    """Report that the portal should be backed up, and is not."""
    if not settings.PORTAL_BACKUP_TARGET:
        return
    newest = newest_success()
    if newest is None or newest.finished_at is None:
        text = _("The portal has not been backed up yet. The next backup is made at 02:30 UTC.")
        yield Finding(Severity.WARNING, text, url=runs_url(), action=_("View runs"))
    elif newest.finished_at < now - STALE_AFTER:
        text = _("The portal is no longer backed up. The last backup that could be restored was made %(when)s.")
        words = {"when": format_relative(newest.finished_at, now)}
        key = "portal.backup"
        yield Finding(Severity.CRITICAL, text % words, newest.finished_at, runs_url(), _("View runs"), key=key)


@metric_sources.register
def backup_metrics(now: datetime) -> Iterator[Metric]:
    newest = newest_success()
    if newest is not None and newest.result:
        age = age_seconds(newest.finished_at, now)
        yield single_gauge("portal_backup_age_seconds", "Since the portal was last backed up.", age)
        yield single_gauge("portal_backup_bytes", "Size of that backup.", newest.result["bytes"])


@doctor_check("portal_backup", Group.BACKUPS, needs=Needs.TABLES)
def portal_backup() -> Iterator[CheckResult]:
    """Report whether the portal is backed up, by its setting or by the command, and could be again."""
    now, newest = timezone.now(), newest_success()
    finished = newest.finished_at if newest else None
    if settings.PORTAL_BACKUP_TARGET:
        try:
            open_target(settings.PORTAL_BACKUP_TARGET)
            parse_passphrase(settings.PORTAL_BACKUP_PASSPHRASE)
        except ArchiveError as error:
            yield failure(str(error), _("Correct PORTAL_BACKUP_TARGET or PORTAL_BACKUP_PASSPHRASE_FILE."))
            return
    if finished is None:
        hint = _("Set PORTAL_BACKUP_TARGET and PORTAL_BACKUP_PASSPHRASE_FILE, or run “manage.py backup_portal”.")
        yield warning(_("The portal itself has not been backed up."), hint)
    elif settings.PORTAL_BACKUP_TARGET and finished < now - STALE_AFTER:
        text = _("The portal’s last backup was made %(when)s.") % {"when": format_relative(finished, now)}
        yield failure(text, _("Open “Job runs” to see the reason."))
    else:
        yield passed(_("The portal’s last backup was made %(when)s.") % {"when": format_relative(finished, now)})
