"""What a database's backup is made of: the output of a dump command, or a file that another program left.

Both come as chunks of bytes, of which the whole counts only once the last one was asked for: a command may fail after
its last byte, and a file may have changed meanwhile. DumpFailed says so instead of the end.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Optional, Union

from vigie_client.deposits.commands import command_output, parse_command
from vigie_client.deposits.errors import DumpFailed, error_text

CHUNK = 256 * 1024


@dataclass(frozen=True)
class Dump:
    """A database, and where its dump comes from: a `command` that writes it to its standard output, or a `file`.

    A command that is a text is split as a shell would; with shell operators it's run by bash, with `pipefail`. One that
    is a sequence is run as it is. Raises ValueError unless there's exactly one of both.
    """

    database: str
    command: Union[str, Sequence[str], None] = None
    file: Union[str, os.PathLike[str], None] = None

    def __post_init__(self) -> None:
        if (self.command is None) == (self.file is None):
            raise ValueError(f"{self.database}: give either a command or a file")

    def check(self) -> None:
        """ValueError for a command that this machine can't even read."""
        if self.command is not None:
            parse_command(self.command)

    def content(self, timeout: Optional[float] = None) -> Generator[bytes, None, None]:
        """The dump's bytes. Close it to stop a command half-way; one that runs longer than `timeout` is killed."""
        if self.command is not None:
            return command_output(self.command, timeout, CHUNK)
        return file_content(os.fspath(self.file or ""))


def file_content(path: str) -> Generator[bytes, None, None]:
    """The bytes of the file at `path`. DumpFailed if it can't be read, or changed before it was read to its end."""
    try:
        with _opened(path) as file:
            before = os.fstat(file.fileno())
            while chunk := file.read(CHUNK):
                yield chunk
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DumpFailed(f"the file can't be read: {error_text(error)}") from None
    if _state(before) != _state(after):
        raise DumpFailed("the file changed while it was read")


def _opened(path: str) -> io.FileIO:
    """Without waiting for the writer of what turns out to be a pipe."""
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DumpFailed("that isn't a file")
    return file


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
