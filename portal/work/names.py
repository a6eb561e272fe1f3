"""Names of jobs and tasks as people read them. Stored names, such as `backups.scan`, never change."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

NAMES: dict[str, Promise] = {
    "backups.agent": _("Scan of one machine’s uploads"),
    "backups.digest": _("Weekly backup digest"),
    "backups.drills": _("Restore drills"),
    "backups.drills_due": _("Search for due restore drills"),
    "backups.offsite": _("Off-site copies"),
    "backups.offsite_due": _("Search for missing off-site copies"),
    "backups.reverify": _("Re-verification of a stored backup"),
    "backups.scan": _("Scan of all uploads"),
    "backups.scan_agent": _("Scan of one machine’s uploads"),
    "monitoring.beta_verdicts": _("Review of beta verdicts"),
    "monitoring.reminders": _("Reminders of open incidents"),
    "monitoring.rolling_up": _("Calculation of uptime and response time figures"),
    "monitoring.rollups": _("Uptime and response time figures"),
    "monitoring.round": _("Round of checks"),
    "monitoring.rounds": _("Start of check rounds"),
    "monitoring.watch": _("Monitoring of targets"),
    "portal.access.reset_mail": _("Password reset mail"),
    "portal.archiving": _("Making of a backup of the portal"),
    "portal.backup": _("Backup of the portal"),
    "portal.beat": _("Sign of life of the workers"),
    "portal.deliver": _("Delivery of notifications"),
    "portal.retention": _("Deletion of expired data"),
    "privacy.erase_subject": _("Erasure of a person or a machine"),
    "usage.guardian": _("Usage digest"),
    "usage.rolling_up": _("Calculation of usage figures"),
    "usage.rollups": _("Usage figures"),
}


def describe_work(name: str) -> str:
    """Return what the job or task does, or its stored name if it is unknown."""
    return str(NAMES.get(name, name))
