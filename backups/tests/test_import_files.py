"""Export of jobs as CSV and XLSX, and reading of files that spreadsheets wrote."""

import csv
import io
import signal
import subprocess
import zipfile
from types import SimpleNamespace

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from openpyxl import Workbook, load_workbook

from backups.admin.jobs import ExpectedBackupJobAdmin
from backups.imports import files
from backups.imports.files import UnreadableFile, read_rows
from backups.imports.planning import RowAction, plan_import
from backups.models import ExpectedBackupJob
from backups.tests.admin_pages import LIST, post_action
from backups.tests.factories import set_status
from portal.desk.exports import xlsx_answer
from portal.tests.helpers.admin_pages import audit_events
from portal.tests.helpers.waiting import PATIENCE

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("workbooks and forms")]


def file_of(content, name="jobs.csv"):
    return SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)


def workbook(*lines):
    book = Workbook()
    for line in lines:
        book.active.append(line)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def replaced(content, name, part):
    """Return the workbook with a part of this name replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for known in old.namelist():
            new.writestr(known, part if known == name else old.read(known))
    return stream.getvalue()


def sheet_of(response):
    return [list(row) for row in load_workbook(io.BytesIO(response.getvalue())).active.iter_rows(values_only=True)]


class TestExporting:
    def test_csv_and_xlsx_exports_match_and_contain_no_formula(self, admin_client, make_job):
        set_status(make_job("crm", "SRV-1", company_name="=HYPERLINK(1)", city="+1", expected_hour_utc=7))
        lines = b"".join(admin_client.get(f"{LIST}export/fields/").streaming_content).decode("utf-8-sig")
        row = next(csv.DictReader(io.StringIO(lines)))
        header, values = sheet_of(admin_client.get(f"{LIST}export/fields/xlsx/"))
        assert header == list(row) == list(ExpectedBackupJobAdmin.export_columns)
        assert {name: "" if value is None else str(value) for name, value in zip(header, values, strict=True)} == row
        assert (row["company_name"], row["city"]) == ("'=HYPERLINK(1)", "'+1")
        assert values[header.index("expected_hour_utc")] == 7

    def test_export_contains_the_filtered_list(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        make_job("paie", "SRV-2")
        assert [row[1] for row in sheet_of(admin_client.get(f"{LIST}export/fields/xlsx/?q=SRV-2"))[1:]] == ["paie"]
        assert audit_events("admin.action")[-1] == ("backups.expectedbackupjob", {"action": "export_shown"})

    def test_export_contains_the_selected_jobs(self, admin_client, make_job):
        jobs = [make_job("crm", "SRV-1"), make_job("paie", "SRV-2"), make_job("web", "SRV-3")]
        response = post_action(admin_client, "export_chosen_xlsx", *jobs[:2])
        assert [row[1].split(";")[0] for row in sheet_of(response)[1:]] == ["crm", "paie"]
        assert response["Content-Disposition"].endswith('.xlsx"')
        assert "no-store" in response["Cache-Control"]

    def test_export_removes_control_characters(self, make_job):
        make_job("crm", company_name="a\x0bb")
        assert sheet_of(xlsx_answer("jobs", ["company_name"], ExpectedBackupJob.objects.values_list("company_name")))[
            1
        ] == ["ab"]

    def test_exported_file_is_imported_unchanged(self, admin_client, make_job):
        make_job("crm", "SRV-1", company_name="=1+1", days_of_week="MO,TU", max_shrink_percent=None)
        for content in (
            admin_client.get(f"{LIST}export/fields/").getvalue(), admin_client.get(f"{LIST}export/fields/xlsx/").getvalue()
        ):  # fmt: skip
            (row,) = read_rows(file_of(content))
            assert (row["company_name"], row["days_of_week"], row["max_shrink_percent"]) == ("'=1+1", "MO,TU", "")
            assert (row["expected_hour_utc"], row["is_active"]) == ("13", "true")

    def test_names_like_formulas_survive_export_and_import(self, admin_client, make_job):
        names = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''+1", "\u207c1", "'quoted", "-", "+33 1 23 45 67 89"]
        for number, name in enumerate(names):
            make_job(f"crm{number}", "SRV-1", company_name=name, city=name)
        for content in (
            admin_client.get(f"{LIST}export/fields/").getvalue(), admin_client.get(f"{LIST}export/fields/xlsx/").getvalue()
        ):  # fmt: skip
            assert {row.action for row in plan_import(read_rows(file_of(content))).rows} == {RowAction.UNCHANGED}


class TestReading:
    ROW = {"agent_id": "SRV-1", "database_name": "crm"}

    @pytest.mark.parametrize(
        "content",
        ["agent_id,database_name\nSRV-1,crm\n", "\ufeffagent_id;database_name\r\nSRV-1;crm\r\n", "Agent_ID\tdatabase_name \nSRV-1\tcrm",
         'agent_id,database_name\n\n"SRV-1", crm\n,\n', "agent_id,database_name,\nSRV-1,crm,\n"],
    )  # fmt: skip
    def test_csv_is_read_with_any_delimiter_and_encoding(self, content):
        assert read_rows(file_of(content)) == [self.ROW]

    def test_csv_that_is_not_utf8_is_read_as_cp1252(self):
        (row,) = read_rows(file_of("agent_id;city\nSRV-1;Yaoundé\n".encode("cp1252")))
        assert row["city"] == "Yaoundé"

    def test_workbook_is_recognized_by_content(self):
        content = workbook(
            ["agent_id", "database_name", "year", "is_active"], [None] * 4, ["SRV-1", "crm", 2025.0, True]
        )
        assert read_rows(file_of(content, "jobs.csv")) == [self.ROW | {"year": "2025", "is_active": "true"}]

    @pytest.mark.parametrize(
        ("content", "words"),
        [("", "The file is empty"), ("\n\n", "The file is empty"), ("a,a\n1,2", "A column name appears twice"),
         ("a,b\n1,2,3", "Row 2 has more cells"), ('a,b\n"1,2', "quoted cell isn’t closed"), ("a\0b", "neither CSV nor XLSX"),
         ("a\n" + "x" * 2_001, "is too long"), (b"PK\x03\x04nonsense", "The workbook can’t be read")],
    )  # fmt: skip
    def test_unreadable_content_is_refused_with_a_sentence(self, content, words):
        with pytest.raises(UnreadableFile, match=words):
            read_rows(file_of(content))

    def test_large_files_and_long_tables_are_refused(self, monkeypatch):
        monkeypatch.setattr(files, "MAX_ROWS", 2)
        assert len(read_rows(file_of("a\n1\n2\n"))) == 2
        for content in ("a\n1\n2\n3\n", workbook(["a"], [1], [2], [3])):
            with pytest.raises(UnreadableFile, match="more than 2 rows"):
                read_rows(file_of(content))
        monkeypatch.setattr(files, "MOST_BYTES", 3)
        with pytest.raises(UnreadableFile, match="larger than"):
            read_rows(file_of("a\n1\n"))

    def test_zip_bomb_is_not_unpacked(self):
        stream = io.BytesIO(workbook(["a"], [1]))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/bomb.xml", b"0" * (files.MAX_UNPACKED + 1))
        assert len(stream.getvalue()) < 200_000
        with pytest.raises(UnreadableFile, match="too large once decompressed"):
            read_rows(file_of(stream.getvalue()))

    def test_workbook_with_too_many_parts_is_refused(self):
        stream = io.BytesIO(workbook(["a"], [1]))
        with zipfile.ZipFile(stream, "a") as archive:
            for number in range(files.MAX_PARTS):
                archive.writestr(f"xl/{number}", b"")
        with pytest.raises(UnreadableFile, match="too large once decompressed"):
            read_rows(file_of(stream.getvalue()))

    def test_row_far_down_the_sheet_is_refused_quickly(self, monkeypatch):
        monkeypatch.setattr(files, "MAX_LINES", 50)
        book = Workbook()
        book.active["A1"], book.active["A100000"] = "a", 1
        stream = io.BytesIO()
        book.save(stream)
        with pytest.raises(UnreadableFile, match="too many rows"):
            read_rows(file_of(stream.getvalue()))

    @pytest.mark.parametrize(("bound", "value"), [("MAX_SECONDS", 1), ("MAX_MEMORY", 160 * 1024**2)])
    def test_workbook_beyond_limits_ends_only_its_own_process(self, monkeypatch, bound, value):
        ended = []

        def run(*args, **options):
            ended.append(subprocess.run(*args, **options))
            return ended[0]

        monkeypatch.setattr(files, "subprocess", SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired))
        monkeypatch.setattr(files, "MAX_WAITED", PATIENCE)
        monkeypatch.setattr(files, bound, value)
        styles = b"<xf/>" * 3_000_000
        content = replaced(
            workbook(["a"], [1]), "xl/styles.xml",
            b'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs>' + styles
            + b"</cellXfs></styleSheet>",
        )  # fmt: skip
        assert len(content) < 100_000
        with pytest.raises(UnreadableFile, match="can’t be read"):
            read_rows(file_of(content))
        by_time = ended[0].returncode in (-signal.SIGXCPU, -signal.SIGKILL)
        assert (by_time, b"MemoryError" in ended[0].stderr) == (bound == "MAX_SECONDS", bound == "MAX_MEMORY")

    def test_shared_long_text_in_many_cells_is_refused(self, monkeypatch):
        monkeypatch.setattr(files, "MAX_CHARACTERS", 50_000)
        content = workbook(["a", "b"], *[["x" * 1_000, "y" * 1_000]] * 30)
        with pytest.raises(UnreadableFile, match="too much content"):
            read_rows(file_of(content))

    def test_formula_is_read_as_its_saved_value(self):
        (row,) = read_rows(file_of(workbook(["agent_id", "city"], ["SRV-1", "=1+1"])))
        assert row["city"] == ""
