"""Reasons why an archive is not made or restored. Each exit status of the commands stays the same for good."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError

from portal.base import disks


class ArchiveError(Exception):
    """A refusal, as one sentence for the person at the terminal."""

    exit_status = 1


class WrongPassphrase(ArchiveError):
    exit_status = 3


class AlteredArchive(ArchiveError):
    exit_status = 4


class NotEmpty(ArchiveError):
    exit_status = 5


class NewerVersion(ArchiveError):
    exit_status = 6


@contextmanager
def report_archive_errors() -> Iterator[None]:
    """Turn what a command may meet into a CommandError with a sentence and a stable exit status."""
    try:
        yield
    except ArchiveError as error:
        raise CommandError(str(error), returncode=error.exit_status) from None
    except OSError as error:
        raise CommandError(f"{error.filename or 'A file'}: {error.strerror or error}.") from None
    except (DatabaseError, sqlite3.Error) as error:
        text = "the disk is full" if disks.means_full(error) else str(error).strip()
        raise CommandError(f"The database refused: {text}") from None
