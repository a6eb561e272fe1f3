"""How the commands of monitoring end when something comes between."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from portal.base.failures import error_line


@contextmanager
def ends_plainly(command: BaseCommand) -> Iterator[None]:
    """A database that does not answer is told in a sentence, and nothing is said to a reader who has left."""
    try:
        yield
        command.stdout.flush()
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error_line(error)}", returncode=2) from error
    except BrokenPipeError:
        # Python writes out what is left as it ends, and nobody reads that either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
