"""The nightly backup of the portal."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from portal.archives.making import LEASE, make_archive, working_alone
from portal.archives.passphrases import parse_passphrase
from portal.archives.records import JOB, result_of
from portal.archives.targets import open_target
from portal.work.jobs import Lease
from portal.work.schedules import Job, jobs

# After midnight in Europe and before its mornings.
OFFSET = timedelta(hours=2, minutes=30)


def back_up(lease: Lease) -> dict[str, Any]:
    """Raises ArchiveError, OSError, DatabaseError, sqlite3.Error."""
    target = open_target(settings.PORTAL_BACKUP_TARGET)
    passphrase = parse_passphrase(settings.PORTAL_BACKUP_PASSPHRASE)
    with working_alone() as scratch:
        return result_of(make_archive(target, passphrase, scratch, settings.PORTAL_BACKUP_KEEP))


if settings.PORTAL_BACKUP_TARGET:
    jobs.register(Job(JOB, back_up, every=timedelta(days=1), cluster="slow", offset=OFFSET, lease=LEASE))
