"""The report on paper: read, looked at, and held to its margins."""

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pymupdf
import pytest
from django.utils import translation

from beta.formats.drawing import BAD, GOOD, INK, LINE, PLAIN, axis_step, format_tick
from beta.formats.pdf import render_pdf
from beta.report import verdict
from beta.report.gather import build_report, calculate_nps
from beta.tests.factories import create_programme
from monitoring.tests.factories import NOON
from portal.base.text import printable_text
from portal.desk import pdf_pages

STARTS = date(2026, 3, 2)
KB = 1_000


def a_report(*, counts=(0, 0, 0, 1, 0, 1, 2, 4, 8, 9, 5), days=9, checks=9, targets=True, **fields):
    """Of 30 participants, and of nine days of scores and checks unless told otherwise."""
    given = sum(counts)
    average = round(sum(score * count for score, count in enumerate(counts)) / given, 2) if given else None
    mean = 150.0 if checks else None
    conditions = [
        {"name": "participants", "value": given, "target": 5, "ok": True},
        {"name": "score", "value": average, "target": 7.0, "ok": average is not None or None},
        {"name": "critical_bugs", "value": 0, "target": 0, "ok": True},
        {"name": "latency", "value": mean, "target": 500, "ok": True if checks else None},
        {"name": "error_rate", "value": 0.0021, "target": 0.01, "ok": True if checks else None},
    ]
    usual = {
        "programme": "spring-beta",
        "product": "Octopus Desk",
        "starts": "2026-03-02",
        "ends": "2026-03-20",
        "generated_at": "2026-03-10T12:00:00.000Z",
        "participants": {"count": given, "target": 5},
        "score": {
            "average": average,
            "target": 7.0,
            "nps": calculate_nps(counts),
            "promoters": sum(counts[9:]),
            "passives": sum(counts[7:9]),
            "detractors": sum(counts[:7]),
            "counts": list(counts),
        },
        "bugs": {"total": 12, "critical_high_open": 0},
        "open_bugs": [],
        "performance": {
            "checks": checks * 1440,
            "mean_ms": mean,
            "p95_ms": mean,
            "error_rate": 0.0021,
            "days": [day_of_checks(number) for number in range(checks)],
        },
        "ux_comments": [],
        "conditions": conditions if targets else conditions[:3],
        "verdict": verdict.decide_verdict(conditions),
        "trend": [
            {"day": day(number), "participants": number + 1, "average": 7.1 + number / days, "nps": 10}
            for number in range(days if given else 0)
        ],
        "previous": None,
    }
    return usual | fields


def day(number):
    return (STARTS + timedelta(days=number)).isoformat()


def day_of_checks(number, *, failures=0, mean=150.0):
    return {"day": day(number), "checks": 1440, "failures": failures, "mean_ms": mean}


def a_bug(comment="It loses what I wrote.", **fields):
    usual = {
        "id": 12, "severity": "critical", "status": "open", "comment": comment, "page": "/scoring",
        "app_version": "6.0.3", "given_at": "2026-03-09T08:00:00.000Z",
    }  # fmt: skip
    return usual | fields


def opened(report=None):
    return pymupdf.open("pdf", render_pdf(report) if report else rendered("usual"))


def text_of(document):
    return "\n".join(page.get_text() for page in document)


def read(report=None):
    """Return the words of a report, or of the usual one, with one space between two."""
    return " ".join(text_of(opened(report)).split())


def dense(text):
    """Without the breaks that lines and pages make."""
    return re.sub(r"\s", "", text)


def shapes(document, colour, key="fill"):
    """What is drawn in a colour, on all pages."""
    drawn = (each for page in document for each in page.get_drawings())
    return [each for each in drawn if each[key] and each[key] == pytest.approx(colour, abs=0.01)]


# --- What it tells ---------------------------------------------------------------------------------------------------


def test_pdf_begins_with_product_programme_and_period():
    text = read()
    assert text.startswith(
        "Beta report Octopus Desk Programme spring-beta · from 2 March 2026 to 20 March 2026 · made on"
    )
    assert "2026-03-10 12:00:00 UTC" in text


def test_pdf_without_product_is_titled_by_the_programme():
    assert read(a_report(product="")).startswith("Beta report spring-beta from 2 March 2026")


@pytest.mark.parametrize(
    ("code", "colour"),
    [("GO", (0.11, 0.5, 0.286)), ("NO-GO", (0.7, 0.14, 0.09)), ("INSUFFICIENT DATA", (0.835, 0.855, 0.878))],
)
def test_verdict_is_the_largest_text_on_its_colour(code, colour):
    document = opened(a_report(verdict=code))
    spans = [
        span for block in document[0].get_text("dict")["blocks"] for line in block["lines"] for span in line["spans"]
    ]
    assert max(spans, key=lambda span: span["size"])["text"] == verdict.VERDICTS[code]
    assert any(shape["rect"].width > 500 for shape in shapes(document, colour))


def test_verdict_is_followed_by_its_reason():
    assert "GO All criteria met." in read()


def test_each_condition_has_value_target_and_outcome():
    conditions = a_report()["conditions"]
    conditions[1] |= {"value": 6.9, "ok": False}
    conditions[3] |= {"value": None, "ok": None}
    text = read(a_report(conditions=conditions))
    assert "Participants 30 at least 5 met Average score 6.90 at least 7.00 not met" in text
    assert "Average response time – below 500.0 ms no data Error rate 0.21 % below 1.00 % met" in text


def test_figures_have_their_changes_since_the_previous_report():
    before = {
        "generated_at": "2026-03-03T12:00:00.000Z", "verdict": "NO-GO", "participants": 20, "average": 7.02, "nps": -4,
        "critical_high_open": 0, "mean_ms": 1_400.5, "error_rate": 0.004,
    }  # fmt: skip
    text = read(a_report(previous=before))
    assert "30 +10 Participants 8.10 +1.08 Average score" in text
    assert "150.0 ms −1,250.5 Average response time" in text
    assert "Compared with the report of 2026-03-03 12:00:00 UTC (NO-GO)." in text


def test_first_report_says_that_there_is_no_earlier_one():
    assert "No earlier report to compare with." in read()


def test_open_bugs_have_their_details_and_further_ones_are_counted():
    bugs = [a_bug(), a_bug("Slow.", severity="high", page="", app_version="")]
    text = read(a_report(open_bugs=bugs, bugs={"total": 2_000, "critical_high_open": 1_503}))
    assert "Critical · 9 March 2026 · version 6.0.3 · /scoring It loses what I wrote." in text
    assert "High · 9 March 2026 Slow. and 1,501 more" in text


def test_missing_bugs_and_comments_are_stated():
    text = read()
    assert "No open critical or high bugs." in text
    assert "No usability comments." in text


def test_empty_programme_has_a_pdf(db):
    text = read(build_report(create_programme(), NOON))
    assert "Not enough data No feedback yet." in text
    assert "No scores yet." in text
    assert "No targets linked" in text


def test_copied_text_is_in_reading_order():
    text = text_of(opened(a_report(open_bugs=[a_bug()], ux_comments=["Clear.", "Fast."])))
    places = [
        text.index(part)
        for part in ("Octopus", "GO\n", "Release criteria", "Key figures", "It loses", "Clear.", "Fast.")
    ]
    assert places == sorted(places)


def test_pages_are_numbered():
    document = opened(a_report(ux_comments=["word " * 200] * 5))
    assert [page.get_text().strip().splitlines()[-2:] for page in document] == [["Vigie", "1 / 2"], ["Vigie", "2 / 2"]]


def test_pdf_is_in_the_active_language():
    with translation.override("fr"):
        document = opened(a_report())
        assert document.language == "fr"
        assert "du 2 mars 2026 au 20 mars 2026" in document[0].get_text()
        assert "8,10" in document[0].get_text()


def test_metadata_names_title_author_subject_and_time():
    document = opened()
    assert document.language == "en"
    assert {key: document.metadata[key] for key in ("title", "author", "subject", "creationDate")} == {
        "title": "Beta report: spring-beta",
        "author": "Vigie",
        "subject": "GO. All criteria met.",
        "creationDate": "D:20260310120000Z",
    }


# --- Charts ----------------------------------------------------------------------------------------------------------


def test_scores_are_bars_in_the_colours_of_their_groups():
    document = opened(a_report(counts=(0, 0, 0, 1, 0, 1, 2, 4, 8, 9, 5), checks=0))
    bars = [[shape["rect"].height for shape in shapes(document, colour)] for colour in (BAD, PLAIN, GOOD)]
    of_one = bars[0][0]
    assert [[round(height / of_one, 1) for height in group if height > 2] for group in bars] == [
        [1, 1, 2],
        [4, 8],
        [9, 5],
    ]
    assert "Detractors 13 % Passives 40 % Promoters 47 %" in read()


def test_average_is_a_line_and_its_target_a_dashed_line():
    document = opened(a_report(checks=0))
    [line] = shapes(document, LINE, "color")
    assert len(line["items"]) == 8
    [target, key] = [shape for shape in shapes(document, INK, "color") if shape["dashes"] != "[] 0"]
    assert {target["rect"].y0, key["rect"].y0} != {target["rect"].y0}
    assert line["rect"].y1 < target["rect"].y0, "all averages are above their target"


def test_days_of_checks_are_bars_and_days_with_failures_are_marked():
    days = [day_of_checks(number) for number in range(20)]
    days[3] = day_of_checks(3, failures=2)
    days[7] = day_of_checks(7, failures=1440, mean=None)
    performance = a_report()["performance"] | {"days": days}
    document = opened(a_report(performance=performance, counts=[0] * 11))
    assert len(shapes(document, LINE)) == 19
    assert len([mark for mark in shapes(document, BAD) if len(mark["items"]) == 3]) == 2 + 1, (
        "and one that explains them"
    )
    assert {"days with failures", "required: 500.0 ms", "0", "500"} <= set(text_of(document).splitlines())


def test_chart_without_failures_has_no_legend_for_them():
    assert "days with failures" not in read()


def test_missing_data_is_a_sentence_instead_of_a_chart():
    document = opened(a_report(counts=[0] * 11, checks=0))
    text = " ".join(text_of(document).split())
    assert "Scores given No scores yet." in text
    assert "Response times No checks of the linked targets yet." in text
    assert not shapes(document, LINE)
    assert not shapes(document, LINE, "color")


def test_programme_without_targets_has_a_sentence_instead_of_a_chart():
    assert "No targets linked" in read(a_report(checks=0, targets=False))


def test_single_day_is_drawn_as_a_point():
    document = opened(a_report(days=1, checks=1))
    assert len(shapes(document, LINE)) == 2
    assert not shapes(document, LINE, "color")
    assert text_of(document).count("2 March\n") == 2


def test_axis_over_a_year_is_labelled_by_months():
    document = opened(a_report(days=365, checks=365))
    assert len(shapes(document, LINE)) == 365 + 1, "a bar a day, and where the line ends"
    months = re.findall(r"^\w+ 202\d$", text_of(document), re.MULTILINE)
    assert len(months) == 4 + 6
    assert {"March 2026", "March 2027"} <= set(months)


def test_charts_are_vector_graphics():
    assert not any(page.get_images() for page in opened())


@pytest.mark.parametrize(
    ("most", "step", "named"),
    [
        (0.03, 0.01, "0.01"),
        (1, 0.2, "0.2"),
        (5, 1, "1"),
        (500, 100, "100"),
        (501, 200, "200"),
        (30_000, 10_000, "10,000"),
    ],
)
def test_axis_steps_are_round_numbers(most, step, named):
    assert axis_step(most) == pytest.approx(step)
    assert format_tick(step, step) == named


# --- What others wrote -----------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script> <b>bold</b> & &amp; &lt;i&gt; <!-- part scores --> {{ x }} {% now %} =1+1",
    "مرحبا بالعالم لا (v2) 12 مرة",
    "שלום עולם 3 פעמים",
    "日本語 😀 हिन्दी ไทย",
    "A" * 5_000,
    "two\nlines\tand\x00one\ud800zero\u200bwidth\ufeff",
    "é" * 100 * KB,
    "👩\u200d👩\u200d👧 " * 100,
    "&" * 900,
]
SHOWN = [printable_text(comment)[:1_000] for comment in HOSTILE]
NAMES = {"programme": "W" * 100, "product": "<i>" + "M" * 97}
REPORTS = {
    "usual": a_report(),
    "nothing": a_report(counts=[0] * 11, checks=0),
    "one day": a_report(counts=[0] * 10 + [1], days=1, checks=1),
    "a year": a_report(counts=[50_000] * 11, days=365, checks=365),
    "all equal": a_report(counts=[0] * 7 + [30] + [0] * 3),
    "long names": a_report(**NAMES, open_bugs=[a_bug(page="p" * 200, app_version="v" * 64)]),
    "large": a_report(
        counts=[10**5] * 11,
        performance=a_report()["performance"] | {"checks": 10**9, "mean_ms": 29_999.9, "p95_ms": 30_000.0},
        bugs={"total": 10**6, "critical_high_open": 10**6},
    ),
} | {
    f"hostile {number}": a_report(
        ux_comments=[comment] * 5, open_bugs=[a_bug(comment, page=comment[:200], app_version=comment[:64])] * 5
    )
    for number, comment in enumerate(HOSTILE)
}


@functools.cache
def rendered(name):
    """Return the PDF of one of REPORTS, made once for all tests."""
    return render_pdf(REPORTS[name])


@pytest.mark.parametrize("name", REPORTS)
def test_words_and_drawings_stay_within_the_margins(name):
    document = pymupdf.open("pdf", rendered(name))
    allowed = pymupdf.Rect(
        pdf_pages.MARGIN,
        pdf_pages.MARGIN,
        pdf_pages.PAPER.width - pdf_pages.MARGIN,
        pdf_pages.PAPER.height - pdf_pages.MARGIN,
    )
    allowed += (-2, -2, 2, 4)
    for page in document:
        assert page.get_text("words")
        for word in page.get_text("words"):
            assert pymupdf.Rect(word[:4]) in allowed, word
        for drawn in page.get_drawings():
            assert drawn["rect"] in allowed, drawn
    assert document.page_count < 8


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_comment_is_printed_as_text(number):
    document = pymupdf.open("pdf", rendered(f"hostile {number}"))
    bare = re.sub(r"Vigie\d+/\d+", "", dense(text_of(document))).replace("\u200d", "")
    expected = dense(SHOWN[number]).replace("\u200d", "")
    if number in (1, 2):  # brackets and numbers stand where a line from right to left has them
        assert all(word in bare for word in SHOWN[number].split() if "v2" not in word)
    elif number == 3:
        assert {"日本語", "😀"} <= {word for word in SHOWN[number].split() if word in bare}
    else:
        assert expected in bare
    assert not any(page.get_images() or page.get_links() for page in document)


def test_markup_in_names_is_printed_as_text():
    text = read(a_report(product="<i>Desk</i> &lt;", programme="<b>{{ x }}</b>"))
    assert text.startswith("Beta report <i>Desk</i> &lt; Programme <b>{{ x }}</b> · from")


def test_long_comment_is_shortened_with_a_remark():
    assert "x" * 20 + "… (100,000 characters in total)" in read(a_report(ux_comments=["x" * 100 * KB]))


def test_image_and_link_in_a_text_are_not_fetched(tmp_path):
    image = tmp_path / "image.png"
    pymupdf.Pixmap(pymupdf.csRGB, pymupdf.IRect(0, 0, 40, 40), False).save(image)
    tag = f'<img src="{image}"><a href="https://example.org/">x</a>'
    document = opened(
        a_report(ux_comments=[tag], programme=tag[:100], product=tag[:100], open_bugs=[a_bug(tag, page=tag)])
    )
    assert not any(page.get_images() or page.get_links() for page in document)
    assert dense(text_of(document)).count(dense(tag)) == 3


def test_direction_overrides_are_removed():
    hidden = "before \u202egnp.exe\u202c \u2067middle\u2069 &#8238;abc after"
    page = opened(a_report(ux_comments=[hidden], open_bugs=[a_bug(hidden)]))[0]
    lines = [[word[4] for word in sorted(line)] for line in lines_of(page)]
    assert lines.count(["before", "gnp.exe", "middle", "&#8238;abc", "after"]) == 2


def lines_of(page):
    words = page.get_text("words")
    return [
        [word for word in words if abs(word[3] - height) < 1]
        for height in sorted({round(word[3], 1) for word in words})
    ]


def test_right_to_left_comment_begins_on_the_right():
    words = opened(a_report(ux_comments=["שלום world"]))[0].get_text("words")
    places = {word[4]: word[0] for word in words}
    assert places["שלום"] > places["world"] > 300


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\u0301\u0301\u00ad"])
def test_stacked_combining_marks_are_limited_to_four(mark):
    assert printable_text("e" + mark * 500 + "x") == "e" + mark[0] * 4 + "x"


# --- Pages -----------------------------------------------------------------------------------------------------------


def bound(*parts):
    return pymupdf.open("pdf", pdf_pages.make_pdf(parts, "h2, p { font-size: 9pt; }", "Vigie", {}, "en"))


@pytest.mark.parametrize("height", range(600, 740, 10))
def test_heading_is_on_the_page_of_the_first_paragraph(height):
    above = pdf_pages.Chart(height, lambda page, place: None)
    pages = [page.get_text() for page in bound(above, "<h2>Comments</h2>" + "<p>Clear.</p>" * 20)]
    [heading] = [text for text in pages if "Comments" in text]
    assert "Clear." in heading


def test_chart_is_not_split_over_two_pages():
    places = []
    chart = pdf_pages.Chart(300, lambda page, place: places.append((page.number, place)))
    bound(chart, chart, chart)
    assert [number for number, _place in places] == [0, 0, 1]
    assert all(place.height == 300 and place in pdf_pages.PAPER for _number, place in places)


def test_usual_report_takes_one_page():
    assert opened(a_report(open_bugs=[a_bug()], ux_comments=["Rather clear, but slow."] * 5)).page_count == 1


def test_layout_over_the_page_limit_raises_an_error(monkeypatch):
    monkeypatch.setattr(pdf_pages, "MAX_PAGES", 2)
    with pytest.raises(pdf_pages.TooManyPages):
        bound("<p>word</p>" * 200)


def test_texts_of_extremely_wide_letters_are_shortened_until_they_fit():
    letter = "\ufdfd"
    names = {"programme": (letter * 100)[:100], "product": (letter * 100)[:100]}
    bug = a_bug(letter * 1_000, page=(letter * 200)[:200], app_version=(letter * 64)[:64])
    document = opened(a_report(**names, ux_comments=[letter * 100 * KB] * 5, open_bugs=[bug] * 20))
    assert document.page_count < pdf_pages.MAX_PAGES
    assert "characters in total" in text_of(document)


def test_long_words_are_shortened_only_to_their_usual_length():
    assert "w" * 299 + "…" in dense(text_of(opened(a_report(open_bugs=[a_bug("w" * 1_000)] * 20))))


def test_same_report_gives_the_same_bytes():
    assert render_pdf(REPORTS["hostile 3"]) == rendered("hostile 3")


@pytest.mark.parametrize(("name", "limit"), [("a year", 60), ("hostile 3", 300)])
def test_file_stays_small(name, limit):
    assert len(rendered(name)) < limit * KB


def test_layout_holds_the_lock(monkeypatch):
    laid_out, locked = pdf_pages.lay_out, []

    def watched(*arguments):
        locked.append(pdf_pages.LOCK.locked())
        return laid_out(*arguments)

    monkeypatch.setattr(pdf_pages, "lay_out", watched)
    render_pdf(REPORTS["nothing"])
    assert locked == [True]


def test_concurrent_threads_make_complete_documents():
    names = ["nothing", "one day"]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(render_pdf, [REPORTS[name] for name in names] * 2))
    assert made == [rendered(name) for name in names] * 2
