"""Output of commands: reports as bytes, and a plain end if the database or the reader is gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError

from portal.base.failures import error_line


@contextmanager
def ends_plainly(command: BaseCommand) -> Iterator[None]:
    """Raise CommandError in one sentence if the database does not answer. End quietly if the reader closed the pipe."""
    try:
        yield
        command.stdout.flush()
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error_line(error)}", returncode=2) from error
    except BrokenPipeError:
        # Python flushes stdout at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def print_bytes(stream: OutputWrapper, content: bytes) -> None:
    """Write the bytes whatever the encoding of the terminal. A stream without a buffer takes them as text."""
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(content.decode(), ending="")
    else:
        buffer.write(content)
