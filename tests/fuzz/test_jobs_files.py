"""Fuzzing of imports of expected backups, CSV and XLSX, from bytes to the planned changes."""

import csv
import io
import json
import subprocess
from unittest import mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError
from hypothesis import event, given
from hypothesis import strategies as st

from backups.imports import files, planning, workbook
from backups.management.commands import import_backup_jobs
from portal.desk.exports import escape_cell
from tests.fuzz.checks import assert_is_storable
from tests.fuzz.strategies import CASES, PLANTED, broken, damaged
from tests.fuzz.workbooks import workbooks

pytestmark = pytest.mark.django_db
HEADER = [
    "agent_id", "database_name", "company_name", "city", "year", "expected_hour_utc", "expected_minute_utc",
    "expected_frequency", "days_of_week", "schedule", "time_zone", "window_minutes", "early_minutes",
    "agent_deposit_path_template", "final_storage_path_template", "min_size_bytes", "unchanged_policy", "keep_daily",
    "is_active", "paused_until", "last_checked_timestamp", "previous_successful_hash_global",
]  # fmt: skip
DAILY = [
    "agent_douala_prod_01", "compta_db", "SIRPACAM", "Douala", "2025", "13", "0", "daily", "", "", "", "30", "10",
    "{agent_id}/database", "{company_name}/{city}/{database_name}", "1024", "inform", "7", "true", "", "2026-03-10T09:12:44Z",
    "2e" * 32,
]  # fmt: skip
CRON = [
    "SRV-1",
    "crm",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "30 2 * * *",
    "Europe/Paris",
    "60",
    "",
    "",
    "",
    "",
    "",
    "",
    "oui",
    "",
    "",
    "",
]
SAMPLES = ([HEADER, DAILY, CRON], [HEADER[:2], DAILY[:2], CRON[:2]], [HEADER, DAILY])


def rows_of(table):
    """Return the table's rows that are lists, without what else was planted among them."""
    return [line if isinstance(line, list) else [line] for line in table]


TABLES = st.one_of([damaged(*SAMPLES, most=most).map(rows_of) for most in (1, 2, 4)])


def as_csv(table, delimiter, start):
    output = io.StringIO(newline="")
    writer = csv.writer(output, delimiter=delimiter)
    writer.writerows(table)
    return start + output.getvalue().encode("utf-8", "replace")


csv_files = st.builds(
    as_csv, TABLES, st.sampled_from(",;\t|"), st.sampled_from([b"", b"\xef\xbb\xbf", b"sep=;\r\n", b'"sep=,"\n'])
)
xlsx_files = workbooks(TABLES, is_damaged=False)


def read_here(command, *, input, **_options):
    """Run the script that reads workbooks in this process: starting one for each case would take hours."""
    bounds = [int(text) for text in command[3:6]]
    try:
        lines = workbook.read_sheet(input, *bounds)
    except Exception:  # of the script it is the exit code
        return subprocess.CompletedProcess(command, 1)
    if lines is None:
        return subprocess.CompletedProcess(command, workbook.TOO_MUCH)
    return subprocess.CompletedProcess(command, 0, json.dumps(lines))


def assert_is_imported_or_refused(content):
    try:
        with mock.patch("backups.imports.files.subprocess.run", read_here):
            rows = files.read_rows(SimpleUploadedFile("jobs", content))
    except files.UnreadableFile as refusal:
        return assert_echoes_nothing(refusal)
    return assert_is_planned(rows)


def assert_echoes_nothing(refusal):
    event("unreadable")
    assert PLANTED not in str(refusal)


def assert_is_planned(rows):
    """Assert that planned rows fit into their columns, and survive being exported and read again."""
    plan = planning.plan_import(rows)
    for row in plan.rows:
        assert PLANTED not in "".join(sentence for found in row.refusals.values() for sentence in found)
    if plan.is_refused:
        event("refused")
        return
    event("imported" if plan.rows else "empty")
    for row in plan.rows:
        row.job.clean_fields()
        kept = {name: getattr(row.job, name) for name in planning.FIELDS}
        assert_is_storable(kept)
        (again,) = planning.plan_import([{name: escape_cell(value) for name, value in kept.items()}]).rows
        assert {name: getattr(again.job, name) for name in planning.FIELDS} == kept


@CASES
@given(st.one_of(csv_files, csv_files, broken(csv_files), st.binary(max_size=100)))
def test_csv_file_is_imported_or_refused(content):
    assert_is_imported_or_refused(content)


@CASES
@given(
    st.one_of(
        xlsx_files,
        workbooks(TABLES, is_damaged=True),
        broken(xlsx_files),
        st.binary(max_size=50).map(b"PK\x03\x04".__add__),
    )
)
def test_xlsx_file_is_imported_or_refused(content):
    assert_is_imported_or_refused(content)


@CASES
@given(st.one_of(csv_files, broken(csv_files), st.binary(max_size=100)))
def test_csv_file_of_the_command_is_imported_or_refused(content):
    try:
        rows = [row for _line, row in import_backup_jobs.parse_rows(content)]
    except CommandError as refusal:
        return assert_echoes_nothing(refusal)
    return assert_is_planned(rows)
