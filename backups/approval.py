"""Machine names whose backups the portal relies on, and whose enrolment an operator must approve."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from django.conf import settings
from django.db.models import Q, Value
from django.db.models.functions import Lower, Replace
from vigie_client.contract import path_name

from agents import approval
from backups.models import ExpectedBackupJob
from backups.scanner.disk import paths

log = logging.getLogger("vigie.backups")
OWN_FOLDER = "{agent_id}/"


@approval.relied_on.register
def has_backups(machine_id: str) -> bool:
    """Return True if backups from the upload folder of this name are expected, or files are in it.

    Names are compared as folder names without case, so that `a:b` counts as `a_b`.
    """
    folder = path_name(machine_id).lower()
    return is_backup_expected(folder) or has_uploads(folder)


def is_backup_expected(folder: str) -> bool:
    # machine_ids are ASCII, and the colon is all that `path_name` replaces in them.
    active = ExpectedBackupJob.objects.filter(is_active=True)
    jobs = active.alias(folder=Lower(Replace("agent_id", Value(":"), Value("_"))))
    if jobs.filter(folder=folder).exists():
        return True
    own_folders = Q(
        agent_deposit_path_template__startswith=OWN_FOLDER, agent_log_deposit_path_template__startswith=OWN_FOLDER
    )
    return any(
        folder in {part.lower() for part in (*paths.dump_folder(job)[:1], *paths.report_folder(job)[:1])}
        for job in active.exclude(own_folders)
    )


def has_uploads(folder: str) -> bool:
    """Return True if a file is in the folder, also if that can't be found out."""
    root = Path(settings.DEPOSITS_ROOT)
    try:
        with os.scandir(root) as entries:
            found = [entry for entry in entries if entry.name.lower() == folder]
        return any(not entry.is_dir(follow_symlinks=False) or has_files(entry.path) for entry in found)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.error("the uploads of a machine can't be listed: %s", type(error).__name__)
        return True


def has_files(path: str) -> bool:
    """Return True if a file or link is anywhere below. Raises OSError."""
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    return True
                folders.append(entry.path)
    return False
