"""Restore an archive into the configured, empty database and data directory.

First, everything is unpacked, proven and migrated to this version in a scratch folder. Then secrets and reports are
put in their place. The database comes last, in one step: a rename for SQLite, a transaction for PostgreSQL.

Before secrets and reports are written, a file `begun` in the scratch folder names the archive. If the process ends
early, the same command continues because of it, and a restore of another archive is refused.
"""

import hashlib
import os
import shutil
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.archives import manifest, rows, secrets
from portal.archives.contents import unpack
from portal.archives.emptiness import (
    RESTORED,
    SQLITE_SUFFIXES,
    has_restored,
    refuse_full_database,
    refuse_full_directory,
)
from portal.archives.errors import ArchiveError, NewerVersion, NotEmpty
from portal.archives.files import migrate_file, open_database
from portal.archives.manifest import Manifest
from portal.archives.passphrases import Passphrase
from portal.archives.proving import check_database, have_same_rows
from portal.base.files import sync_folder_at, write_whole
from portal.base.locks import one_at_a_time
from portal.models import AuditEvent, OutboxMessage
from portal.notifications.notices import in_portal_language
from portal.status.health import known_migrations

SCRATCH, BEGUN = "restoring", "begun"


def restore_archive(path: Path, passphrase: Passphrase, passphrase_file: Path) -> Manifest:
    """Raises ArchiveError, OSError, DatabaseError. Nothing is written before the whole archive was found unaltered."""
    described = unpack(path, passphrase)
    refuse_newer(described)
    settings.VIGIE_DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with one_at_a_time("prepare"):  # which would fill the database too
        scratch = scratch_folder()
        is_begun = has_begun(scratch, described)
        if is_begun and has_restored(audit_subject(described)):
            shutil.rmtree(scratch)
            return described
        refuse_full_database()
        if not is_begun:
            refuse_full_directory([path.absolute(), passphrase_file.absolute()])
        try:
            restore_from(path, passphrase, scratch)
        except BaseException:
            if not (scratch / BEGUN).exists():
                shutil.rmtree(scratch, ignore_errors=True)
            raise
        shutil.rmtree(scratch)
    return described


def scratch_folder() -> Path:
    """Return where the archive is unpacked: beside SQLite's file, which a rename then replaces."""
    if connection.vendor == "sqlite":
        return Path(connection.settings_dict["NAME"]).absolute().parent / SCRATCH
    return settings.VIGIE_DATA_DIR / SCRATCH


def has_begun(scratch: Path, described: Manifest) -> bool:
    """Return True if a restore of this archive was interrupted. Raises NotEmpty if it was one of another archive."""
    if not (scratch / BEGUN).exists():
        return False
    begun = (scratch / BEGUN).read_text(encoding="utf-8").strip()
    if begun != mark_of(described):
        raise NotEmpty(
            f"A restore of another archive was interrupted here: {begun or 'unknown'}. Run it again with that archive, "
            f"or delete {scratch} and restore into an empty place."
        )
    return True


def mark_of(described: Manifest) -> str:
    return f"{audit_subject(described)} {hashlib.sha256(described.dump()).hexdigest()}"


def refuse_newer(described: Manifest) -> None:
    unknown = set(described.migrations) - {f"{app}.{name}" for app, name in known_migrations()}
    if unknown:
        raise NewerVersion(
            f"The archive was made by version {described.version}, which is newer than this one: "
            f"{min(unknown)} is unknown here. Install that version, then restore."
        )


def audit_subject(described: Manifest) -> str:
    """Return the name of the archive in the audit log of what was restored from it."""
    return f"archive:{described.host} {described.created_at}"[:200]


def restore_from(path: Path, passphrase: Passphrase, scratch: Path) -> None:
    content = scratch / "content"
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True, mode=0o700)
    described = unpack(path, passphrase, content)
    secrets.refuse_other_settings(content / manifest.SECRETS)
    renew_database(content / manifest.DATABASE, described)
    write_whole(scratch / BEGUN, mark_of(described))
    place_reports(content / manifest.REPORTS)
    secrets.place(content / manifest.SECRETS)
    if connection.vendor == "sqlite":
        place_file(content / manifest.DATABASE)
    else:
        copy_to_database(content / manifest.DATABASE)


def renew_database(file: Path, described: Manifest) -> None:
    """Prove the database of the archive, migrate it to this version, and end what must not go on elsewhere."""
    with open_database(file) as alias:
        check_database(alias, described)
    migrate_file(file)
    with open_database(file) as alias, in_portal_language():
        now = timezone.now()
        # The lost portal may have sent them after this backup. Operators can still retry them one by one.
        reason = _("Not sent: the portal was restored from a backup that was made before this message was sent.")
        OutboxMessage.objects.using(alias).finish("given_up", now, reason)
        AuditEvent.objects.using(alias).create(
            at=now, last_at=now, actor="command line", action=RESTORED, subject=audit_subject(described)
        )


def place_reports(folder: Path) -> None:
    root = settings.REPORTS_ROOT
    if not folder.is_dir():
        return
    if not root.is_dir() and settings.VIGIE_DATA_DIR not in root.parents:
        raise ArchiveError(f"REPORTS_ROOT does not exist, or its disk is not mounted: {root}.")
    shutil.copytree(folder, root, dirs_exist_ok=True)


def place_file(file: Path) -> None:
    """Put the file in the place of SQLite's, which is empty, in one step that outlives a power cut."""
    connection.close()
    place = Path(connection.settings_dict["NAME"])
    for suffix in SQLITE_SUFFIXES[1:]:
        place.with_name(f"{place.name}{suffix}").unlink(missing_ok=True)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    file.replace(place)
    sync_folder_at(place.parent)


def copy_to_database(file: Path) -> None:
    """Copy all rows to PostgreSQL in one transaction."""
    call_command("migrate", interactive=False, verbosity=0)
    with open_database(file) as alias, transaction.atomic():
        refuse_full_database()
        rows.empty_tables("default", [Permission, ContentType])
        for model in rows.all_models():
            rows.copy_rows(model, alias, "default")
        rows.reset_sequences("default")
        connection.check_constraints()
        if not have_same_rows(alias, rows.model_tables()):
            raise ArchiveError("Not every row was copied.")
