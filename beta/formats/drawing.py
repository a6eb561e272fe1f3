"""The charts of a report as vector graphics. Lengths are in points, from the upper left of a page."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pymupdf
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from beta.models import BEST_SCORE
from beta.report import wording
from beta.report.gather import DETRACTS, PROMOTES, DayOfChecks, DayOfScores, Score
from portal.base.words import round_to_integer

Colour = tuple[float, float, float]
Point = tuple[float, float]
INK, QUIET, RULE = (0.12, 0.16, 0.20), (0.36, 0.40, 0.45), (0.84, 0.86, 0.88)
GOOD, BAD, PLAIN, LINE = (0.11, 0.50, 0.29), (0.70, 0.14, 0.09), (0.62, 0.66, 0.71), (0.15, 0.38, 0.63)
TINY, SMALL, NORMAL = 5.5, 6.5, 9.0
LEFT, CENTRE, RIGHT = 0.0, 0.5, 1.0
DASHES = "[3 2] 0"
GAP = 26.0
# A line of at most as many points marks each of them.
MOST_DOTS = 31
# An axis over as many days names months instead of days.
MANY_DAYS = 300


class Canvas:
    """A part of a page. `draw` writes the collected shapes first, then the texts above them."""

    def __init__(self, page: Any, place: Any) -> None:
        self.page, self.place = page, place
        self.shape = page.new_shape()
        self.fonts = {False: pymupdf.Font("helv"), True: pymupdf.Font("hebo")}
        self.writers: list[tuple[Colour, Any]] = []

    def text(
        self,
        at: Point,
        text: str,
        *,
        colour: Colour = QUIET,
        size: float = SMALL,
        align: float = LEFT,
        bold: bool = False,
    ) -> None:
        """Add a text at a point on its baseline; `align` is the part of the text that is aligned there."""
        font = self.fonts[bold]
        if not self.writers or self.writers[-1][0] != colour:
            self.writers.append((colour, pymupdf.TextWriter(self.page.rect)))
        left = at[0] - align * font.text_length(text, size)
        self.writers[-1][1].append((left, at[1]), text, font=font, fontsize=size)

    def text_within(self, at: Point, text: str) -> None:
        """Add a text centred at a point, but moved to stay within the canvas."""
        half = self.fonts[False].text_length(text, SMALL) / 2
        middle = min(max(at[0], self.place.x0 + half), self.place.x1 - half)
        self.text((middle, at[1]), text, align=CENTRE)

    def line(
        self, points: Sequence[Point], colour: Colour = RULE, width: float = 0.5, dashes: str | None = None
    ) -> None:
        self.shape.draw_polyline(points)
        self.shape.finish(color=colour, width=width, dashes=dashes, closePath=False, lineJoin=1)

    def bar(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.shape.draw_rect(pymupdf.Rect(left, top, right, bottom))
        self.shape.finish(color=None, fill=colour, width=0)

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        self.shape.draw_circle(at, radius)
        self.shape.finish(color=None, fill=colour, width=0)

    def mark(self, at: Point, colour: Colour) -> None:
        """Add a triangle that points up at a point."""
        x, y = at
        self.shape.draw_polyline([(x, y), (x + 2.2, y + 4), (x - 2.2, y + 4)])
        self.shape.finish(color=None, fill=colour, width=0)

    def title(self, text: str) -> None:
        self.text((self.place.x0, self.place.y0 + NORMAL), text, colour=INK, size=NORMAL, bold=True)

    def legend(self, target: str, marks: str = "") -> None:
        """Add the legend of dashes and triangles to the right of the title; an empty text is left out."""
        right, line = self.place.x1, self.place.y0 + NORMAL
        for text, sample in ((target, self.legend_line), (marks, self.legend_mark)):
            if text:
                self.text((right, line), text, align=RIGHT)
                right -= self.fonts[False].text_length(text, SMALL) + 4
                sample((right, line))
                right -= 26

    def legend_line(self, at: Point) -> None:
        self.line([(at[0] - 16, at[1] - 2.3), (at[0], at[1] - 2.3)], INK, 0.9, DASHES)

    def legend_mark(self, at: Point) -> None:
        self.mark((at[0] - 2.2, at[1] - 4.5), BAD)

    def draw(self) -> None:
        self.shape.commit()
        for colour, writer in self.writers:
            writer.write_text(self.page, color=colour)


def draw_scores(page: Any, place: Any, score: Score, trend: Sequence[DayOfScores]) -> None:
    """Draw the distribution of the scores and, beside it, their average day by day."""
    middle = (place.x0 + place.x1) / 2
    draw_distribution(page, pymupdf.Rect(place.x0, place.y0, middle - GAP / 2, place.y1), score)
    draw_trend(page, pymupdf.Rect(middle + GAP / 2, place.y0, place.x1, place.y1), trend, score["target"])


# --- Scores given ---------------------------------------------------------------------------------------------------


def draw_distribution(page: Any, place: Any, score: Score) -> None:
    canvas = Canvas(page, place)
    canvas.title(_("Scores given"))
    counts, base = score["counts"], place.y1 - 34
    slot, most = place.width / len(counts), max(counts)
    full, size = base - place.y0 - 28, SMALL if most < 10_000 else TINY
    for given, count in enumerate(counts):
        left = place.x0 + given * slot
        canvas.text((left + slot / 2, base + 8.5), str(given), align=CENTRE)
        if count:
            top = base - max(full * count / most, 0.7)
            canvas.bar(left + slot * 0.14, top, left + slot * 0.86, base, score_colour(given))
            canvas.text((left + slot / 2, top - 2.5), wording.format_figure(count), colour=INK, size=size, align=CENTRE)
    canvas.line([(place.x0, base), (place.x1, base)], QUIET)
    for first, last, label, part in nps_groups(score):
        left, right = place.x0 + first * slot + 1.5, place.x0 + (last + 1) * slot - 1.5
        canvas.bar(left, base + 12, right, base + 13.5, score_colour(first))
        canvas.text(((left + right) / 2, base + 21.5), label, align=CENTRE)
        canvas.text(((left + right) / 2, base + 29.5), part, colour=INK, align=CENTRE)
    canvas.draw()


def score_colour(score: int) -> Colour:
    if score >= PROMOTES:
        return GOOD
    return BAD if score <= DETRACTS else PLAIN


def nps_groups(score: Score) -> list[tuple[int, int, str, str]]:
    """Return first and last score, name and share of detractors, passives and promoters."""
    given = sum(score["counts"])
    return [
        (0, DETRACTS, _("Detractors"), format_percent(score["detractors"], given)),
        (DETRACTS + 1, PROMOTES - 1, _("Passives"), format_percent(score["passives"], given)),
        (PROMOTES, BEST_SCORE, _("Promoters"), format_percent(score["promoters"], given)),
    ]


def format_percent(people: int, given: int) -> str:
    """Format a share without decimals, such as `40 %`."""
    return _("%(number)s %%") % {"number": round_to_integer(100 * people / given)}


# --- Over the days --------------------------------------------------------------------------------------------------


class Axes:
    """Axes with days to the right and values from 0 upwards, with a line every `step`."""

    def __init__(self, canvas: Canvas, days: Sequence[date], most: float, step: float) -> None:
        place = canvas.place
        self.canvas, self.first, self.last, self.most = canvas, days[0], days[-1], most
        self.left: float = place.x0 + 30
        self.right: float = place.x1
        self.top: float = place.y0 + 20
        self.bottom: float = place.y1 - 16
        self.slot: float = (self.right - self.left) / ((self.last - self.first).days + 1)
        for number in range(round(most / step) + 1):
            height = self.y(number * step)
            canvas.line([(self.left, height), (self.right, height)], QUIET if number == 0 else RULE)
            canvas.text((self.left - 4, height + 2.3), format_tick(number * step, step), align=RIGHT)

    def x(self, day: date) -> float:
        """Return the middle of a day."""
        return self.left + ((day - self.first).days + 0.5) * self.slot

    def y(self, value: float) -> float:
        return self.bottom - value / self.most * (self.bottom - self.top)

    def name_days(self, most: int) -> None:
        """Label days below the axis, from the first to the last, `most` at most."""
        span = (self.last - self.first).days
        count = min(most, span + 1)
        form = "MONTH_DAY_FORMAT" if span < MANY_DAYS else "YEAR_MONTH_FORMAT"
        for number in range(count):
            day = self.first + timedelta(days=round(number * span / max(count - 1, 1)))
            self.canvas.line([(self.x(day), self.bottom), (self.x(day), self.bottom + 2.5)], QUIET)
            self.canvas.text_within((self.x(day), self.bottom + 14), date_format(day, form))

    def mark_target(self, target: float) -> None:
        self.canvas.line([(self.left, self.y(target)), (self.right, self.y(target))], INK, 0.9, DASHES)


def format_tick(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    return number_format(round(value, digits), digits, use_l10n=True, force_grouping=True)


def axis_step(most: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that five steps or fewer reach `most`."""
    power = 10.0 ** math.floor(math.log10(most / 5))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5 >= most)


def draw_trend(page: Any, place: Any, trend: Sequence[DayOfScores], target: float) -> None:
    canvas = Canvas(page, place)
    canvas.title(_("Average score per day"))
    days = [date.fromisoformat(day["day"]) for day in trend]
    axes = Axes(canvas, days, BEST_SCORE, 2)
    points = [(axes.x(at), axes.y(day["average"])) for at, day in zip(days, trend, strict=True)]
    axes.mark_target(target)
    canvas.legend(_("required: %(value)s") % {"value": wording.format_score(target)})
    canvas.line(points, LINE, 1.4)
    for point in points if len(points) <= MOST_DOTS else points[-1:]:
        canvas.dot(point, 1.7, LINE)
    axes.name_days(4)
    canvas.draw()


def draw_responses(page: Any, place: Any, checks: Sequence[DayOfChecks], target: float | None) -> None:
    canvas = Canvas(page, place)
    canvas.title(_("Average response time per day, in milliseconds"))
    days = [date.fromisoformat(day["day"]) for day in checks]
    means = [day["mean_ms"] or 0 for day in checks]
    most = max(*means, target or 0, 1)
    step = axis_step(most)
    axes = Axes(canvas, days, math.ceil(round(most / step, 6)) * step, step)
    for day, of_day, mean in zip(days, checks, means, strict=True):
        middle, half = axes.x(day), min(axes.slot * 0.38, 9)
        if mean:
            canvas.bar(middle - half, min(axes.y(mean), axes.bottom - 0.7), middle + half, axes.bottom, LINE)
        if of_day["failures"]:
            canvas.mark((middle, axes.bottom + 1.5), BAD)
    if target is not None:
        axes.mark_target(target)
    canvas.legend(
        _("required: %(value)s") % {"value": wording.format_milliseconds(target)} if target is not None else "",
        _("days with failures") if any(day["failures"] for day in checks) else "",
    )
    axes.name_days(6)
    canvas.draw()
