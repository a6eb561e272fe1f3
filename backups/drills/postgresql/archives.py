"""Turn archives of `pg_dump -Fc` and `-Ft` into SQL, with pg_restore as a converter without any connection."""

from __future__ import annotations

import errno
import re
import resource
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from backups.drills.limits import Limits
from backups.drills.outcomes import POSTGRESQL, Outcome, SandboxUnavailable, Unsupported
from backups.drills.postgresql.cluster import INSTALLED

READ_BYTES = 256 * 1024
LOG_BYTES = 64 * 1024
VERSION_SECONDS = 10
# An archive of a later format, or compressed in a way that this pg_restore was not built with.
TOO_NEW = re.compile(
    r"unsupported version|compression is not supported|does not support compression|not supported by this"
)


def find_pg_restore() -> Path | None:
    """Return the newest pg_restore on the PATH or among the installed ones."""
    found = [folder / "pg_restore" for pattern in INSTALLED for folder in Path("/").glob(pattern[1:])]
    if on_path := shutil.which("pg_restore"):
        found.append(Path(on_path))
    versions = {path: version_of(path) for path in found if path.exists()}
    return max(versions, key=lambda path: versions[path], default=None)


def version_of(program: Path) -> tuple[int, ...]:
    try:
        run = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r" ([0-9]+(?:\.[0-9]+)*)", run.stdout)
    return tuple(map(int, found[1].split("."))) if found else ()


def convert(pieces: Iterable[bytes], folder: Path, limits: Limits, outcome: Outcome) -> Iterator[bytes]:
    """Yield the SQL of an archive. Raises Aborted at a limit, SandboxUnavailable, Unsupported."""
    program = find_pg_restore()
    if program is None:
        raise Unsupported("pg_restore_missing")
    archive, log = folder / "archive", folder / "pg_restore.log"
    spool(pieces, archive, limits)
    with log.open("wb") as errors, run_converter(program, archive, errors, limits) as converter:
        try:
            assert converter.stdout is not None  # noqa: S101 - a pipe was asked for
            converted = 0
            while piece := converter.stdout.read1(READ_BYTES):  # type: ignore[attr-defined]
                converted += len(piece)
                limits.unpacked = max(limits.unpacked, converted)
                limits.raise_if_reached()
                yield piece
        except BaseException:
            converter.kill()
            raise
    archive.unlink()
    if converter.returncode:
        explain(log.read_text(errors="replace"), outcome)


def spool(pieces: Iterable[bytes], archive: Path, limits: Limits) -> None:
    """Raises Aborted at a limit, SandboxUnavailable without space."""
    size = 0
    try:
        with archive.open("wb") as file:
            for piece in pieces:
                size += len(piece)
                limits.note_size(size)
                limits.raise_if_reached()
                file.write(piece)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SandboxUnavailable(POSTGRESQL, {"code": "archive_not_unpacked", "error": error.strerror}) from None


def run_converter(program: Path, archive: Path, errors: IO[bytes], limits: Limits) -> subprocess.Popen[bytes]:
    """Start pg_restore within limits: it parses what may be hostile, so it may write nothing but its log."""
    converter = subprocess.Popen(
        [program, "-f", "-", archive],
        cwd=archive.parent,
        env={"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    resource.prlimit(converter.pid, resource.RLIMIT_FSIZE, (LOG_BYTES, LOG_BYTES))
    resource.prlimit(converter.pid, resource.RLIMIT_CPU, (int(limits.seconds) + 1,) * 2)
    return converter


def explain(log: str, outcome: Outcome) -> None:
    """Record why pg_restore failed. Raises Unsupported."""
    if TOO_NEW.search(log):
        raise Unsupported("pg_restore_too_old")
    line = next((line for line in log.splitlines() if "error:" in line), "pg_restore: it failed")
    outcome.fail("".join(char if char.isprintable() else " " for char in line))
