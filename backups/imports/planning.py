"""Import expected backups from a table: plan what each row of texts would do, then apply all of it or nothing.

The columns are the model's field names, as exports write them. Importing an export changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from backups import validators
from backups.imports.cells import parse_cell
from backups.models import ExpectedBackupJob
from backups.reasons import to_single_line
from backups.scanner.disk import paths
from portal import audit
from portal.base.logs import redact_tokens
from portal.desk.exports import escape_cell, unescape_cell

OLDER_NAMES = {
    "agent_id_responsible": "agent_id",
    "last_checked_timestamp": "last_checked_at",
    "last_successful_backup_timestamp": "last_success_at",
    "previous_successful_hash_global": "previous_successful_hash",
}
KEY = ("agent_id", "database_name")
# Results of scans, which an import may bring from an earlier installation.
MEASURED = (
    "current_status",
    "status_since",
    "last_checked_at",
    "last_success_at",
    "last_verified_at",
    "previous_successful_hash",
)
FIELDS: dict[str, models.Field[Any, Any]] = {
    column.name: column
    for column in ExpectedBackupJob._meta.concrete_fields
    if not column.primary_key and (column.editable or column.name in MEASURED)
}
DELIMITERS = ",;\t"
# The line above the table by which Excel announces the delimiter.
SEPARATOR_LINE = re.compile(r"\"?sep=([,;\t|])\"?,*[ \t]*\r?\n", re.IGNORECASE)


class RowAction(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass
class ImportRow:
    """One row of the table and what it will do. `number` is 1 for the first below the header.

    `refusals` are sentences by column, and `changes` values to write, by field. `kept_newer` is set if the row's scan
    results are outdated, and left out.
    """

    number: int
    agent_id: str
    database_name: str
    job: ExpectedBackupJob
    is_new: bool
    changes: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    kept_newer: bool = False

    @property
    def action(self) -> RowAction:
        if self.refusals:
            return RowAction.REFUSED
        if self.is_new:
            return RowAction.CREATE
        return RowAction.CHANGE if self.changes else RowAction.UNCHANGED

    @property
    def writes(self) -> bool:
        return self.action in (RowAction.CREATE, RowAction.CHANGE)

    def refuse(self, column: str, sentence: str) -> None:
        self.refusals.setdefault(column, []).append(sentence)


@dataclass(frozen=True)
class ImportPlan:
    """The effect of an import. `faults` condemn the table as a whole: then there are no rows."""

    rows: Sequence[ImportRow] = ()
    faults: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def refused(self) -> list[ImportRow]:
        return [row for row in self.rows if row.action is RowAction.REFUSED]

    @property
    def is_refused(self) -> bool:
        return bool(self.faults or self.refused)

    @property
    def counts(self) -> dict[str, int]:
        actions = Counter(row.action for row in self.rows)
        return {
            "created": actions[RowAction.CREATE],
            "changed": actions[RowAction.CHANGE],
            "unchanged": actions[RowAction.UNCHANGED],
        }


class ImportConflict(Exception):
    """The jobs changed after the import was planned. Nothing was imported."""


def plan_import(rows: Iterable[Mapping[str, str]]) -> ImportPlan:
    """Plan the import of rows, which are texts by column. Writes nothing."""
    given = [dict(row) for row in rows]
    columns = ColumnMapping.from_rows(given)
    if columns.faults:
        return ImportPlan(faults=columns.faults)
    texts = [columns.texts(row) for row in given]
    numbered = [(number, row) for number, row in enumerate(texts, 1) if any(row.values())]
    existing = ExistingJobs.load()
    numbered = [(number, existing.with_known_spelling(row)) for number, row in numbered]
    known = existing.jobs(row_key(row) for _number, row in numbered)
    drafts = [draft_row(number, row, known.get(row_key(row))) for number, row in numbered]
    for row in drafts:
        validate_row(row)
    refuse_repeated(drafts)
    refuse_shared_folders(drafts, existing)
    for row in drafts:
        row.refusals = {columns.name_of(name): found for name, found in row.refusals.items()}
    return ImportPlan(drafts, warnings=[*columns.warnings, *list_warnings(drafts)])


def apply_import(plan: ImportPlan, request: HttpRequest | None = None, *, actor: str | None = None) -> None:
    """Write everything or nothing. Raises ImportConflict, and ValueError for a refused plan."""
    if plan.is_refused:
        raise ValueError("a refused import cannot be carried out")
    changed = [row.job.pk for row in plan.rows if row.action is RowAction.CHANGE]
    writing = [row for row in plan.rows if row.writes]
    try:
        with transaction.atomic():
            locked = ExpectedBackupJob.objects.select_for_update().order_by("pk").in_bulk(changed)
            if len(locked) < len(changed):
                raise ImportConflict
            for row in writing:
                row.job.save(update_fields=None if row.is_new else [*row.changes])
            audit.record_event("backups.jobs_imported", request=request, actor=actor, after=plan.counts)
    except IntegrityError:
        raise ImportConflict from None


# --- Columns ---------------------------------------------------------------------------------------------------------


@dataclass
class ColumnMapping:
    """The table's columns by field, and what is wrong with them."""

    by_field: dict[str, str]
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: list[dict[str, str]]) -> ColumnMapping:
        columns, ignored = cls({}), []
        for column in dict.fromkeys(column for row in rows for column in row):
            name = OLDER_NAMES.get(column.strip().lower(), column.strip().lower())
            if name not in FIELDS:
                ignored.append(printable_name(column))
            elif name in columns.by_field:
                both = {"first": columns.by_field[name], "second": column}
                columns.faults.append(_("The columns %(first)s and %(second)s are the same.") % both)
            else:
                columns.by_field[name] = column
        for name in KEY:
            if rows and name not in columns.by_field:
                columns.faults.append(_("The column %(name)s is missing.") % {"name": name})
        if ignored:
            columns.warnings.append(_("These columns are not imported: %(names)s.") % {"names": ", ".join(ignored)})
        return columns

    def texts(self, row: Mapping[str, str]) -> dict[str, str]:
        return {
            name: normalize_cell(row[column]) for name, column in self.by_field.items() if row.get(column) is not None
        }

    def name_of(self, name: str) -> str:
        """Return the table's name for a field."""
        return self.by_field.get(name, name)


def printable_name(text: str) -> str:
    """Return a name from the table that is safe to show."""
    return to_single_line(redact_tokens(text))


def normalize_cell(text: str) -> str:
    """Return the text in NFC, stripped, and without the apostrophe that exports put before a formula."""
    return unescape_cell(paths.normalize_name(text).strip()).strip()


def find_table(text: str) -> tuple[str, str, int]:
    """Return the table in a CSV text, its delimiter, and the number of lines above it."""
    announced = SEPARATOR_LINE.match(text)
    if announced:
        return text[announced.end() :], announced[1], 1
    first = text.partition("\n")[0]
    return text, max(DELIMITERS, key=first.count), 0


def row_key(texts: Mapping[str, str]) -> tuple[str, str]:
    return texts.get("agent_id", ""), texts.get("database_name", "")


# --- Rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExistingJobs:
    """The pk and the storage folder of each existing job, by its key."""

    by_key: dict[tuple[str, str], tuple[int, str]]

    @classmethod
    def load(cls) -> ExistingJobs:
        jobs = ExpectedBackupJob.objects.order_by().values_list("agent_id", "database_name", "pk", "storage_folder")
        return cls(
            {(agent_id, paths.normalize_name(database)): (pk, folder) for agent_id, database, pk, folder in jobs}
        )

    @cached_property
    def spellings(self) -> dict[str, str]:
        return {agent_id.lower(): agent_id for agent_id, _database in sorted(self.by_key, reverse=True)}

    def with_known_spelling(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the row with its machine spelled as existing jobs spell it."""
        known = self.spellings.get(texts.get("agent_id", "").lower())
        return texts if known is None or row_key(texts) in self.by_key else texts | {"agent_id": known}

    def jobs(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ExpectedBackupJob]:
        pks = {self.by_key[key][0] for key in keys if key in self.by_key}
        jobs = ExpectedBackupJob.objects.in_bulk(pks).values()
        return {(job.agent_id, paths.normalize_name(job.database_name)): job for job in jobs}


def draft_row(number: int, texts: Mapping[str, str], job: ExpectedBackupJob | None) -> ImportRow:
    """Return the row with its changes, applied to the unsaved job."""
    agent_id, database = (printable_name(text) for text in row_key(texts))
    row = ImportRow(number, agent_id, database, job or ExpectedBackupJob(), is_new=job is None)
    for name, text in texts.items():
        current = getattr(row.job, name)
        if text == normalize_cell(escape_cell(current)):
            continue  # an exported value is unchanged, even if the export rounded it
        try:
            value = parse_cell(FIELDS[name], text)
        except ValueError as error:
            row.refuse(name, str(error))
        else:
            if value != current:
                row.changes[name] = value
    keep_newer_results(row)
    for name, value in row.changes.items():
        setattr(row.job, name, value)
    return row


def keep_newer_results(row: ImportRow) -> None:
    """Leave out results that are older than those of the job's last scan."""
    checked_at = row.job.last_checked_at
    if checked_at is None or (row.changes.get("last_checked_at") or checked_at) > checked_at:
        return
    row.kept_newer = not row.changes.keys().isdisjoint(MEASURED)
    row.changes = {name: value for name, value in row.changes.items() if name not in MEASURED}


def validate_row(row: ImportRow) -> None:
    """Apply the model's rules, except that of shared folders, which would cost a query per row."""
    if not row.writes:
        return
    try:
        row.job.clean_fields()
        validators.refuse_overlapping(row.job)
    except ValidationError as error:
        row.refusals.update(error.message_dict)


def refuse_repeated(rows: list[ImportRow]) -> None:
    times = Counter(key_of_job(row) for row in rows)
    for row in rows:
        if times[key_of_job(row)] > 1:
            row.refuse("database_name", _("Another row has the same database."))


def key_of_job(row: ImportRow) -> tuple[str, str]:
    return row.job.agent_id, row.job.database_name


def refuse_shared_folders(rows: list[ImportRow], existing: ExistingJobs) -> None:
    """Refuse rows whose folder another job will have after the import.

    Two jobs may swap their folders, and two new rows may collide.
    """
    folders = {key: folder for key, (_pk, folder) in existing.by_key.items()}
    writing = [row for row in rows if row.writes]
    folders |= {key_of_job(row): "/".join(paths.storage_folder(row.job)) for row in writing}
    sharing: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, folder in folders.items():
        sharing[folder.upper()].append(key)
    for row in writing:
        others = [key for key in sharing[folders[key_of_job(row)].upper()] if key != key_of_job(row)]
        if others:
            text = _("The backups of %(job)s are stored in the same folder.")
            row.refuse("final_storage_path_template", text % {"job": printable_name(" ".join(others[0]))})


def list_warnings(rows: list[ImportRow]) -> Iterator[str]:
    kept = sum(row.kept_newer for row in rows)
    if kept:
        yield _("Newer scan results were kept for %(count)s expected backups.") % {"count": kept}
