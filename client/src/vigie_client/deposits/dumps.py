"""Read a database dump from a command or from a file that another program wrote.

Both yield chunks of bytes and may raise DumpFailed after the last one: a command may fail at its end, and a file may
have changed meanwhile.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Optional, Union

from vigie_client.deposits.dump_commands import command_output, parse_command
from vigie_client.deposits.errors import DumpFailed, error_text

CHUNK = 256 * 1024


@dataclass(frozen=True)
class Dump:
    """A database and the source of its dump: a `command` that writes it to standard output, or a `file`.

    A command given as text is split as a shell would do; with shell operators bash runs it, with `pipefail`. A sequence
    is run unchanged. Raises ValueError unless exactly one of both is given.
    """

    database: str
    command: Union[str, Sequence[str], None] = None
    file: Union[str, os.PathLike[str], None] = None

    def __post_init__(self) -> None:
        if (self.command is None) == (self.file is None):
            raise ValueError(f"{self.database}: use either a command or a file")

    def check(self) -> None:
        """Raise ValueError if this machine cannot run the command."""
        if self.command is not None:
            parse_command(self.command)

    def content(self, timeout: Optional[float] = None) -> Generator[bytes, None, None]:
        """Yield the dump. Closing the generator stops the command, and `timeout` seconds kill it."""
        if self.command is not None:
            return command_output(self.command, timeout, CHUNK)
        return file_content(os.fspath(self.file or ""))


def file_content(path: str) -> Generator[bytes, None, None]:
    """Yield the file at `path`. Raises DumpFailed if it cannot be read or changes meanwhile."""
    try:
        with _open_file(path) as file:
            before = os.fstat(file.fileno())
            while chunk := file.read(CHUNK):
                yield chunk
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DumpFailed(f"the file can't be read: {error_text(error)}") from None
    if _fingerprint(before) != _fingerprint(after):
        raise DumpFailed("the file changed while it was read")


def _open_file(path: str) -> io.FileIO:
    """Open a regular file. O_NONBLOCK avoids waiting for the writer of a pipe."""
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DumpFailed("that isn't a file")
    return file


def _fingerprint(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
