"""Checks of folders and disks: free space, permissions, and whether this user can write."""

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from pwd import getpwuid

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base import disks
from portal.status.doctor.registry import CheckResult, Group, doctor_check, failure, passed, warning

MANIFEST = "staticfiles.json"
MEMORY = Path("/proc/meminfo")
PROCESS = Path("/proc/self/status")
LEAST_MEMORY_MIB = 128
UMASK = 0o077


# --- Folders ---------------------------------------------------------------------------------------------------------


@doctor_check("vigie_data_dir", Group.FILES)
def check_data_directory() -> Iterator[CheckResult]:
    if settings.VIGIE_DATA_DIR.exists():
        yield examine_folder(settings.VIGIE_DATA_DIR)
    else:
        text = _("%(path)s does not exist.") % {"path": settings.VIGIE_DATA_DIR}
        yield failure(text, _("Run “manage.py prepare” as the user that runs the portal."))


@doctor_check("deposits_root", Group.FILES)
def check_deposits_root() -> Iterator[CheckResult]:
    yield examine_root(settings.DEPOSITS_ROOT, "DEPOSITS_ROOT")


@doctor_check("validated_root", Group.FILES)
def check_validated_root() -> Iterator[CheckResult]:
    validated, deposits = settings.VALIDATED_ROOT, settings.DEPOSITS_ROOT
    if validated == deposits or validated in deposits.parents or deposits in validated.parents:
        text = _("VALIDATED_ROOT and DEPOSITS_ROOT are one folder, or one is inside the other: %(path)s.")
        yield failure(text % {"path": validated}, _("Set them to two separate folders."))
    else:
        yield examine_root(validated, "VALIDATED_ROOT")


@doctor_check("reports_root", Group.FILES)
def check_reports_root() -> Iterator[CheckResult]:
    yield examine_root(settings.REPORTS_ROOT, "REPORTS_ROOT")


@doctor_check("temporary_folder", Group.FILES)
def check_temporary_folder() -> Iterator[CheckResult]:
    """Check the folder of large requests and of restore drills."""
    yield examine_folder(Path(tempfile.gettempdir()), is_shared=True)


def examine_root(path: Path, name: str) -> CheckResult:
    if path.exists():
        return examine_folder(path)
    text = _("%(path)s does not exist.") % {"path": path}
    if settings.VIGIE_DATA_DIR in path.parents:
        return failure(text, _("Run “manage.py prepare” as the user that runs the portal."))
    return failure(text, _("Mount its disk, create the folder, or change %(name)s.") % {"name": name})


def examine_folder(path: Path, *, is_shared: bool = False) -> CheckResult:
    """Write and remove a file, and look at permissions and free space."""
    words = {"path": path, "user": user_name(os.geteuid())}
    owner_hint = _("Give the folder to %(user)s, or run doctor as the user that runs the portal.") % words
    if not path.is_dir():
        return failure(_("%(path)s is not a folder.") % words, _("Replace it with a folder."))
    if not os.access(path, os.R_OK | os.X_OK):
        return failure(_("%(user)s can’t read %(path)s.") % words, owner_hint)
    try:
        write_and_remove(path)
    except OSError as error:
        text = _("%(user)s can’t write to %(path)s: %(error)s.") % {**words, "error": error.strerror}
        return failure(text, _("Free some space.") if disks.means_full(error) else owner_hint)
    if not is_shared and path.stat().st_mode & stat.S_IWOTH:
        text = _("Every user of this machine can write to %(path)s.") % words
        return warning(text, _("Run “chmod o-w %(path)s”.") % words)
    return examine_disk(path)


def write_and_remove(path: Path) -> None:
    """Raises OSError."""
    with tempfile.NamedTemporaryFile(prefix=".vigie-doctor-", dir=path) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


def examine_disk(path: Path) -> CheckResult:
    disk = disks.find_disk(path)
    if disk is None:
        return passed(_("%(path)s, writable") % {"path": path})
    words = {"path": path, "free": filesizeformat(disk.free), "size": filesizeformat(disk.size)}
    hint = _("Free some space, or move the folder to a larger disk.")
    if disk.is_full or disk.free < settings.DISK_RESERVE_MIB * disks.MIB:
        return failure(_("The disk of %(path)s has only %(free)s of %(size)s left.") % words, hint)
    if disk.free < settings.DISK_WARNING_MIB * disks.MIB:
        return warning(_("The disk of %(path)s has only %(free)s of %(size)s left.") % words, hint)
    return passed(_("%(path)s, writable, %(free)s of %(size)s free") % words)


def user_name(uid: int) -> str:
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# --- User and process ------------------------------------------------------------------------------------------------


@doctor_check("user", Group.FILES)
def check_user() -> Iterator[CheckResult]:
    """Check that doctor runs as the owner of the data: root may write everywhere, so its answers prove nothing."""
    own = os.geteuid()
    owner = settings.VIGIE_DATA_DIR.stat().st_uid if settings.VIGIE_DATA_DIR.exists() else own
    words = {"user": user_name(own), "owner": user_name(owner), "path": settings.VIGIE_DATA_DIR}
    if owner == own:
        yield passed(user_name(own))
        return
    text = _("Running as %(user)s, and %(path)s belongs to %(owner)s: results about permissions may be wrong.")
    hint = _("Run doctor as %(owner)s, or give %(path)s to the user that runs the portal.")
    yield warning(text % words, hint % words)


@doctor_check("umask", Group.FILES)
def check_umask() -> Iterator[CheckResult]:
    """Read the umask from the process table: setting it, even for an instant, would affect other threads."""
    field = next((line for line in read_lines(PROCESS) if line.startswith("Umask:")), "")
    umask = int(field.split()[1], 8) if field else UMASK
    if umask & UMASK == UMASK:
        yield passed(f"{umask:04o}")
    else:
        text = _("The umask is %(umask)s: other users of this machine can read new files.") % {"umask": f"{umask:04o}"}
        yield warning(text, _("Start the portal with “manage.py up”, which sets it to 0077."))


@doctor_check("memory", Group.FILES)
def check_memory() -> Iterator[CheckResult]:
    field = next((line for line in read_lines(MEMORY) if line.startswith("MemAvailable:")), "")
    if not field:
        return
    free = int(field.split()[1]) * 1024
    if free < LEAST_MEMORY_MIB * disks.MIB:
        text = _("Only %(free)s of memory are available.") % {"free": filesizeformat(free)}
        yield warning(text, _("Lower WEB_WORKERS, QUICK_WORKERS or SLOW_WORKERS, or add memory."))
    else:
        yield passed(_("%(free)s available") % {"free": filesizeformat(free)})


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file of the kernel, or none where there is no such file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


# --- Static files ----------------------------------------------------------------------------------------------------


@doctor_check("static_files", Group.FILES)
def compare_static_files() -> Iterator[CheckResult]:
    """Compare the collected files with those of this version. Stylesheets change while they are collected."""
    hint = _("Run “manage.py prepare”.")
    if settings.DEBUG:
        yield passed(_("Not collected: DEBUG is on."))
        return
    try:
        content = (settings.STATIC_ROOT / MANIFEST).read_text(encoding="utf-8")
        collected: dict[str, str] = json.loads(content)["paths"]
    except (OSError, ValueError, KeyError):
        yield failure(_("The static files are not collected: pages can’t be shown."), hint)
        return
    outdated = [name for name, source in list_sources() if is_outdated(name, source, collected)]
    if outdated:
        text = ngettext(
            "%(count)d static file is not of this version, such as %(name)s.",
            "%(count)d static files are not of this version, such as %(name)s.",
            len(outdated),
        )
        yield failure(text % {"count": len(outdated), "name": outdated[0]}, hint)
    else:
        yield passed(ngettext("%(count)d file", "%(count)d files", len(collected)) % {"count": len(collected)})


def list_sources() -> Iterator[tuple[str, Path]]:
    for finder in get_finders():
        for name, storage in finder.list([]):
            yield name, Path(storage.path(name))


def is_outdated(name: str, source: Path, collected: dict[str, str]) -> bool:
    if name not in collected or not (settings.STATIC_ROOT / collected[name]).exists():
        return True
    if source.suffix != ".js" or name.split("/")[0] not in settings.OWN_APPS:
        return False
    return hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest()[:12] not in collected[name]
