"""Expected backups as files: out as CSV and XLSX, and in from what spreadsheets make of them."""

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
from backups.imports.files import Unreadable, rows_in
from backups.imports.planning import Outcome, planned
from backups.models import ExpectedBackupJob
from backups.tests.entries import stand
from backups.tests.pages import LIST, act, events
from portal.desk.exports import xlsx_response

pytestmark = pytest.mark.django_db


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
    """The workbook with another part of this name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for known in old.namelist():
            new.writestr(known, part if known == name else old.read(known))
    return stream.getvalue()


def sheet_of(response):
    return [list(row) for row in load_workbook(io.BytesIO(response.getvalue())).active.iter_rows(values_only=True)]


class TestExporting:
    def test_both_formats_hold_the_same_and_no_formula(self, admin_client, make_job):
        stand(make_job("crm", "SRV-1", company_name="=HYPERLINK(1)", city="+1", expected_hour_utc=7))
        lines = b"".join(admin_client.get(f"{LIST}export/").streaming_content).decode("utf-8-sig")
        row = next(csv.DictReader(io.StringIO(lines)))
        header, values = sheet_of(admin_client.get(f"{LIST}export/xlsx/"))
        assert header == list(row) == list(ExpectedBackupJobAdmin.export_columns)
        assert {name: "" if value is None else str(value) for name, value in zip(header, values, strict=True)} == row
        assert (row["company_name"], row["city"]) == ("'=HYPERLINK(1)", "'+1")
        assert values[header.index("expected_hour_utc")] == 7

    def test_it_holds_what_the_list_shows(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        make_job("paie", "SRV-2")
        assert [row[1] for row in sheet_of(admin_client.get(f"{LIST}export/xlsx/?q=SRV-2"))[1:]] == ["paie"]
        assert events("admin.action")[-1] == ("backups.expectedbackupjob", {"action": "export_shown"})

    def test_the_chosen_ones_as_well(self, admin_client, make_job):
        jobs = [make_job("crm", "SRV-1"), make_job("paie", "SRV-2"), make_job("web", "SRV-3")]
        response = act(admin_client, "export_chosen_xlsx", *jobs[:2])
        assert [row[1] for row in sheet_of(response)[1:]] == ["crm", "paie"]
        assert response["Content-Disposition"].endswith('.xlsx"')
        assert "no-store" in response["Cache-Control"]

    def test_control_characters_break_no_workbook(self, make_job):
        make_job("crm", company_name="a\x0bb")
        assert sheet_of(xlsx_response(ExpectedBackupJob.objects.all(), ["company_name"]))[1] == ["ab"]

    def test_what_was_exported_can_be_read_again(self, admin_client, make_job):
        make_job("crm", "SRV-1", company_name="=1+1", days_of_week="MO,TU", max_shrink_percent=None)
        for content in (
            admin_client.get(f"{LIST}export/").getvalue(), admin_client.get(f"{LIST}export/xlsx/").getvalue()
        ):  # fmt: skip
            (row,) = rows_in(file_of(content))
            assert (row["company_name"], row["days_of_week"], row["max_shrink_percent"]) == ("'=1+1", "MO,TU", "")
            assert (row["expected_hour_utc"], row["is_active"]) == ("13", "true")

    def test_names_that_begin_with_a_sign_come_back_unchanged(self, admin_client, make_job):
        names = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''+1", "\u207c1", "'quoted", "-", "+33 1 23 45 67 89"]
        for number, name in enumerate(names):
            make_job(f"crm{number}", "SRV-1", company_name=name, city=name)
        for content in (
            admin_client.get(f"{LIST}export/").getvalue(), admin_client.get(f"{LIST}export/xlsx/").getvalue()
        ):  # fmt: skip
            assert {row.outcome for row in planned(rows_in(file_of(content))).rows} == {Outcome.UNCHANGED}


class TestReading:
    ROW = {"agent_id": "SRV-1", "database_name": "crm"}

    @pytest.mark.parametrize(
        "content",
        ["agent_id,database_name\nSRV-1,crm\n", "\ufeffagent_id;database_name\r\nSRV-1;crm\r\n", "Agent_ID\tdatabase_name \nSRV-1\tcrm",
         'agent_id,database_name\n\n"SRV-1", crm\n,\n', "agent_id,database_name,\nSRV-1,crm,\n"],
    )  # fmt: skip
    def test_a_csv_of_any_country(self, content):
        assert rows_in(file_of(content)) == [self.ROW]

    def test_one_that_is_not_utf_8_is_read_as_windows_writes_it(self):
        (row,) = rows_in(file_of("agent_id;city\nSRV-1;Yaoundé\n".encode("cp1252")))
        assert row["city"] == "Yaoundé"

    def test_a_workbook_whatever_its_name(self):
        content = workbook(
            ["agent_id", "database_name", "year", "is_active"], [None] * 4, ["SRV-1", "crm", 2025.0, True]
        )
        assert rows_in(file_of(content, "jobs.csv")) == [self.ROW | {"year": "2025", "is_active": "true"}]

    @pytest.mark.parametrize(
        ("content", "words"),
        [("", "The file is empty"), ("\n\n", "The file is empty"), ("a,a\n1,2", "A column is named twice"),
         ("a,b\n1,2,3", "Row 2 has more cells"), ('a,b\n"1,2', "quoted cell does not end"), ("a\0b", "neither CSV nor XLSX"),
         ("a\n" + "x" * 2_001, "far too long"), (b"PK\x03\x04nonsense", "The workbook cannot be read")],
    )  # fmt: skip
    def test_what_cannot_be_read_is_refused_in_a_sentence(self, content, words):
        with pytest.raises(Unreadable, match=words):
            rows_in(file_of(content))

    def test_files_and_rows_are_bounded(self, monkeypatch):
        monkeypatch.setattr(files, "MOST_ROWS", 2)
        assert len(rows_in(file_of("a\n1\n2\n"))) == 2
        for content in ("a\n1\n2\n3\n", workbook(["a"], [1], [2], [3])):
            with pytest.raises(Unreadable, match="more than 2 rows"):
                rows_in(file_of(content))
        monkeypatch.setattr(files, "MOST_BYTES", 3)
        with pytest.raises(Unreadable, match="larger than"):
            rows_in(file_of("a\n1\n"))

    def test_a_bomb_is_not_unpacked(self):
        stream = io.BytesIO(workbook(["a"], [1]))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/bomb.xml", b"0" * (files.MOST_UNPACKED + 1))
        assert len(stream.getvalue()) < 200_000
        with pytest.raises(Unreadable, match="unpacks to more"):
            rows_in(file_of(stream.getvalue()))

    def test_nor_is_one_of_many_parts(self):
        stream = io.BytesIO(workbook(["a"], [1]))
        with zipfile.ZipFile(stream, "a") as archive:
            for number in range(files.MOST_PARTS):
                archive.writestr(f"xl/{number}", b"")
        with pytest.raises(Unreadable, match="unpacks to more"):
            rows_in(file_of(stream.getvalue()))

    def test_a_row_far_down_the_sheet_is_not_waited_for(self, monkeypatch):
        monkeypatch.setattr(files, "MOST_LINES", 50)
        book = Workbook()
        book.active["A1"], book.active["A100000"] = "a", 1
        stream = io.BytesIO()
        book.save(stream)
        with pytest.raises(Unreadable, match="far too many rows"):
            rows_in(file_of(stream.getvalue()))

    @pytest.mark.parametrize(("bound", "value"), [("MOST_SECONDS", 1), ("MOST_MEMORY", 250 * 1024**2)])
    def test_one_that_takes_too_much_to_read_ends_its_own_process_only(self, monkeypatch, bound, value):
        ended = []

        def run(*args, **options):
            ended.append(subprocess.run(*args, **options))
            return ended[0]

        monkeypatch.setattr(files, "subprocess", SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired))
        monkeypatch.setattr(files, bound, value)
        styles = b"<xf/>" * 3_000_000
        content = replaced(
            workbook(["a"], [1]), "xl/styles.xml",
            b'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs>' + styles
            + b"</cellXfs></styleSheet>",
        )  # fmt: skip
        assert len(content) < 100_000
        with pytest.raises(Unreadable, match="cannot be read"):
            rows_in(file_of(content))
        by_time = ended[0].returncode in (-signal.SIGXCPU, -signal.SIGKILL)
        assert (by_time, b"MemoryError" in ended[0].stderr) == (bound == "MOST_SECONDS", bound == "MOST_MEMORY")

    def test_one_long_text_in_many_cells_is_not_written_out(self, monkeypatch):
        monkeypatch.setattr(files, "MOST_CHARACTERS", 50_000)
        content = workbook(["a", "b"], *[["x" * 1_000, "y" * 1_000]] * 30)
        with pytest.raises(Unreadable, match="too much in them"):
            rows_in(file_of(content))

    def test_a_formula_counts_as_what_it_came_to(self):
        (row,) = rows_in(file_of(workbook(["agent_id", "city"], ["SRV-1", "=1+1"])))
        assert row["city"] == ""
