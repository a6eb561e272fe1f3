"""Tables of expected backups: rows of texts become jobs, all of them or none.

The columns are the model's field names, as exports write them; what our own export gave changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from backups import validators
from backups.models import ExpectedBackupJob
from backups.reasons import quoted
from backups.scanner.disk import paths
from portal import audit
from portal.access.tokens.credential import TOKEN_IN_TEXT
from portal.api.fields import CONTROL
from portal.base.logs import redact_tokens
from portal.desk.exports import escape_cell, unescape_cell

OLDER_NAMES = {
    "agent_id_responsible": "agent_id",
    "last_checked_timestamp": "last_checked_at",
    "last_successful_backup_timestamp": "last_success_at",
    "previous_successful_hash_global": "previous_successful_hash",
}
KEY = ("agent_id", "database_name")
# What scans find out. An import knows it of a time before ours, or of another portal.
MEASURED = (
    "current_status",
    "status_since",
    "last_checked_at",
    "last_success_at",
    "last_verified_at",
    "previous_successful_hash",
)
FIELDS: dict[str, models.Field[Any, Any]] = {
    one.name: one
    for one in ExpectedBackupJob._meta.concrete_fields
    if not one.primary_key and (one.editable or one.name in MEASURED)
}
DELIMITERS = ",;\t"
# How Excel tells which character separates the cells, in a line of its own above the table.
SEPARATOR_LINE = re.compile(r"\"?sep=([,;\t|])\"?,*[ \t]*\r?\n", re.IGNORECASE)
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# Some spreadsheets translate what they take for a truth value.
BOOLEANS = dict.fromkeys(["true", "1", "yes", "vrai", "oui"], True) | dict.fromkeys(
    ["false", "0", "no", "faux", "non"], False
)


class Outcome(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass
class Row:
    """One row of the table and what it will do; `number` is 1 for the first below the header.

    `refusals` are sentences by column. `changes` are the values to be written, by field; `kept_newer` says that scans
    have found out more since than the row knows.
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
    def outcome(self) -> Outcome:
        if self.refusals:
            return Outcome.REFUSED
        if self.is_new:
            return Outcome.CREATE
        return Outcome.CHANGE if self.changes else Outcome.UNCHANGED

    @property
    def writes(self) -> bool:
        return self.outcome in (Outcome.CREATE, Outcome.CHANGE)

    def refuse(self, column: str, sentence: str) -> None:
        self.refusals.setdefault(column, []).append(sentence)


@dataclass(frozen=True)
class Plan:
    """What an import will do. `faults` are of the table as a whole: then there are no rows."""

    rows: Sequence[Row] = ()
    faults: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def refused(self) -> list[Row]:
        return [row for row in self.rows if row.outcome is Outcome.REFUSED]

    @property
    def is_refused(self) -> bool:
        return bool(self.faults or self.refused)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(row.outcome for row in self.rows)
        return {
            "created": found[Outcome.CREATE],
            "changed": found[Outcome.CHANGE],
            "unchanged": found[Outcome.UNCHANGED],
        }


class Overtaken(Exception):
    """The jobs changed since the import was planned: nothing was imported."""


def planned(rows: Iterable[Mapping[str, str]]) -> Plan:
    """What importing the rows would do; each is texts by column. Nothing is written."""
    given = [dict(row) for row in rows]
    columns = Columns.of(given)
    if columns.faults:
        return Plan(faults=columns.faults)
    texts = [columns.texts(row) for row in given]
    numbered = [(number, row) for number, row in enumerate(texts, 1) if any(row.values())]
    standing = Standing.now()
    numbered = [(number, standing.spelled(row)) for number, row in numbered]
    known = standing.jobs(key_of(row) for _number, row in numbered)
    drafts = [drafted(number, row, known.get(key_of(row))) for number, row in numbered]
    for row in drafts:
        judge(row)
    refuse_repeated(drafts)
    refuse_shared_storage(drafts, standing)
    for row in drafts:
        row.refusals = {columns.shown(name): found for name, found in row.refusals.items()}
    return Plan(drafts, warnings=[*columns.warnings, *warnings_of(drafts)])


def carry_out(plan: Plan, request: HttpRequest | None = None, *, actor: str | None = None) -> None:
    """Writes all of it or nothing. Raises Overtaken; ValueError for a plan that is refused."""
    if plan.is_refused:
        raise ValueError("a refused import cannot be carried out")
    changed = [row.job.pk for row in plan.rows if row.outcome is Outcome.CHANGE]
    writing = [row for row in plan.rows if row.writes]
    try:
        with transaction.atomic():
            locked = ExpectedBackupJob.objects.select_for_update().order_by("pk").in_bulk(changed)
            if len(locked) < len(changed):
                raise Overtaken
            for row in writing:
                row.job.save(update_fields=None if row.is_new else [*row.changes])
            audit.record_event("backups.jobs_imported", request=request, actor=actor, after=plan.counts)
    except IntegrityError:
        raise Overtaken from None


# --- Columns ---------------------------------------------------------------------------------------------------------


@dataclass
class Columns:
    """The table's columns by the fields they mean, and what is wrong with them."""

    by_field: dict[str, str]
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, rows: list[dict[str, str]]) -> Columns:
        columns, ignored = cls({}), []
        for column in dict.fromkeys(column for row in rows for column in row):
            name = OLDER_NAMES.get(column.strip().lower(), column.strip().lower())
            if name not in FIELDS:
                ignored.append(shown_name(column))
            elif name in columns.by_field:
                both = {"first": columns.by_field[name], "second": column}
                columns.faults.append(_("The columns %(first)s and %(second)s mean the same.") % both)
            else:
                columns.by_field[name] = column
        for name in KEY:
            if rows and name not in columns.by_field:
                columns.faults.append(_("The column %(name)s is missing.") % {"name": name})
        if ignored:
            columns.warnings.append(_("These columns are not imported: %(names)s.") % {"names": ", ".join(ignored)})
        return columns

    def texts(self, row: Mapping[str, str]) -> dict[str, str]:
        return {name: plain(row[column]) for name, column in self.by_field.items() if row.get(column) is not None}

    def shown(self, name: str) -> str:
        """The field as the table calls it."""
        return self.by_field.get(name, name)


def shown_name(text: str) -> str:
    """A name from the table, fit to be shown."""
    return quoted(redact_tokens(text))


def plain(text: str) -> str:
    """In NFC, with plain spaces, none around it, and without the apostrophe that our export puts before a formula."""
    return unescape_cell(paths.normal(text).strip()).strip()


def table_in(text: str) -> tuple[str, str, int]:
    """The table in a CSV file, what separates its cells, and how many lines stand above it."""
    named = SEPARATOR_LINE.match(text)
    if named:
        return text[named.end() :], named[1], 1
    first = text.partition("\n")[0]
    return text, max(DELIMITERS, key=first.count), 0


def key_of(texts: Mapping[str, str]) -> tuple[str, str]:
    return texts.get("agent_id", ""), texts.get("database_name", "")


# --- Rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """The jobs there are, by their keys: which row of the database, and which folder its backups are stored in."""

    by_key: dict[tuple[str, str], tuple[int, str]]

    @classmethod
    def now(cls) -> Standing:
        jobs = ExpectedBackupJob.objects.order_by().values_list("agent_id", "database_name", "pk", "storage_folder")
        return cls({(agent_id, paths.normal(database)): (pk, folder) for agent_id, database, pk, folder in jobs})

    @cached_property
    def spellings(self) -> dict[str, str]:
        return {agent_id.lower(): agent_id for agent_id, _database in sorted(self.by_key, reverse=True)}

    def spelled(self, texts: dict[str, str]) -> dict[str, str]:
        """The row with its machine spelled as the jobs there are spell it."""
        known = self.spellings.get(texts.get("agent_id", "").lower())
        return texts if known is None or key_of(texts) in self.by_key else texts | {"agent_id": known}

    def jobs(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ExpectedBackupJob]:
        pks = {self.by_key[key][0] for key in keys if key in self.by_key}
        jobs = ExpectedBackupJob.objects.in_bulk(pks).values()
        return {(job.agent_id, paths.normal(job.database_name)): job for job in jobs}


def drafted(number: int, texts: Mapping[str, str], job: ExpectedBackupJob | None) -> Row:
    """The row with what it would change; a job that is not there yet is begun."""
    agent_id, database = (shown_name(text) for text in key_of(texts))
    row = Row(number, agent_id, database, job or ExpectedBackupJob(), is_new=job is None)
    for name, text in texts.items():
        current = getattr(row.job, name)
        if text == plain(escape_cell(current)):
            continue  # what an export wrote of it is it, whatever the export left out
        try:
            value = value_of(FIELDS[name], text)
        except ValueError as error:
            row.refuse(name, str(error))
        else:
            if value != current:
                row.changes[name] = value
    keep_newer(row)
    for name, value in row.changes.items():
        setattr(row.job, name, value)
    return row


def keep_newer(row: Row) -> None:
    """A table of yesterday must not undo what scans have found since."""
    looked_at = row.job.last_checked_at
    if looked_at is None or (row.changes.get("last_checked_at") or looked_at) > looked_at:
        return
    row.kept_newer = not row.changes.keys().isdisjoint(MEASURED)
    row.changes = {name: value for name, value in row.changes.items() if name not in MEASURED}


def judge(row: Row) -> None:
    """The rules of the model. That of shared folders, which costs a query a row, is for all of them together."""
    if not row.writes:
        return
    try:
        row.job.clean_fields()
        validators.refuse_overlapping(row.job)
    except ValidationError as error:
        row.refusals.update(error.message_dict)


def refuse_repeated(rows: list[Row]) -> None:
    times = Counter(identity(row) for row in rows)
    for row in rows:
        if times[identity(row)] > 1:
            row.refuse("database_name", _("Another row is about the same database."))


def identity(row: Row) -> tuple[str, str]:
    return row.job.agent_id, row.job.database_name


def refuse_shared_storage(rows: list[Row], standing: Standing) -> None:
    """Two jobs in one folder would take each other's current version for their own.

    Judged for what will be: two jobs may exchange their folders, and rows may collide that no job does yet.
    """
    folders = {key: folder for key, (_pk, folder) in standing.by_key.items()}
    writing = [row for row in rows if row.writes]
    folders |= {identity(row): "/".join(paths.storage_folder(row.job)) for row in writing}
    sharing: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, folder in folders.items():
        sharing[folder.upper()].append(key)
    for row in writing:
        others = [key for key in sharing[folders[identity(row)].upper()] if key != identity(row)]
        if others:
            text = _("The backups of %(job)s are stored in the same folder.")
            row.refuse("final_storage_path_template", text % {"job": shown_name(" ".join(others[0]))})


def warnings_of(rows: list[Row]) -> Iterator[str]:
    kept = sum(row.kept_newer for row in rows)
    if kept:
        yield _("What scans found out since was kept for %(count)s of the expected backups.") % {"count": kept}


# --- Cells -----------------------------------------------------------------------------------------------------------


def value_of(column: models.Field[Any, Any], text: str) -> Any:
    """What a cell means for its field. Raises ValueError with a sentence that holds nothing of the cell."""
    if not text:
        return None if column.null else column.get_default()
    if isinstance(column, models.BooleanField):
        return boolean(text)
    if isinstance(column, models.DateTimeField):
        return moment(text)
    if isinstance(column, models.IntegerField):
        return whole(text)
    if column.choices:
        return choice(text, [str(value) for value, _label in column.flatchoices])
    if column.name == "previous_successful_hash":
        return sha256(text)
    return line(text)


def boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError(_("true or false is expected."))
    return BOOLEANS[text.lower()]


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        validators.validate_moment(found)
    except (ValueError, OverflowError, ValidationError):
        raise ValueError(_("A moment is expected, such as 2026-03-10T09:12:44Z.")) from None
    return found


def whole(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise ValueError(_("A whole number is expected."))
    return int(text)


def choice(text: str, choices: list[str]) -> str:
    for known in choices:
        if known.lower() == text.lower():
            return known
    raise ValueError(_("One of these is expected: %(choices)s.") % {"choices": ", ".join(choices)})


def sha256(text: str) -> str:
    if not SHA256.fullmatch(text.lower()):
        raise ValueError(_("64 hexadecimal digits are expected."))
    return text.lower()


def line(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError(_("Control characters are not allowed."))
    if TOKEN_IN_TEXT.search(text):
        raise ValueError(_("A token does not belong here."))
    return text
