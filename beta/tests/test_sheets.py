"""The report as CSV and as a workbook: everything in it, and nothing that a spreadsheet would obey."""

import csv
import io
import json
import zipfile
from datetime import datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.utils import translation
from openpyxl import load_workbook

from beta.formats import FORMATS, render_report, report_response
from beta.formats.xlsx import ReportBook, Style, write_cell
from beta.models import BetaSnapshot
from beta.report import wording
from beta.report.gather import build_report
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from beta.tests.helpers import hostile_texts
from monitoring.tests.factories import DAY, NOON, create_rollup
from portal.desk.exports import FORMULA

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("content of workbooks")]
LONGEST = 32_767  # what a cell may hold, in units of UTF-16


@pytest.fixture
def programme():
    """One of which everything is known."""
    programme = create_programme(product="GUI v6")
    create_scores(programme, 10, 9, 7)
    take_snapshot(programme, NOON - DAY, BetaSnapshot.Reason.COMMAND)
    create_scores(programme, 2)
    target = create_target(beta_programme=programme)
    for days in (1, 0):
        at = NOON.replace(hour=0) - timedelta(days=days)
        create_rollup(target, "day", at, checks=10_000, failures=7 * days, latency_ms=131.5)
    create_feedback(programme, type="bug", severity="high", comment="It stops.", page="/scoring", app_version="6.0.3")
    create_feedback(programme, type="ux", comment="I like it.")
    return programme


@pytest.fixture
def report(programme):
    return build_report(programme, NOON)


def hostile_report():
    programme = create_programme("=1+1 [a]:*?/\\" + "x" * 80, product="+1")
    for place, comment in enumerate(hostile_texts.ALL):
        at = NOON - timedelta(minutes=place)
        create_feedback(
            programme,
            type="bug",
            severity="high",
            comment=comment,
            page=comment[:200],
            app_version=comment[:64],
            given_at=at,
        )
    report = build_report(programme, NOON)
    return report | {"ux_comments": hostile_texts.ALL}


def units_of(text):
    return len(text.encode("utf-16-le")) // 2


# --- CSV -------------------------------------------------------------------------------------------------------------


def rows_of(report):
    text = render_report(report, "csv").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def values_of(report, section):
    return {row["name"]: row["value"] for row in rows_of(report) if row["section"] == section}


def test_csv_begins_with_a_byte_order_mark_and_the_header(report):
    content = render_report(report, "csv").decode()
    assert content.startswith("\ufeffsection,name,value,target,ok\r\n")


def test_csv_has_a_row_for_every_value_of_the_report(report):
    def values(found):
        if isinstance(found, dict):
            return [each for value in found.values() for each in values(value)]
        return [each for value in found for each in values(value)] if isinstance(found, list) else [found]

    shown = [cell for row in rows_of(report) for cell in row.values()]
    missing = [value for value in values(report) if str(value) not in shown and not isinstance(value, bool | None)]
    assert missing == []


def test_csv_sections_and_names_are_the_reports_members(report):
    assert values_of(report, "report") == {
        "programme": "spring-beta", "product": "GUI v6", "starts": "2026-03-02", "ends": "",
        "generated_at": "2026-03-10T12:00:00.000Z", "verdict": "NO-GO",
    }  # fmt: skip
    assert values_of(report, "participants") == {"count": "6", "target": "5"}
    assert values_of(report, "score") == {
        "average": "7.0", "target": "7.0", "nps": "25", "promoters": "2", "passives": "1", "detractors": "1",
    }  # fmt: skip
    assert values_of(report, "score.counts") == {str(score): str(int(score in (2, 7, 9, 10))) for score in range(11)}
    assert values_of(report, "performance.days.failures") == {"2026-03-09": "7", "2026-03-10": "0"}
    assert values_of(report, "trend.participants") == {"2026-03-10": "4"}
    bug = str(report["open_bugs"][0]["id"])
    assert values_of(report, "open_bugs.comment") == {bug: "It stops."}
    assert values_of(report, "open_bugs.severity") == {bug: "high"}
    assert values_of(report, "ux_comments") == {"0": "I like it."}
    assert values_of(report, "previous")["participants"] == "3"
    assert not {"performance.days.day", "open_bugs.id", "trend.day"} & {row["section"] for row in rows_of(report)}


def test_csv_conditions_have_target_and_outcome(report):
    found = {
        row["name"]: (row["value"], row["target"], row["ok"])
        for row in rows_of(report)
        if row["section"] == "conditions"
    }
    assert found == {
        "participants": ("6", "5", "true"),
        "score": ("7.0", "7.0", "true"),
        "critical_bugs": ("1", "0", "false"),
        "latency": ("131.5", "500", "true"),
        "error_rate": ("0.0003", "0.01", "true"),
    }


def test_csv_leaves_unknown_values_empty():
    found = rows_of(build_report(create_programme(), NOON))
    assert [(row["value"], row["ok"]) for row in found if (row["section"], row["name"]) == ("conditions", "score")] == [
        ("", "")
    ]
    assert [row for row in found if row["section"] == "previous"] == []


def test_csv_and_json_are_the_same_in_every_language(report):
    for form in ("csv", "json"):
        english = render_report(report, form)
        with translation.override("fr"):
            assert render_report(report, form) == english


def test_csv_cells_are_no_formulas_and_not_too_long():
    rows = rows_of(hostile_report())
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if FORMULA.match(cell) and cell[0] != "'"] == []
    assert max(units_of(cell) for cell in cells) <= LONGEST
    said_of_it = [row["value"] for row in rows if row["section"] == "ux_comments"]
    assert said_of_it[0] == hostile_texts.MARKUP
    assert said_of_it[1] == f"'{hostile_texts.FORMULA}"
    assert said_of_it[len(hostile_texts.FORMULAS) + 1] == hostile_texts.EMOJI
    assert hostile_texts.LINES in said_of_it


def test_csv_keeps_a_negative_nps_as_a_number():
    programme = create_programme()
    create_scores(programme, 1)
    assert values_of(build_report(programme, NOON), "score")["nps"] == "-100"


# --- Workbook --------------------------------------------------------------------------------------------------------

SHEETS = ["Report", "Scores", "Response times", "Bugs", "Comments"]


def book_of(report):
    return load_workbook(io.BytesIO(render_report(report, "xlsx")))


def lines_of(sheet):
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def cells_beside(sheet, label, occurrence=0):
    return [row for row in sheet.iter_rows() if row[0].value == label][occurrence][1:]


def test_workbook_has_a_sheet_for_each_part(report):
    assert book_of(report).sheetnames == SHEETS


def test_first_sheet_shows_programme_verdict_and_reason(report):
    lines = [line[0] for line in lines_of(book_of(report)["Report"])[:7]]
    assert lines == [
        "spring-beta", "GUI v6", "since 2 March 2026", datetime(2026, 3, 10, 12),
        None, "NO-GO", "Not met: open critical and high bugs.",
    ]  # fmt: skip


def test_workbook_conditions_are_numbers_with_units(report):
    sheet = book_of(report)["Report"]
    outcome, value, target = cells_beside(sheet, "Average response time")
    assert (outcome.value, value.value, target.value) == ("met", 131.5, 500)
    assert (value.number_format, target.number_format) == ('#,##0.0" ms"', '"< "#,##0.0" ms"')
    outcome, value, target = cells_beside(sheet, "Error rate")
    assert (value.value, target.value, target.number_format) == (0.0003, 0.01, '"< "0.00%')
    assert [cell.number_format for cell in cells_beside(sheet, "Average score")[1:]] == ["0.00", '"≥ "0.00']


def test_workbook_figures_are_beside_those_of_the_previous_report(report):
    sheet = book_of(report)["Report"]
    assert [cell.value for cell in cells_beside(sheet, "Participants", 1)] == [None, 6, 3]
    assert [cell.value for cell in cells_beside(sheet, "Promoters (9 and 10)")] == [None, 2, None]
    assert [cell.value for cell in cells_beside(sheet, "Figure")] == [None, "Value", "Previous report"]


def test_workbook_figure_is_beside_the_previous_one_if_that_was_stored(report):
    previous = report["previous"] | {
        "participants": 3, "average": 8.67, "nps": 67, "critical_high_open": 2, "mean_ms": 120.5, "error_rate": 0.0005,
    }  # fmt: skip
    sheet = book_of(report | {"previous": previous})["Report"]
    rows = list(sheet.iter_rows())[-len(wording.FACTS) :]
    assert [before.value for _label, _empty, _value, before in rows] == [
        3, 8.67, 67, None, None, None, None, 2, None, 120.5, None, 0.0005,
    ]  # fmt: skip
    assert (rows[-1][0].value, rows[-1][3].number_format) == ("Error rate", "0.00%")


def test_workbook_figures_equal_those_of_the_other_formats(report):
    sheet = book_of(report)["Report"]
    last = lines_of(sheet)[-len(wording.FACTS) :]
    assert [line[0] for line in last] == [fact.label for fact in wording.list_facts(report)]
    shown = {fact.label: fact.value for fact in wording.list_facts(report)}
    written = {
        "#,##0": "{:,.0f}", "0.00": "{:.2f}", "+0;-0;0": "{:+.0f}", '#,##0.0" ms"': "{:,.1f} ms", "0.00%": "{:.2%}",
    }  # fmt: skip
    for label, _empty, value, _before in list(sheet.iter_rows())[-len(wording.FACTS) :]:
        assert written[value.number_format].format(value.value) == shown[label.value].replace(" %", "%")


def test_workbook_days_are_dates_and_counts_are_numbers(report):
    book = book_of(report)
    assert lines_of(book["Response times"])[1:] == [
        [datetime(2026, 3, 9), 10_000, 7, 0.0007, 131.5],
        [datetime(2026, 3, 10), 10_000, 0, 0, 131.5],
    ]
    assert [line[:2] for line in lines_of(book["Scores"])[1:]] == [
        [score, int(score in (2, 7, 9, 10))] for score in range(11)
    ]
    assert lines_of(book["Scores"])[1][3:7] == [datetime(2026, 3, 10), 4, 7, 25]


def test_workbook_has_bugs_and_comments_in_full(report):
    book = book_of(report)
    bug = report["open_bugs"][0]["id"]
    assert lines_of(book["Bugs"])[1] == [
        bug,
        "high",
        "open",
        datetime(2026, 3, 10, 12),
        "6.0.3",
        "/scoring",
        "It stops.",
    ]
    assert lines_of(book["Comments"])[1] == ["I like it."]


def test_workbook_times_are_in_the_portals_time_zone(report, settings):
    settings.TIME_ZONE = "Europe/Paris"
    with translation.override("en"):
        assert lines_of(book_of(report)["Report"])[3][0] == datetime(2026, 3, 10, 13)


def test_workbook_headers_are_frozen_and_bold(report):
    for sheet in book_of(report).worksheets[1:]:
        assert sheet.freeze_panes == "A2"
        assert all(cell.font.bold for cell in sheet[1] if cell.value)


def test_workbook_charts_refer_to_the_cells_beside_them(report):
    book = book_of(report)
    drawn = [chart.series[0].val.numRef.f for name in SHEETS for chart in book[name]._charts]
    assert drawn == ["'Scores'!$B$2:$B$12", "'Scores'!$F$2", "'Response times'!$E$2:$E$3"]


def test_empty_programme_has_a_workbook():
    book = book_of(build_report(create_programme(), NOON))
    assert book.sheetnames == SHEETS
    assert [len(book[name]._charts) for name in SHEETS] == [0, 1, 0, 0, 0]
    assert [cell.value for cell in cells_beside(book["Report"], "Average score")] == ["no data", None, 7]


def test_workbook_rows_are_as_high_as_their_texts():
    book = book_of(hostile_report())
    rows = book["Comments"].row_dimensions
    heights = {cell.value: rows[cell.row].height for (cell,) in book["Comments"].iter_rows(min_row=2)}
    assert heights[hostile_texts.MARKUP] is None
    assert heights[hostile_texts.LINES] == 60
    assert max(height for height in heights.values() if height) == 405


def test_workbook_limits_stacked_combining_marks_to_four(report):
    tower = "a" + "\u0301" * 500
    bug = report["open_bugs"][0] | {"comment": tower, "page": tower[:200]}
    book = load_workbook(
        io.BytesIO(render_report(report | {"programme": tower, "open_bugs": [bug], "ux_comments": [tower]}, "xlsx"))
    )
    cells = (book["Report"]["A1"], book["Bugs"]["F2"], book["Bugs"]["G2"], book["Comments"]["A2"])
    assert {cell.value for cell in cells} == {"a" + "\u0301" * 4}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_workbook_cells_are_no_formulas_and_not_too_long(language):
    with translation.override(language):
        book = book_of(hostile_report())
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} <= {"s", "n", "d"}
    texts = [cell.value for cell in cells if isinstance(cell.value, str)]
    assert [text for text in texts if FORMULA.match(text) and text[0] != "'"] == []
    assert max(map(units_of, texts)) <= LONGEST
    for expected in (
        hostile_texts.MARKUP,
        f"'{hostile_texts.FORMULA}",
        hostile_texts.EMOJI,
        hostile_texts.RIGHT_TO_LEFT,
        hostile_texts.WAS_NUL,
    ):
        assert expected in texts


def test_workbook_leaves_out_characters_that_xml_cannot_hold(report):
    content = render_report(
        report | {"programme": "a\x00b\x1b\ufffe\uffffc", "ux_comments": ["\x0b\x0c\ud800d"]}, "xlsx"
    )
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        for name in parts.namelist():
            ElementTree.fromstring(parts.read(name))
    book = load_workbook(io.BytesIO(content))
    assert (book["Report"]["A1"].value, book["Comments"]["A2"].value) == ("abc", "d")
    assert book.properties.title == "abc"


# --- Every format ----------------------------------------------------------------------------------------------------


def test_formats_have_their_order_and_titles():
    assert list(FORMATS) == ["json", "txt", "csv", "xlsx", "pdf"]
    assert [str(form.title) for form in FORMATS.values()] == ["JSON", "Text", "CSV", "Excel (XLSX)", "PDF"]


def test_json_is_the_report_itself():
    hostile = hostile_report()
    content = render_report(hostile, "json").decode()
    assert json.loads(content) == hostile
    assert hostile_texts.EMOJI in content


def turned_round(value):
    if isinstance(value, dict):
        return {name: turned_round(value[name]) for name in reversed(value)}
    return [turned_round(each) for each in value] if isinstance(value, list) else value


def test_cells_of_one_style_change_apart():
    sheet = ReportBook().active
    write_cell(sheet, 1, 1, NOON.date(), Style(side="center"))
    write_cell(sheet, 1, 2, "text", Style(side="center"))
    assert (sheet["A1"].number_format, sheet["B1"].number_format) == ("yyyy-mm-dd", "General")


@pytest.mark.parametrize("form", ["json", "csv", "txt"])
def test_stored_report_with_members_in_another_order_gives_the_same_bytes(report, form):
    """A database may give its members back in another order."""
    assert render_report(turned_round(report), form) == render_report(report, form)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Spring beta: 2026", "spring-beta-2026"),
        ("été", "ete"),
        ("日本語", "beta"),
        ('a"b\r\nc;é', "ab-ce"),
        ("..", "beta"),
    ],
)
def test_file_name_is_made_of_the_programme_name(report, name, file):
    answer = report_response(report | {"programme": name}, "xlsx")
    assert answer["Content-Disposition"].startswith(f'attachment; filename="{file}-2')
    assert answer["Content-Disposition"].endswith('.xlsx"')


@pytest.mark.parametrize(
    ("form", "start"), [("json", b"{"), ("txt", b"Beta "), ("csv", b"\xef\xbb\xbf"), ("xlsx", b"PK"), ("pdf", b"%PDF-")]
)
def test_content_of_each_format_matches_its_content_type(report, form, start):
    answer = report_response(report, form)
    assert answer.content.startswith(start)
    assert answer["Content-Type"].partition(";")[0] == {
        "json": "application/json", "txt": "text/plain", "csv": "text/csv", "pdf": "application/pdf",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }[form]  # fmt: skip
