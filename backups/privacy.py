"""What backups hold of a subject: the machine they come from, and what it said.

Dumps are never erased: they belong to whoever needs them back. Where they lie is said instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan
from backups.scanner.disk import paths
from portal.privacy import PersonalDataTable, Row, Subject, personal_data

Promotion = BackupEntry.Promotion
# Where the portal knows a dump by its path.
KEPT = (Promotion.PROMOTED, Promotion.ARCHIVED)


def without_name(value: Any, subject: Subject, pseudonym: str) -> Any:
    """In what is certainly the machine's, its id goes wherever it stands: names of reports end in it."""
    if isinstance(value, str):
        names = "|".join(map(re.escape, subject.names))
        return re.sub(names, lambda _: pseudonym, value, flags=re.IGNORECASE)
    if isinstance(value, dict):
        renamed = ((without_name(key, subject, pseudonym), item) for key, item in value.items())
        return {key: without_name(item, subject, pseudonym) for key, item in renamed}
    if isinstance(value, list):
        return [without_name(item, subject, pseudonym) for item in value]
    return value


def apart(row: ExpectedBackupJob | DepositArea, pseudonym: str, **alike: Any) -> str:
    """Of two spellings of a machine's name, the second takes a pseudonym of its own where one row alone may have it."""
    taken = type(row).objects.filter(agent_id=pseudonym, **alike).exclude(pk=row.pk)
    return f"{pseudonym}-{row.pk}" if taken.exists() else pseudonym


# --- Expected backups ------------------------------------------------------------------------------------------------


def expected_no_more(job: ExpectedBackupJob, subject: Subject, pseudonym: str) -> Row:
    """Nothing will come of a machine that nobody knows; to go on expecting it would alarm every day."""
    if not subject.is_machine_called(job.agent_id):
        return {}
    pseudonym = apart(job, pseudonym, database_name=job.database_name)
    places = (
        "agent_deposit_path_template",
        "agent_log_deposit_path_template",
        "final_storage_path_template",
        "storage_folder",
    )
    changes = {name: without_name(getattr(job, name), subject, pseudonym) for name in places}
    ended = {"is_active": False, "paused_until": None, "watched_since": timezone.now()} if job.is_active else {}
    return changes | ended | {"agent_id": pseudonym, "damage": without_name(job.damage, subject, pseudonym)}


def of_machine(column: str) -> Any:
    return lambda subject: subject.is_in_column(column) if subject.is_machine else None


def where_dumps_lie(subject: Subject) -> Iterator[str]:
    if not subject.is_machine:
        return
    root = Path(settings.DEPOSITS_ROOT)
    folders_of_it = {paths.reduced(name).lower() for name in subject.names}
    deposits = [folder for folder in sorted(root.glob("*")) if folder.name.lower() in folders_of_it]
    jobs = ExpectedBackupJob.objects.filter(subject.is_in_column("agent_id"))
    folders = [Path(settings.VALIDATED_ROOT) / name for name in jobs.values_list("storage_folder", flat=True)]
    for folder in [*deposits, *dict.fromkeys(folders)]:
        if folder.is_dir():
            text = _("What lies in %(folder)s is not erased: remove it by hand, or keep it.")
            yield text % {"folder": folder}


# --- What became of them ---------------------------------------------------------------------------------------------


def of_no_machine(entry: BackupEntry, subject: Subject, pseudonym: str) -> Row:
    """A dump whose path named the machine is not known to the portal any more: nothing would find or remove it."""
    if not subject.is_machine_called(entry.job.agent_id):
        return {}
    columns = ("reasons", "warnings", "report_name", "staged_name", "judged", "promotion_reason", "stored_path")
    changes = {name: without_name(getattr(entry, name), subject, pseudonym) for name in columns}
    if changes["stored_path"] != entry.stored_path and entry.promotion in KEPT:
        changes |= {"stored_path": "", "promotion": Promotion.NONE}
    return changes


def empty(area: DepositArea, subject: Subject, pseudonym: str) -> Row:
    if not subject.is_machine_called(area.agent_id):
        return {}
    name = apart(area, pseudonym)
    return {"agent_id": name, "trouble": None, "troubled_since": None, "ahead": {}, "unread": []}


# Entries are the machine's by their job, so jobs come first, and are erased last.
personal_data.register(
    PersonalDataTable(
        ExpectedBackupJob,
        machines=("agent_id",),
        texts=("company_name", "city", "neighborhood", "damage"),
        indexed=("agent_id",),
        also=expected_no_more,
        remarks=where_dumps_lie,
    )
)
personal_data.register(
    PersonalDataTable(
        BackupEntry,
        texts=("reasons", "warnings"),
        owned=of_machine("job__agent_id"),
        also=of_no_machine,
        searched=lambda subject: () if subject.is_machine else ("reasons", "warnings"),
    )
)
personal_data.register(
    PersonalDataTable(
        DepositArea,
        machines=("agent_id",),
        texts=("trouble", "unexpected", "unread"),
        indexed=("agent_id",),
        also=empty,
    )
)
personal_data.register(PersonalDataTable(Scan, machines=("agent_id",)))
