"""Personal data in backups: machine names, and what machines reported.

Dumps are never erased, since somebody may need them back; the erasure lists their folders instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from vigie_client.contract import path_name

from backups.models import (
    BackupEntry,
    DepositArea,
    DrillAssertion,
    ExpectedBackupJob,
    OffsiteCopy,
    RestoreDrill,
    Scan,
)
from backups.querysets import STORED
from portal.privacy import PersonalDataTable, Row, Subject, personal_data

JOB_REASONS = ("damage", "proof_lost")
DRILL_TEXTS = ("errors", "warnings", "losses", "assertions", "schema")
ASSERTION_TEXTS = ("name", "query", "expected")


def pseudonymize(value: Any, subject: Subject, pseudonym: str) -> Any:
    """Replace the machine's id anywhere in its own data: the names of reports end in it, for example."""
    if isinstance(value, str):
        names = "|".join(map(re.escape, subject.names))
        return re.sub(names, lambda _: pseudonym, value, flags=re.IGNORECASE)
    if isinstance(value, dict):
        renamed = ((pseudonymize(key, subject, pseudonym), item) for key, item in value.items())
        return {key: pseudonymize(item, subject, pseudonym) for key, item in renamed}
    if isinstance(value, list):
        return [pseudonymize(item, subject, pseudonym) for item in value]
    return value


def unique_pseudonym(row: ExpectedBackupJob | DepositArea, pseudonym: str, **unique_with: Any) -> str:
    """Return the pseudonym, made unique by the row's pk if a second spelling of the machine already has it."""
    taken = type(row).objects.filter(agent_id=pseudonym, **unique_with).exclude(pk=row.pk)
    return f"{pseudonym}-{row.pk}" if taken.exists() else pseudonym


# --- Expected backups ------------------------------------------------------------------------------------------------


def job_changes(job: ExpectedBackupJob, subject: Subject, pseudonym: str) -> Row:
    """Return the changes that pseudonymize a job and deactivate it: it would raise an alarm every day."""
    if not subject.is_machine_called(job.agent_id):
        return {}
    pseudonym = unique_pseudonym(job, pseudonym, database_name=job.database_name)
    places = (
        "agent_deposit_path_template",
        "agent_log_deposit_path_template",
        "final_storage_path_template",
        "storage_folder",
    )
    changes = {name: pseudonymize(getattr(job, name), subject, pseudonym) for name in (*places, *JOB_REASONS)}
    ended = {"is_active": False, "paused_until": None, "watched_since": timezone.now()} if job.is_active else {}
    return changes | ended | {"agent_id": pseudonym}


def list_kept_folders(subject: Subject) -> Iterator[str]:
    if not subject.is_machine:
        return
    root = Path(settings.DEPOSITS_ROOT)
    own_names = {path_name(name).lower() for name in subject.names}
    deposits = [folder for folder in sorted(root.glob("*")) if folder.name.lower() in own_names]
    jobs = ExpectedBackupJob.objects.filter(subject.is_in_column("agent_id"))
    folders = [Path(settings.VALIDATED_ROOT) / name for name in jobs.values_list("storage_folder", flat=True)]
    for folder in [*deposits, *dict.fromkeys(folders)]:
        if folder.is_dir():
            text = _("Files in %(folder)s aren’t erased. Delete them yourself if needed.")
            yield text % {"folder": folder}


# --- Entries and deposit areas ---------------------------------------------------------------------------------------


def entry_changes(entry: BackupEntry, subject: Subject, pseudonym: str) -> Row:
    """Return the changes that pseudonymize an entry. A stored path with the machine's name is forgotten."""
    if not subject.is_machine_called(entry.job.agent_id):
        return {}
    columns = ("reasons", "warnings", "report_name", "staged_name", "judged", "promotion_reason", "stored_path")
    changes = {name: pseudonymize(getattr(entry, name), subject, pseudonym) for name in columns}
    if changes["stored_path"] != entry.stored_path and entry.promotion in STORED:
        changes |= {"stored_path": "", "promotion": BackupEntry.Promotion.NONE}
    return changes


def area_changes(area: DepositArea, subject: Subject, pseudonym: str) -> Row:
    if not subject.is_machine_called(area.agent_id):
        return {}
    name = unique_pseudonym(area, pseudonym)
    return {"agent_id": name, "trouble": None, "troubled_since": None, "ahead": {}, "unread": [], "first_seen": {}}


def owned_through_job(subject: Subject) -> Q | None:
    return subject.is_in_column("job__agent_id") if subject.is_machine else None


def copy_changes(copy: OffsiteCopy, subject: Subject, pseudonym: str) -> Row:
    """Return the changes to a copy whose key has the machine's name: the objects stay, and are forgotten."""
    if not subject.is_machine_called(copy.entry.job.agent_id):
        return {}
    key = pseudonymize(copy.key, subject, pseudonym)
    forgotten = {"key": key, "version": "", "superseded": [], "state": OffsiteCopy.State.PENDING, "loss": ""}
    return forgotten if key != copy.key else {}


def list_kept_copies(subject: Subject) -> Iterator[str]:
    if subject.is_machine:
        owned = subject.is_in_column("entry__job__agent_id")
        copies = OffsiteCopy.objects.copied().filter(owned)
        for job in ExpectedBackupJob.objects.filter(entries__offsite_copy__in=copies).distinct():
            text = _("Off-site copies below %(folder)s aren’t erased. Delete them yourself if needed.")
            yield text % {"folder": job.storage_folder}


def own_texts(
    row: RestoreDrill | DrillAssertion, columns: Sequence[str], subject: Subject, pseudonym: str
) -> dict[str, Any]:
    """Return the texts about a machine's own database with the pseudonym for its name; none about another's."""
    if not subject.is_machine_called(row.job.agent_id):
        return {}
    return {name: pseudonymize(getattr(row, name), subject, pseudonym) for name in columns}


def drill_changes(drill: RestoreDrill, subject: Subject, pseudonym: str) -> Row:
    return own_texts(drill, DRILL_TEXTS, subject, pseudonym)


def assertion_changes(asserted: DrillAssertion, subject: Subject, pseudonym: str) -> Row:
    """Return the changes that pseudonymize an assertion. The row's number keeps a changed name unique."""
    changes = own_texts(asserted, ASSERTION_TEXTS, subject, pseudonym)
    name = changes.get("name") or subject.replaced(asserted.name, pseudonym)
    if name != asserted.name:
        number = f" {asserted.pk}"
        longest = asserted._meta.get_field("name").max_length or 0
        changes["name"] = name[: longest - len(number)] + number
    return changes


# Entries belong to a machine through their job, so jobs are registered first, and erased last.
personal_data.register(
    PersonalDataTable(
        ExpectedBackupJob,
        machines=("agent_id",),
        texts=("company_name", "city", "neighborhood", *JOB_REASONS),
        indexed=("agent_id",),
        also=job_changes,
        remarks=list_kept_folders,
    )
)
personal_data.register(
    PersonalDataTable(
        BackupEntry,
        texts=("reasons", "warnings"),
        owned=owned_through_job,
        also=entry_changes,
        searched=lambda subject: () if subject.is_machine else ("reasons", "warnings"),
    )
)
personal_data.register(
    PersonalDataTable(
        OffsiteCopy,
        owned=lambda subject: subject.is_in_column("entry__job__agent_id") if subject.is_machine else None,
        also=copy_changes,
        remarks=list_kept_copies,
    )
)
personal_data.register(
    PersonalDataTable(
        DepositArea,
        machines=("agent_id",),
        texts=("trouble", "unexpected", "unread"),
        indexed=("agent_id",),
        also=area_changes,
    )
)
personal_data.register(PersonalDataTable(RestoreDrill, texts=DRILL_TEXTS, owned=owned_through_job, also=drill_changes))
personal_data.register(
    PersonalDataTable(DrillAssertion, texts=ASSERTION_TEXTS, owned=owned_through_job, also=assertion_changes)
)
personal_data.register(PersonalDataTable(Scan, machines=("agent_id",)))
