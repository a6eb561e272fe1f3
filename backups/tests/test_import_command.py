"""`manage.py import_backup_jobs`: tables as spreadsheets write them, from a file or from stdin."""

import io
import json
import os
import sys
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from backups.imports import planning
from backups.management.commands import import_backup_jobs
from backups.models import ExpectedBackupJob
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db
TABLE = "agent_id,database_name,city\nPC-1,a,Douala\nPC-1,b,Yaoundé\n"


@pytest.fixture
def run(tmp_path):
    """Return a function that imports a file and returns what the command printed to stdout and stderr."""

    def running(content, *options):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "jobs.csv").write_bytes(content)
        out, errors = io.StringIO(), io.StringIO()
        try:
            call_command("import_backup_jobs", str(tmp_path / "jobs.csv"), *options, stdout=out, stderr=errors)
        except CommandError as error:
            errors.write(f"CommandError: {error}\n" * error.returncode)
        return out.getvalue(), errors.getvalue()

    return running


def cities():
    return dict(ExpectedBackupJob.objects.values_list("database_name", "city"))


def test_command_imports_and_prints_counts(run):
    out, errors = run(TABLE)
    assert json.loads(out) == {"created": 2, "changed": 0, "unchanged": 0}
    assert (errors, cities()) == ("", {"a": "Douala", "b": "Yaoundé"})
    assert json.loads(run(TABLE.replace("Douala", "Kribi"))[0]) == {"created": 0, "changed": 1, "unchanged": 1}
    assert cities()["a"] == "Kribi"


def test_import_is_audited_as_command_line(run):
    run(TABLE)
    event = AuditEvent.objects.get(action="backups.jobs_imported")
    assert (event.actor, event.after) == ("command line", {"created": 2, "changed": 0, "unchanged": 0})


def test_separator_line_of_excel_is_not_a_row(run):
    out, _errors = run('sep=;\n"agent_id";"database_name"\nPC-1;a\n')
    assert json.loads(out)["created"] == 1
    _out, errors = run("sep=;\nagent_id;database_name;keep_last\nPC-1;a;x\n")
    assert errors.startswith("line 3: PC-1 a: keep_last: ")


def test_command_reads_stdin(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TABLE.encode())))
    call_command("import_backup_jobs", "-")
    assert json.loads(capsys.readouterr().out)["created"] == 2
    assert len(cities()) == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_of_spreadsheets_is_read(run, delimiter, line_end, mark):
    out, errors = run(mark + TABLE.replace(",", delimiter).replace("\n", line_end))
    assert (json.loads(out)["created"], errors) == (2, "")


def test_quoted_delimiters_and_escaped_formulas_are_read(run):
    run('agent_id;database_name;city;company_name\nPC-1;a;"Douala; ""Akwa""";\'=1+1\n')
    job = ExpectedBackupJob.objects.get()
    assert (job.city, job.company_name) == ('Douala; "Akwa"', "=1+1")


def test_empty_lines_and_columns_are_ignored(run):
    out, errors = run("\nagent_id,database_name,city,,\nPC-1,a,Douala,,\n\n,,,,\nPC-1,b,Kribi\n")
    assert (json.loads(out)["created"], errors) == (2, "")


def test_short_row_leaves_out_the_remaining_columns(run):
    run(TABLE)
    out, _errors = run("agent_id,database_name,city\nPC-1,a\n")
    assert json.loads(out)["unchanged"] == 1
    assert cities()["a"] == "Douala"


def test_dry_run_prints_the_same_and_writes_nothing(run):
    out, _errors = run(TABLE, "--dry-run")
    assert json.loads(out) == {"created": 2, "changed": 0, "unchanged": 0}
    assert not ExpectedBackupJob.objects.exists()
    assert not AuditEvent.objects.filter(action="backups.jobs_imported").exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_refusals_name_line_and_column_and_block_the_import(run, options):
    table = 'agent_id,database_name,city,keep_last\nPC-1,a,"Douala\n",x\n\nPC-1,b,,\nPC-1,c,,0\n'
    with translation.override("fr"):
        out, errors = run(table, *options)
    assert out == ""
    assert errors.splitlines() == [
        "line 2: PC-1 a: keep_last: Enter a whole number.",
        "line 6: PC-1 c: keep_last: Ensure this value is greater than or equal to 1.",
        "CommandError: Nothing was imported.",
    ]
    assert not ExpectedBackupJob.objects.exists()


def test_control_characters_are_not_printed(run):
    _out, errors = run("agent_id,database_name\nPC-1,\x1b[2Ja\n")
    assert errors.startswith("line 2: PC-1 [2Ja: database_name: Control")


def test_unknown_columns_are_printed(run):
    out, errors = run("agent_id,database_name,colour\nPC-1,a,red\n")
    assert json.loads(out)["created"] == 1
    assert errors == "These columns are not imported: colour.\n"


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [("", "The file is empty: the first row must contain the column names."), ("\n\n", "The file is empty: the first row must contain the column names."),
     (TABLE.encode("utf-16"), "The file is not in UTF-8."), (TABLE.encode("latin-1"), "The file is not in UTF-8."),
     ("agent_id,database_name,City,city\n", "A column name appears twice."), ("agent_id,city\nPC-1,x\n", "Nothing was imported."),
     ("agent_id,database_name\nPC-1,a,more\n", "Line 2 has more cells than there are columns."),
     ('agent_id,database_name\nPC-1,"a\n', "The file is not valid CSV: check line 2."), ("agent_id,database_name\nPC-1," + "x" * 200_000, "The file is not valid CSV: check line 2.")],
)  # fmt: skip
def test_invalid_table_is_refused_with_a_sentence(run, content, sentence):
    _out, errors = run(content)
    assert errors.endswith(f"CommandError: {sentence}\n")
    assert not ExpectedBackupJob.objects.exists()


def test_file_of_five_mebibytes_is_the_limit(run, monkeypatch):
    assert import_backup_jobs.MAX_BYTES == 5 * 1024 * 1024
    table = TABLE.encode()
    monkeypatch.setattr(import_backup_jobs, "MAX_BYTES", len(table))
    assert json.loads(run(table, "--dry-run")[0])["created"] == 2
    assert "larger than 5 MiB" in run(table + b"\n")[1]


def test_twenty_thousand_rows_are_the_limit(run, monkeypatch):
    monkeypatch.setattr(import_backup_jobs, "MAX_ROWS", 2)
    assert json.loads(run(TABLE, "--dry-run")[0])["created"] == 2
    assert "more than 2 rows" in run(TABLE + "PC-1,c,Kribi\n")[1]


@pytest.mark.parametrize("path", ["nowhere.csv", "."])
def test_unreadable_file_is_an_error(path):
    with pytest.raises(CommandError, match=r"The file can’t be read: .*\."):
        call_command("import_backup_jobs", path)


def test_import_conflict_is_an_error(run, monkeypatch):
    def overtaken(plan, **options):
        raise planning.ImportConflict

    monkeypatch.setattr(planning, "apply_import", overtaken)
    assert run(TABLE) == ("", "CommandError: The expected backups changed in the meantime. Nothing was imported.\n")


def test_large_table_is_planned_at_once(run, django_assert_max_num_queries):
    table = "agent_id,database_name,company_name\n" + "".join(f"PC-1,db{number},{number}\n" for number in range(300))
    run(table)
    with django_assert_max_num_queries(6):
        assert json.loads(run(table)[0])["unchanged"] == 300


def test_pipe_is_read_without_knowing_its_size(tmp_path):
    read, write = os.pipe()
    os.write(write, TABLE.encode())
    os.close(write)
    out = io.StringIO()
    call_command("import_backup_jobs", f"/dev/fd/{read}", stdout=out)
    os.close(read)
    assert json.loads(out.getvalue())["created"] == 2
