"""The report as an XLSX workbook: numbers and days are typed, and charts are the spreadsheet's own."""

import io
import math
from collections.abc import Callable, Sequence
from copy import copy
from datetime import date, datetime
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from openpyxl import Workbook
from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.axis import DateAxis
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter

from beta.models import BEST_SCORE, BetaFeedback
from beta.report import wording
from beta.report.gather import Report
from monitoring.figures.uptime import format_percent
from monitoring.terminal.text_table import display_width
from portal.base.text import limit_stacked_marks
from portal.desk.exports import NOT_IN_XML, workbook_cell

TEXT, NUMBER, DAY, MOMENT = "", "0", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"
COUNT, SCORE, SIGNED, MILLISECONDS, SHARE = "#,##0", "0.00", "+0;-0;0", '#,##0.0" ms"', "0.00%"
# Number formats by the function that formats the same figures as text.
NUMBER_FORMATS: dict[Callable[[Any], str], str] = {
    wording.format_figure: COUNT,
    wording.format_score: SCORE,
    wording.format_signed: SIGNED,
    wording.format_milliseconds: MILLISECONDS,
    format_percent: SHARE,
}
FONT = "Calibri"
BOLD, LARGE = 11, 16  # in points
LEFT, CENTRE, RIGHT = "left", "center", "right"
SIDES = {NUMBER: CENTRE, DAY: CENTRE, MOMENT: CENTRE}
CHART_WIDTH, CHART_HEIGHT = 18, 8  # in centimetres
NARROW, USUAL, WIDE, WIDEST = 10, 20, 40, 90  # in characters
LINE_HEIGHT, MOST_LINES = 15, 27  # in points; a row is 409 high at most
parse_day = date.fromisoformat


class Style(NamedTuple):
    """The look of a cell: its number format, the size of its bold font, its side, and whether its text is wrapped."""

    form: str = TEXT
    bold: int | None = None
    side: str | None = None
    is_wrapped: bool = False


class ReportBook(Workbook):  # type: ignore[misc]  # openpyxl has no types
    """A workbook that makes each style once: openpyxl takes longer to set the style of a cell than to write one."""

    def __init__(self) -> None:
        super().__init__()
        self.styles: dict[Style, Any] = {}

    def cell_style(self, cell: Any, style: Style) -> Any:
        """Return a style as a cell holds it: an object of its own, which openpyxl changes with the cell.

        `cell` is a new one, which gets the style if it is the first with it.
        """
        if style not in self.styles:
            form, bold, side, is_wrapped = style
            if form:
                cell.number_format = form
            if bold:
                cell.font = Font(FONT, bold, bold=True)
            if side or is_wrapped:
                cell.alignment = Alignment(side, "top" if is_wrapped else None, wrap_text=is_wrapped or None)
            self.styles[style] = cell._style
        return copy(self.styles[style])


def render_xlsx(report: Report) -> bytes:
    """Return the workbook in the active language."""
    book = ReportBook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = NOT_IN_XML.sub("", report["programme"]), "Vigie"
    for title, fill in (
        (_("Report"), fill_report),
        (_("Scores"), fill_scores),
        (_("Response times"), fill_response_times),
        (_("Bugs"), fill_bugs),
        (_("Comments"), fill_comments),
    ):
        sheet = book.create_sheet(title)
        sheet.page_setup.orientation = "landscape"
        sheet.page_setup.fitToHeight = 0
        sheet.sheet_properties.pageSetUpPr.fitToPage = True
        fill(sheet, report)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


# --- The sheets ------------------------------------------------------------------------------------------------------


def fill_report(sheet: Any, report: Report) -> None:
    set_widths(sheet, WIDE, USUAL, USUAL, USUAL)
    for line, value, bold in (
        (1, report["programme"], LARGE),
        (2, report["product"], None),
        (3, wording.format_period(report), None),
        (4, to_local_time(report["generated_at"]), None),
        (6, wording.verdict_label(report["verdict"]), LARGE),
        (7, wording.explain_verdict(report["conditions"]), None),
    ):
        write_cell(sheet, line, 1, value, Style(MOMENT if line == 4 else TEXT, bold, LEFT))
    write_conditions(sheet, 9, report)
    write_figures(sheet, 11 + len(report["conditions"]), report)


def write_conditions(sheet: Any, line: int, report: Report) -> None:
    write_header(sheet, line, [_("Criterion"), _("Result"), _("Value"), _("Required")], [TEXT, TEXT, COUNT, COUNT])
    for number, condition in enumerate(report["conditions"], line + 1):
        sign, form = wording.SIGNS[condition["name"]], NUMBER_FORMATS[wording.FORMATTERS[condition["name"]]]
        row = [
            wording.condition_name(condition),
            wording.result_label(wording.condition_result(report, condition)),
            condition["value"],
            condition["target"],
        ]
        write_row(sheet, number, row, [TEXT, TEXT, form, f'"{sign} "{form}'])


def write_figures(sheet: Any, line: int, report: Report) -> None:
    before: dict[str, Any] = {**report["previous"]} if report["previous"] else {}
    header = [_("Figure"), "", _("Value"), _("Previous report") if before else ""]
    write_header(sheet, line, header, [TEXT, TEXT, COUNT, COUNT])
    members: dict[str, Any] = {**report}
    for number, fact in enumerate(wording.FACTS, line + 1):
        form = NUMBER_FORMATS[fact.show]
        row = [str(fact.label), "", members[fact.section][fact.name], before.get(fact.previous)]
        write_row(sheet, number, row, [TEXT, TEXT, form, form])


def fill_scores(sheet: Any, report: Report) -> None:
    """Write the distribution of the scores and, beside it, their average day by day."""
    set_widths(sheet, NARROW, USUAL, NARROW, USUAL, USUAL, USUAL, USUAL)
    write_table(sheet, [_("Score"), _("Participants")], list(enumerate(report["score"]["counts"])), [NUMBER, COUNT])
    trend = report["trend"]
    days = [(parse_day(each["day"]), each["participants"], each["average"], each["nps"]) for each in trend]
    header = [_("Day"), _("Participants"), _("Average score"), _("Net Promoter Score")]
    write_table(sheet, header, days, [DAY, COUNT, SCORE, SIGNED], first=4)
    bars = BarChart()
    bars.gapWidth = 40
    add_chart(sheet, bars, "I2", _("Participants by score"), values=2, names=1, rows=BEST_SCORE + 1)
    if days:
        average = daily_line_chart()
        average.y_axis.scaling.min, average.y_axis.scaling.max = 0, BEST_SCORE
        add_chart(sheet, average, "I20", _("Average score"), values=6, names=4, rows=len(days))


def fill_response_times(sheet: Any, report: Report) -> None:
    set_widths(sheet, *[USUAL] * 5)
    days = [
        (parse_day(each["day"]), each["checks"], each["failures"], each["failures"] / each["checks"], each["mean_ms"])
        for each in report["performance"]["days"]
    ]
    header = [_("Day (UTC)"), _("Checks"), _("Failed"), _("Error rate"), _("Average response time")]
    write_table(sheet, header, days, [DAY, COUNT, COUNT, SHARE, MILLISECONDS])
    if days:
        add_chart(sheet, daily_line_chart(), "G2", _("Average response time"), values=5, names=1, rows=len(days))


def fill_bugs(sheet: Any, report: Report) -> None:
    """Write the critical and high bugs that are open."""
    set_widths(sheet, NARROW, USUAL, USUAL, USUAL, USUAL, WIDE, WIDEST)
    header = [
        _("Number"),
        _("Severity"),
        _("Status"),
        pgettext("date", "Sent"),
        _("Version"),
        _("Page"),
        _("Comment"),
    ]
    rows = [
        (
            bug["id"],
            str(BetaFeedback.Severity(bug["severity"]).label),
            str(BetaFeedback.Status(bug["status"]).label),
            to_local_time(bug["given_at"]),
            bug["app_version"],
            bug["page"],
            bug["comment"],
        )
        for bug in report["open_bugs"]
    ]
    write_table(sheet, header, rows, [NUMBER, TEXT, TEXT, MOMENT, TEXT, TEXT, TEXT])


def fill_comments(sheet: Any, report: Report) -> None:
    set_widths(sheet, WIDE + WIDEST)
    write_table(sheet, [_("Latest usability comments")], [(comment,) for comment in report["ux_comments"]], [TEXT])


# --- Cells -----------------------------------------------------------------------------------------------------------


def write_table(
    sheet: Any, header: Sequence[str], rows: Sequence[Sequence[Any]], forms: Sequence[str], *, first: int = 1
) -> None:
    """Write a table from the top, with a frozen header. `first` is its first column."""
    write_header(sheet, 1, header, forms, first=first)
    sheet.freeze_panes = "A2"
    for line, row in enumerate(rows, 2):
        write_row(sheet, line, row, forms, first=first)


def write_header(sheet: Any, line: int, titles: Sequence[str], forms: Sequence[str], *, first: int = 1) -> None:
    styles = [Style(bold=BOLD, side=SIDES.get(form, RIGHT if form else LEFT)) for form in forms]
    write_cells(sheet, line, titles, styles, first)


def write_row(sheet: Any, line: int, row: Sequence[Any], forms: Sequence[str], *, first: int = 1) -> None:
    write_cells(sheet, line, row, [Style(form, side=SIDES.get(form)) for form in forms], first)


def write_cells(sheet: Any, line: int, row: Sequence[Any], styles: Sequence[Style], first: int) -> None:
    """Write a row as high as its texts: not every program does that by itself."""
    texts = [(value, column) for column, value in enumerate(row, first) if isinstance(value, str)]
    lines = max((count_lines(text, column_width(sheet, column)) for text, column in texts), default=1)
    if lines > 1:
        sheet.row_dimensions[line].height = LINE_HEIGHT * lines
    for column, (value, style) in enumerate(zip(row, styles, strict=True), first):
        write_cell(sheet, line, column, value, style._replace(is_wrapped=lines > 1))


def write_cell(sheet: Any, line: int, column: int, value: Any, style: Style) -> None:
    """Escape formulas and strip stacked combining marks; None writes nothing."""
    if value is None or value == "":
        return
    cell = sheet.cell(line, column)
    # Before the value: openpyxl gives a date without a date's format one of its own.
    cell._style = sheet.parent.cell_style(cell, style)
    value = limit_stacked_marks(value) if isinstance(value, str) else value
    cell.value = value if isinstance(value, date) else workbook_cell(value)


def count_lines(text: str, width: float) -> int:
    """Estimate the lines of a text in bold, MOST_LINES at most."""
    parts = text[: int(width) * MOST_LINES].split("\n")
    return min(sum(max(1, math.ceil(1.1 * display_width(part) / width)) for part in parts), MOST_LINES)


def column_width(sheet: Any, column: int) -> float:
    return float(sheet.column_dimensions[get_column_letter(column)].width)


def set_widths(sheet: Any, *widths: int) -> None:
    for column, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(column)].width = width


def to_local_time(text: str) -> datetime:
    """Convert a time to the portal's time zone and drop the zone: spreadsheets have none."""
    return timezone.localtime(datetime.fromisoformat(text)).replace(tzinfo=None)


# --- Charts ----------------------------------------------------------------------------------------------------------


def daily_line_chart() -> LineChart:
    """Return a line chart on a time axis, on which missing days leave a gap."""
    chart = LineChart()
    chart.x_axis = DateAxis(crossAx=chart.y_axis.axId)
    chart.x_axis.number_format = DAY
    chart.y_axis.crossAx = chart.x_axis.axId
    return chart


def add_chart(sheet: Any, chart: Any, place: str, title: str, *, values: int, names: int, rows: int) -> None:
    """Add a chart of the column `values`, labelled by the column `names`; both have a header in the first row."""
    chart.title, chart.legend = title, None
    chart.width, chart.height = CHART_WIDTH, CHART_HEIGHT
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.add_data(Reference(sheet, min_col=values, min_row=1, max_row=rows + 1), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=names, min_row=2, max_row=rows + 1))
    chart.series[0].smooth = False
    sheet.add_chart(chart, place)
