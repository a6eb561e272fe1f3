"""The secrets on which stored rows depend: archived as they are in use, wherever they come from."""

import shutil
from pathlib import Path

from django.conf import settings

from portal.access.accounts.first_password import FILE_NAME as FIRST_PASSWORD
from portal.archives.errors import ArchiveError
from portal.base.env import Environment
from portal.base.files import write_whole
from portal.base.private_files import GENERATED_SECRETS

# Files that the portal itself generates.
GENERATED = frozenset([*map(str.lower, GENERATED_SECRETS), FIRST_PASSWORD])


def list_entries(folder: Path) -> list[Path]:
    """Return what is in a folder, apart from unfinished files and what file systems put there. Raises OSError."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if not path.name.startswith(".") and path.name != "lost+found"]


def collect(folder: Path) -> None:
    """Write each secret in use to a file of a new folder. Values of the environment replace those in SECRETS_DIR.

    Links are followed: containers mount secrets as links. Raises ArchiveError for what is no file, and OSError.
    """
    folder.mkdir(mode=0o700)
    for path in list_entries(Path(settings.SECRETS_DIR)):
        if not path.is_file():
            raise ArchiveError(f"This secret can't be backed up, since it is not a file: {path}. Move it elsewhere.")
        shutil.copyfile(path, folder / path.name)
    for name in GENERATED_SECRETS:
        if given := Environment().text(name):
            (folder / name.lower()).write_text(given, encoding="utf-8")


def refuse_other_settings(folder: Path) -> None:
    """Raise ArchiveError if the environment gives a secret that differs from the restored one, which it would hide."""
    for name in GENERATED_SECRETS:
        given, path = Environment().text(name), folder / name.lower()
        if given and path.exists() and path.read_text(encoding="utf-8").strip() != given:
            raise ArchiveError(
                f"{name} is set, and is not the one of the archive: what that encrypted or signed would be lost. "
                f"Unset {name} and {name}_FILE; the archive brings its own."
            )


def place(folder: Path) -> None:
    """Put the restored secrets in the place of generated ones. Raises OSError."""
    own = Path(settings.SECRETS_DIR)
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    restored = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(restored):
        write_whole(own / name, (folder / name).read_bytes())
    for name in GENERATED - restored:
        (own / name).unlink(missing_ok=True)
