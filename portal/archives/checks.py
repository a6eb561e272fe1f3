"""Checks of doctor: the state of the portal's backups, and whether the next one can be made."""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.archives.errors import ArchiveError
from portal.archives.passphrases import parse_passphrase
from portal.archives.records import newest_success
from portal.archives.standing import STALE_AFTER
from portal.archives.targets import parse_address, parse_folder
from portal.base.disks import watched_folders
from portal.base.words import format_relative
from portal.egress.s3 import Store, StoreError
from portal.status.doctor.files import examine_root
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, failure, passed, warning


@doctor_check("portal_backup", Group.BACKUPS, needs=Needs.TABLES)
def check_last_backup() -> Iterator[CheckResult]:
    """Report when the portal was backed up, by its setting or by the command, unless it cannot be."""
    if not may_create_temporary_tables():
        text = _("The portal can’t be backed up: its role may not create temporary tables.")
        yield failure(text, _("Run GRANT TEMP ON DATABASE … TO … in PostgreSQL, with the names in DATABASE_URL."))
        return
    now = timezone.now()
    newest = newest_success(now)
    finished = newest.finished_at if newest else None
    if finished is None:
        hint = _("Set PORTAL_BACKUP_TARGET and PORTAL_BACKUP_PASSPHRASE_FILE, or run “manage.py backup_portal”.")
        yield warning(_("The portal itself has not been backed up."), hint)
        return
    text = _("The portal’s last backup was made %(when)s.") % {"when": format_relative(finished, now)}
    if settings.PORTAL_BACKUP_TARGET and finished < now - STALE_AFTER:
        yield failure(text, _("Open “Job runs” to see the reason."))
    else:
        yield passed(text)


def may_create_temporary_tables() -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_database_privilege(current_database(), 'TEMP')")
        return bool(cursor.fetchone()[0])


@doctor_check("portal_backup_key", Group.BACKUPS)
def check_key() -> Iterator[CheckResult]:
    """Check what encrypts the nightly backups."""
    if not settings.PORTAL_BACKUP_TARGET:
        return
    hint = _("Set PORTAL_BACKUP_PASSPHRASE_FILE to a key file, made by “age-keygen”.")
    try:
        passphrase = parse_passphrase(settings.PORTAL_BACKUP_PASSPHRASE)
    except ArchiveError:
        yield failure(_("The key file of the portal’s backups is empty, or holds no valid key."), hint)
        return
    if passphrase.identity is None:
        text = _("The portal’s backups are encrypted with a passphrase: each backup takes up to 1 GB of memory.")
        yield warning(text, hint)
    else:
        yield passed(_("Key file"))


@doctor_check("portal_backup_folder", Group.BACKUPS)
def check_folder() -> Iterator[CheckResult]:
    """Write to the folder of the nightly backups, and compare its disk with those of the data."""
    if not settings.PORTAL_BACKUP_TARGET or "://" in settings.PORTAL_BACKUP_TARGET:
        return
    folder = parse_folder(settings.PORTAL_BACKUP_TARGET)
    result = examine_root(folder, "PORTAL_BACKUP_TARGET")
    if result.status == "ok" and is_beside_data(folder):
        text = _("The backups in %(path)s are on the same disk as the portal’s data, and would be lost with it.")
        result = warning(text % {"path": folder}, _("Set PORTAL_BACKUP_TARGET to another disk or to a store."))
    yield result


def is_beside_data(folder: Path) -> bool:
    own = watched_folders()
    places = [own[name] for name in ("data", "database") if name in own and own[name].exists()]
    return folder.stat().st_dev in {place.stat().st_dev for place in places}


@doctor_check("portal_backup_store", Group.BACKUPS, calls_out=True)
def check_store() -> Iterator[CheckResult]:
    """Ask the store of the nightly backups for its bucket and for one archive."""
    if "://" not in settings.PORTAL_BACKUP_TARGET:
        return
    store = Store(parse_address(settings.PORTAL_BACKUP_TARGET))
    try:
        store.check()
        next(store.list(), None)
    except StoreError as error:
        text = _("%(place)s can’t be used: %(why)s.") % {"place": store.address.place, "why": error}
        yield failure(text, _("Compare PORTAL_BACKUP_TARGET with the store’s address, key and bucket."))
    else:
        yield passed(store.address.place)
