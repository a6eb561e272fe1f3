"""Streaming workbooks of any length."""

import io
import tempfile
import tracemalloc

import pytest
from openpyxl import load_workbook

from portal.desk import workbooks
from portal.desk.workbooks import write_workbook


@pytest.fixture
def temporary_files(tmp_path, monkeypatch):
    """Return a function that lists the temporary files of this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda: list(tmp_path.iterdir())


def workbook_of(rows, header=("number", "text")):
    file = io.BytesIO()
    write_workbook(file, "run", header, rows)
    return load_workbook(file)


def test_workbook_keeps_types_and_shows_header_and_line_breaks():
    sheet = workbook_of([[1, "two\nlines"], [2.5, "'=1+1"]])["run"]
    assert [[cell.value for cell in row] for row in sheet] == [["number", "text"], [1, "two\nlines"], [2.5, "'=1+1"]]
    assert [sheet["A1"].font.bold, sheet["A2"].font.bold, sheet.freeze_panes] == [True, False, "A2"]
    assert [bool(cell.alignment.wrap_text) for cell in sheet[2]] == [False, True]
    assert [sheet.column_dimensions[name].width for name in "AB"] == [workbooks.COLUMN_WIDTH] * 2


def test_workbook_without_rows_has_a_header():
    assert [[cell.value for cell in row] for row in workbook_of([])["run"]] == [["number", "text"]]


@pytest.mark.parametrize(("rows", "sheets"), [(2, [2]), (3, [2, 1]), (4, [2, 2])])
def test_list_beyond_a_sheet_continues_on_the_next(monkeypatch, rows, sheets):
    monkeypatch.setattr(workbooks, "ROWS_PER_SHEET", 3)
    book = workbook_of([number, "x"] for number in range(rows))
    assert [sheet.max_row - 1 for sheet in book] == sheets
    assert {sheet["A1"].value for sheet in book} == {"number"}
    assert [row[0] for sheet in book for row in sheet.iter_rows(min_row=2, values_only=True)] == list(range(rows))


def test_memory_of_a_workbook_does_not_grow_with_its_rows(tmp_path):
    def peak(rows):
        with (tmp_path / "book.xlsx").open("wb") as file:
            tracemalloc.start()
            try:
                write_workbook(file, "run", ["number", "text"], ([number, f"text {number}"] for number in range(rows)))
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    peak(10)  # so that one-time imports and caches are not measured
    assert peak(20_000) < 2 * peak(2_000)


def test_failed_workbook_leaves_no_temporary_file(temporary_files):
    def rows():
        yield [1, "x"]
        assert temporary_files()
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="the database is gone"):
        workbook_of(rows())
    assert temporary_files() == []


def test_written_workbook_leaves_no_temporary_file(temporary_files):
    workbook_of([[1, "x"]])
    assert temporary_files() == []
