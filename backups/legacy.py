"""Import expected backups and the entries of past cycles from tables of an older scanner, as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from django.db.models.functions import Lower
from django.utils import timezone

from backups.imports.cells import SHA256
from backups.imports.planning import (
    FIELDS,
    KEY,
    ImportConflict,
    ImportPlan,
    RowAction,
    apply_import,
    normalize_cell,
    plan_import,
    printable_name,
)
from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.reasons import make_reason
from backups.scanner.disk import paths
from portal.legacy.errors import UnreadableFile
from portal.legacy.files import LegacyFile, LegacyRow
from portal.legacy.registry import ACTOR, ImportOptions, LegacyKind, batched, legacy_kinds
from portal.legacy.reports import BAD_TIME, ImportReport, Reason
from portal.legacy.values import read_moment, reduce_machine_id

# As many as an import in the admin.
MAX_JOBS = 20_000
JOBS = "expected_backups"
# Names of the columns in older scanners, the first that a table has.
COLUMNS = {
    "agent_id": ("agent_id", "agent_id_responsible", "machine_id"),
    "database_name": ("database_name", "database"),
    "cycle_at": ("cycle_at", "expected_at", "timestamp"),
    "status": ("status",),
    "message": ("message", "reason", "error_message"),
    "late": ("late",),
    "agent_sha256": ("agent_sha256", "agent_hash", "sha256_checksum"),
    "agent_size": ("agent_size", "agent_size_bytes", "size_bytes"),
    "server_sha256": ("server_sha256", "server_hash", "server_calculated_hash"),
    "server_size": ("server_size", "server_size_bytes", "server_calculated_size"),
    "report_name": ("report_name", "operation_log_file_name"),
    "staged_name": ("staged_name", "staged_file_name"),
}
JOB_COLUMNS = FIELDS.keys() - COLUMNS.keys()
REQUIRED = ("agent_id", "database_name", "cycle_at", "status")
HASHES, SIZES, NAMES = ("agent_sha256", "server_sha256"), ("agent_size", "server_size"), ("report_name", "staged_name")
SIZE = re.compile(r"[0-9]{1,19}")
MAX_SIZE, LONGEST_NAME = 2**63 - 1, 255
STATUSES = {status.value: status for status in Status if status != Status.PENDING} | {"UNCHANGED": Status.UNCHANGED}
EFFECTS = {RowAction.CREATE: "created", RowAction.CHANGE: "updated", RowAction.UNCHANGED: "unchanged"}
TRUE, FALSE = ("true", "1", "yes"), ("", "false", "0", "no")

BAD_STATUS = Reason("unknown_status", f"the status is none of {', '.join(STATUSES)}")
BAD_HASH = Reason("bad_hash", "a SHA-256 isn’t 64 hexadecimal digits")
BAD_SIZE = Reason("bad_size", "a size isn’t a whole number of bytes")
BAD_FLAG = Reason("bad_flag", "late is neither true nor false")
NO_JOB = Reason("no_expected_backup", "the portal expects no such backup: import the expected backups too")
WATCHED = Reason("watched", "the portal has watched this backup itself since before")
RECORDED = Reason("recorded", "the portal has another result of this time")


def choose_columns(header: tuple[str, ...]) -> dict[str, str]:
    """Return the names that the table has for the fields of an entry."""
    return {field: name for field, names in COLUMNS.items() if (name := next((n for n in names if n in header), None))}


def has_entries(file: LegacyFile) -> bool:
    """Expected backups may have a status too, beside columns that no entry has."""
    chosen = choose_columns(file.header).keys()
    is_of_jobs = not JOB_COLUMNS.isdisjoint(file.header)
    return "status" in chosen and ("cycle_at" in chosen or ("database_name" in chosen and not is_of_jobs))


def has_jobs(file: LegacyFile) -> bool:
    return not choose_columns(file.header).keys().isdisjoint(KEY) and not has_entries(file)


# --- Expected backups ------------------------------------------------------------------------------------------------


def load_jobs(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    """Import what the import of the admin takes; rows that it refuses are left out."""
    rows = []
    for row in file.csv_rows(report):
        rows.append(LegacyRow(row.number, rename_machine(row.values, report)))
        if len(rows) > MAX_JOBS:
            raise UnreadableFile("too_many_rows", f"it has more than {MAX_JOBS} expected backups")
    plan = plan_import(row.values for row in rows)
    if plan.faults:
        raise UnreadableFile("bad_columns", " ".join(plan.faults))
    report.remarks += plan.warnings
    for planned in plan.rows:
        if planned.action is RowAction.REFUSED:
            report.refuse(rows[planned.number - 1].number, describe_refusals(planned.refusals))
        else:
            report.count(EFFECTS[planned.action])
    good = [planned for planned in plan.rows if planned.action is not RowAction.REFUSED]
    if options.applies and any(planned.writes for planned in good):
        try:
            apply_import(ImportPlan(good), actor=ACTOR)
        except ImportConflict:
            raise UnreadableFile("changed", "expected backups changed meanwhile: run the command again") from None
    options.planned.setdefault(JOBS, set()).update(job_key(planned.agent_id, planned.database_name) for planned in good)


def rename_machine(values: Mapping[str, str], report: ImportReport) -> dict[str, str]:
    """Return the row with its machine id reduced. The other columns are those of the import in the admin."""
    chosen = next((name for name in COLUMNS["agent_id"] if name in values), None)
    found = {name: cell for name, cell in values.items() if name not in COLUMNS["agent_id"]}
    if chosen:
        found["agent_id"] = reduce_machine_id(normalize_cell(values[chosen]))
        report.note_id(values[chosen], found["agent_id"])
    return found


def describe_refusals(refusals: Mapping[str, list[str]]) -> Reason:
    sentences = [f"{column}: {' '.join(texts)}" for column, texts in refusals.items()]
    return Reason("validation_failed", " ".join(sentences))


def job_key(agent_id: str, database: str) -> tuple[str, str]:
    return agent_id.lower(), paths.normalize_name(database)


# --- Entries ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OldEntry:
    """A row of the table: its number, the key of its expected backup, and the unsaved entry without it."""

    number: int
    key: tuple[str, str]
    entry: BackupEntry


def load_entries(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    """Import the results of past cycles. None is stored, announced, or of a time that the portal watched itself."""
    chosen = choose_columns(file.header)
    missing = [name for name in REQUIRED if name not in chosen]
    if missing:
        raise UnreadableFile("bad_columns", f"these columns are missing: {', '.join(missing)}")
    for batch in batched(read_entries(file, chosen, report, options.zone)):
        with options.transaction():
            store_entries(batch, report, options)


def read_entries(file: LegacyFile, chosen: Mapping[str, str], report: ImportReport, zone: tzinfo) -> Iterator[OldEntry]:
    for row in file.csv_rows(report):
        values = {field: normalize_cell(row.values.get(column, "")) for field, column in chosen.items()}
        machine_id = reduce_machine_id(values["agent_id"])
        report.note_id(values["agent_id"], machine_id)
        found = read_entry(values, zone)
        if isinstance(found, Reason):
            report.refuse(row.number, found)
        else:
            yield OldEntry(row.number, job_key(machine_id, values["database_name"]), found)


def read_entry(values: Mapping[str, str], zone: tzinfo) -> BackupEntry | Reason:
    """Return the unsaved entry, or the reason why the row is refused."""
    try:
        cycle_at = read_moment(values["cycle_at"], zone)
    except ValueError:
        cycle_at = None
    status = STATUSES.get(values["status"].upper())
    late = values.get("late", "").lower()
    hashes = {name: values.get(name, "").lower() for name in HASHES}
    sizes = {name: values.get(name, "") for name in SIZES}
    if cycle_at is None:
        return BAD_TIME
    if status is None:
        return BAD_STATUS
    if late not in (*TRUE, *FALSE):
        return BAD_FLAG
    if any(text and not SHA256.fullmatch(text) for text in hashes.values()):
        return BAD_HASH
    if any(text and not (SIZE.fullmatch(text) and int(text) <= MAX_SIZE) for text in sizes.values()):
        return BAD_SIZE
    message = printable_name(values.get("message", ""))
    reason = make_reason("imported_saying", text=message) if message else make_reason("imported")
    texts: dict[str, Any] = {name: printable_name(values.get(name, ""))[:LONGEST_NAME] for name in NAMES}
    sizes_read = {name: int(text) if text else None for name, text in sizes.items()}
    return BackupEntry(
        cycle_at=cycle_at, status=status, first_status=status, late=late in TRUE, reasons=[reason],
        recorded_at=cycle_at, changed_at=cycle_at, **hashes, **sizes_read, **texts,
    )  # fmt: skip


def store_entries(batch: list[OldEntry], report: ImportReport, options: ImportOptions) -> None:
    jobs = jobs_by_key({old.key for old in batch})
    cycles = {old.entry.cycle_at for old in batch}
    stored = BackupEntry.objects.filter(job__in=jobs.values(), cycle_at__in=cycles)
    statuses = {(job, cycle): status for job, cycle, status in stored.values_list("job", "cycle_at", "status")}
    new = []
    now = timezone.now()
    for old in batch:
        job, entry = jobs.get(old.key), old.entry
        if job is None:
            count_planned(old, report, options)
            continue
        known = statuses.setdefault((job.pk, entry.cycle_at), "")
        if known:
            same = known == entry.status
            report.count("unchanged") if same else report.skip(old.number, RECORDED)
        elif entry.cycle_at >= min(job.watched_since, now):
            report.skip(old.number, WATCHED)
        else:
            entry.job = job
            statuses[job.pk, entry.cycle_at] = entry.status
            new.append(entry)
    report.count("created", len(new))
    if options.applies:
        BackupEntry.objects.bulk_create(new, ignore_conflicts=True)


def jobs_by_key(keys: set[tuple[str, str]]) -> dict[tuple[str, str], ExpectedBackupJob]:
    """Return the jobs of these keys, for which machine ids are compared without case."""
    machines = {machine for machine, _database in keys}
    jobs = ExpectedBackupJob.objects.alias(machine=Lower("agent_id")).filter(machine__in=machines)
    found = {job_key(job.agent_id, job.database_name): job for job in jobs.only(*KEY, "watched_since")}
    return {key: job for key, job in found.items() if key in keys}


def count_planned(old: OldEntry, report: ImportReport, options: ImportOptions) -> None:
    """Count an entry whose expected backup a dry run would have created."""
    if not options.applies and old.key in options.planned.get(JOBS, ()):
        report.count("created")
    else:
        report.skip(old.number, NO_JOB)


legacy_kinds.register(LegacyKind(JOBS, has_jobs, load_jobs))
legacy_kinds.register(LegacyKind("backups", has_entries, load_entries))
