"""The state of the backups of the portal: findings and metrics."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from prometheus_client.metrics_core import Metric

from portal.archives.records import JOB, newest_success
from portal.base.findings import Finding, Severity, admin_url, finding_sources
from portal.base.words import format_relative
from portal.status.metrics import age_seconds, metric_sources, single_gauge

# Two nights without one, since a single failure is a finding of its own.
STALE_AFTER = timedelta(days=2)


def runs_url() -> str:
    return admin_url("portal_jobrun_changelist", {"q": JOB})


@finding_sources.register
def stale_backup(now: datetime) -> Iterator[Finding]:
    """Report that the portal should be backed up, and is not, or that older backups fill their place."""
    if not settings.PORTAL_BACKUP_TARGET:
        return
    newest = newest_success(now)
    if newest is None or newest.finished_at is None:
        text = _("The portal has not been backed up yet. The next backup is made at 02:30 UTC.")
        yield Finding(Severity.WARNING, text, url=runs_url(), action=_("View runs"))
        return
    if newest.finished_at < now - STALE_AFTER:
        text = _("The portal is no longer backed up. The last backup that could be restored was made %(when)s.")
        words = {"when": format_relative(newest.finished_at, now)}
        key = "portal.backup"
        yield Finding(Severity.CRITICAL, text % words, newest.finished_at, runs_url(), _("View runs"), key=key)
    if why := (newest.result or {}).get("not_deleted"):
        text = _("Some backups of the portal can’t be deleted: %(why)s") % {"why": why}
        yield Finding(Severity.WARNING, text, url=runs_url(), action=_("View runs"), key="portal.backup_retention")


@metric_sources.register
def backup_metrics(now: datetime) -> Iterator[Metric]:
    newest = newest_success(now)
    if newest is not None and newest.result:
        age = age_seconds(newest.finished_at, now)
        yield single_gauge("portal_backup_age_seconds", "Since the portal was last backed up.", age)
        yield single_gauge("portal_backup_bytes", "Size of that backup.", newest.result["bytes"])
