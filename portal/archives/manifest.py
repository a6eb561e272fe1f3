"""The first member of an archive: what is in it, by size, hash and number of rows, and what made it."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from portal import __version__
from portal.archives.errors import AlteredArchive, NewerVersion
from portal.base.moments import format_iso_seconds

NAME, DATABASE = "manifest.json", "database.sqlite3"
SECRETS, REPORTS = "secrets", "reports"
FORMAT = 1
MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """`files` has size in bytes and SHA-256 by path, `rows` a number by table, `database` is the kind of the source."""

    version: str
    database: str
    created_at: str
    host: str
    migrations: list[str]
    rows: dict[str, int]
    files: dict[str, dict[str, Any]]
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(int(file["size"]) for file in self.files.values())

    def dump(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()


def parse_manifest(content: bytes) -> Manifest:
    """Raises AlteredArchive, NewerVersion."""
    try:
        found = json.loads(content)
        if found["format"] > FORMAT:
            raise NewerVersion(f"The archive has format {found['format']}, made by a newer version of the portal.")
        return Manifest(**found)
    except (ValueError, TypeError, KeyError):
        raise AlteredArchive("The manifest of the archive cannot be read.") from None


def build_manifest(folder: Path, now: datetime, database: str, migrations: list[str], rows: dict[str, int]) -> Manifest:
    """Describe the files of the folder. Raises OSError."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): describe_file(path) for path in paths}
    moment = format_iso_seconds(now)
    return Manifest(__version__, database, moment, platform.node(), migrations, rows, files)


def describe_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}
