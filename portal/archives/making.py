"""Make an archive: snapshot, files, manifest, encryption, restore into a sandbox, and only then its name.

All of it is done under a lease, in a scratch folder of the data directory and in a `.part` file of the target. What a
killed process left of either is deleted by the next one.
"""

import platform
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from portal.archives import manifest, rows, secrets
from portal.archives.contents import pack
from portal.archives.errors import ArchiveError
from portal.archives.files import MIGRATIONS, applied_migrations, count_rows, open_database
from portal.archives.manifest import Manifest
from portal.archives.passphrases import Passphrase
from portal.archives.proving import prove_archive
from portal.archives.snapshots import database_size, take_snapshot
from portal.archives.targets import UNFINISHED, Target
from portal.base.addresses import is_this_machine
from portal.base.disks import require_space
from portal.work.jobs import AlreadyRunning, exclusive_lease

MAKING = "portal.archiving"
# A task of the slow cluster takes no longer.
LEASE = timedelta(hours=2)
SCRATCH = "archiving"
LONGEST_OWNER = 100
# What a database shrinks to at least, as measured: rows of a portal compress to a tenth.
COMPRESSED = 2


@dataclass(frozen=True)
class Archive:
    """An archive in its target. `not_deleted` says why another one could not be deleted there."""

    name: str
    size: int
    manifest: Manifest
    place: str
    not_deleted: str = ""


def scratch_folder() -> Path:
    return Path(settings.VIGIE_DATA_DIR, SCRATCH)


@contextmanager
def working_alone() -> Iterator[Path]:
    """Yield an empty scratch folder, which is deleted at the end. Raises ArchiveError if another process has it."""
    scratch = scratch_folder()
    try:
        with exclusive_lease(MAKING, LEASE):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(mode=0o700)
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except AlreadyRunning:
        raise ArchiveError("Another backup of the portal is being made. Try again when it has ended.") from None


def make_archive(target: Target, passphrase: Passphrase, scratch: Path, keep: int | None = None) -> Archive:
    """Make an archive, restore it into a sandbox, and name it; then delete all but the newest `keep` of this portal.

    An archive that was made counts, even if the target refuses to delete others. Raises ArchiveError, OSError,
    DatabaseError, sqlite3.Error.
    """
    workplace, taken = target.workplace(scratch), target.names()
    not_deleted = try_to_delete(lambda: target.sweep(is_own_name))
    size = database_size()
    require_space((scratch, size), (workplace, size // COMPRESSED))
    content = scratch / "content"
    described = collect(content)
    name = new_name(taken)
    path = workplace / f"{name}{UNFINISHED}"
    try:
        pack(content, described, path, passphrase)
        shutil.rmtree(content)
        if prove_archive(path, passphrase, scratch / "sandbox") != described:
            raise ArchiveError("The archive that was just made does not hold what it should.")
        packed = path.stat().st_size
        target.put(path, name)
    finally:
        path.unlink(missing_ok=True)
    if keep is not None:
        not_deleted = delete_older(target, name, keep) or not_deleted
    return Archive(name, packed, described, target.place, not_deleted)


def collect(content: Path) -> Manifest:
    """Bring everything that goes into an archive into a new folder, and describe it."""
    content.mkdir(mode=0o700)
    now = timezone.now()
    take_snapshot(content / manifest.DATABASE)
    secrets.collect(content / manifest.SECRETS)
    if not settings.REPORTS_ROOT.is_dir():
        raise ArchiveError(f"REPORTS_ROOT does not exist, or its disk is not mounted: {settings.REPORTS_ROOT}.")
    shutil.copytree(settings.REPORTS_ROOT, content / manifest.REPORTS, ignore=ignore_special)
    with open_database(content / manifest.DATABASE) as alias:
        found = set(connections[alias].introspection.table_names())  # not all if `migrate` is still to come
        counts = count_rows(alias, [table for table in (MIGRATIONS, *rows.model_tables()) if table in found])
        migrations = applied_migrations(alias)
    return manifest.build_manifest(content, now, connection.vendor, migrations, counts)


def ignore_special(folder: str, names: list[str]) -> list[str]:
    """Leave out links, sockets, and files that are still being written."""
    paths = [Path(folder, name) for name in names]
    kept = [path.name for path in paths if not path.is_symlink() and (path.is_file() or path.is_dir())]
    return [name for name in names if name not in kept or name.startswith(".")]


# --- Names and retention ---------------------------------------------------------------------------------------------


def own_prefix() -> str:
    """Return how the names of this portal's archives begin: others may keep theirs in the same place.

    They hold its address, in which the name of this machine stands for localhost. A restored portal has the same
    address, and a copy has another.
    """
    address = urlsplit(settings.PORTAL_URL)
    host = platform.node() if is_this_machine(address.hostname or "") else address.hostname
    owner = re.sub("[^a-z0-9.]+", "-", f"{host}:{address.port or ''}{address.path}".lower())
    return f"vigie-{owner.strip('-')[:LONGEST_OWNER]}-"


def is_own_name(name: str) -> bool:
    return bool(re.fullmatch(rf"{re.escape(own_prefix())}\d{{8}}T\d{{6}}Z\.tar", name))


def new_name(taken: list[str]) -> str:
    """Return a name by the current second, or by the next one that is free."""
    moment = datetime.now(UTC)
    while (name := f"{own_prefix()}{moment:%Y%m%dT%H%M%SZ}.tar") in taken:
        moment += timedelta(seconds=1)
    return name


def own_archives(target: Target) -> list[str]:
    """Return the names of this portal's archives, newest first."""
    return sorted(filter(is_own_name, target.names()), reverse=True)


def delete_older(target: Target, newest: str, keep: int) -> str:
    """Delete all but the newest archives. Those named later than the one just made neither count nor are deleted.

    A clock that was ahead named them. Returns why one was not deleted, or "".
    """
    ahead: list[str] = []

    def delete_all() -> None:
        own = own_archives(target)
        ahead.extend(name for name in own if name > newest)
        for name in own[len(ahead) + max(keep, 1) :]:
            target.delete(name)

    refused = try_to_delete(delete_all)
    return refused or (
        f"{ahead[-1]} has a time to come in its name. Delete it by hand, unless the clock is slow." if ahead else ""
    )


def try_to_delete(delete: Callable[[], None]) -> str:
    """Return why the target refused, or ""."""
    try:
        delete()
    except ArchiveError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or 'A file'}: {error.strerror or error}."
    return ""
